"""Session logs, read: the sessions of a folder, and the runs that they form.

Sessions that resumed each other's checkpoints are one run: their epochs form one history, in which an epoch that was
trained again after a kill counts once.
"""

import fcntl
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.reporting.events import SetSummary
from deepspeech_training.reporting.figures import LOSS, Figure, decisive, figures_of
from deepspeech_training.reporting.history import Epoch

MAX_LOG_BYTES = 1 << 28


@dataclass(frozen=True)
class Line:
    """A line that was shown; `event` is the kind of the event that it came of."""

    time: float
    level: str
    event: str
    text: str


@dataclass(frozen=True)
class Session:
    """What a session log says; empty where it does not.

    Args:
        path: of the log.
        run: the id of the first session of the same training.
        continues: the id of the session before this one.
        last_status: what the log says, which of a killed session is "running".
        started, updated, ended: seconds since 1970.
        work: "train", "test" ...
        data: each set of clips.
        epochs: those that it finished.
        training_s: what they took.
        tests: the figures of each test file.
        judged_by: the figures of its task.
        lines: what it said; of very many the first and the last.
        message: with what it ended.
    """

    path: Path
    id: str
    run: str
    continues: str | None
    last_status: str
    started: float
    updated: float
    ended: float | None
    exit_code: int | None
    command: str
    host: str
    pid: int
    working_folder: str
    checkpoint_dir: str
    work: tuple[str, ...]
    flags: Mapping[str, Any]
    versions: Mapping[str, str]
    git_revision: str
    device: str
    precision: str
    data: tuple[SetSummary, ...]
    epochs: tuple[Epoch, ...]
    training_s: float
    tests: Mapping[str, Mapping[str, float]]
    judged_by: tuple[Figure, ...]
    lines: tuple[Line, ...]
    message: str

    @property
    def folder(self) -> Path:
        """The one that has the logs, which is as a rule that of the checkpoints."""
        return self.path.parent.parent

    @property
    def took_s(self) -> float:
        return (self.ended or self.updated) - self.started

    @property
    def best(self) -> Epoch:
        return best_epoch(self.epochs, self.judged_by)

    @property
    def status(self) -> str:
        """How it ended; "killed" where the log says that it runs and no process does."""
        return "killed" if self.last_status == "running" and not self._is_alive() else self.last_status

    def _is_alive(self) -> bool:
        """Whether the checkpoint folder is locked by a training, or else the process is there."""
        lock = Path(self.checkpoint_dir) / ".lock"
        if not lock.exists():  # the folder has moved, or its path counts from elsewhere
            lock = next(iter(self.folder.glob("**/.lock")), lock)
        if "train" in self.work and lock.exists():
            try:
                with open(lock) as file:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
            except BlockingIOError:  # of those that say they run, only the last one can hold the lock
                return self.pid == read_session(max(self.path.parent.glob("session_*.json"))).pid
            except OSError:
                pass  # a file system without locks
        return self.host == socket.gethostname() and Path(f"/proc/{self.pid}").exists()


@dataclass(frozen=True)
class Run:
    """Sessions of one training, in their order."""

    sessions: tuple[Session, ...]

    @property
    def id(self) -> str:
        return self.sessions[0].run

    @property
    def epochs(self) -> tuple[Epoch, ...]:
        """One entry for each epoch: the last time that it was trained."""
        found = {epoch.number: epoch for session in self.sessions for epoch in session.epochs}
        return tuple(found[number] for number in sorted(found))

    @property
    def judged_by(self) -> tuple[Figure, ...]:
        return self.sessions[-1].judged_by

    @property
    def best(self) -> Epoch:
        return best_epoch(self.epochs, self.judged_by)


def best_epoch(epochs: Sequence[Epoch], judged_by: Sequence[Figure]) -> Epoch:
    """The best by the figure that decides, and where that is equal by the dev loss; an empty one without epochs."""
    figure = decisive(judged_by)

    def rank(epoch: Epoch) -> tuple[float, float]:
        return figure.rank(epoch.values.get(figure.name)), LOSS.rank(epoch.dev_loss)

    return min(epochs, key=rank, default=Epoch(0))


def runs_of(sessions: Sequence[Session]) -> list[Run]:
    """The sessions by run, the oldest run first."""
    by_run: dict[tuple[Path, str], list[Session]] = {}
    for session in sessions:
        by_run.setdefault((session.path.parent, session.run), []).append(session)
    return [Run(tuple(found)) for found in by_run.values()]


def find_sessions(folder: Path, console: Console) -> list[Session]:
    """Every session log below a folder, the oldest first; one that cannot be read is named and passed over.

    Raises:
        UserError: there is no such folder.
    """
    if folder.is_file():
        return [read_session(folder)]
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = []
    for path in folder.rglob("session_*.json"):
        if path.parent.name != "logs":
            continue
        try:
            found.append(read_session(path))
        except UserError as error:
            console.warn(str(error))
    return sorted(found, key=lambda session: (session.started, session.id))


def all_sessions(folder: Path, console: Console) -> list[Session]:
    """As `find_sessions`.

    Raises:
        UserError: there is none.
    """
    sessions = find_sessions(folder, console)
    if not sessions:
        raise UserError(f"{folder}: no session logs (logs/session_*.json) below it; name a folder with --dir")
    return sessions


def read_session(path: Path) -> Session:
    """Read one log.

    Raises:
        UserError: it cannot be read, or is a file of another kind.
    """
    try:
        if path.stat().st_size > MAX_LOG_BYTES:
            raise ValueError("it is larger than any session log")
        return _session(path, json.loads(path.read_bytes()))
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a session log ({error!r})") from error


def _session(path: Path, values: Mapping[str, Any]) -> Session:
    return Session(
        path=path,
        id=_a(str, values["id"]),
        run=_a(str, values["run"]),
        continues=values["continues"],
        last_status=_a(str, values["status"]),
        started=float(values["started"]),
        updated=float(values["updated"]),
        ended=values["ended"],
        exit_code=values["exit_code"],
        command=_a(str, values["command"]),
        host=_a(str, values["host"]),
        pid=_a(int, values["pid"]),
        working_folder=values.get("working_folder", ""),
        checkpoint_dir=values.get("checkpoint_dir", ""),
        work=tuple(_a(str, work) for work in values["work"]),
        flags=_a(dict, values["flags"]),
        versions=_a(dict, values["versions"]),
        git_revision=values.get("git_revision", ""),
        device=values.get("device", ""),
        precision=values.get("precision", ""),
        data=tuple(SetSummary.from_json(found) for found in values["data"]),
        epochs=tuple(Epoch.of_history(figures) for figures in values["epochs"]),
        training_s=sum(figures["seconds"] for figures in values["epochs"]),
        tests={_a(str, test["csv"]): test for test in values["tests"]},
        judged_by=figures_of(values),
        lines=tuple(Line(m["time"], m["level"], m["event"], _a(str, m["message"])) for m in values["messages"]),
        message=values.get("message", ""),
    )


T = TypeVar("T")


def _a(kind: type[T], value: Any) -> T:
    """The value, which must be of this kind."""
    if not isinstance(value, kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value
