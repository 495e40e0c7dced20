"""A stream at work: audio in, events out, each call in the pool and in its order."""

import asyncio
import time
from collections.abc import Callable, Sequence

from deepspeech_training.runtime.commands import CommandSession
from deepspeech_training.runtime.detection import Detection, Rule
from deepspeech_training.runtime.stream import StreamError
from deepspeech_training.runtime.utterances import (
    Endpointing,
    Event,
    Final,
    Partial,
    Session,
    SpeechStarted,
    StreamSettings,
)
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.models import Served, ServedCommands, ServedModel
from deepspeech_training.serving.watching import listener
from deepspeech_training.serving.workers import Workers

SAMPLE_BYTES = {"int16": 2, "float32": 4}


class AsyncSession:
    """A stream, made by `Engine.admit`. Calls take effect in the order in which they are made, one at a time.

    Args:
        closed: is told when it ends.
    """

    served: Served

    def __init__(
        self, protocol: str, id: str, workers: Workers, metrics: Metrics, closed: Callable[["AsyncSession"], None]
    ):
        self.protocol, self.id = protocol, id
        self._workers, self._metrics, self._closed = workers, metrics, closed
        self.waiting_s = 0.0  # audio that a protocol has received and not fed yet; it keeps this figure itself
        self._session: Session | CommandSession | None = None
        self._turn = asyncio.Lock()
        self._bytes_per_s = 1
        self._received = self._recognised = 0  # bytes since `begin`
        self.audio_s = 0.0  # that was recognised since the handshake
        self._work_s = 0.0
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
            return Session(
                served.model,
                settings,
                endpointing,
                sample_rate=sample_rate,
                channels=channels,
                dtype=dtype,
                heard=listener(served, settings, self._metrics),
            )

        await self._begin(served, make, sample_rate * channels * SAMPLE_BYTES[dtype])

    async def begin_commands(
        self, served: ServedCommands, rule: Rule, *, sample_rate: int, channels: int = 1, dtype: str = "int16"
    ) -> None:
        """Begin to listen for commands; what was begun before is forgotten.

        Raises:
            ServingError: bad_request; in no such audio anything can be heard.
        """

        def make() -> CommandSession:
            return CommandSession(served.model, rule, sample_rate=sample_rate, channels=channels, dtype=dtype)

        await self._begin(served, make, sample_rate * channels * SAMPLE_BYTES[dtype])

    async def _begin(self, served: Served, make: Callable[[], Session | CommandSession], bytes_per_s: int) -> None:
        async with self._turn:
            try:
                self._session, _ = await self._workers.run(make)
            except ValueError as error:
                raise ServingError(str(error), "bad_request") from None
        self.served, self._speech_since = served, None
        self._received = self._recognised = 0
        self._bytes_per_s = bytes_per_s

    async def feed(self, audio: bytes, *, since: float | None = None) -> list[Event]:
        """Take audio, any number of bytes, and give what it brings.

        Args:
            since: when it has arrived (`time.monotonic()`), if not now.
        """
        self._received += len(audio)
        return await self._run(lambda session: session.feed(audio), len(audio), since)

    async def flush(self) -> list[Event]:
        """End the utterance now; the stream continues. Commands are no utterances."""
        return await self._run(lambda session: session.flush() if isinstance(session, Session) else [])

    async def finish(self) -> list[Event]:
        """The last events of the stream; none if it has not begun."""
        return await self._run(lambda session: session.finish())

    async def _run(
        self,
        work: Callable[[Session | CommandSession], Sequence[Event]],
        num_bytes: int = 0,
        since: float | None = None,
    ) -> list[Event]:
        since = time.monotonic() if since is None else since
        async with self._turn:
            session = self._session
            if session is None:
                return []
            try:
                events, work_s = await self._workers.run(lambda: work(session))
            except ValueError as error:  # samples that are no numbers
                raise ServingError(str(error), "bad_audio") from None
            except StreamError:
                raise ServingError("the stream has ended; begin another", "bad_request") from None
        self._recognised += num_bytes
        self._count(events, since, work_s, num_bytes / self._bytes_per_s)
        return [*events]

    def _count(self, events: Sequence[Event], since: float, work_s: float, audio_s: float) -> None:
        metrics, now = self._metrics, time.monotonic()
        self._work_s += work_s
        self.audio_s += audio_s
        metrics.audio_s.labels(self.protocol).inc(audio_s)
        metrics.recognition_s.labels(self.protocol).inc(work_s)
        metrics.count_commands(self.served.name, [event for event in events if isinstance(event, Detection)])
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
            if self.audio_s:
                self._metrics.real_time_factor.labels(self.protocol).observe(self._work_s / self.audio_s)
            self._closed(self)
