"""The Wyoming protocol on a TCP port, for Home Assistant: `describe`, and a transcript of each stretch of audio.

The protocol knows no keys: whoever reaches the port may use it.
"""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Sequence
from typing import Any

from deepspeech_training.runtime.utterances import Endpointing, Event, Final, Partial
from deepspeech_training.serving import values
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.models import ServedModel
from deepspeech_training.serving.service import Service
from deepspeech_training.serving.streams import AsyncSession
from deepspeech_training.serving.wyoming_events import MAX_HEADER_BYTES, WyomingEvent, read_event
from deepspeech_training.version import VERSION

log = logging.getLogger("deepspeech.serving")
PROTOCOL = "wyoming"
ATTRIBUTION = {"name": "DeepSpeech training", "url": "https://github.com/mozilla/DeepSpeech"}
SAMPLE_BYTES = 2
LINGER_S = 1.0
MORE_CONNECTIONS = 16  # than sessions: a `describe` has to be answered at any time


class WyomingServer:
    """Listens until it is closed.

    Args:
        service: with its engine and limits.
    """

    def __init__(self, service: Service):
        self._service = service
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    async def start(self, listener: socket.socket) -> None:
        """Answer whom a socket brings that listens."""
        self._server = await asyncio.start_server(self._connected, sock=listener, limit=MAX_HEADER_BYTES)

    async def stop(self) -> None:
        """Take no more connections; those that there are end with the engine's `draining` and `closing`."""
        if self._server is not None:
            self._server.close()
        if self._connections:
            await asyncio.wait(self._connections, timeout=self._service.limits.grace_s)
        for task in self._connections:
            task.cancel()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        connection = WyomingConnection(self._service, reader, writer)
        try:
            most = self._service.limits.max_sessions + MORE_CONNECTIONS
            if len(self._connections) > most:
                await connection.refuse(ServingError(f"there are {most} connections already", "overloaded"))
            else:
                await connection.run()
        except (ConnectionError, TimeoutError):
            pass  # the client has left, or does not read any more
        except Exception:
            log.exception("a fault in the protocol %s", PROTOCOL)
        finally:
            self._connections.discard(task)
            connection.leave()
            connection.note()
            writer.transport.abort() if connection.stuck else writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()


