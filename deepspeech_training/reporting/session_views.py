"""What `sessions` says of session logs: a list, the story of one, a comparison."""

import json
import time
from collections.abc import Iterable, Iterator, Sequence

from deepspeech_training.errors import UserError
from deepspeech_training.reporting.figures import LOSS, Figure, figures_text
from deepspeech_training.reporting.messages import duration
from deepspeech_training.reporting.sessions import Run, Session, runs_of

LINES_SHOWN = 40
EPOCHS_SHOWN = 20


def listed(sessions: Sequence[Session]) -> Iterator[str]:
    """A line for each session, by run."""
    figures = figures_of_all(sessions)
    labels = _cells("dev loss", [figure.label for figure in figures], figures)
    yield f"{'session':<18} {'status':<12} {'started':<16} {'took':>9} {'epochs':>9} {labels}  work, folder"
    for run in runs_of(sessions):
        for session in run.sessions:
            epochs, best = session.epochs, session.best
            span = f"{epochs[0].number}-{epochs[-1].number}" if epochs else "-"
            indent = "  " if session is not run.sessions[0] else ""
            values = [figure.text(best.values.get(figure.name)) for figure in figures]
            yield (
                f"{indent + session.id:<18} {session.status:<12} {_clock(session.started)} "
                f"{duration(session.took_s):>9} {span:>9} {_cells(loss_text(best.dev_loss), values, figures)}  "
                f"{','.join(session.work)} {session.folder}"
            )
        if len(run.sessions) > 1:
            yield f"  one run of {len(run.sessions)} sessions, {len(run.epochs)} epochs"


def story(session: Session) -> Iterator[str]:
    """What a session did, and what it said."""
    yield f"{session.id}: {session.status}" + (f", exit code {session.exit_code}" if session.ended else "")
    yield f"Log       {session.path}"
    yield f"Command   {session.command}"
    yield f"Where     {session.host}, {session.working_folder}"
    versions = ", ".join(f"{name} {version}" for name, version in session.versions.items())
    yield f"Versions  {versions}" + (f", git {session.git_revision[:12]}" if session.git_revision else "")
    if session.device:
        yield f"Device    {session.device}; {session.precision}"
    for data in session.data:
        yield f"Data      {data.set:<8}{data.amount}  {data.csv}"
    if session.run != session.id:
        yield f"Run       {session.run}, resumed from session {session.continues}"
    every = -(-len(session.epochs) // EPOCHS_SHOWN)
    for epoch in session.epochs:
        if epoch.number % every == 0 or epoch is session.epochs[-1]:
            losses = f"train loss {loss_text(epoch.train_loss):>9}  dev loss {loss_text(epoch.dev_loss):>9}"
            rates = "".join(f"  {f.label} {f.text(epoch.values.get(f.name)):>6}" for f in session.judged_by)
            yield f"Epoch {epoch.number:>5}  {losses}{rates}"
    lines = [line for line in session.lines if line.event != "epoch"]
    if len(lines) > LINES_SHOWN:
        yield f"... {len(lines) - LINES_SHOWN} messages before; the log has them"
    for line in lines[-LINES_SHOWN:]:
        first, *others = line.text.splitlines() or [""]
        yield f"{_clock(line.time)[11:]} {line.level:<8} {first}"
        yield from (f"{'':<14} {other}" for other in others)
    if session.message:
        yield f"Ended     {session.message}"


def compared(chosen: Sequence[Session], sessions: Sequence[Session]) -> Iterator[str]:
    """Sessions side by side: what differs, and figures.

    Args:
        sessions: all, for the runs that the chosen ones belong to.
    """
    run_of = {session.path: run for run in runs_of(sessions) for session in run.sessions}
    figures = figures_of_all(chosen)
    columns = [_column(session, run_of[session.path], figures) for session in chosen]
    always = ("status", "epochs", "best dev loss", "train loss", *(f"best {figure.label}" for figure in figures))
    names = [name for name in columns[0] if name in always or len({column[name] for column in columns}) > 1]
    table = [("", *(session.id for session in chosen))]
    table += [(name, *(column[name] for column in columns)) for name in names]
    for name in sorted({name for session in chosen for name in session.flags}):
        values = [json.dumps(session.flags.get(name), ensure_ascii=False) for session in chosen]
        if len(set(values)) > 1:
            table.append((f"--{name}", *values))
    widths = [max(map(len, cells)) for cells in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip()


def _column(session: Session, run: Run, figures: Sequence[Figure]) -> dict[str, str]:
    """What is compared of a session and of the run that it belongs to."""
    epochs, best = run.epochs, run.best
    tests = (f"{csv} {figures_text(values, session.judged_by)}" for csv, values in session.tests.items())
    return {
        "status": session.status,
        "run": session.run,
        "epochs": str(len(epochs)),
        "best epoch": str(best.number or "-"),
        "best dev loss": loss_text(best.dev_loss),
        **{f"best {figure.label}": figure.text(best.values.get(figure.name)) for figure in figures},
        "train loss": loss_text(epochs[-1].train_loss if epochs else None),
        "training time": duration(sum(one.training_s for one in run.sessions)),
        "tests": "; ".join(tests) or "-",
        "data": " ".join(f"{data.set}:{data.fingerprint}" for data in session.data) or "-",
        "device": session.device or "-",
        "versions": " ".join(session.versions.values()),
        "git revision": session.git_revision or "-",
    }


def chosen(sessions: Sequence[Session], text: str) -> Session:
    """The one session whose id begins so; "last" is the newest.

    Raises:
        UserError: there is none, or there are several.
    """
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


def figures_of_all(found: Iterable[Session | Run]) -> list[Figure]:
    """Those of the tasks of all, without repeats."""
    return list(dict.fromkeys(figure for one in found for figure in one.judged_by))


def loss_text(value: float | None) -> str:
    return LOSS.text(value, digits=3)


def _cells(loss: str, values: Sequence[str], figures: Sequence[Figure]) -> str:
    """Texts for the dev loss and for the figures, in columns."""
    widths = [max(6, len(figure.label)) for figure in figures]
    return " ".join([f"{loss:>9}", *(f"{value:>{width}}" for value, width in zip(values, widths, strict=True))])


def _clock(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if len(str(int(seconds))) < 12 else "?"
