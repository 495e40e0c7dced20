"""The trainings of a volume by their session logs, for the status page: a list, and some of them side by side."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from deepspeech_training.app.session_files import SessionFiles
from deepspeech_training.reporting.session_views import figures_of_all
from deepspeech_training.reporting.sessions import Run, runs_of
from deepspeech_training.serving.errors import ServingError

MOST_RUNS = 200  # the newest
MOST_CHOSEN = 4
LONGEST_VALUE = 200  # characters of a flag's value
# What is different in every run and says nothing of its settings.
PLACES = ("checkpoint_dir", "save_checkpoint_dir", "load_checkpoint_dir", "output_dir", "export_dir", "summary_dir")


class SessionList:
    """
    Args:
        folder: below which the logs are.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._files = SessionFiles()
        self._reading = asyncio.Lock()

    def routes(self) -> list[BaseRoute]:
        return [Route("/v1/status/sessions", self._list), Route("/v1/status/sessions/compared", self._compared)]

    async def _runs(self) -> dict[str, Run]:
        async with self._reading:
            return await asyncio.to_thread(self._look)

    def _look(self) -> dict[str, Run]:
        """The runs that have trained, the oldest first, by their keys."""
        found = (self._files.get(path) for path in self._folder.rglob("logs/session_*.json"))
        sessions = [session for session in found if session is not None]
        runs = runs_of(sorted(sessions, key=lambda session: (session.started, session.id, session.path)))
        trained = [run for run in runs if any("train" in session.work for session in run.sessions)]
        return {key(run): run for run in trained[-MOST_RUNS:]}

    async def _list(self, request: Request) -> Response:
        """GET /v1/status/sessions: each training with its best figures, and the flags by which they differ."""
        runs = list((await self._runs()).values())
        return await asyncio.to_thread(_listed, runs)

    async def _compared(self, request: Request) -> Response:
        """GET /v1/status/sessions/compared?run=KEY&run=KEY: epochs of each, and the flags by which they differ."""
        wanted = list(dict.fromkeys(request.query_params.getlist("run")))
        if not 1 <= len(wanted) <= MOST_CHOSEN:
            raise ServingError(f"name one to {MOST_CHOSEN} runs, as run=KEY", "bad_request", param="run")
        runs = await self._runs()
        if missing := [name for name in wanted if name not in runs]:
            raise ServingError(f"there is no run {missing[0][:100]!r}", "not_found")
        return await asyncio.to_thread(_side_by_side, [runs[name] for name in wanted])


def _listed(runs: Sequence[Run]) -> Response:
    flags = [settings(run) for run in runs]
    names = differing(flags)
    told = [
        {**_summary(run), "flags": {name: values.get(name, "") for name in names}}
        for run, values in zip(runs, flags, strict=True)
    ]
    return JSONResponse({"judged_by": _described(runs), "runs": told})


def _side_by_side(runs: Sequence[Run]) -> Response:
    flags = [settings(run) for run in runs]
    return JSONResponse(
        {
            "judged_by": _described(runs),
            "runs": [
                {"key": key(run), "epochs": [epoch.as_json(run.judged_by) for epoch in run.epochs]} for run in runs
            ],
            "differs": [
                {"flag": name, "values": [values.get(name, "") for values in flags]} for name in differing(flags)
            ],
        }
    )


def key(run: Run) -> str:
    """A name that no other run of the volume has."""
    return f"{run.sessions[0].folder.name}/{run.id}"


def _summary(run: Run) -> dict[str, Any]:
    last, best = run.sessions[-1], run.best
    return {
        "key": key(run),
        "name": last.folder.name,
        "status": last.status,
        "started": run.sessions[0].started,
        "sessions": len(run.sessions),
        "training_s": round(sum(session.training_s for session in run.sessions), 1),
        "epochs": len(run.epochs),
        "best": best.as_json(run.judged_by) if best.number else None,
        "clips": sum(found.clips for found in last.data if found.set == "train"),
        "device": last.device,
    }


def settings(run: Run) -> dict[str, str]:
    """The flags of the last session that came so far as to tell them; its own folder is "..." in them."""
    session = next((session for session in reversed(run.sessions) if session.flags), run.sessions[-1])
    own = session.checkpoint_dir or str(session.folder)
    return {name: shown(value, own) for name, value in session.flags.items()}


def differing(flags: Sequence[Mapping[str, str]]) -> list[str]:
    """The names of the flags that have not the same value everywhere, without the places of files.

    >>> differing([{"epochs": "3", "n_hidden": "8"}, {"epochs": "3", "n_hidden": "16", "checkpoint_dir": "b"}])
    ['n_hidden']
    """
    names = sorted({name for values in flags for name in values} - set(PLACES))
    return [name for name in names if len({values.get(name) for values in flags}) > 1]


def shown(value: Any, own: str) -> str:
    """A flag's value as a person writes it, with "..." for the run's own folder.

    >>> shown(["a/runs/7/dev.csv", "b.csv"], "a/runs/7"), shown(0.05, ""), shown(True, "")
    ('.../dev.csv,b.csv', '0.05', 'true')
    """
    if isinstance(value, list):
        text = ",".join(shown(part, own) for part in value)
    else:
        text = value if isinstance(value, str) else json.dumps(value)
        text = text.replace(own, "...") if own else text
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + " ..."


def _described(runs: Sequence[Run]) -> list[dict[str, Any]]:
    return [{"name": figure.name, "label": figure.label} for figure in figures_of_all(runs)]
