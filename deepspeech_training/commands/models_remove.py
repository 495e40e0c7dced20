"""`deepspeech models remove`: delete a version that is not promoted, or a model with all of them."""

import argparse

from deepspeech_training.commands.models_options import models_parser, registry_of
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError
from deepspeech_training.registry.store import checked_name
from deepspeech_training.registry.writer import writing


def parser(prog: str) -> argparse.ArgumentParser:
    parser = models_parser(prog, "Delete a version that is not promoted; its number is not given again.", "en-small/2")
    parser.add_argument("version", metavar="NAME/VERSION", help="as in the list; NAME with --all")
    parser.add_argument(
        "--all", action="store_true", help="delete the model with all its versions, the promoted one too"
    )
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    registry = registry_of(flags)
    if flags.all == ("/" in flags.version):
        raise FlagError(f"{flags.version}: name one version, NAME/VERSION, or a whole model, NAME --all")
    with writing(registry, console) as writer:
        if flags.all:
            if checked_name(flags.version) not in registry.names():
                registry.find(flags.version)  # says what there is
            writer.remove_all(flags.version)
        else:
            writer.remove(registry.find(flags.version))
    console.info(f"{flags.version} is removed")
