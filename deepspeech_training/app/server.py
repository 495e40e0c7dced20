"""The process of `deepspeech app`: the ports answer from the first moment; the supervisor works beside them."""

import asyncio
import contextlib
import itertools
import os
import ssl
import sys
from collections.abc import Callable, Iterator

from starlette.routing import BaseRoute

from deepspeech_training.app import status_page
from deepspeech_training.app.machine_facts import MachineFacts
from deepspeech_training.app.run_choice import RunChoice
from deepspeech_training.app.shelf import Shelf
from deepspeech_training.app.status import Status
from deepspeech_training.app.supervisor import Supervisor, Wishes
from deepspeech_training.app.training_metrics import TrainingMetrics
from deepspeech_training.app.training_route import training_route
from deepspeech_training.app.volume import Volume
from deepspeech_training.console import Console
from deepspeech_training.serving.access_log import AccessLog
from deepspeech_training.serving.app import make_app, routes
from deepspeech_training.serving.engine import Engine, WaitsFor
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.ports import running, tls_context, url_of
from deepspeech_training.serving.reload import Reloader
from deepspeech_training.serving.server import (
    Settings,
    Sockets,
    Stop,
    background,
    described,
    drain,
    logging_to,
    open_sockets,
    other_ports,
)
from deepspeech_training.serving.service import Service
from deepspeech_training.studio.benches import Benches
from deepspeech_training.studio.listening import Listening
from deepspeech_training.studio.routes import Studio
from deepspeech_training.studio.store import Store

FOLLOW_S = 1.0
RETRY_AFTER_S = 300  # above 120, at which OpenAI's clients stop asking


def run(
    settings: Settings, volume: Volume, shelf: Shelf, wishes: Wishes, console: Console, *, has_studio: bool = False
) -> int:
    """Serve and train; returns the exit code.

    Raises:
        UserError: a port cannot be had, or the studio's folder not be written.
    """
    tls = tls_context(settings.certificate, settings.certificate_key)
    access_log = AccessLog(settings.access_log)
    try:
        with open_sockets(settings) as sockets, open_studio(volume, wanted=has_studio) as store:
            return asyncio.run(_run(settings, sockets, tls, access_log, (volume, shelf, wishes), store, console))
    finally:
        access_log.close()


@contextlib.contextmanager
def open_studio(volume: Volume, *, wanted: bool) -> Iterator[Store | None]:
    """What has been recorded on a volume, where the studio is wanted."""
    if not wanted:
        yield None
        return
    with contextlib.closing(Store(volume.studio, volume.corpora)) as store:
        yield store


def studio_routes(store: Store, volume: Volume) -> list[BaseRoute]:
    """What the page /studio asks for."""
    benches = Benches(volume.listening, volume.corpora, volume.studio)
    return [*Studio(store).routes(), *Listening(benches).routes()]


async def _run(
    settings: Settings,
    sockets: Sockets,
    tls: ssl.SSLContext | None,
    access_log: AccessLog,
    work: tuple[Volume, Shelf, Wishes],
    store: Store | None,
    console: Console,
) -> int:
    volume, shelf, wishes = work
    metrics, status, stop = Metrics(), Status(MachineFacts(volume.root), RunChoice(volume.checkpoints)), Stop()
    metrics.add(TrainingMetrics(status))
    engine = Engine({}, settings.limits, metrics, num_threads=settings.threads)
    service = Service(engine, settings.limits, settings.security, metrics, access_log, phase=status.phase)
    service.told = lambda: status.told(service)
    reloader = Reloader(engine, shelf.sources, console, every_s=settings.reload_s, num_threads=settings.threads + 1)
    supervisor = Supervisor(
        volume,
        shelf,
        wishes,
        status,
        served=lambda: engine.models,
        faults=lambda: reloader.faults,
        environment=os.environ,
        console=console,
    )
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(logging_to(console))
        stack.enter_context(stop.on_signals())
        stack.callback(engine.shut_down)
        of_studio = [*studio_routes(store, volume), training_route(supervisor, status)] if store else []
        app = make_app(service, [*status_page.routes(status, volume), *of_studio, *routes()])
        ports = [await stack.enter_async_context(running(app, sockets.main, tls, settings.limits))]
        ports += await stack.enter_async_context(other_ports(service, settings, sockets, tls, console))
        sys.stdout.write(f"Listening on {url_of(sockets.main, settings.host, tls=tls is not None)}\n")
        sys.stdout.flush()
        follow = _follow(None if wishes.train_only else reloader, service, status, supervisor.look_now, console)
        await stack.enter_async_context(background(follow))
        working = await stack.enter_async_context(background(supervisor.run()))
        if not await stop.asked(*ports, working):
            if working.done():
                return working.result()
            raise RuntimeError("a port has stopped to answer") from next(p.exception() for p in ports if p.done())
        service.phase = "draining"
        await asyncio.gather(drain(service, stop, console), supervisor.stop(stop))
        return stop.exit_code


async def _follow(
    reloader: Reloader | None, service: Service, status: Status, look_now: Callable[[], None], console: Console
) -> None:
    """Serve what lies there, and what comes; keep what the service says of itself at what the app is doing."""
    engine = service.engine
    for turn in itertools.count():
        if reloader is not None:
            await reloader.look()
        if service.phase == "draining":
            return
        if not engine.models:
            service.phase = status.phase
            message = status.failure.message if status.failure else status.sentence
            engine.waits_for = WaitsFor(f"there is no model yet ({status.phase}): {message}", RETRY_AFTER_S)
        elif service.phase != "ready":
            service.phase = "ready"
            look_now()
            for served in engine.models.values():
                console.info(described(served))
        await asyncio.sleep(FOLLOW_S if turn else 0)  # a model is loaded at the second look: at once at the start
