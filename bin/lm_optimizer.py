#!/usr/bin/env python
"""Find the best weights of a scorer; see `bin/lm_optimizer.py --help`."""

import sys
from pathlib import Path

import _venv  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepspeech_training.scorer.optimize import main

if __name__ == "__main__":
    sys.exit(main())
