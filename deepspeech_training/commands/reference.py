"""docs/cli.md: every command with its options, from the table of commands and their parsers."""

import argparse
import re
from pathlib import Path

from deepspeech_training.commands import SECTIONS
from deepspeech_training.commands.main import PROGRAM, module_of

CHECKOUT = Path(__file__).resolve().parents[2]
INTRODUCTION = f"""\
# Commands

Written by `python bin/make_docs.py` from `deepspeech_training/commands/`; do not edit it here.

`{PROGRAM} help COMMAND` prints the same, with examples. In a checkout the program is `bin/{PROGRAM}`. Results go to
stdout, messages to stderr. Exit codes: 0 done, 1 data or run, 2 options, 130 Ctrl-C, 143 SIGTERM."""
OF_TRAINING = "Its options are the [flags](flags.md) of a training."
OF_IMPORTERS = "It has the [options of importers](#options-of-importers)."
OPTIONS_OF_IMPORTERS = "## Options of importers"
HEADER = ["| argument or option | |", "|---|---|"]


def commands_markdown() -> str:
    """The text of docs/cli.md."""
    tables = {name: _rows(name) for commands in SECTIONS.values() for name in commands}
    importers = [rows for name, rows in tables.items() if name.startswith("import ")]
    shared = [row for row in max(importers, key=len) if 2 * sum(row in rows for rows in importers) > len(importers)]
    lines = [INTRODUCTION]
    for title, commands in SECTIONS.items():
        lines += ["", f"## {title}"]
        for name, command in commands.items():
            lines += ["", f"### {PROGRAM} {name}", "", f"{command.summary[0].upper()}{command.summary[1:]}."]
            rows = tables[name]
            if not rows:
                lines += ["", OF_TRAINING]
            elif set(shared) <= set(rows):
                lines += ["", OF_IMPORTERS]
                rows = [row for row in rows if row not in shared]
            lines += ["", *HEADER, *rows] if rows else []
    return "\n".join([*lines, "", OPTIONS_OF_IMPORTERS, "", *HEADER, *shared]) + "\n"


def _rows(name: str) -> list[str]:
    """A row of the table for each argument and option of a command; none for one that takes the flags of a training."""
    parser = module_of(name).parser(f"{PROGRAM} {name}")
    if not isinstance(parser, argparse.ArgumentParser):
        return []
    return [
        f"| {_names(action)} | {_meaning(action)} |"
        for action in parser._actions
        if action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)
    ]


def _names(action: argparse.Action) -> str:
    value = action.metavar if isinstance(action.metavar, str) else action.dest.upper()
    if action.choices is not None and action.metavar is None:
        value = "/".join(map(str, action.choices))
    if not action.option_strings:
        return f"`{value}`"
    value = "" if action.nargs == 0 else f" {value}"
    return ", ".join(f"`{option}{value}`" for option in action.option_strings).replace("|", "\\|")


def _meaning(action: argparse.Action) -> str:
    """Its help in one line, with paths as they are from the checkout."""
    words = (action.help or "") % {**vars(action), "prog": PROGRAM}
    return re.sub(r"\s+", " ", words).replace(f"{CHECKOUT}/", "").replace(f"{Path.cwd()}/", "").replace("|", "\\|")