class WyomingConnection:
    """One client."""

    def __init__(self, service: Service, reader: asyncio.StreamReader, writer: asyncio.StreamWriter):
        self._service, self._reader, self._writer = service, reader, writer
        self._engine, self._limits = service.engine, service.limits
        self._session: AsyncSession | None = None
        self._wanted: dict[str, Any] = {}  # of the last `transcribe`
        self._text = ""  # sent as chunks
        self._settled = ""  # of utterances that have ended
        self._chunks_began = False
        self._facts: dict[str, Any] = {"status": 200, "model": None, "seconds": 0.0}  # for the access log
        self._began = time.monotonic()
        self.stuck = False

    async def run(self) -> None:
        """Answer events until the client leaves, is silent for too long, or the service ends."""
        try:
            while (event := await self._next()) is not None:
                await self._handle(event)
        except ServingError as error:
            if self._session is not None and error.code in ("draining", "idle", "too_long"):
                await self._stop_audio()
            await self.refuse(error)

    def leave(self) -> None:
        """Give the place free."""
        if self._session is not None:
            session, self._session = self._session, None
            self._facts["seconds"] = round(self._facts["seconds"] + session.audio_s, 2)
            session.close()

    def note(self) -> None:
        """Write the line of the access log: never what was said."""
        client = self._writer.get_extra_info("peername") or ("",)
        ms = round(1000 * (time.monotonic() - self._began), 1)
        self._service.access_log.add(client=client[0], method="WYOMING", **self._facts, ms=ms)

    async def refuse(self, error: ServingError) -> None:
        """Say why the connection ends."""
        self._service.metrics.refused.labels(error.code).inc()
        self._facts["status"] = error.status
        await self._send("error", text=error.message, code=error.code)
        # What the client has sent meanwhile must be read: closing before would reset the connection.
        self._writer.write_eof()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_S):
                while await self._reader.read(MAX_HEADER_BYTES):
                    pass

    async def _next(self) -> WyomingEvent | None:
        """The next event, unless the service ends before: at once where no audio has begun.

        Raises:
            ServingError: draining, idle or too_long.
        """
        idle_s, longest_s = self._limits.idle_s, self._limits.max_session_s or float("inf")
        left_s = longest_s - (time.monotonic() - self._began)
        read = asyncio.create_task(read_event(self._reader, max_payload_bytes=self._limits.max_message_bytes))
        ends = self._engine.draining if self._session is None else self._engine.closing
        ended = asyncio.create_task(ends.wait())
        try:
            timeout_s = min(idle_s, max(left_s, 0))
            await asyncio.wait((read, ended), timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                raise ServingError("the service restarts: connect again", "draining")
            if left_s <= 0 or (left_s < idle_s and not read.done()):
                raise ServingError(f"a session may last {longest_s:g} s (--max_session_s)", "too_long")
            if read.done():
                return read.result()
            raise ServingError(f"nothing has come for {idle_s:g} s (--idle_s)", "idle")
        finally:
            for task in (read, ended):
                task.cancel()
            await asyncio.gather(read, ended, return_exceptions=True)

    async def _handle(self, event: WyomingEvent) -> None:
        match event.kind:
            case "describe":
                await self._send("info", **self._info())
            case "ping":
                await self._send("pong", **{name: event.data[name] for name in ("text",) if name in event.data})
            case "transcribe":
                self._wanted = event.data
            case "audio-start":
                await self._start_audio(event.data)
            case "audio-chunk":
                if self._session is None:
                    await self._start_audio(event.data)  # a client that leaves audio-start out
                assert self._session is not None
                await self._tell(await self._session.feed(event.payload))
            case "audio-stop":
                await self._stop_audio()
            # Others are those of other services: the protocol wants them to be ignored.

    async def _start_audio(self, data: dict[str, Any]) -> None:
        wanted = self._wanted
        width = values.whole(data.get("width", SAMPLE_BYTES), "width", least=1, most=8)
        if width != SAMPLE_BYTES:
            raise values.bad(f"samples must have {SAMPLE_BYTES} bytes, these have {width}")
        rate = values.whole(data.get("rate", 16000), "rate", least=4000, most=192000)
        channels = values.whole(data.get("channels", 1), "channels", least=1, most=8)
        served = self._engine.model(_text(wanted, "name"), _text(wanted, "language"))
        terms = _terms(wanted, "transcript_terms") + _terms(wanted, "transcript_names")
        words = [word for term in terms for word in term.split()] if served.scorer else []
        settings = self._engine.settings(served, hot_words=dict.fromkeys(words, values.DEFAULT_BOOST))
        self.leave()
        self._text = self._settled = ""
        self._chunks_began = False
        self._facts["model"] = served.name
        self._session = await self._engine.open(
            PROTOCOL, served, settings, Endpointing(enabled=False), sample_rate=rate, channels=channels
        )

    async def _stop_audio(self) -> None:
        """The whole text, even if it is none: Home Assistant waits for it."""
        language = None
        if self._session is not None:
            language = self._session.served.language
            await self._tell(await self._session.finish())
            self.leave()
        await self._begin_chunks()
        await self._send("transcript-stop")
        await self._send("transcript", text=self._text, **({"language": language} if language else {}))
        self._wanted = {}

    async def _tell(self, events: Sequence[Event]) -> None:
        """Send the stable text as it grows: what all chunks have is the transcript."""
        for event in events:
            if isinstance(event, Partial | Final):
                stable = event.stable if isinstance(event, Partial) else event.text
                whole = " ".join(part for part in (self._settled, stable) if part)
                more, self._text = whole[len(self._text) :], max(whole, self._text, key=len)
                if more:
                    await self._begin_chunks()
                    await self._send("transcript-chunk", text=more)
            if isinstance(event, Final):
                self._settled = self._text

    async def _begin_chunks(self) -> None:
        if not self._chunks_began:
            self._chunks_began = True
            await self._send("transcript-start")

    async def _send(self, kind: str, **data: Any) -> None:
        self._writer.write(WyomingEvent(kind, data).encode())
        try:
            async with asyncio.timeout(self._limits.send_timeout_s):
                await self._writer.drain()
        except TimeoutError:
            self.stuck = True
            raise

    def _info(self) -> dict[str, Any]:
        models = [
            {
                "name": served.name,
                "languages": [served.language or "en"],
                "attribution": ATTRIBUTION,
                "installed": True,
                "description": _description(served.facts),
                "version": str(served.facts.get("version") or served.facts["sha256"][:12]),
            }
            for served in self._engine.of_kind(ServedModel).values()
        ]
        program = {
            "name": "deepspeech",
            "attribution": ATTRIBUTION,
            "installed": True,
            "description": "DeepSpeech speech to text",
            "version": VERSION,
            "models": models,
            "supports_transcript_streaming": True,
            "requires_external_vad": True,
        }
        others = ("tts", "handle", "intent", "wake", "mic", "snd")
        return {"asr": [program], **{name: [] for name in others}}


def _description(facts: dict[str, Any]) -> str:
    wer = facts.get("wer")
    return f"word error rate {wer:.1%} on {facts['measured_on']}" if wer is not None else "error rate not measured"


def _text(wanted: dict[str, Any], name: str) -> str | None:
    found = wanted.get(name)
    return None if found is None else values.text(found, name)


def _terms(wanted: dict[str, Any], name: str) -> list[str]:
    found = wanted.get(name) or []
    if not isinstance(found, list):
        raise values.bad(f"{name} must be a list of texts, it is {values.shown(found)}")
    return [values.text(term, name) for term in found]


@contextlib.asynccontextmanager
async def announced(port: int, addresses: Sequence[str], name: str):
    """Tell the local network by mDNS that there is a server, so that Home Assistant finds it (`--wyoming_mdns`)."""
    import ipaddress

    from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

    info = AsyncServiceInfo(
        "_wyoming._tcp.local.",
        f"{name}._wyoming._tcp.local.",
        addresses=[ipaddress.ip_address(address).packed for address in addresses],
        port=port,
    )
    zeroconf = AsyncZeroconf(interfaces=list(addresses))
    await zeroconf.async_register_service(info)
    try:
        yield
    finally:
        await zeroconf.async_unregister_service(info)
        await zeroconf.async_close()
