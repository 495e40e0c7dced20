"""Print what pyproject.toml requires, one requirement a line: `requirements.py pyproject.toml [EXTRA ...]`.

So that the packages are a layer of their own, which a change of the code leaves alone.
"""

import sys
import tomllib

with open(sys.argv[1], "rb") as file:
    project = tomllib.load(file)["project"]
requirements = list(project["dependencies"])
for extra in sys.argv[2:]:
    requirements += project["optional-dependencies"][extra]
print("\n".join(requirements))
