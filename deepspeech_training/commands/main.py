"""The program `deepspeech`: finds the command, runs it, and makes messages and exit codes of errors and signals.

Exit codes: 0 done, 1 data or run, 2 flags, 129 a lost terminal, 130 Ctrl-C, 143 SIGTERM.
"""

import difflib
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

from deepspeech_training.commands import COMMANDS, SECTIONS
from deepspeech_training.console import INFO, Console, open_streams, settle_streams
from deepspeech_training.errors import EXIT_FLAGS, EXIT_OK, FlagError, UserError
from deepspeech_training.training.interrupt import Interrupted, interrupts

PROGRAM = "deepspeech"
HELP = ("-h", "--help")


def main(argv: Sequence[str] | None = None) -> int:
    """The console script `deepspeech`; returns the exit code.

    `deepspeech COMMAND ...`; without a command, `deepspeech --model FILE --audio FILE` is the client of DeepSpeech
    0.9.3.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words and words[0].startswith("-") and words[0] not in HELP:
        return run("client", words, prog=PROGRAM)
    try:
        name, rest = find(words)
    except FlagError as error:
        Console().error(str(error))
        return error.exit_code
    if name in COMMANDS:
        return run(name, rest)
    if {"help", *HELP} & {*words}:
        sys.stdout.write(overview(name))
        return EXIT_OK
    sys.stderr.write(overview(name))
    return EXIT_FLAGS


def train() -> int:
    """The console script `deepspeech-train`, and DeepSpeech.py; returns the exit code."""
    return run("train", sys.argv[1:], prog=Path(sys.argv[0]).name)


def export() -> int:
    """The console script `deepspeech-export`; returns the exit code."""
    return run("export", sys.argv[1:], prog=Path(sys.argv[0]).name)


def run(name: str, words: Sequence[str], *, prog: str = "") -> int:
    """Run a command of the table; returns its exit code.

    Args:
        words: what follows the name of the command.
        prog: how it was called, if not as `deepspeech NAME`; for its usage and its session log.
    Raises:
        SystemExit: of argparse, for --help and for options that it refuses.
    """
    console, command = Console(), COMMANDS[name]
    interrupts.install()
    open_streams()
    try:
        module = module_of(name)
        flags = module.parser(prog or f"{PROGRAM} {name}").parse_args(list(words))
        console = Console(
            level=getattr(flags, "log_level", INFO), show_progressbar=getattr(flags, "show_progressbar", True)
        )
        exit_code = module.run(flags, console)
        return EXIT_OK if exit_code is None else exit_code
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except Interrupted as interrupted:
        if str(interrupted) or command.resumes:
            console.info(str(interrupted) or command.resumes)
        return interrupted.exit_code
    except BrokenPipeError:  # whoever read stdout has had enough
        return command.when_cut_off
    except Exception:
        exit_code = interrupts.requested()
        if exit_code is None:
            raise
        return exit_code  # compiled code has made an error of the signal
    finally:
        settle_streams()


def module_of(name: str) -> ModuleType:
    """The module of a command, imported."""
    return import_module(f"deepspeech_training.{COMMANDS[name].module}")


def find(words: Sequence[str]) -> tuple[str, list[str]]:
    """The command that words begin with, and what follows its name; `help COMMAND` is `COMMAND --help`.

    Where a list of commands is wanted, the name is that of a group, such as "data", or "" for the whole program.

    Raises:
        FlagError: there is no such command.

    >>> find(["import", "cv2", "cv.tar.gz"]), find(["help", "data"]), find(["help", "data", "check"])
    (('import cv2', ['cv.tar.gz']), ('data', []), ('data check', ['--help']))
    """
    words = list(words)
    if words[:1] == ["help"]:
        words = [*words[1:], "--help"]
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            return name, words[length:]
    first, second = [*words, "", ""][:2]
    group = [name.split()[1] for name in COMMANDS if name.startswith(f"{first} ")]
    if first in ("", *HELP) or (group and second in ("", *HELP)):
        return first if group else "", []
    if group:
        # `import common_voice`: DeepSpeech's importer is called cv2.
        meant = [name for name in group if _letters(second) in _letters(COMMANDS[f"{first} {name}"].summary)]
        near = [f"{first} {name}" for name in meant or difflib.get_close_matches(second, group)]
    else:
        near = difflib.get_close_matches(first, [*COMMANDS, *(name.split()[0] for name in COMMANDS)])
    wanted, listed = (f"{first} {second}", f"help {first}") if group else (first, "help")
    hint = f"did you mean `{PROGRAM} {near[0]}`?" if near else f"`{PROGRAM} {listed}` lists them"
    raise FlagError(f"{PROGRAM} {wanted}: there is no such command; {hint}")


def _letters(text: str) -> str:
    return "".join(character for character in text.lower() if character.isalnum())


def overview(group: str = "") -> str:
    """The list of the commands, of a group such as "data" or of all."""
    if group:
        lines = [f"usage: {PROGRAM} {group} {'CORPUS' if group == 'import' else 'COMMAND'} ...", ""]
        lines += _lines({name: c.summary for name, c in COMMANDS.items() if name.startswith(f"{group} ")})
        return "\n".join([*lines, "", f"`{PROGRAM} help {group} NAME` says more."]) + "\n"
    lines = [
        f"usage: {PROGRAM} COMMAND ...",
        f"       {PROGRAM} --model FILE --audio FILE ...   (as the client of DeepSpeech 0.9.3)",
        "",
        "Train small streaming speech-to-text models, test them, and use them.",
    ]
    for title, commands in SECTIONS.items():
        shown = {name: command.summary for name, command in commands.items() if not name.startswith("import ")}
        if len(shown) < len(commands):
            shown = {"import CORPUS": "a corpus to train.csv, dev.csv and test.csv", **shown}
        lines += ["", f"{title}:", *_lines(shown)]
    return (
        "\n".join([*lines, "", f"`{PROGRAM} help COMMAND` says more; `{PROGRAM} --version` which version it is."])
        + "\n"
    )


def _lines(summaries: dict[str, str]) -> list[str]:
    return [f"  {name:<20} {summary}" for name, summary in summaries.items()]
