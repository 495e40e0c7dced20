"""The flags as a command of the program reads them."""

import argparse
import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace

from deepspeech_training.config.groups import FLAGS
from deepspeech_training.config.help import EXAMPLE, format_help
from deepspeech_training.config.parsing import ParsedFlags, parse_flags
from deepspeech_training.config.private import without_private
from deepspeech_training.errors import EXIT_OK
from deepspeech_training.version import VERSION


class FlagParser:
    """Reads a command line of flags; `parse_args` is called as that of an argparse.ArgumentParser.

    Args:
        prog: how the command is called.
        description: what it does, for --help.
        example: a command line, for --help.
    """

    def __init__(self, prog: str, *, description: str, example: str = EXAMPLE):
        self._prog, self._description, self._example = prog, description, example

    def parse_args(self, words: Sequence[str]) -> ParsedFlags:
        """Read the words after the name of the command; --help and --version are answered at once.

        Raises:
            FlagError: as `parse_flags`.
            SystemExit: after --help and --version.
        """
        parsed = parse_flags(words)
        if parsed.version_wanted:
            print(VERSION)
            sys.exit(EXIT_OK)
        if parsed.help_wanted:
            width = min(shutil.get_terminal_size().columns, 110)
            print(format_help(width, self._description, self._example, full=parsed.help_wanted == "full"))
            sys.exit(EXIT_OK)
        return replace(parsed, command_line=shlex.join([*self._prog.split(), *without_private(words)]))

    def as_argparse(self) -> argparse.ArgumentParser:
        """The flags as argparse knows options, for programs that complete them."""
        parser = argparse.ArgumentParser(self._prog, description=self._description)
        parser.add_argument("--helpfull", action="store_true", help="with the obsolete flags too")
        parser.add_argument("--version", action="store_true")
        parser.add_argument("--flagfile", metavar="FILE", help="read flags from a file, one on each line")
        parser.add_argument("--config", metavar="FILE", help="read flags from YAML")
        for name, flag in FLAGS.items():
            if flag.type is bool:
                for form in (name, f"no{name}"):
                    parser.add_argument(f"--{form}", action="store_true", help=flag.help.replace("%", "%%"))
            else:
                kind = "DIR" if flag.path == "folder" else "FILE" if flag.path else "VALUE"
                choices = flag.choices or flag.examples or None
                parser.add_argument(f"--{name}", choices=choices, metavar=kind, help=flag.help.replace("%", "%%"))
        return parser
