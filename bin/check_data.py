#!/usr/bin/env python
"""The trainer's check of all data alone; see `python bin/check_data.py --help` and docs/data_formatting.md."""

import sys
from pathlib import Path

import _venv  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepspeech_training.commands.data_check import main

if __name__ == "__main__":
    sys.exit(main())
