"""`deepspeech doctor`: whether this machine, or this container, is fit to train."""

import argparse
import os
from pathlib import Path

from deepspeech_training.console import Console
from deepspeech_training.errors import EXIT_OK, EXIT_RUN
from deepspeech_training.machine.doctor import FAULT, examine

PROJECT = Path(__file__).resolve().parents[2]
VOLUME = (PROJECT if (PROJECT / "DeepSpeech.py").is_file() else Path()) / "persistent-data"  # after pip install: here


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        description="Whether this machine, or this container, is fit to train; each line is OK or says what to do.",
    )
    parser.add_argument(
        "--mode",
        choices=("gpu", "cpu", "mixed"),
        default=os.environ.get("DEEPSPEECH_MODE", "mixed"),
        help="what training shall use: without a GPU, gpu makes that a fault (default: $DEEPSPEECH_MODE, else mixed)",
    )
    parser.add_argument(
        "--volume",
        default=str(VOLUME),
        metavar="DIR",
        help="folder that checkpoints and data go to (default: %(default)s)",
    )
    return parser


def run(flags: argparse.Namespace, console: Console) -> int:
    """Exit code 0 without a fault, 1 with one."""
    faults = 0
    for finding in examine(Path(flags.volume), mode=flags.mode):
        print(finding, flush=True)
        faults += finding.level == FAULT
    print(f"{faults} fault{'s' if faults != 1 else ''}" if faults else "No faults")
    return EXIT_RUN if faults else EXIT_OK
