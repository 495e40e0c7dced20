"""WS /v1/detect, our own protocol: raw audio of any rate in, spoken commands out. docs/protocols.md describes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

from starlette.websockets import WebSocket

from deepspeech_training.runtime.detection import Detection
from deepspeech_training.runtime.event_json import as_message
from deepspeech_training.runtime.events import Event
from deepspeech_training.serving import values
from deepspeech_training.serving.own_stream import FORMATS, READERS, RawAudio
from deepspeech_training.serving.websocket import serve

# What counts as heard; by default as the model has it.
RULE: dict[str, Any] = {
    "threshold": lambda found, name: values.number(found, name, least=0, most=1),
    "hold_off_s": lambda found, name: values.number(found, name, least=0, most=60),
}


@dataclass(frozen=True)
class Start:
    """What a client can say of its session, in the query or in a `start` message."""

    model: str = ""
    rate: int = 16000
    format: str = "s16le"
    channels: int = 1
    threshold: float | None = None
    hold_off_s: float | None = None

    @classmethod
    def read(cls, found: Mapping[str, object]) -> "Start":
        """From the names and values of a query or a message.

        Raises:
            ServingError: a name that nobody knows, or a value that is not one.
        """
        values.check_names(found, [field.name for field in fields(cls)], "a session of /v1/detect")
        return cls(**{name: (READERS | RULE)[name](value, name) for name, value in found.items()})


class DetectStream(RawAudio):
    protocol = "detect"

    def set(self, found: Mapping[str, object]) -> None:
        start = Start.read(found)
        served = self.engine.commands(start.model or None)
        given = {name: value for name in RULE if (value := getattr(start, name)) is not None}
        self._rule = replace(served.model.rule, **given)
        self._start, self._served = start, served

    async def begin(self) -> None:
        start, served = self._start, self._served
        await self.begin_commands(
            served, self._rule, sample_rate=start.rate, channels=start.channels, dtype=FORMATS[start.format]
        )
        await self.greet(
            served,
            commands=list(served.model.commands),
            threshold=self._rule.threshold,
            hold_off_s=self._rule.hold_off_s,
        )

    async def tell(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Detection):
                await self.send({**as_message(event), "lag_s": self.lag_s})


async def endpoint(websocket: WebSocket) -> None:
    await serve(websocket, DetectStream)
