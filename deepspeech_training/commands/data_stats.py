"""`deepspeech data stats`: hours, lengths, characters and speakers of CSVs, from the headers of the audio."""

import argparse
import json

from deepspeech_training.console import Console
from deepspeech_training.data.clips import csv_arguments, read_clips
from deepspeech_training.data.stats import summarise, to_text
from deepspeech_training.errors import EXIT_OK, EXIT_RUN


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Hours, lengths, characters and speakers of CSVs; exit code 1 if a row has a fault.",
        allow_abbrev=False,
        epilog="Example: deepspeech data stats train.csv dev.csv",
    )
    parser.add_argument("csvs", nargs="*", metavar="CSV")
    parser.add_argument(
        "--csv", "-csv", default="", metavar="A,B", help="the same, as DeepSpeech's stats.py takes them"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object instead, a key for each CSV")
    return parser


def run(flags: argparse.Namespace, console: Console) -> int:
    csv_paths = csv_arguments(flags.csvs, flags.csv)
    numbers = {path: summarise(read_clips([path], console)) for path in csv_paths}
    if flags.json:
        print(json.dumps(numbers, ensure_ascii=False, indent=1))
    else:
        print(to_text(numbers), flush=True)
    if not any(found["faults"] for found in numbers.values()):
        return EXIT_OK
    console.warn("some rows cannot be used; `deepspeech data check` says which")
    return EXIT_RUN
