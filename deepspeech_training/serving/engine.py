"""Models, streams and files between the protocols and the recognition: admission, the pool of threads, fair turns.

Recognition never runs on the event loop. Streams have as many threads as there are cores, files one of their own that
the system ranks behind them. A stream has at most one job in the pool.
"""

import asyncio
import itertools
import os
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from deepspeech_training.audio.files import AudioError, AudioFile
from deepspeech_training.decoding.scorer import check_weight
from deepspeech_training.runtime.utterances import (
    Endpointing,
    Event,
    Final,
    Partial,
    Session,
    SpeechStarted,
    StreamSettings,
    transcribe,
)
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.limits import Limits
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.models import ServedModel

Result = TypeVar("Result")
# What clients of other services call their models: the default one is meant.
ALIASES = ("", "default", "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe", "gpt-realtime-whisper")
MAX_RESULTS = 50
FILES_AT_ONCE = 1
FILE_NICENESS = 5  # of the thread that recognises files: streams go first
SAMPLE_BYTES = {"int16": 2, "float32": 4}


class Engine:
    """What all protocols share.

    Args:
        models: by name; the first one is the default. The mapping may be replaced while the service runs.
        num_threads: of recognition.

    Attributes:
        draining: set when the service ends: nothing new is taken on.
        closing: set when the grace time is over: streams send their finals and close (1012).
    """

    def __init__(self, models: Mapping[str, ServedModel], limits: Limits, metrics: Metrics, *, num_threads: int):
        self.models = dict(models)
        self.limits, self.metrics = limits, metrics
        self.draining, self.closing = asyncio.Event(), asyncio.Event()
        self._pool = ThreadPoolExecutor(num_threads, "recognition")
        self._file_pool = ThreadPoolExecutor(FILES_AT_ONCE, "files", initializer=_rank_behind_streams)
        self._running: dict[int, float] = {}  # when the job of a thread began
        self._sessions: set[AsyncSession] = set()
        self._ids = itertools.count(1)
        self._file_turn = asyncio.Semaphore(FILES_AT_ONCE)
        self._files = 0  # in work, and those that wait
        self._uploads = 0  # requests whose file arrives, waits or is decoded
        metrics.watch(lag_s=self.lag_s, waiting=lambda: max(0, self._files - FILES_AT_ONCE))

    @property
    def num_sessions(self) -> int:
        return len(self._sessions)

    @property
    def busy(self) -> bool:
        """Whether a stream or a file is in work."""
        return bool(self._sessions) or self._files > 0 or self._uploads > 0

    def lag_s(self) -> float:
        """Seconds of audio that the stream which is furthest behind waits for."""
        return max((session.waiting_s + session.lag_s for session in self._sessions), default=0.0)

    def model(self, name: str | None = None, language: str | None = None) -> ServedModel:
        """The model of that name; without a name the first one, or the first of that language.

        Raises:
            ServingError: unknown_model, or not_ready while there is none.
        """
        if not self.models:
            raise ServingError("the model is still being loaded", "not_ready", retry_after_s=5)
        if name and name not in ALIASES:
            if name not in self.models:
                offered = ", ".join(self.models)
                raise ServingError(
                    f"there is no model {name[:100]!r}; there is: {offered}", "unknown_model", param="model"
                )
            return self.models[name]
        if not language:
            return next(iter(self.models.values()))
        wanted = _primary(language)
        fitting = [served for served in self.models.values() if _primary(served.language) in (wanted, "")]
        if not fitting:
            offered = ", ".join(sorted({served.language for served in self.models.values()}))
            raise ServingError(
                f"there is no model of the language {language[:20]!r}; there is: {offered}",
                "unknown_model",
                param="language",
            )
        return next((served for served in fitting if served.language), fitting[0])

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
        if len(hot_words or {}) > self.limits.max_hot_words:
            most = self.limits.max_hot_words
            raise refuse(f"{len(hot_words or {})} hot words: at most {most} (--max_hot_words)", "hot_words")
        try:
            for name, weight in (("alpha", alpha), ("beta", beta)):
                check_weight(name, 0.0 if weight is None else weight)
            words = tuple(sorted((word, check_weight(word, boost)) for word, boost in (hot_words or {}).items()))
        except ValueError as error:
            raise refuse(str(error), "hot_words") from None
        return StreamSettings(beam_width, used, alpha, beta, words, num_results)

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
        session = AsyncSession(self, protocol, f"s{next(self._ids)}")
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
            raise ServingError("the model is still being loaded", "not_ready", retry_after_s=5)

    async def open_file(self, served: ServedModel, source: bytes | Path, name: str) -> "AsyncFile":
        """Wait for the turn of an audio file, and decode it; as a context manager it gives the turn to the next one.

        Args:
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
        file = AsyncFile(self, served)
        try:
            await file.read(source, name)
        except BaseException:
            file.close()
            raise
        return file

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

    def leave(self, session: "AsyncSession") -> None:
        """A stream has ended."""
        self._sessions.discard(session)
        self.metrics.sessions.labels(session.protocol).dec()

    def leave_file(self) -> None:
        """A file has been recognised, or given up."""
        self._files -= 1
        self._file_turn.release()

    async def in_pool(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run a job of a stream."""

        def job() -> Result:
            thread = threading.get_ident()
            self._running[thread] = time.monotonic()
            try:
                return work(*arguments)
            finally:
                del self._running[thread]

        return await asyncio.get_running_loop().run_in_executor(self._pool, job)

    def oldest_job_s(self) -> float:
        """How long the job of a stream has been running that began first."""
        return max((time.monotonic() - since for since in list(self._running.values())), default=0.0)

    async def in_file_pool(self, work: Callable[..., Result], *arguments: Any) -> Result:
        """Run a job of a file."""
        return await asyncio.get_running_loop().run_in_executor(self._file_pool, work, *arguments)

    def shut_down(self) -> None:
        """Leave the threads; jobs that run end by themselves."""
        for pool in (self._pool, self._file_pool):
            pool.shutdown(wait=False, cancel_futures=True)


