"""Texts and transcripts -> words: sentences as lists of words, as numbers, and the most frequent ones."""

import functools
import gzip
import unicodedata
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.alphabet import ByteAlphabet
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.console import Console, Progress
from deepspeech_training.data.rows import read_rows
from deepspeech_training.data.text import Cleaner
from deepspeech_training.errors import UserError
from deepspeech_training.scorer.language_model import SENTENCE_END, SENTENCE_START, SPECIAL_WORDS
from deepspeech_training.text_files import SAVE_AS_UTF8, TextFile, numbered_lines, read_text

LINES_PER_UPDATE = 10_000


@dataclass(frozen=True)
class TextSource:
    """The texts that a language model is made of, and how they become words.

    Args:
        texts: text files, a sentence on each line; `.gz` is unpacked.
        csvs: CSV files with a column `transcript`.
        cleaner: what becomes of a line, as of the transcripts that the model is trained on.
        characters: each character without the spaces is a word: for models with bytes as labels.
    """

    texts: tuple[str, ...]
    csvs: tuple[str, ...] = ()
    cleaner: Cleaner = field(default_factory=lambda: Cleaner(ByteAlphabet(), case="lower"))
    characters: bool = False

    def sentences(self, console: Console) -> Iterator[list[str]]:
        """The words of each line and transcript; an empty line is an empty sentence, as it is for `lmplz`.

        Raises:
            UserError: a file or its encoding cannot be read, or it has a word with a meaning of its own.
        """
        for path in self.texts:
            for number, line in _lines(path, console):
                yield self._words(line, path, number)
        for path in self.csvs:
            rows = read_rows(path)
            faults = sum(row.fault is not None for row in rows)
            if faults:
                console.warn(f"{path}: {faults:,} of {len(rows):,} rows cannot be read; their transcripts are left out")
            for row in rows:
                if row.fault is None:
                    yield self._words(row.transcript, path, row.row)

    def _words(self, text: str, path: str, number: int) -> list[str]:
        if "<" in text:
            special = next((word for word in text.split() if word.lower() in SPECIAL_WORDS), None)
            if special:
                raise UserError(
                    f"{path}, line {number}: the word {special} stands for something else in a language model\n"
                    "Take it out of the text."
                )
        words = self.cleaner(text).split()
        return list("".join(words)) if self.characters else words


def _lines(path: str, console: Console) -> Iterator[tuple[int, str]]:
    """(number, text) of each line of a text file, which may be gzipped."""
    try:
        with (
            open(path, "rb") as file,
            console.progress(f"reading {Path(path).name}", total=Path(path).stat().st_size, unit="bytes") as progress,
        ):
            read = 0
            opened: Callable[..., Any] = gzip.open if path.lower().endswith(".gz") else open
            stream: Any = opened(file, "rb") if opened is gzip.open else file
            for number, line in numbered_lines(stream):
                if number % LINES_PER_UPDATE == 0:
                    read = _update(progress, read, file.tell())
                if line is None:
                    text = TextFile(path, functools.partial(opened, path, "rb"))
                    raise UserError(f"{path}, line {number}: {text.not_decoded}\n{SAVE_AS_UTF8}")
                yield number, line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise UserError(f"{path}: the file is cut short or not gzipped: {error}\nCopy it again.") from error
    except OSError as error:
        raise UserError(f"{path}: cannot read the text: {error.strerror}") from error


def _update(progress: Progress, before: int, now: int) -> int:
    progress.update(now - before)
    return now


class _Numbers(dict[str, int]):
    """Word -> its number, given when it is asked for the first time."""

    def __missing__(self, word: str) -> int:
        number = self[word] = len(self)
        return number


@dataclass(frozen=True)
class Corpus:
    """The words of all sentences as numbers.

    Args:
        vocabulary: the words by number: SPECIAL_WORDS, then in the order of their first occurrence.
        tokens: int32 [tokens], each sentence from SENTENCE_START to SENTENCE_END.
    """

    vocabulary: list[str]
    tokens: np.ndarray
    occurrences: np.ndarray = field(init=False, repr=False)

    def __post_init__(self) -> None:
        occurrences = np.bincount(self.tokens, minlength=len(self.vocabulary))
        object.__setattr__(self, "occurrences", occurrences)

    @classmethod
    def read(cls, sentences: Iterable[Sequence[str]]) -> "Corpus":
        numbers = _Numbers()
        for word in SPECIAL_WORDS:
            numbers[word]
        tokens = array("i")
        for words in sentences:
            tokens.append(SENTENCE_START)
            tokens.extend(map(numbers.__getitem__, words))
            tokens.append(SENTENCE_END)
        return cls(list(numbers), np.frombuffer(tokens, np.int32) if tokens else np.zeros(0, np.int32))

    @property
    def num_sentences(self) -> int:
        return int(self.occurrences[SENTENCE_END])

    @property
    def num_words(self) -> int:
        return len(self.tokens) - 2 * self.num_sentences

    def word_counts(self) -> dict[str, int]:
        """How often each word occurs, the most frequent first; of equals the one that came first."""
        counts = self.occurrences[len(SPECIAL_WORDS) :]
        by_count = np.argsort(-counts, kind="stable") + len(SPECIAL_WORDS)
        return {self.vocabulary[number]: int(self.occurrences[number]) for number in by_count.tolist()}


def write_vocabulary(path: Path, words: Iterable[str]) -> None:
    """Write one word on each line, atomically, without a last newline, as generate_lm.py does."""
    write_atomically(path, ["\n".join(words).encode()])


def read_vocabulary(path: str) -> list[str]:
    """Read words separated by white space, each once.

    Raises:
        UserError: the file cannot be read, is in an encoding that is not read, or has no word.
    """
    words = list(dict.fromkeys(unicodedata.normalize("NFC", read_text(path, what="the vocabulary")).split()))
    if not words:
        raise UserError(f"{path}: the vocabulary has no words")
    return words
