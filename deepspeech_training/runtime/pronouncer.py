"""A trained model of words at work, in numpy: words -> pronunciations with their probabilities, or back."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepspeech_training.data.spelling import Spelling
from deepspeech_training.decoding.sequence_beam import State, search
from deepspeech_training.models.arrays import NumpyArrays
from deepspeech_training.models.word_model import Computation, WordModel, most_symbols

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
    """A model of words, or several of them as one.

    Args:
        computation: what is computed, in numpy.
        source, target: how words are given, and how they are written.
    """

    def __init__(self, computation: Computation, source: Spelling, target: Spelling):
        self.source, self.target = source, target
        self._computation = computation

    @classmethod
    def of(
        cls, network: WordModel, weights: Mapping[str, np.ndarray], source: Spelling, target: Spelling
    ) -> "Pronouncer":
        """A model with these weights, float32 by canonical name."""
        return cls(network.computation(weights, NumpyArrays()), source, target)

    @classmethod
    def together(cls, members: Sequence["Pronouncer"]) -> "Pronouncer":
        """An ensemble: at each step of an answer the mean of the probabilities of all.

        Raises:
            ValueError: they do not have the same symbols.
        """
        first = members[0]
        if any((one.source, one.target) != (first.source, first.target) for one in members):
            raise ValueError("models with other symbols")
        return cls(_Ensemble([one._computation for one in members]), first.source, first.target)

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


class _Ensemble:
    """See `models.word_model.Computation`; what belongs to a member has its number before its name."""

    def __init__(self, members: Sequence[Computation]):
        self._members = members

    def encode(self, given: Any, lengths: Any) -> Mapping[str, Any]:
        return _numbered(member.encode(given, lengths) for member in self._members)

    def logits(self, memory: Mapping[str, Any], previous: Any) -> Any:
        parts = _of_members(memory, len(self._members))
        return _mean_log_prob([m.logits(part, previous) for m, part in zip(self._members, parts, strict=True)])

    def begin(self, batch: Any, steps: Any) -> Mapping[str, Any]:
        return _numbered(member.begin(batch, steps) for member in self._members)

    def step(
        self, memory: Mapping[str, Any], state: Mapping[str, Any], previous: Any, place: Any
    ) -> tuple[Any, Mapping[str, Any]]:
        count = len(self._members)
        parts = zip(self._members, _of_members(memory, count), _of_members(state, count), strict=True)
        done = [member.step(seen, own, previous, place) for member, seen, own in parts]
        return _mean_log_prob([logits for logits, _ in done]), _numbered(new for _, new in done)


def _numbered(parts: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{number}/{name}": array for number, part in enumerate(parts) for name, array in part.items()}


def _of_members(arrays: Mapping[str, Any], count: int) -> list[dict[str, Any]]:
    parts: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, array in arrays.items():
        number, _, own = name.partition("/")
        parts[int(number)][own] = array
    return parts


def _mean_log_prob(logits: Sequence[np.ndarray]) -> np.ndarray:
    return np.logaddexp.reduce([_log_softmax(one) for one in logits]) - np.float32(math.log(len(logits)))


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
