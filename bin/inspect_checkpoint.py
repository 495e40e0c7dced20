#!/usr/bin/env python
"""What a checkpoint or an export is, and whether it is sound; see `bin/inspect_checkpoint.py --help`."""

import sys
from pathlib import Path

import _venv  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepspeech_training.commands.inspect_checkpoint import main

if __name__ == "__main__":
    sys.exit(main())
