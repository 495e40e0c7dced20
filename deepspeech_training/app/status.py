"""What the app is doing, as /health, /ready and GET /v1/status tell it."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deepspeech_training.app.machine_facts import MachineFacts
from deepspeech_training.app.order import Order
from deepspeech_training.reporting.run_log import RunLog
from deepspeech_training.serving.service import Service
from deepspeech_training.serving.values import whole
from deepspeech_training.version import VERSION

MOST_EPOCHS = 1 << 31
Phase = Literal["waiting", "checking", "training", "testing", "exporting", "registering", "serving", "failed"]


@dataclass(frozen=True)
class Failure:
    """What a step has ended with; it is tried again when files change, or after a while.

    Args:
        at, again_at: seconds since 1970.
        tries: how often in a row.
        signature: of the volume that it is about.
    """

    message: str
    exit_code: int
    tries: int
    again_at: float
    signature: str
    at: float = field(default_factory=time.time)

    def as_json(self) -> dict[str, Any]:
        return {
            "message": self.message,
            "exit_code": self.exit_code,
            "at": round(self.at, 3),
            "tries": self.tries,
            "again_in_s": round(max(0.0, self.again_at - time.time()), 1),
        }


@dataclass(eq=False)
class Status:
    """One state for all who ask. The supervisor writes it.

    Attributes:
        machine: that it works on.
        phase: of the work on a model. While one is served and another is trained it is "training".
        sentence: what that means at the moment, or what is waited for.
        since: when the phase began, seconds since 1970.
        failure: of the phase "failed".
        order, log: of the training in hand, or of the last one.
        so_far: what is served while training, in words; empty where nothing is.
    """

    machine: MachineFacts
    phase: Phase = "waiting"
    sentence: str = "looking at what there is"
    since: float = field(default_factory=time.time)
    failure: Failure | None = None
    order: Order | None = None
    log: RunLog | None = None
    so_far: str = ""

    def now(self, phase: Phase, sentence: str) -> bool:
        """Enter a phase; whether that is news."""
        news = (phase, sentence) != (self.phase, self.sentence)
        if phase != self.phase:
            self.since = time.time()
        if phase != "failed":
            self.failure = None
        self.phase, self.sentence = phase, sentence
        return news

    def follow(self, folder: Path) -> None:
        """Follow the log of the run in a folder."""
        self.log = RunLog(folder / "events.jsonl")

    def told(self, service: Service) -> dict[str, Any]:
        """The part of /health and /ready."""
        progress: dict[str, Any] = {}
        device = ""
        if self.log is not None:
            self.log.read()
            device = self.log.device
            if self.phase == "training":
                progress = self.log.progress()
        return {
            "status": "draining" if service.phase == "draining" else self.phase,
            "message": self.failure.message if self.failure else self.sentence,
            **progress,
            "model_loaded": bool(service.engine.models),
            "device": device or "cpu",
        }

    def as_json(self, service: Service, *, epochs_from: int = 0) -> dict[str, Any]:
        """All that a page needs.

        Args:
            epochs_from: the history begins with this epoch (from 0), where the page has those before it.
        """
        order = self.order
        run = None
        if order is not None and self.log is not None:
            told = self.log.as_json()
            told["history"] = [epoch for epoch in told["history"] if epoch["epoch"] >= epochs_from]
            run = {
                "name": order.name,
                "folder": str(order.folder),
                "fingerprint": order.fingerprint,
                "preset": order.preset,
                "hours": order.hours,
                "flags": list(order.words),
                "says": list(order.says),
                **told,
            }
        return {
            **self.told(service),
            "phase": self.phase,
            "phase_s": round(time.time() - self.since, 1),
            "uptime_s": round(time.monotonic() - service.started, 1),
            "failure": self.failure and self.failure.as_json(),
            "models": [
                {"name": served.name, "note": served.facts["note"], "sha256": served.facts["sha256"]}
                for served in service.engine.models.values()
            ],
            "served_so_far": self.so_far,
            "drift": service.drift(),
            "run": run,
            "log": self.log.lines() if self.log else [],
            "machine": self.machine.as_json(),
            "time": round(time.time(), 3),
            "version": VERSION,
        }

    def route(self) -> Route:
        """GET /v1/status, of the history of epochs only those from `epochs_from` on."""

        async def status(request: Request) -> Response:
            epochs_from = whole(request.query_params.get("epochs_from", 0), "epochs_from", least=0, most=MOST_EPOCHS)
            return JSONResponse(self.as_json(request.app.state.service, epochs_from=epochs_from))

        return Route("/v1/status", status)
