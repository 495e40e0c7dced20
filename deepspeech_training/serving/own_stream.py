"""WS /v1/stream, our own protocol: raw audio of any rate in, partial and final texts out.

docs/protocols.md describes it. The page and `deepspeech stream` speak it. Times are seconds from the start of the
session.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar

from starlette.websockets import WebSocket

from deepspeech_training.runtime.event_json import as_message
from deepspeech_training.runtime.utterances import Endpointing, Event, Final, Partial, SpeechEnded, SpeechStarted
from deepspeech_training.serving import values
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.models import Hearing
from deepspeech_training.serving.websocket import Conversation, serve

FORMATS = {"s16le": "int16", "f32le": "float32"}
DEFAULTS = Endpointing()


@dataclass(frozen=True)
class Start:
    """What a client can say of its session, in the query or in a `start` message: the names are those of the fields."""

    model: str = ""
    language: str = ""
    rate: int = 16000
    format: str = "s16le"
    channels: int = 1
    words: bool = False
    alternatives: int = 0
    partials: bool = True
    beam_width: int | None = None
    scorer: bool = True
    alpha: float | None = None
    beta: float | None = None
    hot_words: tuple[tuple[str, float], ...] = ()
    endpointing: bool = True
    hangover_s: float = DEFAULTS.hangover_s
    min_s: float = DEFAULTS.min_s
    max_s: float = DEFAULTS.max_s
    aggressiveness: int = DEFAULTS.aggressiveness

    @classmethod
    def read(cls, found: Mapping[str, object]) -> "Start":
        """From the names and values of a query or a message.

        Raises:
            ServingError: a name that nobody knows, or a value that is not one.
        """
        values.check_names(found, [field.name for field in fields(cls)], "a session of /v1/stream")
        return cls(**{name: READERS[name](value, name) for name, value in found.items()})

    def as_endpointing(self) -> Endpointing:
        try:
            return Endpointing(self.endpointing, self.hangover_s, self.min_s, self.max_s, self.aggressiveness)
        except ValueError as error:
            raise values.bad(str(error)) from None


def _format(found: object, name: str) -> str:
    if not isinstance(found, str) or found not in FORMATS:
        raise values.bad(f"{name} must be s16le or f32le, it is {values.shown(found)}")
    return found


READERS: dict[str, Any] = {
    "model": values.text,
    "language": values.text,
    "rate": lambda found, name: values.whole(found, name, least=4000, most=192000),
    "format": _format,
    "channels": lambda found, name: values.whole(found, name, least=1, most=8),
    "words": values.truth,
    "alternatives": lambda found, name: values.whole(found, name, least=0, most=values.MOST_ALTERNATIVES),
    "partials": values.truth,
    "beam_width": lambda found, name: values.whole(found, name, least=0, most=2**20),
    "scorer": values.truth,
    "alpha": values.number,
    "beta": values.number,
    "hot_words": lambda found, name: tuple(values.hot_words(found, name).items()),
    "endpointing": values.truth,
    "hangover_s": values.number,
    "min_s": values.number,
    "max_s": values.number,
    "aggressiveness": lambda found, name: values.whole(found, name, least=0, most=3),
}
KEYS = ("key", "token")  # of the query; security.py has read them


class RawAudio(Conversation, ABC):
    """What our own protocols share: settings in the query or in `start`, raw audio, `ping` and `finish`."""

    subprotocol = "deepspeech"
    types: ClassVar[tuple[str, ...]] = ("start", "finish", "ping")

    def __init__(self, websocket: WebSocket):
        super().__init__(websocket)
        self.set({name: value for name, value in self.query.items() if name not in KEYS})
        self._heard = False

    @abstractmethod
    def set(self, found: Mapping[str, object]) -> None:
        """Take settings, all or none.

        Raises:
            ServingError: they cannot be had.
        """

    async def greet(self, served: Hearing, **more: Any) -> None:
        """Say that the session is open."""
        await self.send(
            {
                "type": "ready",
                "session": self.session.id,
                "model": served.name,
                "sample_rate": served.sample_rate,
                **more,
                "limits": {
                    "idle_s": self.limits.idle_s,
                    "max_session_s": self.limits.max_session_s,
                    "max_behind_s": self.limits.max_behind_s,
                    "max_message_bytes": self.limits.max_message_bytes,
                },
            }
        )

    async def audio(self, data: bytes) -> None:
        self._heard = True
        await self.feed(data)

    async def command(self, message: dict[str, Any]) -> None:
        kind = message.pop("type", None)
        match kind:
            case "ping":
                await self.send({"type": "pong", "lag_s": self.lag_s})
            case "flush" if kind in self.types:
                await self.report(await self.session.flush())
            case "finish":
                await self.report(await self.session.finish())
                await self.send({"type": "done", "seconds": round(self.session.seconds, 3)})
                await self.close()
            case "start" if self._heard:
                raise values.bad("start comes before the first audio")
            case "start":
                self.set(message)
                await self.begin()
            case _:
                *others, last = self.types
                raise values.bad(
                    f"a message must have the type {', '.join(others)} or {last}; it has {values.shown(kind)}"
                )

    async def refuse(self, error: ServingError) -> None:
        await self.send({"type": "error", "code": error.code, "message": error.message})


class OwnStream(RawAudio):
    protocol = "stream"
    types = ("start", "flush", "finish", "ping")

    def set(self, found: Mapping[str, object]) -> None:
        start = Start.read(found)
        served = self.engine.model(start.model or None, start.language or None)
        settings = self.engine.settings(
            served,
            beam_width=start.beam_width,
            scorer=start.scorer,
            alpha=start.alpha,
            beta=start.beta,
            hot_words=dict(start.hot_words),
            num_results=max(1, start.alternatives),
        )
        self._endpointing = start.as_endpointing()
        self._start, self._served, self._settings = start, served, settings

    async def begin(self) -> None:
        """Open the session and say so; once more after a `start` message."""
        start, served = self._start, self._served
        await self.begin_session(
            served,
            self._settings,
            self._endpointing,
            sample_rate=start.rate,
            channels=start.channels,
            dtype=FORMATS[start.format],
        )
        await self.greet(served, endpointing=asdict(self._endpointing))

    async def tell(self, events: Sequence[Event]) -> None:
        for event in events:
            message = as_message(event, words=self._start.words, alternatives=self._start.alternatives > 0)
            match event:
                case Partial() if self._start.partials:
                    await self.send({**message, "heard": round(self.session.seconds, 3), "lag_s": self.lag_s})
                case Final():
                    await self.send({**message, "lag_s": self.lag_s})
                case SpeechStarted() | SpeechEnded():
                    await self.send(message)


async def endpoint(websocket: WebSocket) -> None:
    await serve(websocket, OwnStream)
