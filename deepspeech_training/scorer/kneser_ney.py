"""Counts of n-grams -> a language model: interpolated modified Kneser-Ney smoothing, as KenLM's `lmplz` does it.

Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (1998); Heafield et al., "Scalable
Modified Kneser-Ney Language Model Estimation" (2013). Every sum is a float32 where it is one in `lmplz` (lm/builder).

The n-grams of an order are kept sorted by their last word, then the one before it, and so on: "suffix order". So an
n-gram is a pair (row of its suffix in the order below, first word), and one sort of integers counts an order.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepspeech_training.console import Console
from deepspeech_training.scorer.language_model import SENTENCE_END, SENTENCE_START, UNKNOWN, LanguageModel, Ngrams

MAX_ORDER = 6  # KenLM's default, and so the clients'
FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)  # lmplz --discount_fallback
BYTES_PER_TOKEN_AND_ORDER = 50  # measured where nearly every n-gram occurs once, the worst case; see docs/scorer.md


@dataclass(frozen=True)
class Counts:
    """The n-grams of one order that occur, in suffix order.

    Args:
        first_word: int32 [ngrams].
        suffix: int32 [ngrams], the row of the last n - 1 words in the order below; zeros for single words.
        context: int32 [ngrams], the row of the first n - 1 words in the order below; zeros for single words.
        occurrences: int64 [ngrams].
    """

    first_word: np.ndarray
    suffix: np.ndarray
    context: np.ndarray
    occurrences: np.ndarray

    def __len__(self) -> int:
        return len(self.first_word)


def estimate(
    tokens: np.ndarray,
    vocabulary: list[str],
    *,
    order: int,
    prune: Sequence[int] = (),
    console: Console,
    announce_fallback: bool = True,
) -> LanguageModel:
    """Estimate a model of `order` words.

    Args:
        tokens: int32 [tokens], the word numbers of all sentences, each from SENTENCE_START to SENTENCE_END.
        vocabulary: the words by number, special words first.
        order: 1 to MAX_ORDER.
        prune: n-grams that occur at most so often are left out, per order; the last holds for all further orders.
        announce_fallback: say so where a small corpus makes FALLBACK_DISCOUNTS necessary.
    Returns:
        The model; its n-grams are in suffix order.
    Raises:
        ValueError: the order or the thresholds are not possible.
    """
    thresholds = pruning_thresholds(prune, order)
    counted = count_ngrams(tokens, len(vocabulary), order=order, console=console)
    kept = [counts.occurrences > threshold for counts, threshold in zip(counted, thresholds, strict=True)]
    kept[0][[UNKNOWN, SENTENCE_START, SENTENCE_END]] = True
    words = [word for word, stays in zip(vocabulary, kept[0], strict=True) if stays]

    lower_prob = np.full(1, np.float32(1) / np.float32(len(words) - 1))  # uniform over all words but <s>
    probs, gammas, fallback = [], [], []
    for n, (counts, adjusted) in enumerate(zip(counted, _adjusted_counts(counted), strict=True), 1):
        discounts = _discounts(_counts_of_counts(adjusted, counted, n))
        if discounts is None:
            fallback.append(n)
            discounts = np.array((0, *FALLBACK_DISCOUNTS), np.float32)
        lower_prob, gamma = _interpolated(counts, adjusted, kept[n - 1], discounts, lower_prob)
        if n == 1:
            lower_prob[SENTENCE_START] = 1  # it is given, never predicted
        probs.append(lower_prob)
        gammas.append(gamma)
    if fallback and announce_fallback:
        console.info(
            f"too few counts for the discounts of order {', '.join(map(str, fallback))}: taking {FALLBACK_DISCOUNTS} "
            "there, as lmplz --discount_fallback does"
        )
    return LanguageModel(words, _kept_ngrams(counted, probs, gammas, kept))


def memory_bytes(num_tokens: int, order: int) -> int:
    """What `estimate` takes at most, if every n-gram occurs only once."""
    return num_tokens * order * BYTES_PER_TOKEN_AND_ORDER


def pruning_thresholds(prune: Sequence[int], order: int) -> list[int]:
    """One threshold for each order.

    Raises:
        ValueError: they decrease, are negative or more than the orders; or the order is not 1 to MAX_ORDER.

    >>> pruning_thresholds((0, 0, 1), 5)
    [0, 0, 1, 1, 1]
    """
    if not 1 <= order <= MAX_ORDER:
        raise ValueError(f"the order is {order}; it can be 1 to {MAX_ORDER}")
    given = list(prune) or [0]
    if len(given) > order:
        raise ValueError(f"there are {len(given)} pruning thresholds, and the order is {order}")
    if given[0] < 0 or given != sorted(given):
        raise ValueError("pruning thresholds must not be negative, and must not decrease from one order to the next")
    return given + given[-1:] * (order - len(given))


def count_ngrams(tokens: np.ndarray, vocabulary_size: int, *, order: int, console: Console) -> list[Counts]:
    """Count the n-grams of every order from 1 to `order`; see `estimate` for the arguments."""
    position = np.arange(len(tokens), dtype=np.int32)
    sentence = np.maximum.accumulate(np.where(tokens == SENTENCE_START, position, 0))
    words_before = position - sentence
    del position, sentence
    occurrences = np.bincount(tokens, minlength=vocabulary_size)
    occurrences[SENTENCE_START] = 0
    numbers = np.arange(vocabulary_size, dtype=np.int32)
    zeros = np.zeros(vocabulary_size, np.int32)
    counted = [Counts(numbers, zeros, zeros, occurrences)]
    rows = tokens  # at each token the row, in the order below, of the n-gram that ends there
    with console.progress("counting n-grams", total=order, unit="orders", start=1) as progress:
        for n in range(2, order + 1):
            ends = np.flatnonzero(words_before >= n - 1)
            keys = rows[ends].astype(np.int64) * vocabulary_size + tokens[ends - (n - 1)]
            by_key = np.argsort(keys)
            keys = keys[by_key]
            is_new = np.ones(len(keys), bool)
            np.not_equal(keys[1:], keys[:-1], out=is_new[1:])
            starts = np.flatnonzero(is_new)
            context = rows[ends[by_key[starts]] - 1]
            new_rows = np.zeros(len(tokens), np.int32)
            new_rows[ends[by_key]] = np.cumsum(is_new, dtype=np.int32) - 1
            del by_key, ends, is_new
            suffix, first_word = np.divmod(keys[starts], vocabulary_size)
            occurrences = np.diff(starts, append=len(keys))
            counted.append(Counts(first_word.astype(np.int32), suffix.astype(np.int32), context, occurrences))
            rows = new_rows
            del keys
            progress.update(note=f"{len(starts):,} {n}-grams")
    return counted


def _adjusted_counts(counted: list[Counts]) -> list[np.ndarray]:
    """int64 [ngrams] per order: how many different words precede an n-gram; how often it occurs in the highest order,
    and where nothing can precede it."""
    adjusted = []
    for counts, longer in itertools.pairwise(counted):
        preceding = np.bincount(longer.suffix, minlength=len(counts))
        at_start = counts.first_word == SENTENCE_START
        adjusted.append(np.where(at_start, counts.occurrences, preceding))
    return [*adjusted, counted[-1].occurrences]


def _counts_of_counts(adjusted: np.ndarray, counted: list[Counts], n: int) -> np.ndarray:
    """int64 [5]: how many n-grams have the adjusted count 0, 1, 2, 3, 4.

    `lmplz` takes the occurrences instead for the very last n-gram of each order but the highest (the closing loop of
    AdjustCounts::Run); without that our discounts would differ from its in the fifth digit.
    """
    counts_of_counts = np.bincount(adjusted[adjusted < 5], minlength=5)
    last_can_be_preceded = all(counts.first_word[-1] != SENTENCE_START for counts in counted[: n - 1])
    if n < len(counted) and last_can_be_preceded:
        for count, change in ((adjusted[-1], -1), (counted[n - 1].occurrences[-1], 1)):
            if count < 5:
                counts_of_counts[count] += change
    return counts_of_counts


def _discounts(counts_of_counts: np.ndarray) -> np.ndarray | None:
    """float32 [4]: what is taken off an adjusted count of 0, 1, 2, and 3 or more (equation 26 of Chen and Goodman).

    None where there are no n-grams with one of the counts 1 to 3, or a discount leaves its range.
    """
    n = counts_of_counts.astype(np.float32)
    if not n[1:4].all():
        return None
    y = np.float32(n[1] / np.float32(float(n[1]) + 2.0 * float(n[2])))
    j = np.arange(1, 4, dtype=np.float32)
    discounts = j - (j + 1) * y * n[2:5] / n[1:4]
    return np.append(np.float32(0), discounts) if ((discounts >= 0) & (discounts <= j)).all() else None


def _interpolated(
    counts: Counts, adjusted: np.ndarray, kept: np.ndarray, discounts: np.ndarray, lower_prob: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The probabilities of the n-grams of an order, and what their contexts leave to the order below.

    Args:
        kept: bool [ngrams]; the counts of the others go to the order below.
        discounts: float32 [4], see `_discounts`.
        lower_prob: float32 [contexts], the probabilities of the order below.
    Returns:
        float32 [ngrams] probabilities and float32 [contexts] back-off weights (gamma; 1 where none is a context).
    """
    num_contexts = len(lower_prob)
    total = np.bincount(counts.context, weights=adjusted, minlength=num_contexts)
    of_pruned = np.bincount(counts.context[~kept], weights=adjusted[~kept], minlength=num_contexts)
    gamma = np.zeros(num_contexts, np.float32)
    kept_count = np.where(kept, np.minimum(adjusted, 3), 0)
    for count in (1, 2, 3):
        ngrams_with = np.bincount(counts.context[kept_count == count], minlength=num_contexts)
        gamma += discounts[count] * ngrams_with.astype(np.float32)
    gamma += of_pruned.astype(np.float32)
    is_context = total > 0
    denominator = np.where(is_context, total, 1).astype(np.float32)
    gamma = np.where(is_context, gamma / denominator, np.float32(1))
    own = (adjusted.astype(np.float32) - discounts[np.minimum(adjusted, 3)]) / denominator[counts.context]
    return own + gamma[counts.context] * lower_prob[counts.suffix], gamma


def _kept_ngrams(
    counted: list[Counts], probs: list[np.ndarray], gammas: list[np.ndarray], kept: list[np.ndarray]
) -> list[Ngrams]:
    """The n-grams that are not pruned, with their words and in log10."""
    orders: list[Ngrams] = []
    new_number = np.cumsum(kept[0], dtype=np.int32) - 1
    row_of_kept = np.zeros(0, np.int64)
    for n, (counts, prob, rows) in enumerate(zip(counted, probs, kept, strict=True), 1):
        first_word = new_number[counts.first_word[rows]][:, None]
        if n == 1:
            words = first_word
        else:
            words = np.hstack([first_word, orders[-1].words[row_of_kept[counts.suffix[rows]]]])
        backoff = np.ones(len(words), np.float32)
        if n < len(counted):
            ends_nothing = (words[:, -1] != SENTENCE_END) & (words[:, -1] != UNKNOWN)
            backoff = np.where(ends_nothing, gammas[n][rows], backoff)
        log10_prob = np.minimum(np.log10(prob[rows]), np.float32(0))
        orders.append(Ngrams(words, log10_prob, np.log10(backoff)))
        row_of_kept = np.cumsum(rows) - 1
    return orders
