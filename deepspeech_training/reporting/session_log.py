"""The log of one call of the program: `logs/session_YYYYMMDD_HHMMSS.json`, one JSON object, whole at every moment.

It is fed by the one stream of events and holds what a person asks a week later: the command, the flags, versions, data
and device, every line that was shown, the figures of every epoch, and how the run ended. The file is replaced, never
written to, so that a kill leaves the one before; `sessions` reads them.
"""

import contextlib
import json
import os
import platform
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deepspeech_training.reporting.events import (
    DataChecked,
    Ended,
    EpochDone,
    ErrorNote,
    Event,
    Exported,
    Finished,
    GpusRead,
    Outcome,
    Resumed,
    SetTested,
    Started,
    StepDone,
    others,
)
from deepspeech_training.reporting.figures import Figure
from deepspeech_training.reporting.messages import words
from deepspeech_training.version import VERSION

FORMAT = 1
MOST_MESSAGES = 2000  # of them the first and the last are kept
FIRST_MESSAGES = 500
WRITE_EVERY_S = 1.0
PROGRESS_EVERY_S = 10.0
AT_ONCE = (Started, DataChecked, EpochDone, Finished, SetTested, Exported, Ended, ErrorNote)
LEVEL_NAMES = ("debug", "info", "warning", "error")
# What an epoch's entry does without: it is said elsewhere in the file, or of use to the console only.
_NOT_OF_AN_EPOCH = ("previous", "best_figures", "best_by", "epochs", "patience")


class SessionLog:
    """A sink that keeps one file up to date.

    A log that cannot be written does not end a run: `fault` says what was wrong, and nothing more is written.

    Args:
        folder: of the logs; made if it is missing.
        head: what is known from the start, JSON values.
    """

    def __init__(self, folder: Path, **head: Any):
        self.fault = ""
        self._last_write = 0.0
        self._dirty = False
        now = time.time()
        self.id = time.strftime("%Y%m%d_%H%M%S", time.localtime(now))
        self._session: dict[str, Any] = {
            "format": FORMAT,
            "id": self.id,
            "run": self.id,
            "continues": None,
            "status": "running",
            "started": round(now, 3),
            "updated": round(now, 3),
            "ended": None,
            "exit_code": None,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "versions": {"deepspeech_training": VERSION, "python": platform.python_version()},
            "git_revision": git_revision(),
            **head,
            "data": [],
            "epochs": [],
            "progress": None,
            "tests": [],
            "exports": [],
            "messages": [],
            "messages_left_out": 0,
        }
        self.path = folder / f"session_{self.id}.json"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._take_a_name()
        except OSError as error:
            self.fault = f"{folder}: no session log can be kept there ({error.strerror})"

    def _take_a_name(self) -> None:
        """Make the file, under a name that no other process of the same second has."""
        number, first_id = 1, self.id
        while True:
            beside = self._write_beside()
            try:
                os.link(beside, self.path)
                beside.unlink()
                return
            except FileExistsError:
                beside.unlink()
                number += 1
                self.id = f"{first_id}_{number}"
                self._session["id"] = self._session["run"] = self.id
                self.path = self.path.with_name(f"session_{self.id}.json")
            except OSError:  # a file system without hard links
                os.replace(beside, self.path)
                return

    def update(self, **fields: Any) -> None:
        """Set fields of the session that no event brings."""
        self._session |= fields
        self._dirty = True
        self._write_if_due(at_once=True)

    def continue_run(self, sessions: Sequence[str]) -> list[str]:
        """Say which sessions of the same training came before; returns them with this one."""
        if sessions:
            self.update(run=sessions[0], continues=sessions[-1])
        return [*sessions, self.id]

    def take(self, event: Event) -> None:
        session = self._session
        for level, message in words(event):
            self._dirty = True
            session["messages"].append(
                {"time": event.time, "level": LEVEL_NAMES[level], "event": event.kind, "message": message}
            )
            if len(session["messages"]) > MOST_MESSAGES:
                del session["messages"][FIRST_MESSAGES]
                session["messages_left_out"] += 1
        changes = self._changes(event)
        if changes:
            session |= changes
            self._dirty = True
        every_s = PROGRESS_EVERY_S if isinstance(event, StepDone) else WRITE_EVERY_S
        self._write_if_due(at_once=isinstance(event, AT_ONCE), every_s=every_s)

    def _changes(self, event: Event) -> dict[str, Any]:
        """The fields of the session that an event changes."""
        session = self._session
        match event:
            case Started():
                told = _fields(event)
                return {
                    "versions": {**session["versions"], **event.versions},
                    **{key: told[key] for key in ("precision", "parameters", "checkpoint_dir", "flags")},
                    **event.size,
                    "device": event.devices,
                    "batches_per_epoch": event.batches_per_epoch,
                }
            case DataChecked():
                return {"data": _fields(event)["sets"]}
            case Resumed():
                return {"resumed": _fields(event)}
            case StepDone():
                return {"progress": _fields(event)}
            case EpochDone():
                epochs = [*session["epochs"], others(_fields(event), *_NOT_OF_AN_EPOCH)]
                best = {"best_by": event.figures.best_by, "best_figures": event.figures.best_figures}
                return {"epochs": epochs, **best, "judged_by": _described(event.judged_by)}
            case GpusRead():
                return {"gpus_now": _fields(event)["gpus"]}
            case Finished():
                return {"finished": event.reason}
            case Outcome():
                return {"diagnosis": list(event.diagnosis)}
            case SetTested():
                return {"tests": [*session["tests"], _fields(event)], "judged_by": _described(event.judged_by)}
            case Exported():
                return {"exports": [*session["exports"], _fields(event)]}
            case Ended():
                return {**_fields(event), "ended": event.time, "progress": None}
        return {}

    def close(self) -> None:
        self._write_if_due(at_once=True)

    def _write_if_due(self, *, at_once: bool, every_s: float = WRITE_EVERY_S) -> None:
        elapsed = time.monotonic() - self._last_write
        if self.fault or not self._dirty or (elapsed < every_s and not at_once):
            return
        try:
            os.replace(self._write_beside(), self.path)
        except OSError as error:
            self.fault = f"{self.path} cannot be written ({error.strerror})"
            with contextlib.suppress(OSError):
                self._beside.unlink(missing_ok=True)

    @property
    def _beside(self) -> Path:
        return self.path.with_name(f".{self.path.name}.{os.getpid()}.part")

    def _write_beside(self) -> Path:
        self._session["updated"] = round(time.time(), 3)
        # A line for each field: json's own indentation is several times slower, and a long run has many epochs.
        fields = [f'"{name}": {json.dumps(value, ensure_ascii=False)}' for name, value in self._session.items()]
        self._beside.write_text("{\n" + ",\n".join(fields) + "\n}\n", encoding="utf-8")
        self._last_write, self._dirty = time.monotonic(), False
        return self._beside


def _fields(event: Event) -> dict[str, Any]:
    return others(event.as_json(), "event", "time")


def _described(figures: Sequence[Figure]) -> list[dict[str, Any]]:
    return [figure.as_json() for figure in figures]


def git_revision() -> str:
    """The commit of the code, from the image it is in or from its git folder; empty where neither is there."""
    if os.environ.get("DEEPSPEECH_REVISION"):
        return os.environ["DEEPSPEECH_REVISION"]
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return ""
    try:
        command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return found.stdout.strip()
