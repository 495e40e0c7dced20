"""`deepspeech average`: one checkpoint whose weights are the mean of others'."""

import argparse
from pathlib import Path

from deepspeech_training.checkpoints.average import checkpoints_of, write_average
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Average the weights of checkpoints. The result is tested and exported as any other: "
        "deepspeech test --checkpoint_dir OUTPUT --test_files test.csv",
    )
    parser.add_argument(
        "checkpoints", nargs="+", metavar="PATH", help="folders of runs, or .json files of single checkpoints"
    )
    parser.add_argument("--last", type=int, default=5, help="how many of the last ones of each folder (default: 5)")
    parser.add_argument("--output", required=True, metavar="DIR", help="folder for the averaged checkpoint")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    if flags.last < 1:
        raise FlagError(f"--last {flags.last}: must be at least 1")
    print(write_average(checkpoints_of(flags.checkpoints, last=flags.last), Path(flags.output)))
