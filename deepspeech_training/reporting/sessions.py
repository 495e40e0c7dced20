"""The command `sessions`: the session logs of a folder -> a list, a comparison, the story of one, curves.

Sessions that went on from each other's checkpoints are one run: their epochs form one history, in which an epoch that
was trained again after a kill counts once.
"""

import argparse
import base64
import fcntl
import html
import io
import json
import os
import socket
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.console import Console
from deepspeech_training.errors import EXIT_OK, UserError
from deepspeech_training.reporting.figures import LOSS, Figure, decisive, figures_of, figures_text
from deepspeech_training.reporting.history import Epoch
from deepspeech_training.reporting.messages import duration

DEFAULT_FOLDER = "persistent-data"
MAX_LOG_BYTES = 1 << 28
MESSAGES_SHOWN = 40
EPOCHS_SHOWN = 20


@dataclass(frozen=True)
class SessionFile:
    """A session log that has been read; `values` is its JSON object."""

    path: Path
    values: dict[str, Any]

    @property
    def id(self) -> str:
        return self.values["id"]

    @property
    def run(self) -> str:
        return self.values["run"]

    @property
    def epochs(self) -> list[Epoch]:
        return [Epoch.of_history(figures) for figures in self.values["epochs"]]

    @property
    def judged_by(self) -> tuple[Figure, ...]:
        """The figures of its task."""
        return figures_of(self.values)

    @property
    def best(self) -> Epoch:
        return _best(self.epochs, self.judged_by)

    @property
    def status(self) -> str:
        """How it ended; "killed" where the log says that it runs and no process does."""
        status = self.values["status"]
        return "killed" if status == "running" and not self._is_alive() else status

    def _is_alive(self) -> bool:
        """Whether the checkpoint folder is locked by a training, or else the process is there."""
        lock = Path(self.values.get("checkpoint_dir", "")) / ".lock"
        if not lock.exists():  # the folder has moved, or its path counts from elsewhere
            lock = next(iter(self.path.parent.parent.glob("**/.lock")), lock)
        if "train" in self.values["work"] and lock.exists():
            try:
                with open(lock) as file:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return False
            except BlockingIOError:
                return self.values["pid"] == _newest_pid(self.path.parent)
            except OSError:
                pass  # a file system without locks
        return self.values["host"] == socket.gethostname() and Path(f"/proc/{self.values['pid']}").exists()


def _newest_pid(folder: Path) -> int | None:
    """The process of the last session in a folder: of those that say they run, only that one can hold the lock."""
    paths = sorted(folder.glob("session_*.json"))
    return _read(paths[-1]).values["pid"] if paths else None


@dataclass(frozen=True)
class Run:
    """Sessions of one training, in their order."""

    id: str
    sessions: tuple[SessionFile, ...]

    @property
    def epochs(self) -> list[Epoch]:
        """One entry for each epoch: the last time that it was trained."""
        found: dict[int, Epoch] = {}
        for session in self.sessions:
            found |= {epoch.number: epoch for epoch in session.epochs}
        return [found[number] for number in sorted(found)]

    @property
    def judged_by(self) -> tuple[Figure, ...]:
        return self.sessions[-1].judged_by

    @property
    def best(self) -> Epoch:
        return _best(self.epochs, self.judged_by)


def _best(epochs: Sequence[Epoch], judged_by: Sequence[Figure]) -> Epoch:
    """By the figure that decides, and where that is equal by the dev loss; an empty one without epochs."""
    figure = decisive(judged_by)

    def rank(epoch: Epoch) -> tuple[float, float]:
        return figure.rank(epoch.values.get(figure.name)), LOSS.rank(epoch.dev_loss)

    return min(epochs, key=rank, default=Epoch(0))


def find_sessions(folder: Path, console: Console) -> list[SessionFile]:
    """Every session log below a folder, the oldest first; one that cannot be read is named and passed over.

    Raises:
        UserError: there is no such folder.
    """
    if folder.is_file():
        return [_read(folder)]
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    found = []
    for path in folder.rglob("session_*.json"):
        if path.parent.name != "logs":
            continue
        try:
            found.append(_read(path))
        except UserError as error:
            console.warn(str(error))
    return sorted(found, key=lambda session: (session.values["started"], session.id))


