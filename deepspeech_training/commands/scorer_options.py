"""The options that the commands which build scorers share."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

from deepspeech_training.errors import UserError
from deepspeech_training.scorer.build import DEFAULT_PRUNE, Estimation


def add_alphabet_options(parser: argparse.ArgumentParser, bytes_option: str) -> None:
    parser.add_argument("--alphabet", metavar="FILE", help="the alphabet.txt of the acoustic model")
    parser.add_argument(
        bytes_option,
        type=_boolean,
        nargs="?",
        const=True,
        metavar="BOOL",
        dest="bytes_output_mode",
        help="make a scorer for models with bytes as labels, without an alphabet; each character is a word",
    )


def _boolean(text: str) -> bool:
    if text.lower() not in ("true", "1", "false", "0"):
        raise argparse.ArgumentTypeError(f"{text!r} is neither true nor false")
    return text.lower() in ("true", "1")


def add_language_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--language",
        metavar="CODE",
        default="",
        help="of the text, such as tr or az, whose small form of I is ı (an alphabet with ı tells that too)",
    )


def with_default(text: str) -> str:
    return f"{text} (default: %(default)s)"


def add_estimation_options(parser: argparse.ArgumentParser, *, required: bool) -> None:
    """The options of DeepSpeech's generate_lm.py, which it requires; `estimation` reads them."""

    def add(name: str, default, kind: type, metavar: str, text: str) -> None:
        if required:
            parser.add_argument(name, type=kind, required=True, metavar=metavar, help=text)
        else:
            parser.add_argument(name, type=kind, default=default, metavar=metavar, help=with_default(text))

    parser.add_argument(
        "--kenlm_bins",
        metavar="DIR",
        default="",
        help="folder of an installed KenLM (lmplz, filter, build_binary) to work with, for very large texts",
    )
    add("--arpa_order", 5, int, "N", "words of the longest n-grams, 1 to 6")
    parser.add_argument(
        "--max_arpa_memory",
        default="85%",
        metavar="SIZE",
        help="memory that lmplz may take, as in 85%% or 8G; only with --kenlm_bins (default: 85%%)",
    )
    parser.add_argument(
        "--arpa_prune",
        required=required,
        metavar="N|N|N",
        help="leave out n-grams that occur at most so often, for order 1, 2, 3 and higher"
        + ("" if required else f" (default: {DEFAULT_PRUNE})"),
    )
    add("--binary_a_bits", 255, int, "N", "bits of the indexes that are compressed at most; 255: as pays off, 0: none")
    add("--binary_q_bits", 8, int, "N", "bits of a quantised weight; 0: not quantised")
    add("--binary_type", "trie", str, "trie", "the kind of KenLM file: trie is what the clients read")
    parser.add_argument(
        "--discount_fallback",
        action="store_true",
        help="expect that a small text has too few counts for the discounts: no notice when fixed ones are taken",
    )


def estimation(flags: argparse.Namespace) -> Estimation:
    """The options that were given.

    Raises:
        FlagError: a value is out of bounds.
    """
    return Estimation(**{name: getattr(flags, name) for name in Estimation.__dataclass_fields__})


@contextmanager
def out_of_memory_told() -> Iterator[None]:
    """Say what helps where a text is too large."""
    try:
        yield
    except MemoryError as error:
        raise UserError(
            "out of memory\nTake less text, a lower --arpa_order, or an installed KenLM with --kenlm_bins."
        ) from error
