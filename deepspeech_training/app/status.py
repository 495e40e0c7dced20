"""What the app is doing, as /health, /ready and GET /v1/status tell it."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from deepspeech_training.app.machine_facts import MachineFacts
from deepspeech_training.app.order import Order
from deepspeech_training.app.run_choice import RunChoice
from deepspeech_training.app.runs import FoundRun
from deepspeech_training.reporting.run_log import RunLog
from deepspeech_training.serving.service import Service
from deepspeech_training.serving.values import whole
from deepspeech_training.version import VERSION

MOST_EPOCHS = 1 << 31
# Of a run of somebody else.
_UNTOLD: dict[str, Any] = {"fingerprint": "", "preset": "", "hours": None, "flags": [], "says": []}
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
        choice: the runs on the volume.
        phase: of the work on a model. While one is served and another is trained it is "training".
        sentence: what that means at the moment, or what is waited for.
        since: when the phase began, seconds since 1970.
        failure: of the phase "failed".
        order, run: the training in hand, or the last one, and what its folder says of it.
        so_far: what is served while training, in words; empty where nothing is.
    """

    machine: MachineFacts
    choice: RunChoice
    phase: Phase = "waiting"
    sentence: str = "looking at what there is"
    since: float = field(default_factory=time.time)
    failure: Failure | None = None
    order: Order | None = None
    run: FoundRun | None = None
    so_far: str = ""

    @property
    def log(self) -> RunLog | None:
        """What the training in hand, or the last one, has said."""
        return self.run.log if self.run is not None else None

    def now(self, phase: Phase, sentence: str) -> bool:
        """Enter a phase; whether that is news."""
        news = (phase, sentence) != (self.phase, self.sentence)
        if phase != self.phase:
            self.since = time.time()
        if phase != "failed":
            self.failure = None
        self.phase, self.sentence = phase, sentence
        return news

    def follow(self, folder: Path) -> FoundRun:
        """Follow the run in a folder."""
        self.run = FoundRun(folder)
        return self.run

    def told(self, service: Service) -> dict[str, Any]:
        """The part of /health and /ready: of the log what the supervisor has read; a long one takes a while."""
        progress: dict[str, Any] = {}
        device = ""
        if self.log is not None:
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

    async def other_run(self, name: str) -> FoundRun | None:
        """The run of this name, without a name the last one of the volume; None for the training in hand.

        Raises:
            ServingError: there is none of this name.
        """
        if self.run is not None and name in ("", self.run.folder.name):
            return None
        if not name:
            runs = await self.choice.look()
            name = runs[0].name if runs else ""
        return await self.choice.of_name(name) if name else None

    async def folder(self, name: str) -> Path | None:
        """That of a run, as `other_run` chooses it; None where there is no run."""
        run = await self.other_run(name) or self.run
        return run.folder if run is not None else None

    def _run(self, other: FoundRun | None, epochs_from: int) -> dict[str, Any] | None:
        """What its logs say, and of the training in hand what it was told."""
        run, order = other or self.run, self.order
        if run is None:
            return None
        told = _UNTOLD
        if order is not None and order.folder == run.folder:
            told = {
                "name": order.name,
                "fingerprint": order.fingerprint,
                "preset": order.preset,
                "hours": order.hours,
                "flags": list(order.words),
                "says": list(order.says),
            }
        return {
            "name": run.name,
            "folder": str(run.folder),
            "state": run.ending.state,
            "message": run.ending.message,
            **told,
            **run.told,
            "history": [epoch for epoch in run.told["history"] if epoch["epoch"] >= epochs_from],
        }

    def as_json(
        self, service: Service, machine: Mapping[str, Any], *, other: FoundRun | None = None, epochs_from: int = 0
    ) -> dict[str, Any]:
        """All that a page needs.

        Args:
            machine: the facts of it.
            other: the run to describe; default: the current training.
            epochs_from: the history begins with this epoch (from 0), where the page has those before it.
        """
        log = other.log if other is not None else self.log
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
            "run": self._run(other, epochs_from),
            "log": log.lines() if log else [],
            "machine": machine,
            "time": round(time.time(), 3),
            "version": VERSION,
        }

    def routes(self) -> list[BaseRoute]:
        return [Route("/v1/status", self._answer), Route("/v1/runs", self._runs)]

    async def _answer(self, request: Request) -> Response:
        """GET /v1/status; `run` is another run of the volume, of whose epochs those from `epochs_from` on are told."""
        epochs_from = whole(request.query_params.get("epochs_from", 0), "epochs_from", least=0, most=MOST_EPOCHS)
        other = await self.other_run(request.query_params.get("run", ""))
        machine = await asyncio.to_thread(self.machine.as_json)
        if self.run is not None:
            await asyncio.to_thread(self.run.read)
        told = self.as_json(request.app.state.service, machine, other=other, epochs_from=epochs_from)
        return JSONResponse({**told, "runs": [run.name for run in await self.choice.look()]})

    async def _runs(self, _: Request) -> Response:
        """GET /v1/runs: the runs of the volume, the one that was written last first."""
        return JSONResponse({"runs": [self._summary(run) for run in await self.choice.read()]})

    def _summary(self, run: FoundRun) -> dict[str, Any]:
        """A run in a line; the phase where it is the training in hand."""
        told, is_ours = run.told, self.run is not None and run.folder == self.run.folder
        return {
            "name": run.name,
            "state": run.ending.state,
            "message": run.ending.message,
            "phase": self.phase if is_ours else None,
            **{name: told[name] for name in ("epoch", "epochs", "share_done", "left_s", "best")},
            "started": told["started"] and told["started"]["time"],
            "written": round(run.written, 3),
        }
