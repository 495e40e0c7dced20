"""`deepspeech models rollback`: back to the version that was promoted before."""

import argparse

from deepspeech_training.commands.models_options import models_parser, registry_of
from deepspeech_training.console import Console
from deepspeech_training.registry.store import checked_name
from deepspeech_training.registry.writer import writing


def parser(prog: str) -> argparse.ArgumentParser:
    parser = models_parser(prog, "Promote the version again that was promoted before.", "en-small")
    parser.add_argument("name", metavar="NAME", help="of the model")
    parser.add_argument("--reason", default="by hand", metavar="TEXT", help="for the history (default: %(default)s)")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    registry = registry_of(flags)
    with writing(registry, console) as writer:
        was = registry.state(checked_name(flags.name)).promoted
        version = writer.rollback(flags.name, flags.reason)
    console.info(f"{version} is promoted again, instead of {version.name}/{was}")
    print(version)
