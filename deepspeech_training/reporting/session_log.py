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
import sys
import time
from pathlib import Path
from typing import Any

from deepspeech_training.reporting.messages import words
from deepspeech_training.version import VERSION

FORMAT = 1
MOST_MESSAGES = 2000  # of them the first and the last are kept
FIRST_MESSAGES = 500
WRITE_EVERY_S = 1.0
PROGRESS_EVERY_S = 10.0
AT_ONCE = frozenset({"start", "data", "epoch", "finished", "tested", "exported", "ended", "error"})
LEVEL_NAMES = ("debug", "info", "warning", "error")
# What an epoch's entry does without: it is said elsewhere in the file, or of use to the console only.
_NOT_OF_AN_EPOCH = {"event", "previous", "best_figures", "best_by", "epochs", "patience"}


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

    def continue_run(self, sessions: list[str]) -> list[str]:
        """Say which sessions of the same training came before; returns them with this one."""
        if sessions:
            self.update(run=sessions[0], continues=sessions[-1])
        return [*sessions, self.id]

    def take(self, event: dict[str, Any]) -> None:
        session, kind = self._session, event["event"]
        for level, message in words(event):
            self._dirty = True
            session["messages"].append(
                {"time": event["time"], "level": LEVEL_NAMES[level], "event": kind, "message": message}
            )
            if len(session["messages"]) > MOST_MESSAGES:
                del session["messages"][FIRST_MESSAGES]
                session["messages_left_out"] += 1
        handler = getattr(self, f"_on_{kind}", None)
        if handler is not None:
            handler({key: value for key, value in event.items() if key not in ("event", "time")})
            self._dirty = True
        self._write_if_due(at_once=kind in AT_ONCE, every_s=PROGRESS_EVERY_S if kind == "step" else WRITE_EVERY_S)

    def _on_start(self, event: dict[str, Any]) -> None:
        session = self._session
        session["versions"] |= {"tensorflow": event["tensorflow"], "keras": event["keras"]}
        session |= {key: event[key] for key in ("precision", "parameters", "n_hidden", "checkpoint_dir", "flags")}
        session |= {"device": event["devices"], "batches_per_epoch": event["batches_per_epoch"]}

    def _on_data(self, event: dict[str, Any]) -> None:
        self._session["data"] = event["sets"]

    def _on_resumed(self, event: dict[str, Any]) -> None:
        self._session["resumed"] = event

    def _on_step(self, event: dict[str, Any]) -> None:
        self._session["progress"] = event

    def _on_epoch(self, event: dict[str, Any]) -> None:
        self._session["epochs"].append({k: v for k, v in event.items() if k not in _NOT_OF_AN_EPOCH})
        self._session |= {"best_by": event["best_by"], "best_figures": event["best_figures"]}

    def _on_gpu(self, event: dict[str, Any]) -> None:
        self._session["gpus_now"] = event["gpus"]

    def _on_finished(self, event: dict[str, Any]) -> None:
        self._session["finished"] = event["reason"]

    def _on_outcome(self, event: dict[str, Any]) -> None:
        self._session["diagnosis"] = event["diagnosis"]

    def _on_tested(self, event: dict[str, Any]) -> None:
        self._session["tests"].append(event)

    def _on_exported(self, event: dict[str, Any]) -> None:
        self._session["exports"].append(event)

    def _on_ended(self, event: dict[str, Any]) -> None:
        self._session |= {**event, "ended": round(time.time(), 3), "progress": None}

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


def program() -> str:
    """What was called, such as "DeepSpeech.py"."""
    return Path(sys.argv[0]).name
