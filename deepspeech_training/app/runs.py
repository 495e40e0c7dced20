"""The runs on a volume, from what lies beside their checkpoints, wherever and whenever they were trained."""

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from deepspeech_training.app.session_files import SessionFiles
from deepspeech_training.reporting.run_log import RunLog
from deepspeech_training.reporting.sessions import Session

EVENTS_FILE = "events.jsonl"
LATELY_S = 120.0  # on a file system without locks, a run that has written within this time is running
SESSIONS_LOOKED_AT = 20

State = Literal["running", "ended", "failed", "stopped"]


@dataclass(frozen=True)
class Ending:
    """How far a run is.

    Args:
        state: "ended" is a training that has done what it had to, "stopped" one that was told to end or was killed.
        message: why, as far as anything is known.
    """

    state: State
    message: str = ""


class FoundRun:
    """A run in a folder of checkpoints, which may be running in another process or on another machine.

    Attributes:
        log: what it has said; whether it ended, failed or was killed is in the log of its session, and in `ending`.
        told: the figures of the log, as they were read last.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.log = RunLog(folder / EVENTS_FILE)
        self.ending = Ending("stopped")
        self.told: dict[str, Any] = self.log.as_json()
        self._session_files = SessionFiles()

    @property
    def name(self) -> str:
        return self.folder.resolve().name

    @property
    def written(self) -> float:
        """When the log was last written, seconds since 1970; 0 where there is none any more."""
        try:
            return (self.folder / EVENTS_FILE).stat().st_mtime
        except OSError:
            return 0.0

    def read(self) -> None:
        """Take in what is new."""
        held = _is_locked(self.folder / ".lock")  # before the log, whose end is written before the lock is given back
        self.log.read()
        self.told = self.log.as_json()
        session = None if held else self._last_training()
        is_over = self.told["finished"] if session is None else session.last_status != "running"
        if held or (held is None and time.time() - self.written < LATELY_S and not is_over):
            self.ending = Ending("running")
        else:
            self.ending = _ending(self.told, session)

    def _last_training(self) -> Session | None:
        """The last session that trained here; its log is beside the folder where --output_dir was given."""
        logs = [*(self.folder / "logs").glob("session_*.json"), *(self.folder.parent / "logs").glob("session_*.json")]
        for path in sorted(logs, key=lambda path: path.name, reverse=True)[:SESSIONS_LOOKED_AT]:
            session = self._session_files.get(path)
            if session is None or "train" not in session.work:
                continue
            if path.parent.parent == self.folder or Path(session.checkpoint_dir).name == self.folder.name:
                return session
        return None

    def as_json(self) -> dict[str, Any]:
        """All that is known of it."""
        return {
            "name": self.name,
            "folder": str(self.folder),
            "state": self.ending.state,
            "message": self.ending.message,
            "written": round(self.written, 3),
            **self.told,
            "log": self.log.lines(),
        }


def find_runs(folder: Path) -> list[FoundRun]:
    """The run in a folder of checkpoints and those in the folders in it; the one that was written last comes first."""
    try:
        folders = [folder, *(path for path in folder.iterdir() if os.path.isdir(path))]
    except OSError:
        return []
    runs = [FoundRun(path) for path in folders if os.path.isfile(path / EVENTS_FILE)]  # not of a folder of others
    return sorted(runs, key=lambda run: run.written, reverse=True)


def _is_locked(lock: Path) -> bool | None:
    """Whether a training holds the lock of its folder; None where that cannot be told."""
    try:
        with open(lock) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, it is another user's, or the file system has no locks
        return None
    return False


def _ending(told: dict[str, Any], session: Session | None) -> Ending:
    """How a run has ended that is not running."""
    if session is not None and session.last_status in ("failed", "crashed"):
        return Ending("failed", session.message or f"it has crashed; {session.path} says more")
    if told["finished"] or (session is not None and session.last_status == "done"):
        return Ending("ended", (told["finished"] or {}).get("reason", ""))
    if session is not None and session.last_status == "interrupted":
        return Ending("stopped", "it was told to stop, and has saved; the same command resumes")
    if session is not None and session.last_status == "running":
        return Ending("stopped", "its process was killed; the same command resumes from the last checkpoint")
    return Ending("stopped", "nothing trains there any more; no session log says why")
