"""What all websocket protocols share: admission before the handshake, bounds on what is read and kept, limits of time.

A `Conversation` is one connection. Its subclasses, one a protocol, say what a message means and how events are told.
What is refused before the handshake gets an HTTP status, afterwards the protocol's own message and a closing code.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from starlette.responses import JSONResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from deepspeech_training.runtime.detection import Rule
from deepspeech_training.runtime.utterances import Endpointing, Event, SpeechEnded, SpeechStarted, StreamSettings
from deepspeech_training.serving.engine import Engine
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.limits import Limits
from deepspeech_training.serving.models import ServedCommands, ServedModel
from deepspeech_training.serving.streams import SAMPLE_BYTES, AsyncSession
from deepspeech_training.serving.values import json_object

log = logging.getLogger("deepspeech.serving")
LONGEST_JOINED_S = 1.0  # of audio in one call, so that one stream that is behind does not keep others waiting
DRAINING_IDLE_S = 2.0  # a service that ends waits no longer for the rest of a sentence
MOST_WAITING_MESSAGES = 8  # of the largest size, or as much memory for smaller ones
MESSAGE_OVERHEAD = 200  # bytes that a message takes beside its content
LONGEST_REASON = 123  # bytes, RFC 6455
CLOSING_CODES = {"internal": 1011, "too_large": 1009, "draining": 1012, "overloaded": 1013, "not_ready": 1013}
OF_THE_MESSAGE = ("bad_request", "bad_audio", "unknown_model")  # errors after which a session may continue
POLICY = 1008  # all other errors: the client sent what it must not send, or nothing for too long


class Gone(Exception):
    """The client has left, or does not read any more: there is nobody to tell."""


class Conversation:
    """One connection of a protocol. Made before the handshake, so that a faulty query can be refused by its status.

    Messages are read while earlier ones are recognised, at most `max_behind_s` of audio ahead and as much memory as
    MOST_WAITING_MESSAGES take; then TCP slows the client down. One task handles them in order, without locks.
    """

    protocol: ClassVar[str]
    subprotocol: ClassVar[str] = ""  # what is answered to a client that offers it
    growth: ClassVar[float] = 1.0  # of audio, as it is sent
    joins_audio: ClassVar[bool] = True  # whether binary messages that wait may be taken as one

    def __init__(self, websocket: WebSocket):
        self.websocket = websocket
        self.service = websocket.app.state.service
        self.engine: Engine = self.service.engine
        self.limits: Limits = self.engine.limits
        self.query = websocket.query_params
        self.session: AsyncSession
        self.idle_s: float = self.limits.idle_s
        self._model: str | None = None  # that it talks to
        self._speaking = False
        self._waiting: deque[tuple[float, str | bytes]] = deque()  # when it came, and what
        self._since = 0.0  # when the message came that is handled
        self._waiting_bytes = 0
        self._most_waiting: float = self.limits.max_message_bytes  # bytes
        self._bytes_per_s = 0.0  # of audio, as the messages have it
        self._arrived, self._room = asyncio.Event(), asyncio.Event()
        self._gone = False
        self._ends_at = time.monotonic() + (self.limits.max_session_s or float("inf"))
        self._draining = False

    # --- what a protocol says ---------------------------------------------------------------------------------------

    async def begin(self) -> None:
        """The handshake is done: what the server says first."""

    async def audio(self, data: bytes) -> None:
        """A binary message."""
        raise NotImplementedError

    async def command(self, message: dict[str, Any]) -> None:
        """A text message: an object of JSON."""
        raise NotImplementedError

    async def tell(self, events: Sequence[Event]) -> None:
        """Say what was recognised."""
        raise NotImplementedError

    async def refuse(self, error: ServingError) -> None:
        """Say why the connection ends; the closing code follows."""

    async def answer_error(self, error: ServingError) -> None:
        """A message was wrong: end the connection, unless the protocol has a word for it and continues."""
        raise error

    def closing_code(self, error: ServingError) -> int:
        """What the connection is closed with."""
        return CLOSING_CODES.get(error.code, POLICY)

    async def last_words(self) -> None:
        """The connection ends although the client has not asked for it: tell what was heard until now."""
        await self.tell(await self.session.finish())

    # --- what they use ------------------------------------------------------------------------------------------------

    async def begin_session(
        self,
        served: ServedModel,
        settings: StreamSettings,
        endpointing: Endpointing,
        *,
        sample_rate: int,
        channels: int = 1,
        dtype: str = "int16",
    ) -> None:
        """Begin to recognise in the place that this connection has; what it had begun before ends without a word."""
        await self.session.begin(served, settings, endpointing, sample_rate=sample_rate, channels=channels, dtype=dtype)
        self._began(served.name, sample_rate * channels * SAMPLE_BYTES[dtype])

    async def begin_commands(
        self, served: ServedCommands, rule: Rule, *, sample_rate: int, channels: int = 1, dtype: str = "int16"
    ) -> None:
        """The same for commands."""
        await self.session.begin_commands(served, rule, sample_rate=sample_rate, channels=channels, dtype=dtype)
        self._began(served.name, sample_rate * channels * SAMPLE_BYTES[dtype])

    def _began(self, model: str, bytes_per_s: int) -> None:
        self._model = model
        self._bytes_per_s = bytes_per_s * self.growth
        most_memory = MOST_WAITING_MESSAGES * self.limits.max_message_bytes
        self._most_waiting = min(self.limits.max_behind_s * self._bytes_per_s, most_memory)
        self._speaking = False

    async def feed(self, audio: bytes) -> None:
        """Recognise further audio, and tell what comes of it."""
        await self.report(await self.session.feed(audio, since=self._since))

    async def report(self, events: Sequence[Event]) -> None:
        """Tell events."""
        self.note(events)
        await self.tell(events)

    def note(self, events: Sequence[Event]) -> None:
        """Keep in mind whether somebody is in the middle of a sentence."""
        for event in events:
            if isinstance(event, SpeechStarted | SpeechEnded):
                self._speaking = isinstance(event, SpeechStarted)

    @property
    def lag_s(self) -> float:
        """Seconds of audio that have arrived and are not recognised yet."""
        return round(self.session.waiting_s + self.session.lag_s, 3)

    async def send(self, message: Mapping[str, Any]) -> None:
        """Send a JSON message; a client that does not read within `send_timeout_s` is given up."""
        text = json.dumps(message, ensure_ascii=False, separators=(",", ":"))
        text = text.encode("utf-8", "replace").decode()  # half of a surrogate pair, which JSON can hold
        try:
            async with asyncio.timeout(self.limits.send_timeout_s):
                await self.websocket.send_text(text)
        except (TimeoutError, WebSocketDisconnect, RuntimeError) as error:  # RuntimeError: the server has closed it
            raise Gone from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection: nothing can be sent or received afterwards."""
        reason = reason.encode("utf-8", "replace")[:LONGEST_REASON].decode("utf-8", "ignore")
        with contextlib.suppress(TimeoutError, WebSocketDisconnect, RuntimeError):  # it is closed already
            async with asyncio.timeout(self.limits.send_timeout_s):
                await self.websocket.close(code, reason)
        raise Gone

    # --- the course of a connection -----------------------------------------------------------------------------------

    async def run(self, session: AsyncSession) -> None:
        """From the handshake to the end, whatever happens, instead of this session."""
        self.session = session
        offered = self.subprotocol in self.websocket.scope["subprotocols"]
        await self.websocket.accept(subprotocol=self.subprotocol if offered else None)
        tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch_drain())]
        try:
            try:
                await self.begin()
                while True:
                    await self._handle(await self._next())
            except ServingError as error:
                await self._part(error)
            except (Gone, WebSocketDisconnect):
                raise
            except Exception:
                log.exception("a fault in the protocol %s", self.protocol)
                await self._part(ServingError("the server has a fault; its log has more", "internal"))
        except (Gone, WebSocketDisconnect):
            pass
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._note_for_access_log()

    def _note_for_access_log(self) -> None:
        facts = {"session": self.session.id, "model": self._model, "seconds": round(self.session.audio_s, 2)}
        self.websocket.scope.setdefault("state", {})["access"] = facts

    async def _handle(self, message: str | bytes) -> None:
        try:
            if isinstance(message, bytes):
                await self.audio(message)
            else:
                await self.command(json_object(message))
        except ServingError as error:
            if error.code not in OF_THE_MESSAGE:
                raise
            await self.answer_error(error)

    async def _part(self, error: ServingError) -> None:
        """End the connection for this reason, after what was heard until now."""
        self.service.metrics.refused.labels(error.code).inc()
        if error.code != "internal":
            with contextlib.suppress(ServingError):  # the reason that it ends for is the one to tell
                await self.last_words()
        await self.refuse(error)
        await self.close(self.closing_code(error), error.message)

    async def _read(self) -> None:
        """Take messages as they arrive, as many as may wait."""
        while True:
            message = await self.websocket.receive()
            if message["type"] == "websocket.disconnect":
                self._gone = True
                self._arrived.set()
                return
            content = message.get("text")
            content = message.get("bytes") or b"" if content is None else content
            self._waiting.append((time.monotonic(), content))
            self._now_wait(self._waiting_bytes + len(content))
            self._arrived.set()
            while self._waiting_bytes + MESSAGE_OVERHEAD * len(self._waiting) > self._most_waiting:
                self._room.clear()
                await self._room.wait()

    async def _watch_drain(self) -> None:
        for event in (self.engine.draining, self.engine.closing):
            await event.wait()
            self._draining = True
            self._arrived.set()

    async def _next(self) -> str | bytes:
        """The next message.

        Raises:
            Gone: the client has left.
            ServingError: it was silent for too long, the session may not last longer, or the service ends and nobody is
                in the middle of a sentence.
        """
        while True:
            self._arrived.clear()
            now = time.monotonic()
            if self._gone:
                raise Gone
            if now >= self._ends_at:
                raise ServingError(f"a session may last {self.limits.max_session_s:g} s (--max_session_s)", "too_long")
            if self.engine.closing.is_set() or (self._draining and not (self._waiting or self._speaking)):
                raise self._draining_error()
            if self._waiting:
                return self._take()
            idle_s = DRAINING_IDLE_S if self._draining else self.idle_s
            try:
                async with asyncio.timeout(min(idle_s, self._ends_at - now)):
                    await self._arrived.wait()
            except TimeoutError:
                if time.monotonic() < self._ends_at:
                    raise (self._draining_error() if self._draining else self.idle_error()) from None

    def _draining_error(self) -> ServingError:
        return ServingError("the service restarts: connect again", "draining")

    def _take(self) -> str | bytes:
        """The message that waits longest, with the audio behind it: under load there are fewer and longer calls."""
        self._since, message = self._waiting.popleft()
        if message and isinstance(message, bytes) and self.joins_audio:
            parts, length = [message], len(message)
            while self._waiting and length < self._bytes_per_s * LONGEST_JOINED_S:
                following = self._waiting[0][1]
                if not following or isinstance(following, str):
                    break  # a command; Deepgram's empty message is one
                parts.append(following)
                length += len(following)
                self._waiting.popleft()
            message = b"".join(parts)
        self._now_wait(self._waiting_bytes - len(message))
        self._room.set()
        return message

    def _now_wait(self, num_bytes: int) -> None:
        self._waiting_bytes = num_bytes
        self.session.waiting_s = num_bytes / self._bytes_per_s if self._bytes_per_s else 0.0

    def idle_error(self) -> ServingError:
        """What is told to a client from which nothing has come for `idle_s`."""
        return ServingError(f"nothing has come for {self.idle_s:g} s (--idle_s): the session ends", "idle")


async def serve(websocket: WebSocket, kind: type[Conversation]) -> None:
    """Hold a conversation, or refuse it before the handshake with the HTTP status that fits."""
    try:
        conversation = kind(websocket)
        session = conversation.engine.admit(kind.protocol)
    except ServingError as error:
        websocket.app.state.service.metrics.refused.labels(error.code).inc()
        await websocket.send_denial_response(JSONResponse(error.as_openai(), error.status, error.headers))
        return
    with session:
        await conversation.run(session)
