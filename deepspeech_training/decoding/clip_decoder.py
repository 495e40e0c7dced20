"""Log probabilities of whole clips -> transcripts, on threads beside the accelerator; for tests."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from deepspeech_training.decoding.beam import BeamDecoder
from deepspeech_training.machine.resources import usable_cores


class Heard(NamedTuple):
    """The transcript of a clip, and what it would be without the scorer; None where there is no scorer."""

    text: str
    without_scorer: str | None


class ClipDecoder:
    """A beam on all cores, for clips that arrive while others are still decoded.

    Args:
        beam: how to decode.
        to_text: labels -> transcript.
        without_scorer: the same beam without the scorer, to compare with.
    """

    def __init__(
        self, beam: BeamDecoder, to_text: Callable[[list[int]], str], *, without_scorer: BeamDecoder | None = None
    ):
        self._beam, self._to_text, self._without_scorer = beam, to_text, without_scorer
        self._pool = ThreadPoolExecutor(usable_cores(), thread_name_prefix="beam")

    def submit(self, log_probs: np.ndarray) -> "Future[Heard]":
        """Decode a clip: float32 [frames, classes], which is copied."""
        return self._pool.submit(self._decode, np.exp(log_probs, dtype=np.float32))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> "ClipDecoder":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()

    def _decode(self, probs: np.ndarray) -> Heard:
        def text(beam: BeamDecoder) -> str:
            return self._to_text(beam.decode(probs)[0].labels)

        return Heard(text(self._beam), None if self._without_scorer is None else text(self._without_scorer))
