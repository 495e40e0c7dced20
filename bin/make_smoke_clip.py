#!/usr/bin/env python
"""Rewrite deepspeech_training/package_data/smoke.wav: `python bin/make_smoke_clip.py`.

Only for a change of the synthesiser; the clip is committed, and a test compares it with what this gives.
"""

import sys
from pathlib import Path

import soundfile

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from deepspeech_training.audio.synthetic_speech import smoke_clip  # noqa: E402

if __name__ == "__main__":
    path = ROOT / "deepspeech_training" / "package_data" / "smoke.wav"
    soundfile.write(path, smoke_clip(), 16000, subtype="PCM_16")
    print(path)
