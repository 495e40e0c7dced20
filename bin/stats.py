#!/usr/bin/env python
"""Hours, lengths, characters and speakers of CSVs; see `python bin/stats.py --help` and docs/data_formatting.md."""

import sys
from pathlib import Path

import _venv  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepspeech_training.commands.data_stats import main

if __name__ == "__main__":
    sys.exit(main())
