"""`deepspeech models promote`: have another version of a model served."""

import argparse

from deepspeech_training.commands.models_options import add_version, models_parser, registry_of
from deepspeech_training.console import Console
from deepspeech_training.registry.writer import writing


def parser(prog: str) -> argparse.ArgumentParser:
    parser = models_parser(
        prog, "Have a version served; a service that runs on the registry follows within seconds.", "en-small/3"
    )
    add_version(parser)
    parser.add_argument("--reason", default="by hand", metavar="TEXT", help="for the history (default: %(default)s)")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    registry = registry_of(flags)
    version = registry.find(flags.version)
    with writing(registry, console) as writer:
        version = registry.find(str(version))  # it may have been removed meanwhile
        if registry.state(version.name).promoted == version.number:
            console.info(f"{version} is promoted already")
        else:
            writer.promote(version, flags.reason)
            console.info(f"{version} is promoted")
    print(version)
