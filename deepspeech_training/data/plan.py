"""Which samples form which batch of which epoch: a pure function of (seed, epoch), without state.

That is what makes resume exact and free: position = (epoch, step). The plan deals indices into the list of samples.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from deepspeech_training.data.sample import Sample

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


class Plan:
    """The batches of every epoch over one list of samples; the last, shorter batch is not lost."""

    def __init__(self, samples: Sequence[Sample], rules: BatchRules):
        self.samples = samples
        self.rules = rules
        self._costs = np.array([s.cost for s in samples], np.int64)
        self._sizes = np.array([s.size for s in samples], np.int64)
        self._cache: tuple[int, list[tuple[int, ...]]] | None = None

    def fingerprint(self) -> str:
        """Says whether two runs have the same batches: a hash of rules, samples and their costs."""
        rules = self.rules
        digest = hashlib.sha256(  # as version 0.1.0 wrote it, whose runs resume with their batches
            f"BatchRules(batch_size={rules.batch_size}, batch_seconds={rules.batch_seconds}, shuffle={rules.shuffle}, "
            f"reverse={rules.reverse}, seed={rules.seed}, sample_rate={rules.unit})".encode()
        )
        for sample in self.samples:
            digest.update(f"{sample.id}\0{sample.cost}\0{sample.size}\0{sample.content}\n".encode())
        return digest.hexdigest()[:16]

    def _generator(self, epoch: int) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=[self.rules.seed, epoch]))

    def batches(self, epoch: int) -> list[tuple[int, ...]]:
        """The batches of an epoch, each a tuple of indices into `samples`; every sample is in exactly one."""
        if self._cache is None or self._cache[0] != epoch:
            self._cache = (epoch, self._make(epoch))
        return self._cache[1]

    def _make(self, epoch: int) -> list[tuple[int, ...]]:
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
        return [batches[i] for i in generator.permutation(len(batches))]

    def _cut(self, order: np.ndarray) -> list[tuple[int, ...]]:
        rules = self.rules
        if rules.batch_seconds <= 0:
            size = rules.batch_size
            return [tuple(order[i : i + size].tolist()) for i in range(0, len(order), size)]
        budget = rules.batch_seconds * rules.unit
        batches: list[tuple[int, ...]] = []
        current: list[int] = []
        longest = 0
        for index in order.tolist():
            longest_with = max(longest, int(self._costs[index]))
            if current and longest_with * (len(current) + 1) > budget:
                batches.append(tuple(current))
                current, longest_with = [], int(self._costs[index])
            current.append(index)
            longest = longest_with
        return [*batches, tuple(current)] if current else batches

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
