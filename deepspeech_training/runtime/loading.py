"""A model and a recording, loaded for a command: what is unusual about them is said on stderr, and nothing else."""

import numpy as np

from deepspeech_training.audio.files import AudioError, AudioFile
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.runtime.beam import BeamOptions
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.network import without_delegate_notice


def load_model(
    path: str, beam: BeamOptions, *, num_threads: int = 1, candidates: int = 1, console: Console | None = None
) -> Model:
    """An exported model that decodes as `beam` says.

    Args:
        console: where hot words that cannot be heard are named; None for nowhere.
    Raises:
        ModelError, ScorerError: the model or the scorer cannot be used.
    """
    with without_delegate_notice():
        model = Model(path, num_threads=num_threads)
    beam.set_up(model, candidates=candidates)
    unknown = model.unknownHotWords()
    if unknown and console is not None:
        console.warn(
            f"--hot_words {', '.join(unknown)}: not in the dictionary of {beam.scorer}, so never written\n"
            "Its words are spelt as the texts that it was built of, mostly in small letters."
        )
    return model


def read_int16(path: str, *, sample_rate: int, console: Console) -> np.ndarray:
    """Read any audio file as a model takes it: int16, mono, at its rate; a change of rate is said on the console.

    Raises:
        UserError: the file cannot be used as audio.
    """
    try:
        with AudioFile(path) as file:
            file_rate = file.info.sample_rate
            audio = file.read(sample_rate=sample_rate, dtype="int16", tell=lambda note: console.warn(f"{path}: {note}"))
    except AudioError as error:
        if error.reason == "it holds no audio":  # a whole file without a sample has an empty text
            return np.zeros(0, np.int16)
        raise UserError(
            f"{path}: {error}\nGive --audio a recording: WAV, FLAC, MP3, Ogg Vorbis, Opus and others (docs/data.md)."
        ) from error
    if file_rate != sample_rate:
        console.warn(f"{path}: resampled from {file_rate} Hz to the model's {sample_rate} Hz")
    return audio
