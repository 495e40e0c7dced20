"""`deepspeech scorer lm`: text to a language model and its vocabulary, as DeepSpeech's generate_lm.py."""

import argparse

from deepspeech_training.commands.scorer_options import (
    add_estimation_options,
    add_language_option,
    estimation,
    out_of_memory_told,
)
from deepspeech_training.console import Console
from deepspeech_training.scorer.build import build_language_model


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        description="Make a language model (lm.binary) and its vocabulary (vocab-N.txt) from text.",
    )
    parser.add_argument("--input_txt", required=True, metavar="FILE", help="a sentence on each line; .gz is unpacked")
    parser.add_argument("--output_dir", required=True, metavar="DIR", help="where the two files go")
    parser.add_argument("--top_k", type=int, required=True, metavar="N", help="words to keep, the most frequent ones")
    parser.add_argument(
        "--alphabet", metavar="FILE", help="clean the text for this alphabet.txt; else signs stay, as in DeepSpeech"
    )
    add_language_option(parser)
    add_estimation_options(parser, required=True)
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    with out_of_memory_told():
        build_language_model(
            flags.input_txt,
            flags.output_dir,
            estimation(flags),
            top_k=flags.top_k,
            alphabet=flags.alphabet,
            language=flags.language,
            console=console,
        )
