"""The options of the commands that decode with an exported model."""

import argparse

from deepspeech_training.runtime.beam import BeamOptions


def add_beam_options(parser: argparse.ArgumentParser) -> None:
    """Add scorer, its weights, hot words and beam width; `beam_options` reads them."""
    parser.add_argument(
        "--scorer", metavar="FILE", help="a .scorer, the language model and dictionary to decode with (docs/scorer.md)"
    )
    parser.add_argument(
        "--beam_width",
        type=int,
        metavar="N",
        help="hypotheses that are kept; default: with a scorer the one of the export, without one decoding is greedy, "
        "which 0 asks for too",
    )
    parser.add_argument("--lm_alpha", type=float, metavar="X", help="weight of the language model (default: scorer's)")
    parser.add_argument(
        "--lm_beta", type=float, metavar="X", help="what each word adds to the score (default: scorer's)"
    )
    parser.add_argument(
        "--hot_words", metavar="WORD:BOOST,...", help="words that are likelier than the scorer says: coffee:7.5,tea:5"
    )


def beam_options(flags: argparse.Namespace) -> BeamOptions:
    """The options that were given.

    Raises:
        FlagError: a value is out of bounds, or needs a scorer.
    """
    return BeamOptions(flags.scorer, flags.beam_width, flags.lm_alpha, flags.lm_beta, flags.hot_words)
