"""The program, where some recordings have sound that no check has seen: `python with_poison.py COMMAND ...`.

What is named overflow*.wav has samples whose features are no numbers, and nan*.wav has samples that are none.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from deepspeech_training.commands.main import main
from deepspeech_training.tasks.speech_to_text import task


def poisoned(read_audio):
    def read(path: str, **options) -> np.ndarray:
        audio = read_audio(path, **options)
        name = Path(path).name
        if name.startswith("overflow"):
            audio[1000:1100] = 1e30
        elif name.startswith("nan"):
            audio[1000] = np.nan
        return audio

    return read


if __name__ == "__main__":
    task.read_audio = poisoned(task.read_audio)
    sys.exit(main())
