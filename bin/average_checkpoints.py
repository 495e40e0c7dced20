#!/usr/bin/env python3
"""Average checkpoints: `bin/average_checkpoints.py DIR --last 5 --output DIR`; see docs/checkpoints.md."""

import sys
from pathlib import Path

import _venv  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepspeech_training.checkpoints.average import main

if __name__ == "__main__":
    sys.exit(main())
