#!/usr/bin/env python3
"""The programs of this folder that are links to this file: each is a command of `deepspeech`, under the name it has
in DeepSpeech or had here. Without an activated environment they run in .venv, which `make` made.
"""

import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Name of the link -> the command; import_NAME.py is `import NAME`, and `deepspeech` the program itself.
COMMANDS = {
    "augment.py": "augment",
    "average_checkpoints.py": "average",
    "build_scorer": "scorer build",
    "check_data.py": "data check",
    "doctor": "doctor",
    "evaluate_export": "evaluate",
    "export": "export",
    "generate_lm.py": "scorer lm",
    "generate_scorer_package": "scorer package",
    "inspect_checkpoint.py": "inspect",
    "lm_optimizer.py": "scorer tune",
    "make_docs.py": "docs",
    "sessions": "sessions",
    "show_data.py": "data show",
    "stats.py": "data stats",
    "transcribe": "transcribe",
}


def find_packages() -> None:
    """Run in the environment of the project where this one lacks what the package cannot do without."""
    python = ROOT / ".venv" / "bin" / "python"
    if importlib.util.find_spec("soundfile") is None:
        if python.exists() and Path(sys.prefix) != python.parent.parent:
            os.execv(python, [str(python), *sys.argv])
        sys.exit(
            f"{sys.argv[0]}: {sys.executable} lacks the packages that this needs\nRun make smoke once, or pip install ."
        )


def program(name: str) -> int:
    from deepspeech_training.commands.main import main, run

    if name == "deepspeech":
        return main()
    command = COMMANDS.get(name) or f"import {name.removeprefix('import_').removesuffix('.py')}"
    return run(command, sys.argv[1:], prog=name)


if __name__ == "__main__":  # worker processes import this file too, and need nothing of it
    find_packages()
    sys.path.insert(0, str(ROOT))
    sys.exit(program(Path(sys.argv[0]).name))
