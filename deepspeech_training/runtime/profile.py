"""Many utterances as counts, and how far those of one time are from those of another.

The distance is the population stability index: the sum over the buckets of (p - q) ln(p / q). Of samples that differ
by chance alone it has the mean (buckets - 1) (1/n + 1/m) (Yurdakul, Statistical properties of population stability
index, 2018), which is taken off: else small windows would always seem to drift.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from deepspeech_training.runtime.figures import SHARES, STATISTICS, Place, num_buckets

MODERATE, LARGE = 0.1, 0.25  # the usual bands of the index
Band = Literal["none", "moderate", "large"]


class Profile:
    """Counts of utterances by statistic and bucket.

    Attributes:
        utterances: how many were added.
    """

    def __init__(self) -> None:
        self.utterances = 0
        self._counts = {name: [0] * num_buckets(name) for name in (*STATISTICS, *SHARES)}

    @classmethod
    def of(cls, utterances: Iterable[Sequence[Place]]) -> "Profile":
        profile = cls()
        for places in utterances:
            profile.add(places)
        return profile

    def add(self, places: Sequence[Place], times: int = 1) -> None:
        """Count an utterance; -1 times takes it back."""
        self.utterances += times
        for place in places:
            self._counts[place.statistic][place.bucket] += times * place.weight

    def copy(self) -> "Profile":
        copied = Profile()
        copied.utterances = self.utterances
        copied._counts = {name: list(counts) for name, counts in self._counts.items()}
        return copied

    def counts(self, statistic: str) -> list[int]:
        return self._counts[statistic]

    def as_json(self) -> dict[str, Any]:
        """As a card has it."""
        statistics = {
            name: {"bounds": list(STATISTICS[name].bounds), "counts": counts}
            if name in STATISTICS
            else {"counts": counts}
            for name, counts in self._counts.items()
            if any(counts)
        }
        return {"utterances": self.utterances, "statistics": statistics}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Profile":
        """A statistic that this program does not have, or has with other bounds, is left out.

        Raises:
            KeyError, TypeError, ValueError, AttributeError: it is something else.
        """
        profile = cls()
        profile.utterances = int(values["utterances"])
        for name, found in values["statistics"].items():
            counts = [int(count) for count in found["counts"]]
            if min(counts, default=0) < 0:
                raise ValueError(f"{name}: a count is negative")
            bounds = list(STATISTICS[name].bounds) if name in STATISTICS else None
            if name in profile._counts and found.get("bounds") == bounds and len(counts) == num_buckets(name):
                profile._counts[name] = counts
        return profile

    def middle(self, statistic: str) -> float | None:
        """The median, as near as the buckets tell it; of a share the share; None without utterances."""
        counts = self._counts[statistic]
        total = sum(counts)
        if not total:
            return None
        if statistic in SHARES:
            return counts[1] / total
        bounds, below = STATISTICS[statistic].bounds, 0
        for bucket, count in enumerate(counts):
            if below + count >= total / 2:
                low = bounds[max(bucket - 1, 0)]
                high = bounds[min(bucket, len(bounds) - 1)]
                return low + (high - low) * (total / 2 - below) / count
            below += count
        raise AssertionError("half of the counts are somewhere")


def drift(reference: Sequence[int], served: Sequence[int]) -> float:
    """The population stability index of two histograms, without what chance alone makes; 0 to some 20.

    >>> drift([50, 50, 0], [500, 500, 0])
    0.0
    >>> 0.4 < drift([500, 500, 0], [200, 800, 0]) < 0.5
    True
    >>> drift([50, 50, 0], [0, 0, 100]) > 5
    True
    """
    pairs = [(a, b) for a, b in zip(reference, served, strict=True) if a or b]
    num_reference, num_served = sum(reference), sum(served)
    if not num_reference or not num_served:
        raise ValueError("nothing was counted")
    half = 0.5  # of an utterance in each bucket, so that none is impossible
    index = 0.0
    for a, b in pairs:
        p = (a + half) / (num_reference + half * len(pairs))
        q = (b + half) / (num_served + half * len(pairs))
        index += (q - p) * math.log(q / p)
    # By chance it is this chi-squared figure, of which nearly all are below the mean and twice the spread.
    free = len(pairs) - 1
    return max(0.0, index - (free + 2 * math.sqrt(2 * free)) * (1 / num_reference + 1 / num_served))


def band(index: float) -> Band:
    """
    >>> band(0.05), band(0.1), band(0.3)
    ('none', 'moderate', 'large')
    """
    return "none" if index < MODERATE else "moderate" if index <= LARGE else "large"