class AsyncSession:
    """A stream, made by `Engine.admit`. Calls take effect in the order in which they are made, one at a time."""

    served: ServedModel

    def __init__(self, engine: Engine, protocol: str, id: str):
        self.engine, self.protocol, self.id = engine, protocol, id
        self.waiting_s = 0.0  # audio that a protocol has received and not fed yet; it keeps this figure itself
        self._session: Session | None = None
        self._turn = asyncio.Lock()
        self._bytes_per_s = 1
        self._received = self._recognised = 0  # bytes since `begin`
        self._audio_s = self._work_s = 0.0
        self._speech_since: float | None = None  # when the audio came in which speech began that has no partial yet
        self._open = True

    def __enter__(self) -> "AsyncSession":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    async def __aenter__(self) -> "AsyncSession":
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.close()

    @property
    def seconds(self) -> float:
        """Of audio that has been fed since it began."""
        return self._received / self._bytes_per_s

    @property
    def lag_s(self) -> float:
        """Seconds of audio that have been fed and are not recognised yet."""
        return (self._received - self._recognised) / self._bytes_per_s

    async def begin(
        self,
        served: ServedModel,
        settings: StreamSettings,
        endpointing: Endpointing,
        *,
        sample_rate: int,
        channels: int = 1,
        dtype: str = "int16",
    ) -> None:
        """Begin to recognise; what was begun before is forgotten.

        Raises:
            ServingError: bad_request; no such audio can be recognised.
        """

        def make() -> Session:
            return Session(served.model, settings, endpointing, sample_rate=sample_rate, channels=channels, dtype=dtype)

        async with self._turn:
            try:
                self._session = await self.engine.in_pool(make)
            except ValueError as error:
                raise ServingError(str(error), "bad_request") from None
        self.served, self._speech_since = served, None
        self._received = self._recognised = 0
        self._bytes_per_s = sample_rate * channels * SAMPLE_BYTES[dtype]

    async def feed(self, audio: bytes, *, since: float | None = None) -> list[Event]:
        """Take audio, any number of bytes, and give what it brings.

        Args:
            since: when it has arrived (`time.monotonic()`), if not now.
        """
        self._received += len(audio)
        return await self._run(lambda session: session.feed(audio), len(audio), since)

    async def flush(self) -> list[Event]:
        """End the utterance now; the stream goes on."""
        return await self._run(lambda session: session.flush())

    async def finish(self) -> list[Event]:
        """The last events of the stream; none if it has not begun."""
        return await self._run(lambda session: session.finish())

    async def _run(
        self, work: Callable[[Session], list[Event]], num_bytes: int = 0, since: float | None = None
    ) -> list[Event]:
        since = time.monotonic() if since is None else since
        async with self._turn:
            session = self._session
            if session is None:
                return []
            events, work_s = await self.engine.in_pool(_timed, work, session)
        self._recognised += num_bytes
        self._count(events, since, work_s, num_bytes / self._bytes_per_s)
        return events

    def _count(self, events: list[Event], since: float, work_s: float, audio_s: float) -> None:
        metrics, now = self.engine.metrics, time.monotonic()
        self._work_s += work_s
        self._audio_s += audio_s
        metrics.audio_s.labels(self.protocol).inc(audio_s)
        metrics.recognition_s.labels(self.protocol).inc(work_s)
        for event in events:
            if isinstance(event, SpeechStarted):
                self._speech_since = since
            elif isinstance(event, Partial) and self._speech_since is not None:
                metrics.first_partial_s.observe(now - self._speech_since)
                self._speech_since = None
            elif isinstance(event, Final):
                metrics.final_s.observe(now - since)

    def close(self) -> None:
        """Give the place free; a second time is harmless. A job that still runs ends by itself."""
        if self._open:
            self._open, self._session = False, None
            if self._audio_s:
                self.engine.metrics.real_time_factor.labels(self.protocol).observe(self._work_s / self._audio_s)
            self.engine.leave(self)


