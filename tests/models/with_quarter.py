"""The program, with one network more: `python with_quarter.py --network quarter FLAGS`."""

import sys
from pathlib import Path

from deepspeech_training.models import MODELS, NETWORKS

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
MODELS["quarter"] = "models.quarter:Quarter"
NETWORKS["speech_to_text"] = (*NETWORKS["speech_to_text"], "quarter")

if __name__ == "__main__":
    from deepspeech_training.commands.main import train

    sys.exit(train())
