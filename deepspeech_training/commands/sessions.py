"""`deepspeech sessions`: what was run here: the session logs, listed, compared and plotted."""

import argparse
from collections.abc import Iterator
from pathlib import Path

from deepspeech_training.console import Console
from deepspeech_training.reporting.session_curves import write_curves
from deepspeech_training.reporting.session_views import chosen, compared, listed, story
from deepspeech_training.reporting.sessions import all_sessions, runs_of

DEFAULT_FOLDER = "persistent-data"


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="What was run here: the session logs, listed, compared and plotted.",
        allow_abbrev=False,
        epilog="Example: deepspeech sessions plot --output curves.html",
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


def run(flags: argparse.Namespace, console: Console) -> None:
    for line in _lines(flags, console):
        print(line)


def _lines(flags: argparse.Namespace, console: Console) -> Iterator[str]:
    sessions = all_sessions(Path(flags.dir), console)
    if flags.command == "list":
        yield from listed(sessions)
    elif flags.command == "show":
        yield from story(chosen(sessions, flags.ids))
    elif flags.command == "compare":
        yield from compared([chosen(sessions, text) for text in flags.ids], sessions)
    else:
        wanted = {chosen(sessions, text).path for text in flags.ids} or {session.path for session in sessions}
        runs = [run for run in runs_of(sessions) if wanted & {session.path for session in run.sessions}]
        yield write_curves(runs, Path(flags.output))
