"""`deepspeech publish space`: an export to the folder of a Hugging Face Space, which runs as it is."""

import argparse

from deepspeech_training.commands.publish_options import publish, publish_parser, source_of
from deepspeech_training.console import Console
from deepspeech_training.publishing.space import space_contents


def parser(prog: str) -> argparse.ArgumentParser:
    return publish_parser(
        prog,
        "Write a folder that is a Hugging Face Space: a page with a microphone and uploads, the model, and what it "
        "needs of this package. It runs on any machine; --upload puts it on the hub.",
    )


def run(flags: argparse.Namespace, console: Console) -> None:
    source = source_of(flags, console)
    contents = space_contents(source, title=flags.title, license=flags.license, repo_id=flags.upload)
    publish(flags, contents, "space", console)
