"""`deepspeech scorer build`: text to a scorer."""

import argparse

from deepspeech_training.commands.scorer_options import (
    add_alphabet_options,
    add_estimation_options,
    add_language_option,
    estimation,
    out_of_memory_told,
    with_default,
)
from deepspeech_training.console import Console
from deepspeech_training.scorer.build import DEFAULT_TOP_K, Package, build_scorer
from deepspeech_training.scorer.package import DEFAULT_ALPHA, DEFAULT_BETA


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Build an external scorer from text: language model, dictionary, package.",
        allow_abbrev=False,
        epilog="Example: deepspeech scorer build --input_txt corpus.txt --alphabet alphabet.txt --package my.scorer",
    )
    parser.add_argument("--input_txt", metavar="FILES", help="text files, a sentence on each line; .gz is unpacked")
    parser.add_argument("--input_csv", metavar="FILES", help="CSV files whose column transcript is taken as well")
    parser.add_argument("--package", required=True, metavar="FILE", help="the scorer to write")
    add_alphabet_options(parser, "--bytes_output_mode")
    parser.add_argument(
        "--model", metavar="PATH", help="a .tflite or a folder of checkpoints: its alphabet must be that of the scorer"
    )
    parser.add_argument(
        "--top_k",
        type=int,
        default=DEFAULT_TOP_K,
        metavar="N",
        help=with_default("words to keep, the most frequent ones"),
    )
    parser.add_argument(
        "--keep_case", action="store_true", help="leave capitals as they are; else the text is brought into lower case"
    )
    add_language_option(parser)
    add_estimation_options(parser, required=False)
    parser.add_argument("--arpa", metavar="FILE", help="write the language model as an ARPA file too")
    parser.add_argument(
        "--output_dir", metavar="DIR", help="write lm.binary and vocab-N.txt there too, as `scorer lm` does"
    )
    parser.add_argument(
        "--default_alpha",
        type=float,
        default=DEFAULT_ALPHA,
        metavar="X",
        help=with_default("weight of the language model"),
    )
    parser.add_argument(
        "--default_beta", type=float, default=DEFAULT_BETA, metavar="X", help=with_default("bonus of each word")
    )
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    texts, csvs = ([name for name in (names or "").split(",") if name] for names in (flags.input_txt, flags.input_csv))
    package = Package(
        flags.package, flags.alphabet, flags.model, flags.bytes_output_mode, flags.default_alpha, flags.default_beta
    )
    with out_of_memory_told():
        build_scorer(
            package,
            estimation(flags),
            texts=texts,
            csvs=csvs,
            keep_case=flags.keep_case,
            language=flags.language,
            top_k=flags.top_k,
            arpa=flags.arpa,
            output_dir=flags.output_dir,
            console=console,
        )
