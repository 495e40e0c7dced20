"""Any exported model as a file, whatever its task: `task` of what is read says which it is."""

import os
from pathlib import Path

from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.pronunciation_file import SUFFIX, PronunciationFile

MODEL_SUFFIXES = (".tflite", SUFFIX)


def read_model_file(path: str | os.PathLike[str]) -> ModelFile | PronunciationFile:
    """Read and check an exported model.

    Raises:
        ModelError: it cannot be read, is damaged, or of another kind.
    """
    return PronunciationFile.read(path) if Path(path).suffix == SUFFIX else ModelFile.read(path)
