#!/usr/bin/env python
"""Get the clip LDC93S1 and write DIR/ldc93s1.csv; see `python bin/import_ldc93s1.py --help`."""

import sys
from pathlib import Path

import _venv  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepspeech_training.importers.ldc93s1 import main

if __name__ == "__main__":
    sys.exit(main())
