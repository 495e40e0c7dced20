"""How sure an error rate is, and a difference of two: the bootstrap of Bisani & Ney (ICASSP 2004), in numpy.

Clips are drawn with replacement, as many as there are, again and again; how the rate varies over the draws is how it
would vary over other test sets of this kind. Where enough speakers are known, speakers are drawn with all their
clips: the clips of one voice are wrong together. Two systems are compared on the same draws, so that what is hard for
both cancels out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

CONFIDENCE = 0.95
DRAWS = 10_000
LEAST_DRAWS = 1_000
MAX_NUMBERS = 50_000_000  # that are drawn in all, some seconds: of very many units fewer draws will do
BLOCK = 1_000_000  # numbers at a time
LEAST_SPEAKERS = 10  # fewer voices say too little of others to be drawn from
LEAST_UNITS = 10  # of fewer clips or speakers the intervals are too narrow to be trusted
SEED = 0  # the same results give the same intervals


@dataclass(frozen=True)
class Interval:
    """A figure, and where it lies with a confidence of 95 %."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True)
class Difference(Interval):
    """Rate of B minus rate of A.

    Args:
        p: two-sided: how often chance alone makes a difference as large, where there is none.
        better: the share of draws in which B makes fewer errors than A.
        units: how many clips or speakers there are to draw.
    """

    p: float
    better: float
    units: int

    def __str__(self) -> str:
        return f"{self.value:+.4f} ({self.low:+.4f} to {self.high:+.4f}), p {self.p:.2g}"

    @property
    def is_certain(self) -> bool:
        """Whether the interval leaves 0 out, and is one of enough clips."""
        return self.units >= LEAST_UNITS and (self.low > 0 or self.high < 0)


def units_of(speakers: Sequence[str | None]) -> tuple[np.ndarray, str]:
    """What is drawn: a number for each clip, the same for clips that are drawn together, and what they are.

    >>> units_of(["ann", "bob", "ann"])[1]
    'clips'
    """
    if None not in speakers and len(set(speakers)) >= LEAST_SPEAKERS:
        return np.unique(np.array(speakers, dtype=str), return_inverse=True)[1], "speakers"
    return np.arange(len(speakers)), "clips"


def interval(errors: np.ndarray, lengths: np.ndarray, units: np.ndarray) -> Interval:
    """An error rate, sum of errors over sum of lengths, and its interval.

    Args:
        errors, lengths: int [clips].
        units: of `units_of`.
    """
    rates = np.concatenate([_rate(*sums) for sums in _draws([errors, lengths], units)])
    return Interval(float(_rate(errors.sum(), lengths.sum())), *_bounds(rates))


def difference(errors_a: np.ndarray, errors_b: np.ndarray, lengths: np.ndarray, units: np.ndarray) -> Difference:
    """The rate of B minus that of A, on the same clips; the arguments are as those of `interval`."""
    drawn = [_rate(b - a, length) for a, b, length in _draws([errors_a, errors_b, lengths], units)]
    differences = np.concatenate(drawn)
    value = float(_rate(errors_b.sum() - errors_a.sum(), lengths.sum()))
    # One more on either side: a p of 0 cannot be known from a number of draws (Davison & Hinkley 1997, 4.2).
    tail = min(np.count_nonzero(differences <= 0), np.count_nonzero(differences >= 0))
    p = float(min(1.0, 2 * (tail + 1) / (len(differences) + 1)))
    better, count = float(np.mean(differences < 0)), len(np.unique(units))
    return Difference(value, *_bounds(differences), p=p, better=better, units=count)


def _draws(columns: Sequence[np.ndarray], units: np.ndarray) -> Iterator[list[np.ndarray]]:
    """The sums of each column over many draws of units, int64 [draws of a block]."""
    sums = [np.bincount(units, weights=column).astype(np.int64) for column in columns]
    count = len(sums[0])
    left = max(LEAST_DRAWS, min(DRAWS, MAX_NUMBERS // count))
    generator = np.random.Generator(np.random.PCG64(SEED))
    while left > 0:
        draws = min(left, max(1, BLOCK // count))
        drawn = generator.integers(count, size=(draws, count))
        yield [column[drawn].sum(axis=1) for column in sums]
        left -= draws


def _rate(errors: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return errors / np.maximum(lengths, 1)  # as reporting.metrics.error_rate has it


def _bounds(rates: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(rates, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
