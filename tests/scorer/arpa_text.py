"""ARPA files as language models: what KenLM's programs write, to compare with."""

from pathlib import Path

import numpy as np

from deepspeech_training.scorer.language_model import SPECIAL_WORDS, LanguageModel, Ngrams

MISSING_UNKNOWN_LOG10_PROB = -100.0  # build_binary's default where an ARPA file has no <unk>


def read_arpa(path: Path) -> LanguageModel:
    """The model of a sound file; its words are numbered as in the file, after <unk>, <s> and </s>."""
    head, *sections = path.read_text(encoding="utf-8").removesuffix("\n\\end\\\n").split("-grams:\n")
    numbers = {word: number for number, word in enumerate(SPECIAL_WORDS)}
    orders = []
    for n, section in enumerate(sections, 1):
        rows = [line.split("\t") for line in section.split("\n") if line.count("\t")]
        words = [[numbers.setdefault(word, len(numbers)) for word in row[1].split(" ")] for row in rows]
        weights = np.array([(row[0], row[2] if len(row) == 3 else 0) for row in rows], np.float64).astype(np.float32)
        orders.append(Ngrams(np.array(words, np.int32).reshape(-1, n), weights[:, 0].copy(), weights[:, 1].copy()))
    assert [int(line.partition("=")[2]) for line in head.split("\n")[1:] if "=" in line] == list(map(len, orders))
    prob = np.full(len(numbers), MISSING_UNKNOWN_LOG10_PROB, np.float32)
    backoff = np.zeros(len(numbers), np.float32)
    prob[orders[0].words[:, 0]], backoff[orders[0].words[:, 0]] = orders[0].log10_prob, orders[0].log10_backoff
    orders[0] = Ngrams(np.arange(len(numbers), dtype=np.int32)[:, None], prob, backoff)
    return LanguageModel(list(numbers), orders)