def _timed(work: Callable[[Session], list[Event]], session: Session) -> tuple[list[Event], float]:
    begin = time.perf_counter()
    return work(session), time.perf_counter() - begin


class AsyncFile:
    """A file in its turn, made by `Engine.open_file`; `seconds` of audio."""

    def __init__(self, engine: Engine, served: ServedModel):
        self.engine, self.served = engine, served
        self.seconds = 0.0
        self._audio = np.zeros(0, np.float32)
        self._sample_rate = served.sample_rate
        self._open = True

    def __enter__(self) -> "AsyncFile":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    async def read(self, source: bytes | Path, name: str) -> None:
        """Decode the audio.

        Raises:
            ServingError: bad_audio or too_long.
        """

        def work() -> np.ndarray:
            with AudioFile(str(source)) as file:
                return file.read(sample_rate=self._sample_rate, dtype="int16")

        try:
            self._audio = await self.engine.in_file_pool(work)
        except AudioError as error:
            raise ServingError(f"the file {name!r} cannot be used: {error}", "bad_audio", param="file") from None
        self.seconds = len(self._audio) / self._sample_rate

    async def finals(self, settings: StreamSettings) -> AsyncIterator[Final]:
        """What is said, sentence by sentence."""
        found = transcribe(self.served.model, self._audio, sample_rate=self._sample_rate, settings=settings)
        work_s = 0.0
        while True:
            final, piece_s = await self.engine.in_file_pool(_next_final, found)
            work_s += piece_s
            if final is None:
                break
            yield final
        metrics = self.engine.metrics
        metrics.audio_s.labels("file").inc(self.seconds)
        metrics.recognition_s.labels("file").inc(work_s)
        metrics.real_time_factor.labels("file").observe(work_s / max(self.seconds, 0.01))

    def close(self) -> None:
        """Give the turn to the next file; a second time is harmless."""
        if self._open:
            self._open = False
            self._audio = np.zeros(0, np.float32)
            self.engine.leave_file()


def _next_final(found: Iterator[Final]) -> tuple[Final | None, float]:
    begin = time.perf_counter()
    return next(found, None), time.perf_counter() - begin


def _primary(language: str) -> str:
    """
    >>> _primary("en-US"), _primary("DE"), _primary("")
    ('en', 'de', '')
    """
    return language.lower().replace("_", "-").split("-")[0]


def _rank_behind_streams() -> None:
    # Linux ranks each thread by itself; where it must not be changed, files just compete with the streams.
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), FILE_NICENESS)
