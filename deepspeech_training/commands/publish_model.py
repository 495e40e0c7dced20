"""`deepspeech publish model`: an export to a folder as the Hugging Face hub wants it, and there if asked."""

import argparse

from deepspeech_training.commands.publish_options import publish, publish_parser, source_of
from deepspeech_training.console import Console
from deepspeech_training.publishing.model import model_contents


def parser(prog: str) -> argparse.ArgumentParser:
    return publish_parser(
        prog,
        "Write a folder with a model, its scorer, a card with its figures, and how to use it, as the Hugging Face hub "
        "wants it; --upload puts it there.",
    )


def run(flags: argparse.Namespace, console: Console) -> None:
    source = source_of(flags, console)
    contents = model_contents(
        source, title=flags.title, language=flags.language, license=flags.license, repo_id=flags.upload
    )
    publish(flags, contents, "model", console)
