"""The n-grams of a back-off language model as arrays: what estimation makes, ARPA files hold and tries are built of."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

UNKNOWN, SENTENCE_START, SENTENCE_END = 0, 1, 2  # the word numbers of SPECIAL_WORDS
SPECIAL_WORDS = ("<unk>", "<s>", "</s>")


@dataclass(frozen=True)
class Ngrams:
    """All n-grams of one order n.

    Args:
        words: int32 [ngrams, n], word numbers in the order of speech.
        log10_prob: float32 [ngrams], at most 0.
        log10_backoff: float32 [ngrams]; zeros in the highest order.
    """

    words: np.ndarray
    log10_prob: np.ndarray
    log10_backoff: np.ndarray

    def __len__(self) -> int:
        return len(self.words)

    def at(self, rows: np.ndarray | slice) -> "Ngrams":
        return Ngrams(self.words[rows], self.log10_prob[rows], self.log10_backoff[rows])


@dataclass(frozen=True)
class LanguageModel:
    """A back-off model; `orders[n - 1]` has its n-grams, and row w of `orders[0]` is the word number w.

    Args:
        vocabulary: the words by number; it starts with SPECIAL_WORDS.
    """

    vocabulary: list[str]
    orders: list[Ngrams]

    @property
    def order(self) -> int:
        return len(self.orders)

    @property
    def counts(self) -> list[int]:
        return [len(ngrams) for ngrams in self.orders]

    def limited_to(self, words: Collection[str]) -> "LanguageModel":
        """The model without the n-grams that have a word outside `words`, as KenLM's `filter single` makes it.

        Probabilities stay as they are. Like there, words in angle brackets always stay.
        """
        words = set(words)
        kept = np.array([word in words or (word[0] == "<" and word[-1] == ">") for word in self.vocabulary])
        if kept.all():
            return self
        renumbered = np.cumsum(kept, dtype=np.int32) - 1
        orders = []
        for ngrams in self.orders:
            of_kept = ngrams.at(kept[ngrams.words].all(axis=1))
            orders.append(Ngrams(renumbered[of_kept.words], of_kept.log10_prob, of_kept.log10_backoff))
        return LanguageModel([word for word, stays in zip(self.vocabulary, kept, strict=True) if stays], orders)
