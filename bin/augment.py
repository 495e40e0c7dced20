#!/usr/bin/env python
"""Write clips before and after augmentation, with pictures and costs; see `python bin/augment.py --help`."""

import os
import sys
from pathlib import Path

import _venv  # noqa: F401

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepspeech_training.commands.augment import main

if __name__ == "__main__":
    sys.exit(main())
