"""Models, streams and files between the protocols and the recognition: who is admitted, with what, and in which turn.

Recognition never runs on the event loop (workers.py). Of the files one is at work at a time and some wait; of the
streams each has at most one job in the pool.
"""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeVar

from deepspeech_training.runtime.pronouncer import Answer
from deepspeech_training.runtime.utterances import Endpointing, StreamSettings
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.files import AsyncFile
from deepspeech_training.serving.limits import Limits
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.models import Served, ServedCommands, ServedModel, ServedWords
from deepspeech_training.serving.streams import AsyncSession
from deepspeech_training.serving.workers import FILES_AT_ONCE, Workers

# What clients of other services call their models: the default one is meant.
ALIASES = ("", "default", "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-realtime-whisper")
MAX_RESULTS = 50
ROWS_OF_WORDS = 64  # hypotheses of words that are computed together: a fraction of a second
Kind = TypeVar("Kind", bound=Served)


@dataclass(frozen=True)
class WaitsFor:
    """Why there is no model yet, and when to come again."""

    message: str
    retry_after_s: float

    def error(self) -> ServingError:
        return ServingError(self.message, "not_ready", retry_after_s=self.retry_after_s)


class Engine:
    """What all protocols share.

    Args:
        models: by name, of any tasks; the first one of a task is its default. They may change while the service runs.
        num_threads: of recognition.

    Attributes:
        draining: set when the service ends: nothing new is taken on.
        closing: set when the grace time is over: streams send their finals and close (1012).
        waits_for: what is said while there is no model.
    """

    def __init__(self, models: Mapping[str, Served], limits: Limits, metrics: Metrics, *, num_threads: int):
        self.models: dict[str, Served] = dict(models)
        self.limits, self.metrics = limits, metrics
        self.draining, self.closing = asyncio.Event(), asyncio.Event()
        self.waits_for = WaitsFor("the model is still being loaded", retry_after_s=5)
        self._workers = Workers(num_threads)
        self._sessions: set[AsyncSession] = set()
        self._ids = itertools.count(1)
        self._file_turn = asyncio.Semaphore(FILES_AT_ONCE)
        self._files = 0  # in work, and those that wait
        self._word_turn = asyncio.Semaphore(1)
        self._pronounced = 0  # requests of words in work, and those that wait
        self._uploads = 0  # requests whose file arrives, waits or is decoded
        metrics.watch(lag_s=self.lag_s, files=lambda: self._files, models=lambda: self.of_kind(ServedModel))

    @property
    def num_sessions(self) -> int:
        return len(self._sessions)

    @property
    def busy(self) -> bool:
        """Whether a stream, a file or a request of words is in work."""
        return bool(self._sessions) or self._files > 0 or self._uploads > 0 or self._pronounced > 0

    def lag_s(self) -> float:
        """Seconds of audio that the stream which is furthest behind waits for."""
        return max((session.waiting_s + session.lag_s for session in self._sessions), default=0.0)

    def of_kind(self, kind: type[Kind]) -> dict[str, Kind]:
        """The models of one task, by name."""
        return {name: served for name, served in self.models.items() if isinstance(served, kind)}

    def model(self, name: str | None = None, language: str | None = None) -> ServedModel:
        """The model of speech to text of that name; without a name the first one, or the first of that language.

        Raises:
            ServingError: unknown_model; bad_request for a model of another task; not_ready while there is none.
        """
        offered = self._offered(ServedModel)
        if name and name not in ALIASES:
            return self._named(name, offered, ServedModel)
        if not language:
            return next(iter(offered.values()))
        wanted = _primary(language)
        fitting = [served for served in offered.values() if _primary(served.language) in (wanted, "")]
        if not fitting:
            languages = ", ".join(sorted({served.language for served in offered.values()}))
            raise ServingError(
                f"there is no model of the language {language[:20]!r}; there is: {languages}",
                "unknown_model",
                param="language",
            )
        return next((served for served in fitting if served.language), fitting[0])

    def commands(self, name: str | None = None) -> ServedCommands:
        """The model of spoken commands of that name, without a name the first one.

        Raises:
            ServingError: as `model`.
        """
        offered = self._offered(ServedCommands)
        return self._named(name, offered, ServedCommands) if name else next(iter(offered.values()))

    def words(self, name: str | None = None) -> ServedWords:
        """The model of words of that name, without a name the first one.

        Raises:
            ServingError: as `model`.
        """
        offered = self._offered(ServedWords)
        return self._named(name, offered, ServedWords) if name else next(iter(offered.values()))

    def any_model(self, name: str) -> Served:
        """The model of that name, whatever its task.

        Raises:
            ServingError: unknown_model, or not_ready while there is none.
        """
        if not self.models:
            raise self.waits_for.error()
        if name in ALIASES:
            return self.model(name)
        return self._named(name, self.models, Served)

    def _offered(self, kind: type[Kind]) -> dict[str, Kind]:
        if not self.models:
            raise self.waits_for.error()
        offered = self.of_kind(kind)
        if not offered:
            other = next(iter(self.models.values()))
            raise ServingError(
                f"no model is served here which {kind.does}; {other.name} {other.does}: {other.asked_by}",
                "bad_request",
                param="model",
            )
        return offered

    def _named(self, name: str, offered: Mapping[str, Kind], kind: type[Kind]) -> Kind:
        if name in offered:
            return offered[name]
        there = ", ".join(offered)
        if (other := self.models.get(name)) is not None:
            raise ServingError(
                f"the model {name} {other.does}: {other.asked_by}; which {kind.does}: {there}",
                "bad_request",
                param="model",
            )
        raise ServingError(f"there is no model {name[:100]!r}; there is: {there}", "unknown_model", param="model")

    def settings(
        self,
        served: ServedModel,
        *,
        beam_width: int | None = None,
        scorer: bool = True,
        alpha: float | None = None,
        beta: float | None = None,
        hot_words: Mapping[str, float] | None = None,
        num_results: int = 1,
    ) -> StreamSettings:
        """How one stream or file is decoded.

        Raises:
            ServingError: bad_request; a value is out of bounds, or needs a scorer.
        """

        def refuse(message: str, param: str) -> ServingError:
            return ServingError(message, "bad_request", param=param)

        if beam_width is not None and not 0 <= beam_width <= self.limits.max_beam_width:
            most = self.limits.max_beam_width
            raise refuse(f"beam width {beam_width}: from 0 (greedy) to {most} (--max_beam_width)", "beam_width")
        if not 1 <= num_results <= MAX_RESULTS:
            raise refuse(f"{num_results} alternatives: from 1 to {MAX_RESULTS}", "alternatives")
        used = served.scorer if scorer and beam_width != 0 else None
        if used is None:
            given = {"alpha": alpha is not None, "beta": beta is not None, "hot_words": bool(hot_words)}
            for name in (name for name, there in given.items() if there):
                why = "is used without one here" if served.scorer else "has none (--scorer)"
                raise refuse(f"{name} needs a scorer, and the model {served.name} {why}", name)
        if beam_width is None and (used is not None or num_results > 1):  # decoding greedily there is one result
            beam_width = self.limits.beam_width
        if len(hot_words or {}) > self.limits.max_hot_words:
            most = self.limits.max_hot_words
            raise refuse(f"{len(hot_words or {})} hot words: at most {most} (--max_hot_words)", "hot_words")
        try:
            return StreamSettings(beam_width, used, alpha, beta, tuple(sorted((hot_words or {}).items())), num_results)
        except ValueError as error:
            raise ServingError(str(error), "bad_request") from None

    def admit(self, protocol: str) -> "AsyncSession":
        """A place for a stream, taken before its handshake; as a context manager it gives the place free.

        Raises:
            ServingError: overloaded, draining or not_ready, at once.
        """
        self._check_open()
        if len(self._sessions) >= self.limits.max_sessions:
            raise ServingError(
                f"all {self.limits.max_sessions} streams are taken (--max_sessions)", "overloaded", retry_after_s=5
            )
        session = AsyncSession(protocol, f"s{next(self._ids)}", self._workers, self.metrics, self._left)
        self._sessions.add(session)
        self.metrics.sessions.labels(protocol).inc()
        self.metrics.sessions_total.labels(protocol).inc()
        return session

    async def open(
        self,
        protocol: str,
        served: ServedModel,
        settings: StreamSettings,
        endpointing: Endpointing,
        *,
        sample_rate: int,
        channels: int = 1,
        dtype: str = "int16",
    ) -> "AsyncSession":
        """Admit a stream and begin it.

        Raises:
            ServingError: as `admit`, and as `AsyncSession.begin`.
        """
        session = self.admit(protocol)
        try:
            await session.begin(served, settings, endpointing, sample_rate=sample_rate, channels=channels, dtype=dtype)
        except BaseException:
            session.close()
            raise
        return session

    def _check_open(self) -> None:
        if self.draining.is_set():
            raise ServingError("the service is about to restart", "draining", retry_after_s=5)
        if not self.models:
            raise self.waits_for.error()

    async def open_file(self, sample_rate: int, source: bytes | Path, name: str) -> "AsyncFile":
        """Wait for the turn of an audio file, and decode it; as a context manager it gives the turn to the next one.

        Args:
            sample_rate: in Hz, that it is wanted at.
            source: a path is read when its turn has come.
            name: what the client calls it; no path.
        Raises:
            ServingError: overloaded, draining or not_ready, at once; bad_audio; too_long.
        """
        self._check_open()
        if self._files >= FILES_AT_ONCE + self.limits.max_waiting:
            raise ServingError(
                f"{self.limits.max_waiting} files are waiting already (--max_waiting)", "overloaded", retry_after_s=2
            )
        self._files += 1
        try:
            await self._file_turn.acquire()
        except BaseException:
            self._files -= 1
            raise
        file = AsyncFile(sample_rate, self._workers, self.metrics, self._left_file)
        try:
            await file.read(source, name, most_s=self.limits.max_audio_s)
        except BaseException:
            file.close()
            raise
        return file

    async def pronounce(
        self, served: ServedWords, words: Sequence[str], *, width: int, count: int
    ) -> list[list[Answer]]:
        """The likeliest answers to each word, in pieces that keep no stream waiting for long.

        Args:
            width, count: as `Pronouncer.answers` has them.
        Raises:
            ServingError: overloaded, draining or not_ready, at once.
        """
        self._check_open()
        if self._pronounced > self.limits.max_waiting:
            raise ServingError(
                f"{self.limits.max_waiting} requests are waiting already (--max_waiting)", "overloaded", retry_after_s=2
            )
        self._pronounced += 1
        together = max(ROWS_OF_WORDS // max(width, count), 1)
        found: list[list[Answer]] = []
        try:
            async with self._word_turn:
                for first in range(0, len(words), together):
                    piece = words[first : first + together]
                    answers, _ = await self._workers.run(partial(served.model.answers, piece, width=width, count=count))
                    found += answers
        finally:
            self._pronounced -= 1
        self.metrics.words_answered.labels(served.name).inc(len(words))
        return found

    def begin_upload(self) -> None:
        """A file begins to arrive; `end_upload` when the request needs it no more.

        Raises:
            ServingError: overloaded, draining or not_ready.
        """
        self._check_open()
        if self._uploads >= self.limits.max_files:
            raise ServingError(
                f"{self.limits.max_files} files are being sent already (--max_files)", "overloaded", retry_after_s=2
            )
        self._uploads += 1

    def end_upload(self) -> None:
        self._uploads -= 1

    def _left(self, session: "AsyncSession") -> None:
        """A stream has ended."""
        self._sessions.discard(session)
        self.metrics.sessions.labels(session.protocol).dec()

    def _left_file(self) -> None:
        """A file has been recognised, or given up."""
        self._files -= 1
        self._file_turn.release()

    def oldest_job_s(self) -> float:
        """How long the job of a stream has been running that began first."""
        return self._workers.oldest_job_s()

    def shut_down(self) -> None:
        """Leave the threads."""
        self._workers.shut_down()


def _primary(language: str) -> str:
    """
    >>> _primary("en-US"), _primary("DE"), _primary("")
    ('en', 'de', '')
    """
    return language.lower().replace("_", "-").split("-")[0]
