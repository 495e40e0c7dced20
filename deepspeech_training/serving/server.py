"""The process: models from disk, the ports, and the end. `run` serves until SIGTERM or Ctrl-C."""

import asyncio
import contextlib
import logging
import signal
import socket
import ssl
import sys
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from deepspeech_training.console import Console
from deepspeech_training.decoding.beam import compile_beam
from deepspeech_training.errors import EXIT_OK
from deepspeech_training.runtime.network import without_delegate_notice
from deepspeech_training.serving import vosk
from deepspeech_training.serving.access_log import AccessLog
from deepspeech_training.serving.app import make_app
from deepspeech_training.serving.engine import Engine
from deepspeech_training.serving.limits import Limits
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.models import Served, ServedModel, ServedWords, load, warm_up
from deepspeech_training.serving.ports import addresses_of, listen, running, tls_context, url_of
from deepspeech_training.serving.reload import Reloader
from deepspeech_training.serving.security import Security
from deepspeech_training.serving.service import Service
from deepspeech_training.serving.sources import ModelSource, find_sources
from deepspeech_training.serving.workers import rank_behind_streams
from deepspeech_training.serving.wyoming import WyomingServer, announced

EXIT_INTERRUPTED = 130
LAST_WORDS_S = 2.0
TICK_S = 0.05
Result = TypeVar("Result")


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
    vosk_port: int | None
    wyoming_port: int | None
    wyoming_mdns: bool


def run(settings: Settings, console: Console) -> int:
    """Serve; returns the exit code.

    Raises:
        UserError: a model cannot be served, or a port not be had.
    """
    tls = tls_context(settings.certificate, settings.certificate_key)
    sources = find_sources(settings.model, settings.scorer)
    access_log = AccessLog(settings.access_log)
    try:
        with open_sockets(settings) as sockets:
            return asyncio.run(_serve(settings, sources, sockets, tls, access_log, console))
    finally:
        access_log.close()


@dataclass(frozen=True)
class Sockets:
    """Those that listen."""

    main: socket.socket
    vosk_port: socket.socket | None = None
    wyoming_port: socket.socket | None = None


@contextlib.contextmanager
def open_sockets(settings: Settings) -> Iterator[Sockets]:
    """Listen on all ports of the service.

    Raises:
        UserError: one is taken.
    """
    with contextlib.ExitStack() as stack:
        main = stack.enter_context(listen(settings.host, settings.port, "--port"))
        others = {}
        for name in ("vosk_port", "wyoming_port"):
            if (number := getattr(settings, name)) is not None:
                others[name] = stack.enter_context(listen(settings.host, number, f"--{name}"))
        yield Sockets(main, **others)


async def _serve(
    settings: Settings,
    sources: Sequence[ModelSource],
    sockets: Sockets,
    tls: ssl.SSLContext | None,
    access_log: AccessLog,
    console: Console,
) -> int:
    """Answer from the first moment, take on work when the models are loaded, and end when it is told to."""
    metrics = Metrics()
    engine = Engine({}, settings.limits, metrics, num_threads=settings.threads)
    service = Service(engine, settings.limits, settings.security, metrics, access_log)
    stop = Stop()
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(logging_to(console))
        stack.enter_context(stop.on_signals())
        stack.callback(engine.shut_down)
        ports = [await stack.enter_async_context(running(make_app(service), sockets.main, tls, settings.limits))]
        loading = await stack.enter_async_context(background(_load(sources, settings, engine)))
        if await stop.asked(*ports, loading):
            return stop.exit_code
        loading.result()
        service.phase = "ready"
        for served in engine.models.values():
            console.info(described(served))
        console.info(f"Limits: {settings.limits.lines()}")
        ports += await stack.enter_async_context(other_ports(service, settings, sockets, tls, console))
        sys.stdout.write(f"Listening on {url_of(sockets.main, settings.host, tls=tls is not None)}\n")
        sys.stdout.flush()
        threading.Thread(target=_prepare_beam, name="beam", daemon=True).start()
        reloader = Reloader(
            engine,
            lambda: find_sources(settings.model, settings.scorer),
            console,
            loaded=sources,
            every_s=settings.reload_s,
            num_threads=settings.threads + 1,
        )
        await stack.enter_async_context(background(reloader.run()))
        if not await stop.asked(*ports):
            raise RuntimeError("a port has stopped to answer") from next(p.exception() for p in ports if p.done())
        service.phase = "draining"
        await drain(service, stop, console)
        return stop.exit_code


async def _load(sources: Sequence[ModelSource], settings: Settings, engine: Engine) -> None:
    """Load the models and let each hear something, which compiles the beam search where one is used."""

    def work() -> dict[str, Served]:
        with without_delegate_notice():
            # All threads of streams and that of files may need the network at the same time.
            models = load(sources, num_threads=settings.threads + 1)
        for served in models:
            warm_up(served)
        return {served.name: served for served in models}

    engine.models.update(await asyncio.to_thread(work))