def _read(path: Path) -> SessionFile:
    try:
        if path.stat().st_size > MAX_LOG_BYTES:
            raise ValueError("it is larger than any session log")
        values = json.loads(path.read_bytes())
        session = SessionFile(path, values)
        # What is used below, so that a file of another kind is found out here.
        _ = session.id + session.run + values["command"] + values["host"], session.epochs, values["status"]
        _ = float(values["started"]), float(values["updated"]), int(values["pid"]), list(values["messages"])
        _ = dict(values["flags"]), [data["csv"] for data in values["data"]], list(values["work"])
        return session
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{path}: not a session log ({error!r})") from error


def runs_of(sessions: Sequence[SessionFile]) -> list[Run]:
    """The sessions by run, the oldest run first."""
    by_run: dict[str, list[SessionFile]] = {}
    for session in sessions:
        by_run.setdefault(f"{session.path.parent}\0{session.run}", []).append(session)
    return [Run(found[0].run, tuple(found)) for found in by_run.values()]


# --- the command -------------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code."""
    flags = _parser().parse_args(argv)
    console = Console()
    try:
        sessions = find_sessions(Path(flags.dir), console)
        if not sessions:
            raise UserError(f"{flags.dir}: no session logs (logs/session_*.json) below it; name a folder with --dir")
        for line in {"list": _list, "show": _show, "compare": _compare, "plot": _plot}[flags.command](sessions, flags):
            print(line)
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except BrokenPipeError:  # whoever read stdout has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sessions",
        description="What was run here: the session logs, listed, compared and plotted.",
        allow_abbrev=False,
        epilog="Example: bin/sessions plot --output curves.html",
    )
    parser.add_argument(
        "--dir", default=DEFAULT_FOLDER, metavar="DIR", help=f"look for logs below it (default {DEFAULT_FOLDER})"
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    parser.set_defaults(command="list")
    commands.add_parser("list", help="a line for each session, by run (what happens without a command)")
    for name, help_text, count in (
        ("show", "what a session did, and what it said", None),
        ("compare", "two or more sessions or runs side by side: flags that differ, and figures", "+"),
        ("plot", "curves of the losses and error rates", "*"),
    ):
        command = commands.add_parser(name, help=help_text)
        command.add_argument("ids", nargs=count, metavar="ID", help="as in the list, or its beginning")
        if name == "plot":
            command.add_argument("--output", default="sessions.html", metavar="FILE", help=".html or .png")
    return parser


def _list(sessions: Sequence[SessionFile], _flags: argparse.Namespace) -> Iterator[str]:
    figures = _figures_of_all(sessions)
    labels = _cells("dev loss", [figure.label for figure in figures], figures)
    yield f"{'session':<18} {'status':<12} {'started':<16} {'took':>9} {'epochs':>9} {labels}  work, folder"
    for run in runs_of(sessions):
        for session in run.sessions:
            values, epochs = session.values, session.epochs
            span = f"{epochs[0].number}-{epochs[-1].number}" if epochs else "-"
            best = session.best
            indent = "  " if session is not run.sessions[0] else ""
            yield (
                f"{indent + session.id:<18} {session.status:<12} {_clock(values['started'])} "
                f"{duration((values['ended'] or values['updated']) - values['started']):>9} {span:>9} "
                f"{_cells(_loss(best.dev_loss), [f.text(best.values.get(f.name)) for f in figures], figures)}  "
                f"{','.join(values['work'])} {_folder_of(session)}"
            )
        if len(run.sessions) > 1:
            epochs = run.epochs
            yield f"  one run of {len(run.sessions)} sessions, {len(epochs)} epochs"


def _show(sessions: Sequence[SessionFile], flags: argparse.Namespace) -> Iterator[str]:
    session = _chosen(sessions, flags.ids)
    values = session.values
    yield f"{session.id}: {session.status}" + (f", exit code {values['exit_code']}" if values["ended"] else "")
    yield f"Log       {session.path}"
    yield f"Command   {values['command']}"
    yield f"Where     {values['host']}, {values.get('working_folder', '')}"
    versions = ", ".join(f"{name} {version}" for name, version in values["versions"].items())
    yield f"Versions  {versions}" + (f", git {values['git_revision'][:12]}" if values.get("git_revision") else "")
    if values.get("device"):
        yield f"Device    {values['device']}; {values['precision']}"
    for data in values["data"]:
        yield f"Data      {data['set']:<8}{data['clips']:>8,} clips {data['hours']:9.3f} h  {data['csv']}"
    if values["run"] != session.id:
        yield f"Run       {values['run']}, goes on from session {values['continues']}"
    epochs = session.epochs
    every = -(-len(epochs) // EPOCHS_SHOWN)
    for epoch in epochs:
        if epoch.number % every == 0 or epoch is epochs[-1]:
            losses = f"train loss {_loss(epoch.train_loss):>9}  dev loss {_loss(epoch.dev_loss):>9}"
            rates = "".join(f"  {f.label} {f.text(epoch.values.get(f.name)):>6}" for f in session.judged_by)
            yield f"Epoch {epoch.number:>5}  {losses}{rates}"
    messages = [m for m in values["messages"] if m["event"] != "epoch"]
    if len(messages) > MESSAGES_SHOWN:
        yield f"... {len(messages) - MESSAGES_SHOWN} messages before; the log has them"
    for message in messages[-MESSAGES_SHOWN:]:
        lines = message["message"].splitlines() or [""]
        yield f"{_clock(message['time'])[11:]} {message['level']:<8} {lines[0]}"
        yield from (f"{'':<14} {line}" for line in lines[1:])
    if values.get("message"):
        yield f"Ended     {values['message']}"


def _compare(sessions: Sequence[SessionFile], flags: argparse.Namespace) -> Iterator[str]:
    chosen = [_chosen(sessions, text) for text in flags.ids]
    runs = {(run.sessions[0].path.parent, run.id): run for run in runs_of(sessions)}
    figures = _figures_of_all(chosen)
    columns = [_column(session, runs[session.path.parent, session.run], figures) for session in chosen]
    differing = {name for name in columns[0] if len({column[name] for column in columns}) > 1}
    always = ("status", "epochs", "best dev loss", "train loss", *(f"best {figure.label}" for figure in figures))
    rows = [name for name in columns[0] if name in differing or name in always]
    names = sorted({name for session in chosen for name in session.values["flags"]})
    table = [("", *(session.id for session in chosen))]
    table += [(name, *(column[name] for column in columns)) for name in rows]
    for name in names:
        values = [json.dumps(session.values["flags"].get(name), ensure_ascii=False) for session in chosen]
        if len(set(values)) > 1:
            table.append((f"--{name}", *values))
    widths = [max(len(row[place]) for row in table) for place in range(len(chosen) + 1)]
    for row in table:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _column(session: SessionFile, run: Run, figures: Sequence[Figure]) -> dict[str, str]:
    """What is compared of a session and of the run that it belongs to."""
    values, epochs, best = session.values, run.epochs, run.best
    tests = {test["csv"]: figures_text(test, session.judged_by) for test in values["tests"]}
    return {
        "status": session.status,
        "run": session.run,
        "epochs": str(len(epochs)),
        "best epoch": str(best.number or "-"),
        "best dev loss": _loss(best.dev_loss),
        **{f"best {figure.label}": figure.text(best.values.get(figure.name)) for figure in figures},
        "train loss": _loss(epochs[-1].train_loss if epochs else None),
        "training time": duration(sum(e["seconds"] for s in run.sessions for e in s.values["epochs"])),
        "tests": "; ".join(f"{csv} {figures}" for csv, figures in tests.items()) or "-",
        "data": " ".join(f"{data['set']}:{data['fingerprint']}" for data in values["data"]) or "-",
        "device": values.get("device", "-"),
        "versions": " ".join(values["versions"].values()),
        "git revision": values.get("git_revision") or "-",
    }


def _chosen(sessions: Sequence[SessionFile], text: str) -> SessionFile:
    """The one session whose id begins so; "last" is the newest."""
    if text == "last":
        return sessions[-1]
    exact = [session for session in sessions if session.id == text]
    found = exact or [session for session in sessions if session.id.startswith(text)]
    if len(found) == 1:
        return found[0]
    if not found:
        raise UserError(f"{text}: no session has this id; `sessions list` shows them")
    where = "\n".join(f"  {session.id}  {session.path}" for session in found[:10])
    raise UserError(f"{text}: {len(found)} sessions begin so; write more of the id, or narrow --dir:\n{where}")


def _figures_of_all(found: Iterable[SessionFile | Run]) -> list[Figure]:
    """Those of the tasks of all sessions, without repeats."""
    return list(dict.fromkeys(figure for one in found for figure in one.judged_by))


def _cells(loss: str, values: Sequence[str], figures: Sequence[Figure]) -> str:
    """Texts for the dev loss and for the figures, in columns."""
    widths = [max(6, len(figure.label)) for figure in figures]
    return " ".join([f"{loss:>9}", *(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))])


def _loss(value: float | None) -> str:
    return LOSS.text(value, digits=3)


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if len(str(int(seconds))) < 12 else "?"


def _folder_of(session: SessionFile) -> str:
    return str(session.path.parent.parent)


# --- curves ------------------------------------------------------------------------------------------------------


def _plot(sessions: Sequence[SessionFile], flags: argparse.Namespace) -> Iterator[str]:
    wanted = [_chosen(sessions, text) for text in flags.ids] or list(sessions)
    keys = {(session.path.parent, session.run) for session in wanted}
    runs = [run for run in runs_of(sessions) if (run.sessions[0].path.parent, run.id) in keys and run.epochs]
    if not runs:
        raise UserError("none of these sessions has finished an epoch: there is nothing to plot")
    output = Path(flags.output)
    if output.suffix not in (".html", ".png"):
        raise UserError(f"--output {output}: must end in .html or .png")
    picture = draw(runs)
    if output.suffix == ".html":
        write_atomically(output, [_page(runs, picture).encode()])
    else:
        write_atomically(output, [picture])
    yield f"{output}: {len(runs)} runs, {sum(len(run.epochs) for run in runs)} epochs"


def draw(runs: Sequence[Run]) -> bytes:
    """A PNG with the losses and figures of runs by epoch; a line shows where a session resumed another.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        import matplotlib

        matplotlib.use("agg")
        from matplotlib import pyplot
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise UserError(
            "plots need matplotlib, which is not installed: pip install 'deepspeech_training[tools]'"
        ) from error
    judged_by = _figures_of_all(runs)
    picture, axes = pyplot.subplots(1, 1 + len(judged_by), figsize=(5 * (1 + len(judged_by)), 5), layout="constrained")
    for number, run in enumerate(runs):
        color, epochs = f"C{number % 10}", run.epochs
        numbers = [epoch.number for epoch in epochs]
        label = f"{run.id}  {Path(_folder_of(run.sessions[0])).name}"
        marker = "o" if len(epochs) == 1 else ""
        axes[0].plot(numbers, [e.train_loss for e in epochs], color=color, linestyle=":", marker=marker)
        curves = [[e.dev_loss for e in epochs], *([e.values.get(f.name) for e in epochs] for f in judged_by)]
        for axis, values in zip(axes, curves, strict=True):
            axis.plot(
                numbers, [float("nan") if v is None else v for v in values], color=color, marker=marker, label=label
            )
            for session in run.sessions[1:]:
                if session.epochs:
                    axis.axvline(session.epochs[0].number - 0.5, color=color, linewidth=0.8, alpha=0.4)
    titles = ["loss (dotted: train, solid: dev)", *(f"dev {figure.label}" for figure in judged_by)]
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.set_ylim(bottom=0)
    axes[-1].legend(fontsize=8)
    png = io.BytesIO()
    picture.savefig(png, format="png", dpi=110)
    pyplot.close(picture)
    return png.getvalue()


def _page(runs: Sequence[Run], picture: bytes) -> str:
    """One HTML file with nothing outside of it."""
    rows, figures = [], _figures_of_all(runs)
    for run in runs:
        best, last = run.best, run.sessions[-1]
        cells = [
            run.id,
            _folder_of(last),
            str(len(run.sessions)),
            last.status,
            str(len(run.epochs)),
            str(best.number),
            _loss(best.dev_loss),
            *(figure.text(best.values.get(figure.name)) for figure in figures),
        ]
        rows.append("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in cells) + "</tr>")
    titles = ["run", "folder", "sessions", "status", "epochs", "best epoch", "dev loss", *(f.label for f in figures)]
    head = "".join(f"<th>{html.escape(title)}</th>" for title in titles)
    image = base64.b64encode(picture).decode()
    return (
        '<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>Training sessions</title>\n'
        "<style>body{font-family:sans-serif;margin:2em}img{max-width:100%}td,th{padding:.2em .8em;text-align:left}"
        "tr:nth-child(even){background:#f2f2f2}</style>\n"
        f'<h1>Training sessions</h1>\n<img alt="losses and figures by epoch" src="data:image/png;base64,{image}">\n'
        f"<table><tr>{head}</tr>\n" + "\n".join(rows) + "\n</table></html>\n"
    )


if __name__ == "__main__":
    sys.exit(main())
