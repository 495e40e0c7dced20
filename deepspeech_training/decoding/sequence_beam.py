"""Beam search for networks that write symbol by symbol: the likeliest whole answers to many words at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

END = 0  # the symbol that ends an answer
State = Mapping[str, np.ndarray]  # arrays whose first axis is that of the hypotheses
# Symbols written last int32 [rows], the state of these rows, the number of the step -> log probabilities of the next
# symbols float32 [rows, symbols], and the new state.
Step = Callable[[np.ndarray, State, int], tuple[np.ndarray, State]]


@dataclass(frozen=True)
class Written:
    """One answer.

    Args:
        log_prob: of the whole answer, its end included.
        symbols: their numbers, without the end.
    """

    log_prob: float
    symbols: tuple[int, ...]


@dataclass
class _Word:
    """The hypotheses of a word: those that continue, each with its row of the state, and the best of those that ended.

    Args:
        most: symbols that its answer may have.
    """

    most: int
    rows: list[int]
    alive: list[Written] = field(default_factory=lambda: [Written(0.0, ())])
    ended: list[Written] = field(default_factory=list)

    def extend(self, log_probs: np.ndarray, first: int, width: int) -> None:
        """Take in a step: log probabilities float32 [alive, symbols], whose rows in the new state begin at `first`."""
        totals = log_probs.astype(np.float64) + np.array([[h.log_prob] for h in self.alive])
        ended = [Written(float(total), h.symbols) for total, h in zip(totals[:, END], self.alive, strict=True)]
        self.ended = sorted([*self.ended, *ended], key=_order)[:width]
        totals[:, END] = -np.inf
        flat = totals.ravel()
        best = np.argpartition(-flat, min(width, len(flat) - 1))[:width]
        found = [
            (Written(float(flat[i]), (*self.alive[i // totals.shape[1]].symbols, int(i % totals.shape[1]))), i)
            for i in best
            if np.isfinite(flat[i])
        ]
        if len(self.ended) == width:  # a longer answer only becomes less likely
            found = [(h, i) for h, i in found if h.log_prob > self.ended[-1].log_prob]
        found.sort(key=lambda pair: _order(pair[0]))
        if found and len(found[0][0].symbols) > self.most:
            found = []
        self.alive = [h for h, _ in found]
        self.rows = [first + int(i) // totals.shape[1] for _, i in found]


def search(step: Step, state: State, most: Sequence[int], *, width: int) -> list[list[Written]]:
    """The likeliest answers to each word, best first: `width` of each, fewer where there are no more.

    Probabilities are those of whole answers and are not divided by their lengths. The search for a word is over once
    no answer that is not whole could become one of its `width` best.

    Args:
        step: computes one step.
        state: before the first step, a row for each word.
        most: symbols that the answer to each word may have.
    """
    words = [_Word(most=number, rows=[row]) for row, number in enumerate(most)]
    active, place = words, 0
    while active:
        rows = np.array([row for word in active for row in word.rows])
        last = np.array([h.symbols[-1] if h.symbols else END for word in active for h in word.alive], np.int32)
        log_probs, state = step(last, {name: array[rows] for name, array in state.items()}, place)
        first = 0
        for word in active:
            count = len(word.alive)
            word.extend(log_probs[first : first + count], first, width)
            first += count
        active, place = [word for word in active if word.alive], place + 1
    return [word.ended for word in words]


def _order(written: Written) -> tuple[float, tuple[int, ...]]:
    return -written.log_prob, written.symbols
