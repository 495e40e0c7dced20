"""`deepspeech models list`: the models of the registry, and which version of each is promoted."""

import argparse
import json

from deepspeech_training.commands.models_options import models_parser, registry_of
from deepspeech_training.console import Console
from deepspeech_training.registry.views import as_json, listed


def parser(prog: str) -> argparse.ArgumentParser:
    parser = models_parser(prog, "List the registered models; a star marks the version that is promoted.", "")
    parser.add_argument("--json", action="store_true", help="print one JSON array, of the cards")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    registry = registry_of(flags)
    if flags.json:
        cards = [as_json(registry, version) for name in registry.names() for version in registry.versions(name)]
        print(json.dumps(cards, ensure_ascii=False, indent=1))
        return
    for line in listed(registry):
        print(line)
