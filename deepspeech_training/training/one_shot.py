"""--one_shot_infer: a checkpoint and an audio file -> its transcript, on stdout."""

from contextlib import nullcontext
from typing import TYPE_CHECKING

import numpy as np

from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.data.loader import make_batch
from deepspeech_training.errors import UserError
from deepspeech_training.training.backends.base import Backend
from deepspeech_training.training.decoder import clip_decoder
from deepspeech_training.training.run import Run

if TYPE_CHECKING:
    from deepspeech_training.tasks.speech_to_text import SpeechToText


def infer(run: Run, backend: Backend, task: "SpeechToText") -> str:
    """Transcribe the file with the beam that the flags ask for.

    Raises:
        UserError: it cannot be read, or is too short.
    """
    path = run.config.inference.one_shot_infer
    try:
        audio = read_audio(path, sample_rate=run.features.sample_rate)
    except AudioError as error:
        raise UserError(f"--one_shot_infer {path}: {error}") from error
    if run.features.num_frames(len(audio)) < 1:
        raise UserError(f"--one_shot_infer {path}: shorter than one window of {run.features.win_len_ms} ms")
    batch = make_batch(task.spec, [None], [{"audio": audio, "labels": np.zeros(1, np.int32)}])
    _, answers = backend.evaluate_step(batch)
    with clip_decoder(run.config.decoder, run.alphabet, run.scorer, console=run.console) or nullcontext() as decoder:
        if decoder is None:
            return task.decode(answers)[0]
        return decoder.submit(answers["log_probs"][0, : answers["lengths"][0]]).result().text
