"""A planned batch -> each worker's share of it -> what all know of the whole batch.

Every worker has the same plan and the same RunState: each loads its share of a batch only, and tells the others what
came of that. So all decide alike, and one that trains alone is the case of one share.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from deepspeech_training.data.loader import Batch
from deepspeech_training.data.sample import Sample
from deepspeech_training.training.backends.base import Part, Peers


def share_of(planned: Sequence[Sample], peers: Peers) -> Sequence[Sample]:
    """The samples of a batch that this process loads: parts of equal size, by rank; the last ones may be smaller."""
    size = -(-len(planned) // peers.count)
    return planned[peers.rank * size : (peers.rank + 1) * size]


@dataclass(frozen=True)
class SharedBatch:
    """A batch in the memory of all workers.

    Args:
        own: what this one has loaded.
        samples: those of all, in the order of the plan.
        costs: of each of them, as it was loaded.
        faults: of all, samples that could not be loaded, with the reason.
    """

    own: Batch
    samples: tuple[Sample, ...]
    costs: tuple[int, ...]
    faults: tuple[tuple[Sample, str], ...] = ()

    @property
    def cost(self) -> int:
        return sum(self.costs)

    @property
    def part(self) -> Part:
        """Which of the samples are this worker's: they are neighbours."""
        first = self.samples.index(self.own.samples[0]) if self.own.samples else 0
        return Part(first, len(self.samples))

    def without(self, dropped: Iterable[str]) -> "SharedBatch":
        """The same batch without the samples of these ids, as if they had never been in it."""
        dropped = set(dropped)
        kept = [place for place, sample in enumerate(self.samples) if sample.id not in dropped]
        if len(kept) == len(self.samples):
            return self
        samples, costs = tuple(self.samples[place] for place in kept), tuple(self.costs[place] for place in kept)
        return SharedBatch(self.own.without(dropped), samples, costs, self.faults)


def shared(planned: Sequence[Sample], own: Batch, peers: Peers) -> SharedBatch:
    """Tell the others what came of this worker's share of a planned batch, and hear the same of them."""
    reasons = {sample.id: reason for sample, reason in own.faults}
    costs = iter(own.arrays[own.spec.cost].tolist())
    # Of each sample of the share what it costs, or why it could not be loaded.
    told = [reasons[s.id] if s.id in reasons else next(costs) for s in share_of(planned, peers)]
    heard: list[Any] = [found for part in peers.exchange(told) for found in part]
    good = [(sample, found) for sample, found in zip(planned, heard, strict=True) if not isinstance(found, str)]
    faults = [(sample, found) for sample, found in zip(planned, heard, strict=True) if isinstance(found, str)]
    return SharedBatch(own, tuple(s for s, _ in good), tuple(cost for _, cost in good), tuple(faults))
