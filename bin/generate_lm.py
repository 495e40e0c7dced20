#!/usr/bin/env python
"""Make a language model from text; see `bin/generate_lm.py --help`."""

import sys
from pathlib import Path

import _venv  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepspeech_training.scorer.build import generate_lm_main

if __name__ == "__main__":
    sys.exit(generate_lm_main())
