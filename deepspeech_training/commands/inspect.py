"""`deepspeech inspect`: what a checkpoint or an export is, where it comes from, whether it is sound."""

import argparse
import json
from pathlib import Path

from deepspeech_training.checkpoints.inspection import inspect
from deepspeech_training.checkpoints.inspection_lines import lines
from deepspeech_training.console import Console
from deepspeech_training.errors import EXIT_OK, EXIT_RUN


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        description="Say what a checkpoint or an exported model is, where it comes from, and whether it is sound.",
        epilog="Example: deepspeech inspect persistent-data/checkpoints/first --strict",
    )
    parser.add_argument(
        "path",
        metavar="PATH",
        help="folder of checkpoints, one of its files, an exported model, or a checkpoint of DeepSpeech's own trainer",
    )
    parser.add_argument(
        "--which",
        choices=("auto", "best", "last"),
        default="auto",
        help="which checkpoint of a folder (default auto: the best, without one the last)",
    )
    parser.add_argument("--clip", metavar="FILE", help="a recording for the model to answer to, not a synthetic one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where the diagnosis is not healthy")
    return parser


def run(flags: argparse.Namespace, console: Console) -> int:
    """Exit code 1 for a fault, with --strict for an unhealthy model too."""
    found = inspect(Path(flags.path), which=flags.which, clip=flags.clip, console=console)
    if flags.json:
        print(json.dumps(found.as_dict(), ensure_ascii=False, indent=1, allow_nan=False))
    else:
        print("\n".join(lines(found)))
    return EXIT_RUN if flags.strict and not found.diagnosis.healthy else EXIT_OK
