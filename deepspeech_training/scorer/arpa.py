"""Language models -> ARPA files: the text format that KenLM, SRILM and others exchange."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.scorer.language_model import LanguageModel

LINES_AT_ONCE = 100_000


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
