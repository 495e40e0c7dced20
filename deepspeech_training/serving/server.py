"""The process: models from disk, the ports, and the end. `run` serves until SIGTERM or Ctrl-C."""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from deepspeech_training.console import Console
from deepspeech_training.errors import EXIT_OK, FlagError, UserError
from deepspeech_training.runtime.network import without_delegate_notice
from deepspeech_training.serving.access_log import AccessLog
from deepspeech_training.serving.app import make_app
from deepspeech_training.serving.engine import Engine
from deepspeech_training.serving.limits import Limits
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.models import ModelSource, ServedModel, find_sources, load
from deepspeech_training.serving.reload import Reloader
from deepspeech_training.serving.security import Security
from deepspeech_training.serving.service import Service

EXIT_INTERRUPTED = 130
KEEP_ALIVE_S = 75  # a client's idle connection; longer than the pools of common proxies keep theirs
PING_S = 20.0  # websockets: a client that does not answer for as long again has vanished
LISTEN_BACKLOG = 512
TICK_S = 0.05


@dataclass(frozen=True)
class Settings:
    """What `deepspeech serve` is told."""

    model: Path
    scorer: Path | None
    host: str
    port: int
    threads: int
    limits: Limits
    security: Security
    access_log: str
    certificate: str | None
    certificate_key: str | None
    reload_s: float


def run(settings: Settings, console: Console) -> int:
    """Serve; returns the exit code.

    Raises:
        UserError: a model cannot be served, or a port not be had.
    """
    tls = _tls(settings)
    access_log = AccessLog(settings.access_log)
    listener = listen(settings.host, settings.port)
    try:
        with without_delegate_notice():
            sources = find_sources(settings.model, settings.scorer)
            models = {source.name: load(source, num_threads=settings.threads + 1) for source in sources}
        return asyncio.run(_serve(settings, models, sources, listener, tls, access_log, console))
    finally:
        listener.close()
        access_log.close()


async def _serve(
    settings: Settings,
    models: dict[str, ServedModel],
    sources: Sequence[ModelSource],
    listener: socket.socket,
    tls: ssl.SSLContext | None,
    access_log: AccessLog,
    console: Console,
) -> int:
    metrics = Metrics()
    engine = Engine(models, settings.limits, metrics, num_threads=settings.threads)
    service = Service(engine, settings.limits, settings.security, metrics, access_log)
    stop = Stop()
    with _logging_to(console), stop.on_signals():
        server = Port(make_app(service), listener, tls, settings.limits)
        reloader = Reloader(
            engine,
            settings.model,
            settings.scorer,
            sources,
            console,
            every_s=settings.reload_s,
            num_threads=settings.threads + 1,
        )
        tasks = [asyncio.create_task(server.serve())]
        try:
            await server.listening(tasks[0])
            service.phase = "ready"
            for served in models.values():
                console.info(_described(served))
            console.info(f"Limits: {settings.limits.lines()}")
            sys.stdout.write(f"Listening on {_url(listener, settings.host, tls is not None)}\n")
            sys.stdout.flush()
            tasks.append(asyncio.create_task(reloader.run()))
            await stop.asked(tasks[0])
            service.phase = "draining"
            await _drain(service, stop, console)
        finally:
            server.should_exit = True
            for task in tasks[1:]:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            engine.shut_down()
    return stop.exit_code


async def _drain(service: Service, stop: "Stop", console: Console) -> None:
    """Take on nothing new, and wait for what is in work: at most the grace time, at a second signal no longer."""
    engine, grace_s = service.engine, service.limits.grace_s
    engine.draining.set()
    if engine.busy:
        console.info(f"Ending: {engine.num_sessions} streams are given up to {grace_s:g} s (--grace_s)")
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace_s):
            while engine.busy and not stop.in_a_hurry:
                await asyncio.sleep(TICK_S)
    engine.closing.set()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(service.limits.send_timeout_s):  # for the last finals
            while engine.busy and not stop.in_a_hurry:
                await asyncio.sleep(TICK_S)


