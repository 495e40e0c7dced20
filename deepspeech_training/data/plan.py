"""Which samples form which batch of which epoch: a pure function of (seed, epoch), without state.

That is what makes resume exact and free: position = (epoch, step). The plan deals indices into the list of samples.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np

from deepspeech_training.data.sample import Sample
from deepspeech_training.data.sample_list import as_list

# How far costs are blurred before samples are sorted into batches: wide enough that the same ones do not meet in
# every epoch, narrow enough to keep padding small (`benchmarks/train_throughput.py` prints the shares).
LENGTH_BLUR = 0.08


@dataclass(frozen=True)
class BatchRules:
    """How batches are formed.

    Args:
        batch_size: samples in a batch of all devices together.
        batch_seconds: if above 0, padded cost in a batch instead of `batch_size`, in units of `unit`.
        shuffle: batches of similar length in shuffled order from the second epoch on; False: DeepSpeech's order,
            by file size, the same in every epoch.
        reverse: longest first where the order is sorted.
        seed: `--random_seed`.
        unit: cost of what `batch_seconds` counts: samples of a second of audio.
    """

    batch_size: int = 1
    batch_seconds: float = 0.0
    shuffle: bool = True
    reverse: bool = False
    seed: int = 0
    unit: int = 1


class Batches(Sequence[tuple[int, ...]]):
    """The batches of an epoch, each a tuple of indices into the samples; equal to a list of the same.

    Args:
        order: indices.
        starts, ends: of each batch in `order`.
    """

    def __init__(self, order: np.ndarray, starts: np.ndarray, ends: np.ndarray):
        self._order, self._starts, self._ends = order, starts, ends

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, number: int) -> tuple[int, ...]: ...

    @overload
    def __getitem__(self, number: slice) -> list[tuple[int, ...]]: ...

    def __getitem__(self, number: int | slice) -> tuple[int, ...] | list[tuple[int, ...]]:
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(len(self)))]
        return tuple(self._order[self._starts[number] : self._ends[number]].tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def in_order(self, numbers: np.ndarray) -> "Batches":
        """The same batches in another order."""
        return Batches(self._order, self._starts[numbers], self._ends[numbers])


class Plan:
    """The batches of every epoch over one list of samples; the last, shorter batch is not lost."""

    def __init__(self, samples: Sequence[Sample], rules: BatchRules):
        self.samples = as_list(samples)
        self.rules = rules
        self._costs, self._sizes = self.samples.costs, self.samples.sizes
        self._cache: tuple[int, Batches] | None = None

    @property
    def cost(self) -> int:
        """Of all samples."""
        return int(self._costs.sum())

    def fingerprint(self) -> str:
        """Says whether two runs have the same batches: a hash of rules, samples and their costs."""
        rules = self.rules
        digest = hashlib.sha256(  # as version 0.1.0 wrote it, whose runs resume with their batches
            f"BatchRules(batch_size={rules.batch_size}, batch_seconds={rules.batch_seconds}, shuffle={rules.shuffle}, "
            f"reverse={rules.reverse}, seed={rules.seed}, sample_rate={rules.unit})".encode()
        )
        for lines in self.samples.lines():
            digest.update(lines)
        return digest.hexdigest()[:16]

    def _generator(self, epoch: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=[self.rules.seed, epoch]))

    def batches(self, epoch: int) -> "Batches":
        """The batches of an epoch, each a tuple of indices into `samples`; every sample is in exactly one."""
        if self._cache is None or self._cache[0] != epoch:
            self._cache = (epoch, self._make(epoch))
        return self._cache[1]

    def _make(self, epoch: int) -> "Batches":
        rules = self.rules
        if not rules.shuffle:
            # DeepSpeech: by wav_filesize, ties in the order of rows (in Python's reversed sort too).
            return self._cut(np.argsort(-self._sizes if rules.reverse else self._sizes, kind="stable"))
        generator = self._generator(epoch)
        if epoch == 0:
            # Short to long. Clips of equal length come in random order: a corpus of commands, all of one second and
            # sorted by word, would otherwise be learnt one word at a time, that is, not at all.
            order = np.lexsort((generator.random(len(self.samples)), self._costs))
            return self._cut(order[::-1] if rules.reverse else order)
        blurred = self._costs * np.exp(LENGTH_BLUR * generator.standard_normal(len(self.samples)))
        batches = self._cut(np.argsort(blurred, kind="stable"))
        return batches.in_order(generator.permutation(len(batches)))

    def _cut(self, order: np.ndarray) -> "Batches":
        rules = self.rules
        if rules.batch_seconds <= 0:
            starts = np.arange(0, len(order), rules.batch_size)
            return Batches(order, starts, np.minimum(starts + rules.batch_size, len(order)))
        budget = rules.batch_seconds * rules.unit
        starts_of: list[int] = []
        longest = 0
        for place, cost in enumerate(self._costs[order].tolist()):
            longest = max(longest, cost)
            if not starts_of or longest * (place - starts_of[-1] + 1) > budget:
                starts_of.append(place)
                longest = cost
        starts = np.array(starts_of, np.int64)
        return Batches(order, starts, np.append(starts[1:], len(order)) if starts_of else starts)

    def heaviest_batch(self) -> tuple[int, ...]:
        """A batch as large as any epoch can have: the dearest samples together, the one to try memory with."""
        if not len(self.samples):
            return ()
        order = np.argsort(-self._costs, kind="stable")
        if self.rules.batch_seconds <= 0:
            return tuple(order[: self.rules.batch_size].tolist())
        # A batch whose dearest is order[i] has as many samples as the budget allows, and none dearer than that one.
        dearest = np.maximum(self._costs[order], 1)
        allowed = np.maximum(self.rules.batch_seconds * self.rules.unit // dearest, 1)
        counts = np.minimum(allowed, np.arange(len(order), 0, -1)).astype(np.int64)
        first = int(np.argmax(counts * dearest))
        return tuple(order[first : first + counts[first]].tolist())

    def padding_share(self, epoch: int) -> float:
        """Share of an epoch's batches that is padding, 0..1."""
        padded = sum(len(b) * int(self._costs[list(b)].max()) for b in self.batches(epoch))
        return 1.0 - float(self._costs.sum()) / max(padded, 1)


def clip_keys(samples: Sequence[Sample], *, seed: int, step: int) -> np.ndarray:
    """A key per sample for stateless randomness, a function of (seed, step, sample): uint32 [samples]."""
    keys = [hashlib.blake2b(f"{seed}/{step}/{sample.id}".encode(), digest_size=4).digest() for sample in samples]
    return np.frombuffer(b"".join(keys), "<u4").astype(np.uint32)
