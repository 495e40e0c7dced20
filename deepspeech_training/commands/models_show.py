"""`deepspeech models show`: the card of a registered model, whose files are compared with their checksums."""

import argparse
import json

from deepspeech_training.commands.models_options import add_version, models_parser, registry_of
from deepspeech_training.console import Console
from deepspeech_training.registry.views import as_json, shown


def parser(prog: str) -> argparse.ArgumentParser:
    parser = models_parser(prog, "Show the card of a registered model, and check its files.", "en-small/3")
    add_version(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    registry = registry_of(flags)
    version = registry.find(flags.version)
    if flags.json:
        print(json.dumps(as_json(registry, version), ensure_ascii=False, indent=1))
    else:
        print("\n".join(shown(registry, version)))
    version.check()
    console.info("All files are as they were registered.")
