"""An audio file at work: decoded in a process of its own, and recognised sentence by sentence."""

import threading
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path

import numpy as np

from deepspeech_training.runtime.commands import Answer, CommandStream, SpokenCommandModel
from deepspeech_training.runtime.detection import Detection, Rule
from deepspeech_training.runtime.media import MediaError, MediaLimits, decode
from deepspeech_training.runtime.stream import to_int16
from deepspeech_training.runtime.utterances import LONGEST_S, Final, StreamSettings, transcribe
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.models import ServedModel
from deepspeech_training.serving.watching import listener
from deepspeech_training.serving.workers import Workers

BLOCK_S = 60  # commands are looked for in so much audio at a time, so that one can stop in between


class AsyncFile:
    """A file in its turn, made by `Engine.open_file`.

    Args:
        sample_rate: in Hz, that the audio is wanted at.
        closed: is told when the next one may begin.

    Attributes:
        seconds: of audio.
    """

    def __init__(self, sample_rate: int, workers: Workers, metrics: Metrics, closed: Callable[[], None]):
        self._workers, self._metrics, self._closed = workers, metrics, closed
        self.seconds = 0.0
        self._audio = np.zeros(0, np.float32)
        self._sample_rate = sample_rate
        self._open = True

    def __enter__(self) -> "AsyncFile":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    async def read(self, source: bytes | Path, name: str, *, most_s: float) -> None:
        """Decode the audio.

        Args:
            name: what its sender calls it; no path.
        Raises:
            ServingError: bad_audio or too_long.
        """

        given_up = threading.Event()

        def work() -> tuple[np.ndarray, int]:
            limits = MediaLimits(seconds=most_s)
            return decode(source, name=name, limits=limits, sample_rate=self._sample_rate, given_up=given_up)

        try:
            (self._audio, self._sample_rate), _ = await self._workers.run_file(work)
        except MediaError as error:
            if error.code == "too_long":
                raise ServingError(f"{error} The limit: --max_audio_s {most_s:g}.", "too_long", param="file") from None
            if error.code == "no_room":
                raise ServingError(str(error), "overloaded", retry_after_s=30) from None
            raise ServingError(str(error), "bad_audio", param="file") from None
        finally:
            given_up.set()  # the client has left
        self.seconds = len(self._audio) / self._sample_rate

    @property
    def sample_rate(self) -> int:
        """Of what was decoded, in Hz."""
        return self._sample_rate

    def piece(self, start_s: float, end_s: float) -> np.ndarray:
        """A part of what was decoded, int16 [samples]."""
        return to_int16(self._audio[round(start_s * self._sample_rate) : round(end_s * self._sample_rate)])

    async def finals(
        self, served: ServedModel, settings: StreamSettings, *, longest_s: float = LONGEST_S
    ) -> AsyncIterator[Final]:
        """What is said, sentence by sentence; a recording of more than `longest_s` is cut at its silences."""
        found = transcribe(
            served.model,
            self._audio,
            sample_rate=self._sample_rate,
            settings=settings,
            longest_s=longest_s,
            heard=listener(served, settings, self._metrics),
        )
        work_s = 0.0
        while True:
            final, piece_s = await self._workers.run_file(lambda: next(found, None))
            work_s += piece_s
            if final is None:
                break
            yield final
        self._count(work_s)

    async def answers(self, model: SpokenCommandModel) -> list[Answer]:
        """All classes of it as one clip, the likeliest first."""
        answers, work_s = await self._workers.run_file(lambda: model.classify(to_int16(self._audio)))
        self._count(work_s)
        return answers

    async def detections(self, model: SpokenCommandModel, rule: Rule) -> list[Detection]:
        """The commands in it, as a rule says what counts."""
        found, work_s, block = [], 0.0, BLOCK_S * self._sample_rate
        with model.stream(rule) as stream:
            for start in range(0, len(self._audio), block):
                audio = self._audio[start : start + block]
                heard, piece_s = await self._workers.run_file(partial(_heard, stream, audio))
                found += heard
                work_s += piece_s
            heard, piece_s = await self._workers.run_file(stream.finish)
        self._count(work_s + piece_s)
        return found + heard

    def _count(self, work_s: float) -> None:
        metrics = self._metrics
        metrics.audio_s.labels("file").inc(self.seconds)
        metrics.recognition_s.labels("file").inc(work_s)
        metrics.real_time_factor.labels("file").observe(work_s / max(self.seconds, 0.01))

    def close(self) -> None:
        """Give the turn to the next file; a second time is harmless."""
        if self._open:
            self._open = False
            self._audio = np.zeros(0, np.float32)
            self._closed()


def _heard(stream: CommandStream, audio: np.ndarray) -> list[Detection]:
    return stream.feed(to_int16(audio))
