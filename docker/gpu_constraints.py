"""Print as constraints what pip's report (`pip install --dry-run --report`) has beyond constraints.txt.

gpu_constraints.py constraints.txt report.json       called by `make constraints`
"""

import json
import re
import sys

with open(sys.argv[1], encoding="utf-8") as file:
    pinned = {re.sub("[-_.]+", "-", line.split("==")[0]).lower() for line in file if "==" in line}
with open(sys.argv[2], encoding="utf-8") as file:
    found = [package["metadata"] for package in json.load(file)["install"]]
print("# What the extra gpu installs beside constraints.txt. Rewritten by `make constraints`.")
for package in sorted(found, key=lambda package: package["name"].lower()):
    if re.sub("[-_.]+", "-", package["name"]).lower() not in pinned:
        print(f"{package['name']}=={package['version']}")
