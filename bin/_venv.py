"""Imported by the programs beside it: without an activated environment they go on in .venv, which `make` made."""

import importlib.util
import os
import sys
from pathlib import Path

_PYTHON = Path(__file__).resolve().parent.parent / ".venv" / "bin" / "python"

if importlib.util.find_spec("soundfile") is None:  # what the package cannot do without
    if _PYTHON.exists() and Path(sys.prefix) != _PYTHON.parent.parent:
        os.execv(_PYTHON, [str(_PYTHON), *sys.argv])
    sys.exit(
        f"{sys.argv[0]}: {sys.executable} lacks the packages that this needs\nRun make smoke once, or pip install ."
    )
