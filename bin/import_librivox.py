#!/usr/bin/env python
"""LibriSpeech to CSVs; see `python bin/import_librivox.py --help` and docs/data_formatting.md."""

import sys
from pathlib import Path

import _venv  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

if __name__ == "__main__":  # the workers import this file too, and need nothing of it
    from deepspeech_training.importers.librispeech import main

    sys.exit(main())
