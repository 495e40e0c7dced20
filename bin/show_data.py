#!/usr/bin/env python
"""List, filter, sort, export and play the clips of CSVs; see `python bin/show_data.py --help`."""

import sys
from pathlib import Path

import _venv  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepspeech_training.commands.data_show import main

if __name__ == "__main__":
    sys.exit(main())
