"""`deepspeech g2p`: how words are pronounced, or which words are pronounced so, by a trained model of words."""

import argparse
import itertools
import json
import sys
from collections.abc import Iterable, Iterator

from deepspeech_training.config.groups import DEFAULT_CHECKPOINT_DIR
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.runtime.pronouncer import DEFAULT_WIDTH, MAX_SYMBOLS, Answer, Pronouncer
from deepspeech_training.tasks.pronunciation.loading import load_pronouncer
from deepspeech_training.text_files import SAVE_AS_UTF8, TextFile, numbered_lines

TOGETHER = 256  # words of a file that are computed together
MOST_ANSWERS = 100


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        description="Write how words are pronounced, with a model of `deepspeech train --task word_to_ipa`, or words "
        "from their pronunciations, with one of --task ipa_to_word. A line for each answer: word, tab, answer.",
        epilog="Example: deepspeech g2p --model persistent-data/g2p hello world",
    )
    parser.add_argument("words", nargs="*", metavar="WORD", help="without any, and without --file, those of stdin")
    parser.add_argument("--file", metavar="FILE", help="a text file with a word on each line")
    parser.add_argument(
        "--model",
        metavar="PATH",
        action="append",
        help="an exported model (.g2p), its folder, or a folder of checkpoints; several answer together, by the mean "
        f"of their probabilities (default {DEFAULT_CHECKPOINT_DIR})",
    )
    parser.add_argument(
        "--which",
        choices=("auto", "best", "last"),
        default="auto",
        help="which checkpoint of a folder (default auto: the best, without one the last)",
    )
    parser.add_argument(
        "--count",
        type=int,
        default=1,
        metavar="N",
        help="so many answers to each word, the likeliest first; if more than 1, with their probabilities as a column",
    )
    parser.add_argument(
        "--beam_width",
        type=int,
        default=DEFAULT_WIDTH,
        metavar="N",
        help="hypotheses that the search keeps (default %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="a line of JSON for each word")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    for name in ("count", "beam_width"):
        if not 1 <= getattr(flags, name) <= MOST_ANSWERS:
            raise FlagError(f"--{name} {getattr(flags, name)}: must be from 1 to {MOST_ANSWERS}")
    if flags.words and flags.file:
        raise FlagError("--file: words are given too; leave one of the two out")
    pronouncer = load_pronouncer(*(flags.model or [DEFAULT_CHECKPOINT_DIR]), which=flags.which, console=console)
    together = 1 if not flags.words and not flags.file and sys.stdin.isatty() else TOGETHER
    for block in _blocks(_words(flags), together):
        for place, word in block:
            _check(place, word, pronouncer, console)
        found = pronouncer.answers([word for _, word in block], width=flags.beam_width, count=flags.count)
        for (_, word), answers in zip(block, found, strict=True):
            for line in _lines(word, answers, flags):
                print(line)
        sys.stdout.flush()


def _words(flags: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """Where each word stands, for messages, and the word; empty lines are none."""
    if flags.words:
        yield from ((f"word {number}", word) for number, word in enumerate(flags.words, start=1))
        return
    name = flags.file or "stdin"
    for number, line in _rows(flags.file):
        if line is None:
            raise UserError(f"{name}, row {number}: it is not UTF-8\n{SAVE_AS_UTF8}")
        if line.strip():
            yield f"{name}, row {number}", line.strip()


def _rows(path: str | None) -> Iterator[tuple[int, str | None]]:
    if path is None:
        return numbered_lines(sys.stdin.buffer)
    return TextFile(path, lambda: open(path, "rb")).lines()


def _blocks(words: Iterable[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    words = iter(words)
    while block := list(itertools.islice(words, size)):
        yield block


def _check(place: str, word: str, pronouncer: Pronouncer, console: Console) -> None:
    if len(word) > MAX_SYMBOLS:
        raise UserError(f"{place}: {len(word):,} characters, and {MAX_SYMBOLS} are the most: a line has one word")
    strange = pronouncer.source.strange(word)
    if strange:
        hint = "" if pronouncer.source.strange(word.lower()) else "; in lower case all of them are known"
        console.warn(f"{place}: {word}: the training data did not have {' '.join(map(repr, strange))}{hint}")


def _lines(word: str, answers: list[Answer], flags: argparse.Namespace) -> Iterator[str]:
    if flags.json:
        found = [{"text": answer.text, "probability": round(answer.probability, 6)} for answer in answers]
        yield json.dumps({"word": word, "answers": found}, ensure_ascii=False)
        return
    for answer in answers:
        yield f"{word}\t{answer.text}" + (f"\t{answer.probability:.4f}" if flags.count > 1 else "")
