"""ARPA files <-> language models: the text format that KenLM, SRILM and others exchange."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.errors import UserError
from deepspeech_training.scorer.language_model import SPECIAL_WORDS, LanguageModel, Ngrams

LINES_AT_ONCE = 100_000
MISSING_UNKNOWN_LOG10_PROB = -100.0  # build_binary's default where an ARPA file has no <unk>


def write_arpa(path: Path, model: LanguageModel) -> None:
    """Write a model, atomically. Numbers are as short as they can be to read back as the same float32."""
    write_atomically(path, _chunks(model))


def _chunks(model: LanguageModel) -> Iterator[bytes]:
    header = "".join(f"ngram {n}={len(ngrams)}\n" for n, ngrams in enumerate(model.orders, 1))
    yield f"\\data\\\n{header}".encode()
    vocabulary = np.array(model.vocabulary, object)
    for n, ngrams in enumerate(model.orders, 1):
        yield f"\n\\{n}-grams:\n".encode()
        for start in range(0, len(ngrams), LINES_AT_ONCE):
            rows = ngrams.at(slice(start, start + LINES_AT_ONCE))
            texts = map(" ".join, vocabulary[rows.words].tolist())
            backoffs = _numbers(rows.log10_backoff) if n < model.order else [""] * len(rows)
            yield "".join(
                f"{prob}\t{text}\t{backoff}\n" if backoff else f"{prob}\t{text}\n"
                for prob, text, backoff in zip(_numbers(rows.log10_prob), texts, backoffs, strict=True)
            ).encode()
    yield b"\n\\end\\\n"


def _numbers(values: np.ndarray) -> list[str]:
    return [
        text.removesuffix(".0").replace("-0", "0") if text == "-0.0" else text.removesuffix(".0")
        for text in values.astype(str).tolist()
    ]


def read_arpa(path: Path) -> LanguageModel:
    """Read an ARPA file.

    Returns:
        The model; its words are numbered as in the file, after <unk>, <s> and </s>.
    Raises:
        UserError: the file cannot be read or is not ARPA; the message names the line.
    """
    try:
        with open(path, encoding="utf-8", newline="\n") as file:
            return _Reader(path, file).model()
    except OSError as error:
        raise UserError(f"{path}: cannot read the ARPA file: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: the ARPA file is not UTF-8 ({error.reason})") from error


class _Reader:
    def __init__(self, path: Path, file):
        self._path, self._lines, self._number = path, file, 0

    def _fault(self, what: str) -> UserError:
        return UserError(f"{self._path}, line {self._number}: {what}\nIt must be an ARPA file, as lmplz writes it.")

    def _line(self) -> str:
        self._number += 1
        line = next(self._lines, None)
        if line is None:
            raise self._fault("the file ends too early")
        return line.rstrip("\r\n")

    def _line_with_text(self) -> str:
        while not (line := self._line()).strip():
            pass
        return line

    def model(self) -> LanguageModel:
        while (line := self._line_with_text()).startswith("#"):
            pass
        if line != "\\data\\":
            raise self._fault(f"found {line[:40]!r} instead of \\data\\")
        counts: list[int] = []
        while (line := self._line()).strip():
            name, _, count = line.partition("=")
            if name != f"ngram {len(counts) + 1}" or not count.strip().isdigit():
                raise self._fault(f"found {line[:40]!r} instead of ngram {len(counts) + 1}=COUNT")
            counts.append(int(count))
        if not counts:
            raise self._fault("there are no counts of n-grams")
        numbers = {word: number for number, word in enumerate(SPECIAL_WORDS)}
        orders = [self._ngrams(n, count, numbers, is_last=n == len(counts)) for n, count in enumerate(counts, 1)]
        if self._line_with_text() != "\\end\\":
            raise self._fault("there are more n-grams than the header says")
        return LanguageModel(list(numbers), [_by_number(orders[0], len(numbers), self._fault), *orders[1:]])

    def _ngrams(self, n: int, count: int, numbers: dict[str, int], *, is_last: bool) -> Ngrams:
        if self._line_with_text() != f"\\{n}-grams:":
            raise self._fault(f"there must be the heading \\{n}-grams:")
        words, weights = [], []
        for _ in range(count):
            fields = self._line().split("\t")
            names = fields[1].split(" ") if len(fields) > 1 else []
            if not 2 <= len(fields) <= 3 or len(names) != n or (is_last and len(fields) == 3 and float(fields[2])):
                raise self._fault(f"it is not a probability, {n} words and a back-off, separated by tabs")
            if n == 1:
                word = "<unk>" if names[0] == "<UNK>" else names[0]
                words.append(numbers.setdefault(word, len(numbers)))
            else:
                try:
                    words.extend([numbers["<unk>" if name == "<UNK>" else name] for name in names])
                except KeyError as error:
                    raise self._fault(f"the word {error.args[0]!r} is not among the 1-grams") from error
            weights.append((fields[0], fields[2] if len(fields) == 3 else "0"))
        try:
            values = np.array(weights, np.float64).reshape(-1, 2).astype(np.float32)
        except ValueError as error:
            raise self._fault(f"among the lines above is something that is not a number: {error}") from error
        if not np.isfinite(values).all() or (values[:, 0] > 0).any():
            raise self._fault("among the lines above is a probability above 1, or a number that is not finite")
        return Ngrams(np.array(words, np.int32).reshape(-1, n), values[:, 0].copy(), values[:, 1].copy())


def _by_number(unigrams: Ngrams, num_words: int, fault) -> Ngrams:
    """The unigrams in the order of their word numbers; <unk> may be missing, the sentence marks may not."""
    found = np.bincount(unigrams.words[:, 0], minlength=num_words)
    if (found > 1).any():
        raise fault("a word is twice among the 1-grams")
    if not found[1:3].all():
        raise fault("the 1-grams <s> and </s> are missing")
    prob = np.full(num_words, MISSING_UNKNOWN_LOG10_PROB, np.float32)
    backoff = np.zeros(num_words, np.float32)
    prob[unigrams.words[:, 0]], backoff[unigrams.words[:, 0]] = unigrams.log10_prob, unigrams.log10_backoff
    return Ngrams(np.arange(num_words, dtype=np.int32)[:, None], prob, backoff)
