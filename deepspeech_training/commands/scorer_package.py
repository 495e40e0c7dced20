"""`deepspeech scorer package`: a language model and a vocabulary to a scorer, as DeepSpeech's program of this name."""

import argparse

from deepspeech_training.commands.scorer_options import add_alphabet_options
from deepspeech_training.console import Console
from deepspeech_training.scorer.build import Package, package_scorer


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        description="Make a scorer of a language model and a vocabulary.",
    )
    add_alphabet_options(parser, "--force_bytes_output_mode")
    parser.add_argument("--lm", required=True, metavar="FILE", help="the language model: a KenLM trie, made with -v")
    parser.add_argument("--vocab", required=True, metavar="FILE", help="words separated by white space")
    parser.add_argument("--package", required=True, metavar="FILE", help="the scorer to write")
    parser.add_argument("--default_alpha", type=float, required=True, metavar="X", help="weight of the language model")
    parser.add_argument("--default_beta", type=float, required=True, metavar="X", help="bonus of each word")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    package = Package(
        flags.package, flags.alphabet, None, flags.bytes_output_mode, flags.default_alpha, flags.default_beta
    )
    package_scorer(package, lm=flags.lm, vocab=flags.vocab, console=console)
