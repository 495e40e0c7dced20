"""The ports: sockets that listen, TLS, and uvicorn as it must be for long streams of audio."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from collections.abc import AsyncIterator

import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.serving.limits import Limits

KEEP_ALIVE_S = 75  # a client's idle connection; longer than the pools of common proxies keep theirs
HEAD_S = 20.0
PING_S = 20.0  # keeps the way of a websocket through proxies open
DEAD_PEER_S = 30  # a client that does not acknowledge, or leaves no room for, what it is sent has vanished
LISTEN_BACKLOG = 512
POLL_S = 0.005


class Http(H11Protocol):
    """uvicorn's HTTP, but a client that has connected sends the head of its request within HEAD_S, or is cut off."""

    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._stop_timer()

    def _watch_head(self) -> None:
        """Time what is there of a head; between requests on one connection uvicorn's own keep-alive does that."""
        in_head = self.conn.their_state is h11.IDLE and not self.transport.is_closing()
        if not in_head or self.transport.get_protocol() is not self:  # a socket has taken over
            self._stop_timer()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Port(uvicorn.Server):
    """A port with its application. It leaves signals alone: uvicorn would close each socket at once (uvicorn#1344)."""

    def __init__(self, app: ASGIApp, listener: socket.socket, tls: ssl.SSLContext | None, limits: Limits):
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http=Http,
            ws="websockets-sansio",
            ws_max_size=limits.max_message_bytes,
            ws_per_message_deflate=False,  # audio does not shrink, and each stream would keep 300 kB for it
            ws_ping_interval=PING_S,
            # The answer of a client that sends faster than it is recognised stands behind its audio.
            ws_ping_timeout=None,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=LISTEN_BACKLOG,
            timeout_keep_alive=KEEP_ALIVE_S,
            timeout_graceful_shutdown=2,
        )
        config.load()
        config.ssl = tls
        super().__init__(config)
        self._listener = listener

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        await self._serve(sockets or [self._listener])


@contextlib.asynccontextmanager
async def running(
    app: ASGIApp, listener: socket.socket, tls: ssl.SSLContext | None, limits: Limits
) -> AsyncIterator[asyncio.Task]:
    """An application that answers on a port for the length of the block."""
    port = Port(app, listener, tls, limits)
    serving = asyncio.create_task(port.serve())
    try:
        while not port.started:
            if serving.done():
                serving.result()
            await asyncio.sleep(POLL_S)
        yield serving
    finally:
        port.should_exit = True
        await asyncio.gather(serving, return_exceptions=True)


def listen(host: str, port: int, flag: str) -> socket.socket:
    """A socket that listens; port 0 is any free one.

    Args:
        flag: that the port comes from, for the message.

    Raises:
        UserError: the address or the port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # Connections inherit it; asyncio does not know that this is TCP. Without it each answer on a connection that
        # is kept open waits 40 ms for the acknowledgement of its headers.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; connections inherit it
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000 * DEAD_PEER_S)
        listener.bind((host.strip("[]"), port))
        listener.listen(LISTEN_BACKLOG)
        listener.setblocking(False)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UserError(
            f"--host {host} {flag} {port}: cannot listen there: {getattr(error, 'strerror', None) or error}\n"
            f"Name another {flag}, or an address of this machine."
        ) from None
    return listener


def tls_context(certificate: str | None, key: str | None) -> ssl.SSLContext | None:
    """What https needs; None where neither file is given.

    Raises:
        FlagError: only one is given, or they cannot be used.
    """
    if not certificate and not key:
        return None
    if not certificate or not key:
        raise FlagError("--certificate and --certificate_key belong together: give both, or neither")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key)
    except (OSError, ssl.SSLError) as error:
        raise FlagError(
            f"--certificate {certificate}: it cannot be used with {key}: {getattr(error, 'strerror', None) or error}"
        ) from None
    return context


def url_of(listener: socket.socket, host: str, *, tls: bool, scheme: str = "http") -> str:
    """Where clients find it."""
    port = listener.getsockname()[1]
    return f"{scheme}{'s' * tls}://{f'[{host}]' if ':' in host else host}:{port}"


def addresses_of(host: str) -> list[str]:
    """The addresses of this machine that a listener on `host` is reached by."""
    if not ipaddress.ip_address(host).is_unspecified:
        return [host]
    found = socket.getaddrinfo(socket.gethostname(), None, type=socket.SOCK_STREAM)
    return sorted({str(address[0]) for *_, address in found})
