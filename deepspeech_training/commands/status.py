"""`deepspeech status`: the trainings on a volume, in a terminal: how far they are, or how they ended."""

import argparse
import json
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deepspeech_training.app.run_views import cut, detail, line
from deepspeech_training.app.runs import FoundRun, find_runs
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError

DEFAULT_DATA = "persistent-data"
EVERY_S = 1.0
# Of terminals since the VT100: another screen without a cursor, and back; to its top; clear what follows.
ENTER, LEAVE, TOP, CLEAR_LINE, CLEAR_REST = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l", "\x1b[H", "\x1b[K", "\x1b[J"


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Show the trainings on a volume, whether they run here, elsewhere, or not any more.",
        allow_abbrev=False,
        epilog=f"Example: {prog} --follow",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--data", metavar="DIR", help=f"the volume: trainings in its checkpoints/ (default {DEFAULT_DATA})"
    )
    where.add_argument("--checkpoint_dir", metavar="DIR", help="the training with these checkpoints")
    parser.add_argument("--follow", action="store_true", help="refresh it each second, until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print one JSON array, of the trainings, the newest first")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    """
    Raises:
        UserError: there is no training.
    """
    if flags.follow and flags.json:
        raise FlagError("--follow and --json: leave one of them out")
    folder = Path(flags.checkpoint_dir or Path(flags.data or DEFAULT_DATA, "checkpoints"))
    runs = _read(folder, [])
    if flags.json:
        print(json.dumps([run.as_json() for run in runs], ensure_ascii=False, indent=1))
    elif not flags.follow:
        print("\n".join(_lines(runs, shutil.get_terminal_size().columns)))
    elif sys.stdout.isatty():
        _draw_until_stopped(folder, runs)
    else:
        _print_until_stopped(folder, runs)


def _read(folder: Path, before: list[FoundRun]) -> list[FoundRun]:
    """The runs as they are now; of those that were known before only what is new is read."""
    known = {run.folder: run for run in before}
    runs = [known.get(run.folder, run) for run in find_runs(folder)]
    if not runs:
        raise UserError(
            f"{folder}: no training has written a log (events.jsonl) there, or in a folder in it\n"
            "Name the volume with --data, or a folder of checkpoints with --checkpoint_dir."
        )
    for run in runs:
        run.read()
    return sorted(runs, key=lambda run: run.ending.state != "running")  # stable: the newest first


def _lines(runs: list[FoundRun], columns: int, rows: int | None = None) -> list[str]:
    """The first run in detail, the others a line each, within `rows` where they are told."""
    first, *others = runs
    shown = others if rows is None else others[: max(0, rows // 6)]
    below = ["", *(line(run) for run in shown)] if shown else []
    lines = [*detail(first, columns, None if rows is None else rows - len(below)), *below]
    return [cut(text, columns) for text in lines]


def _draw_until_stopped(folder: Path, runs: list[FoundRun]) -> None:
    lines: list[str] = []
    try:
        with _screen():
            while True:
                size = shutil.get_terminal_size()
                lines = _lines(runs, size.columns, size.lines - 1)
                sys.stdout.write(TOP + "".join(f"{text}{CLEAR_LINE}\n" for text in lines) + CLEAR_REST)
                sys.stdout.flush()
                time.sleep(EVERY_S)
                runs = _read(folder, runs)
    finally:
        print("\n".join(lines))  # what was seen last stays on the terminal


@contextmanager
def _screen() -> Iterator[None]:
    """A screen of its own, after which the terminal is as it was."""
    try:
        sys.stdout.write(ENTER)
        yield
    finally:
        sys.stdout.write(LEAVE)
        sys.stdout.flush()


def _print_until_stopped(folder: Path, runs: list[FoundRun]) -> None:
    """A line for a run whenever its state or an epoch is new."""
    seen: dict[Path, object] = {}
    while True:
        for run in runs:
            news = (run.ending, len(run.told["history"]), run.told["epoch"])
            if seen.get(run.folder) != news:
                seen[run.folder] = news
                print(time.strftime("%H:%M:%S"), line(run), flush=True)
        time.sleep(EVERY_S)
        runs = _read(folder, runs)
