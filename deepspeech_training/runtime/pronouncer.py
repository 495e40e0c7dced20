"""A trained model of words at work, in numpy: words -> pronunciations with their probabilities, or back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from deepspeech_training.data.spelling import Spelling
from deepspeech_training.decoding.sequence_beam import State, search
from deepspeech_training.models.arrays import NumpyArrays
from deepspeech_training.models.word_model import WordModel, most_symbols

WORDS_TOGETHER = 64
MAX_SYMBOLS = 200  # of a word that is given: what is longer is none
DEFAULT_WIDTH = 5


@dataclass(frozen=True)
class Answer:
    """One answer to a word.

    Args:
        text: as the training data writes it.
        probability: that the model gives to it, 0..1; those of all answers that there could be add up to 1.
    """

    text: str
    probability: float


class Pronouncer:
    """A model of words.

    Args:
        network: what it computes.
        weights: float32 by canonical name.
        source, target: how words are given, and how they are written.
    """

    def __init__(self, network: WordModel, weights: Mapping[str, np.ndarray], source: Spelling, target: Spelling):
        self.source, self.target = source, target
        self._computation = network.computation(weights, NumpyArrays())

    def answers(self, words: Sequence[str], *, width: int = DEFAULT_WIDTH, count: int = 1) -> list[list[Answer]]:
        """The likeliest answers to each word, best first; at most `count` of each, and none to an empty word.

        Symbols that the training data did not have are taken for unknown ones (`Spelling.strange` tells them).

        Args:
            width: hypotheses that the search keeps; 1 is greedy.
        Raises:
            ValueError: a word is longer than `MAX_SYMBOLS`.
        """
        given = [self.source.numbers(word) for word in words]
        longest = max(map(len, given), default=0)
        if longest > MAX_SYMBOLS:
            raise ValueError(f"a word of {longest:,} symbols; the most are {MAX_SYMBOLS}")
        found = self.search(given, width=max(width, count))
        return [
            [Answer(self.target.text(numbers), math.exp(log_prob)) for log_prob, numbers in written[:count]]
            for written in found
        ]

    def search(self, given: Sequence[tuple[int, ...]], *, width: int) -> list[list[tuple[float, tuple[int, ...]]]]:
        """The same in numbers: log probabilities and symbols. Words of similar length are computed together."""
        found: list[list[tuple[float, tuple[int, ...]]]] = [[] for _ in given]
        order = sorted((place for place in range(len(given)) if given[place]), key=lambda place: len(given[place]))
        for first in range(0, len(order), WORDS_TOGETHER):
            places = order[first : first + WORDS_TOGETHER]
            for place, written in zip(places, self._search([given[p] for p in places], width), strict=True):
                found[place] = written
        return found

    def _search(self, given: Sequence[tuple[int, ...]], width: int) -> list[list[tuple[float, tuple[int, ...]]]]:
        lengths = np.array(list(map(len, given)), np.int32)
        numbers = np.zeros((len(given), lengths.max()), np.int32)
        for row, word in zip(numbers, given, strict=True):
            row[: len(word)] = word
        memory = dict(self._computation.encode(numbers, lengths))
        begun = self._computation.begin(len(given), most_symbols(int(lengths.max())) + 1)
        names = {f"memory/{name}": array for name, array in memory.items()}

        def step(previous: np.ndarray, state: State, place: int) -> tuple[np.ndarray, State]:
            seen = {name.removeprefix("memory/"): array for name, array in state.items() if name in names}
            own = {name: array for name, array in state.items() if name not in names}
            logits, new = self._computation.step(seen, own, previous, np.int32(place))
            return _log_softmax(logits), {**new, **{name: state[name] for name in names}}

        most = [most_symbols(int(length)) for length in lengths]
        found = search(step, {**begun, **names}, most, width=width)
        return [[(written.log_prob, written.symbols) for written in answers] for answers in found]


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