class Stop:
    """SIGTERM and Ctrl-C, as they come; a second one is in a hurry."""

    def __init__(self) -> None:
        self._first = asyncio.Event()
        self.in_a_hurry = False
        self.exit_code = EXIT_OK

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Take over the signals, where Python lets us: in the main thread."""
        loop = asyncio.get_running_loop()
        numbers: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGINT)
        try:
            for number in numbers:
                loop.add_signal_handler(number, self._take, number)
        except (RuntimeError, ValueError):
            numbers = ()
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)

    def _take(self, number: int) -> None:
        self.in_a_hurry = self._first.is_set()
        self.exit_code = EXIT_INTERRUPTED if number == signal.SIGINT else EXIT_OK
        self._first.set()

    async def asked(self, server: asyncio.Task) -> None:
        """Wait for the first signal, or for a server that ends by itself."""
        waiting = asyncio.create_task(self._first.wait())
        await asyncio.wait({waiting, server}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()


class Port(uvicorn.Server):
    """A port with its application. It leaves signals alone: uvicorn would close each socket at once (uvicorn#1344)."""

    def __init__(self, app: ASGIApp, listener: socket.socket, tls: ssl.SSLContext | None, limits: Limits):
        config = uvicorn.Config(
            app,
            loop="asyncio",
            http="h11",
            ws="websockets-sansio",
            ws_max_size=limits.max_message_bytes,
            ws_per_message_deflate=False,  # audio does not shrink, and each stream would keep 300 kB for it
            ws_ping_interval=PING_S,
            ws_ping_timeout=PING_S,
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

    async def listening(self, serving: asyncio.Task) -> None:
        """Wait until it answers."""
        while not self.started:
            if serving.done():
                serving.result()
            await asyncio.sleep(TICK_S / 10)


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; port 0 is any free one.

    Raises:
        UserError: the address or the port cannot be had.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host.strip("[]"), port))
        listener.listen(LISTEN_BACKLOG)
        listener.setblocking(False)
    except (OSError, OverflowError) as error:
        listener.close()
        raise UserError(
            f"--host {host} --port {port}: cannot listen there: {getattr(error, 'strerror', None) or error}\n"
            "Name another --port, or an address of this machine."
        ) from None
    return listener


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.certificate and not settings.certificate_key:
        return None
    if not settings.certificate or not settings.certificate_key:
        raise FlagError("--certificate and --certificate_key belong together: give both, or neither")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(settings.certificate, settings.certificate_key)
    except (OSError, ssl.SSLError) as error:
        raise FlagError(
            f"--certificate {settings.certificate}: it cannot be used with {settings.certificate_key}: "
            f"{getattr(error, 'strerror', None) or error}"
        ) from None
    return context


def _url(listener: socket.socket, host: str, tls: bool) -> str:
    port = listener.getsockname()[1]
    return f"http{'s' * tls}://{f'[{host}]' if ':' in host else host}:{port}"


def _described(served: ServedModel) -> str:
    facts = served.facts
    wer = "" if facts["wer"] is None else f", WER {facts['wer']:.4f} on {facts['measured_on']}"
    how = f"beam and {facts['scorer']}" if facts["scorer"] else "greedy"
    return (
        f"Model {served.name}: {facts['bytes'] / 1e6:.1f} MB, {facts['sample_rate']} Hz, language "
        f"{served.language or 'unknown'}, {how}{wer}"
    )


@contextlib.contextmanager
def _logging_to(console: Console) -> Iterator[None]:
    """Warnings and errors of the libraries and of the protocols as lines of the console."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            say = console.error if record.levelno >= logging.ERROR else console.warn
            say(self.format(record))

    root, handler = logging.getLogger(), Lines(logging.WARNING)
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
