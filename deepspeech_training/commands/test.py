"""`deepspeech test`: the WER and CER of a checkpoint, and nothing else."""

from deepspeech_training.config import ParsedFlags
from deepspeech_training.config.command_line import FlagParser
from deepspeech_training.console import Console
from deepspeech_training.training.session import carry_out


def parser(prog: str) -> FlagParser:
    return FlagParser(
        prog,
        description="Test a checkpoint: the word and character error rates of --test_files.",
        example="deepspeech test --checkpoint_dir persistent-data/checkpoints/first --test_files test.csv \\\n"
        "    --test_batch_size 32",
    )


def run(parsed: ParsedFlags, console: Console) -> None:
    carry_out(parsed, console, only="test")