def _prepare_beam() -> None:
    """Compile the beam search behind the streams' work: of a greedy model, too, clients ask for alternatives, as the
    page does, and what the first one says would wait for it. The process does not wait for this thread when it ends."""
    rank_behind_streams()
    compile_beam()


@contextlib.asynccontextmanager
async def other_ports(
    service: Service, settings: Settings, sockets: Sockets, tls: ssl.SSLContext | None, console: Console
) -> AsyncIterator[list[asyncio.Task]]:
    """The protocols that have a port of their own; -> what answers there."""
    ports = []
    async with contextlib.AsyncExitStack() as stack:
        if sockets.vosk_port is not None:
            app = make_app(service, vosk.routes())
            ports.append(await stack.enter_async_context(running(app, sockets.vosk_port, tls, settings.limits)))
            console.info(f"Vosk: {url_of(sockets.vosk_port, settings.host, tls=tls is not None, scheme='ws')}")
        if sockets.wyoming_port is not None:
            await stack.enter_async_context(_wyoming(service, settings, sockets.wyoming_port, console))
        yield ports


@contextlib.asynccontextmanager
async def _wyoming(
    service: Service, settings: Settings, listener: socket.socket, console: Console
) -> AsyncIterator[None]:
    """Wyoming's port, and its announcement in the local network."""
    server = WyomingServer(service)
    await server.start(listener)
    host, port = listener.getsockname()[:2]
    console.info(f"Wyoming: {url_of(listener, settings.host, tls=False, scheme='tcp')}")
    try:
        async with contextlib.AsyncExitStack() as stack:
            if settings.wyoming_mdns:
                await stack.enter_async_context(announced(port, addresses_of(host), f"deepspeech-{port}"))
            yield
    finally:
        await server.stop()


async def drain(service: Service, stop: "Stop", console: Console) -> None:
    """Take on nothing new, and wait for what is in work: at most the grace time, at a second signal no longer.

    Its last moments are for the finals of those streams that have not ended by themselves.
    """
    engine, grace_s = service.engine, service.limits.grace_s
    last_words_s = min(LAST_WORDS_S, grace_s / 2)
    engine.draining.set()
    if engine.busy:
        console.info(f"Ending: what is in work is given up to {grace_s:g} s (--grace_s)")
    await _until_idle(engine, stop, grace_s - last_words_s)
    engine.closing.set()
    await _until_idle(engine, stop, last_words_s)


async def _until_idle(engine: Engine, stop: "Stop", most_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(most_s):
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

    async def asked(self, *others: asyncio.Task) -> bool:
        """Wait for the first signal, or until one of the others ends by itself; whether it was a signal."""
        waiting = asyncio.create_task(self._first.wait())
        await asyncio.wait({waiting, *others}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        return self._first.is_set()


@contextlib.asynccontextmanager
async def background(work: Coroutine[Any, Any, Result]) -> AsyncIterator[asyncio.Task[Result]]:
    """A task that ends with the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def described(served: Served) -> str:
    """A line about a model, for the log."""
    facts = served.facts
    size = f"Model {served.name}: {facts['bytes'] / 1e6:.1f} MB"
    if isinstance(served, ServedWords):
        wer = "" if facts["wer"] is None else f", WER {facts['wer']:.4f} on {facts['measured_on']}"
        return f"{size}, {served.task}, language {served.language or 'unknown'}{wer}"
    size += f", {facts['sample_rate']} Hz"
    if not isinstance(served, ServedModel):
        accuracy = "" if facts["accuracy"] is None else f", accuracy {facts['accuracy']:.4f} on {facts['measured_on']}"
        return f"{size}, commands {', '.join(facts['commands'])}{accuracy}"
    wer = "" if facts["wer"] is None else f", WER {facts['wer']:.4f} on {facts['measured_on']}"
    how = f"beam and {facts['scorer']}" if facts["scorer"] else "greedy"
    return f"{size}, language {served.language or 'unknown'}, {how}{wer}"


@contextlib.contextmanager
def logging_to(console: Console) -> Iterator[None]:
    """Warnings and errors of the libraries and of the protocols as lines of the console."""

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "uvicorn.error" and not record.msg.startswith("Exception in ASGI application"):
                return  # what uvicorn says of clients that do not speak HTTP or UTF-8: not our fault, and no news
            say = console.error if record.levelno >= logging.ERROR else console.warn
            say(self.format(record))

    root, handler = logging.getLogger(), Lines(logging.WARNING)
    # uvicorn takes the refusal of a websocket by an HTTP status for a fault of the application.
    handler.addFilter(lambda record: "without completing handshake" not in record.getMessage())
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
