"""The options that the commands of the registry share."""

import argparse
from pathlib import Path

from deepspeech_training.config.flag import split_list
from deepspeech_training.errors import FlagError
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.registry.store import REGISTRY_DIR, Registry


def models_parser(prog: str, description: str, example: str) -> argparse.ArgumentParser:
    """A parser with --dir."""
    parser = argparse.ArgumentParser(
        prog=prog, description=description, allow_abbrev=False, epilog=f"Example: {prog} {example}".rstrip()
    )
    parser.add_argument(
        "--dir", default=REGISTRY_DIR, metavar="DIR", help="the folder of the registry (default %(default)s)"
    )
    return parser


def registry_of(flags: argparse.Namespace) -> Registry:
    return Registry(Path(flags.dir))


def add_version(parser: argparse.ArgumentParser, name: str = "version") -> None:
    parser.add_argument(name, metavar="NAME/VERSION", help="as in the list; NAME alone is the promoted version")


def add_test_options(parser: argparse.ArgumentParser, what: str) -> None:
    """Add --test_files and --proc."""
    parser.add_argument("--test_files", default="", metavar="CSV,...", help=what)
    parser.add_argument(
        "--proc", type=int, default=usable_cores(), metavar="N", help="processes (default: one for each usable core)"
    )


def test_files_of(flags: argparse.Namespace) -> tuple[str, ...]:
    """
    Raises:
        FlagError: --proc is out of bounds.
    """
    if flags.proc < 1:
        raise FlagError(f"--proc {flags.proc}: it must be 1 or more")
    return split_list(flags.test_files)
