"""`deepspeech export`: a checkpoint to .tflite, and nothing else; --test_files are what the two are compared on."""

from deepspeech_training.config import ParsedFlags
from deepspeech_training.config.command_line import FlagParser
from deepspeech_training.console import Console
from deepspeech_training.training.session import carry_out


def parser(prog: str) -> FlagParser:
    return FlagParser(
        prog,
        description="Write a checkpoint as .tflite (a model of words as .g2p), with its card and a report of how it "
        "compares to the checkpoint.",
        example="deepspeech export --checkpoint_dir persistent-data/checkpoints/first \\\n"
        "    --export_dir persistent-data/exports/first --test_files test.csv",
    )


def run(parsed: ParsedFlags, console: Console) -> None:
    carry_out(parsed, console, only="export")
