"""`deepspeech models compare`: two versions on the same test set, and whether chance explains the difference."""

import argparse
import json

from deepspeech_training.commands.models_options import (
    add_test_options,
    add_version,
    models_parser,
    registry_of,
    test_files_of,
)
from deepspeech_training.console import Console
from deepspeech_training.registry.compare import compare
from deepspeech_training.registry.views import compared


def parser(prog: str) -> argparse.ArgumentParser:
    parser = models_parser(
        prog,
        "Compare two versions: WER and CER with intervals, the difference with a paired bootstrap, changed clips, "
        "size and speed.",
        "en-small/2 en-small/3 --test_files test.csv",
    )
    add_version(parser, "a")
    add_version(parser, "b")
    add_test_options(parser, "test sets that both hear (default: what both wrote when they were registered)")
    parser.add_argument("--json", action="store_true", help="print one JSON object, with all clips that changed")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    registry = registry_of(flags)
    a, b = registry.find(flags.a), registry.find(flags.b)
    found = compare(a, b, test_files_of(flags), processes=flags.proc, console=console)
    if flags.json:
        print(json.dumps(found.as_json(), ensure_ascii=False, indent=1))
        return
    for line in compared(found):
        print(line)
