"""Whether the service works (/live), takes on work (/ready), and how it is (/health); /metrics."""

import asyncio
import contextlib
import math
import threading
import time

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deepspeech_training.serving.models import Served
from deepspeech_training.serving.service import Service

LIVE_TIMEOUT_S = 5.0
LIVE_CACHED_S = 1.0  # so that asking cannot be used as load
LIVE_GOOD_FOR_S = 10.0  # an answer that is older is waited for; one that is not is renewed while it is given
STUCK_S = 60.0  # a job of a stream takes a fraction of a second


class Pulse:
    """Tries a model out in a thread of its own, as with a built-in second of speech: at full load it does not wait
    behind the streams."""

    def __init__(self) -> None:
        self._checked_at = -math.inf
        self._fault = ""
        self._check: asyncio.Task[None] | None = None

    async def fault(self, service: Service) -> str:
        """Why the service does not work; empty where it does."""
        age_s = time.monotonic() - self._checked_at
        if age_s > LIVE_CACHED_S:
            if self._check is None:  # many that ask at the same time share one check
                self._check = asyncio.create_task(self._look(service))
            if age_s > LIVE_GOOD_FOR_S:
                await asyncio.shield(self._check)
        return self._fault

    async def _look(self, service: Service) -> None:
        try:
            stuck_s = service.engine.oldest_job_s()
            if stuck_s > STUCK_S:
                self._fault = f"a job of a stream has been running for {stuck_s:.0f} s"
            elif not service.engine.models:
                self._fault = ""  # still loading: alive, though not ready
            else:
                self._fault = await _works(next(iter(service.engine.models.values())))
        finally:
            self._checked_at, self._check = time.monotonic(), None


async def _works(served: Served) -> str:
    """A thread that does not come back is left behind: it is a daemon, so that the process can still end."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()
    faults: list[str] = []

    def work() -> None:
        try:
            served.try_out()
        except Exception as error:
            faults.append(f"{type(error).__name__} while recognising a built-in second")
        finally:
            with contextlib.suppress(RuntimeError):  # the service has ended meanwhile
                loop.call_soon_threadsafe(done.set)

    threading.Thread(target=work, name="pulse", daemon=True).start()
    try:
        await asyncio.wait_for(done.wait(), LIVE_TIMEOUT_S)
    except TimeoutError:
        return f"recognising a built-in second has taken more than {LIVE_TIMEOUT_S:g} s"
    return faults[0] if faults else ""


async def live(request: Request) -> Response:
    """GET /live: 200 while it can recognise, or 503 with the reason; for restarting it."""
    service: Service = request.app.state.service
    fault = await request.app.state.pulse.fault(service)
    return JSONResponse({"status": "fault", "reason": fault} if fault else {"status": "live"}, 503 if fault else 200)


async def ready(request: Request) -> Response:
    """GET /ready: 200 while it takes on work, or 503 with what it is doing instead; for sending it requests."""
    service: Service = request.app.state.service
    if service.phase == "ready":
        return JSONResponse({"status": "ready", **service.told()})
    retry_s = service.engine.waits_for.retry_after_s
    told = {"status": "not ready", "phase": service.phase, **service.told()}
    return JSONResponse(told, 503, {"Retry-After": f"{retry_s:.0f}"})


async def health(request: Request) -> Response:
    """GET /health: how it is; always 200."""
    service: Service = request.app.state.service
    models = service.engine.models
    return JSONResponse(
        {
            "status": {"ready": "ok"}.get(service.phase, service.phase),
            "model_loaded": bool(models),
            "device": "cpu",
            "model": next(iter(models), None),
            "uptime_s": round(time.monotonic() - service.started, 1),
            **service.told(),
        }
    )


async def metrics(request: Request) -> Response:
    """GET /metrics: for Prometheus."""
    service: Service = request.app.state.service
    return Response(service.metrics.text(), media_type=service.metrics.content_type)
