"""Batches in memory, read ahead by threads while the accelerator works on the batch before.

Decoding and resampling happen in C and release Python's lock, so threads are enough. Nothing here is random, and the
order of batches is the plan's, whatever the number of threads. What augments the samples draws by epoch and sample
alone.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from deepspeech_training.data.sample import Sample

BATCHES_AHEAD = 4
BUCKET_GROWTH = 1.125  # from one padded length to the next

Example = Mapping[str, np.ndarray]  # one sample in memory: its arrays by name, as `BatchSpec` has them


class SampleFault(Exception):
    """One sample cannot be used; the message ends a sentence that begins with its name."""


@dataclass(frozen=True)
class ArraySpec:
    """One array of a batch, [batch, *shape].

    Args:
        dtype: such as "float32".
        shape: of one sample's; None for a first axis that differs from sample to sample: it is padded with zeros.
        lengths: the name of the int32 [batch] array of the lengths before padding, where the first axis is None.
        bucket: where shapes are to be few, lengths are rounded up to this and its multiples with powers of
            `BUCKET_GROWTH`; 0 for never.
        in_training: it is there in training only.
    """

    dtype: str
    shape: tuple[int | None, ...] = ()
    lengths: str = ""
    bucket: int = 0
    in_training: bool = False

    @property
    def inner_shape(self) -> tuple[int, ...]:
        """Without the axis that differs."""
        return tuple(size for size in self.shape if size is not None)


@dataclass(frozen=True)
class BatchSpec:
    """Which arrays a batch holds.

    Args:
        arrays: by name; without those of lengths.
        cost: the array of lengths that says what a sample costs, in the unit of `Sample.cost`.
    """

    arrays: Mapping[str, ArraySpec]
    cost: str

    def of_batch(self, *, training: bool) -> dict[str, ArraySpec]:
        """All arrays of a batch, those of lengths too."""
        found: dict[str, ArraySpec] = {}
        for name, array in self.arrays.items():
            if training or not array.in_training:
                found[name] = array
                if array.lengths:
                    found[array.lengths] = ArraySpec("int32")
        return found


@dataclass(frozen=True)
class Batch:
    """What a step takes; row k of every array belongs to `samples[k]`.

    Args:
        spec: which arrays there are.
        samples: those that are in it.
        arrays: by name.
        faults: samples that could not be loaded, with the reason; they are not in the arrays.
    """

    spec: BatchSpec
    samples: tuple[Sample, ...]
    arrays: Mapping[str, np.ndarray]
    faults: tuple[tuple[Sample, str], ...] = ()

    def example(self, row: int) -> Example:
        """The arrays of one sample, without padding."""
        arrays = {}
        for name, array in self.spec.arrays.items():
            if name in self.arrays:
                value = self.arrays[name][row]
                arrays[name] = value[: self.arrays[array.lengths][row]] if array.lengths else value
        return arrays

    def without(self, dropped: Iterable[str]) -> "Batch":
        """The same batch without the samples of these ids, as if they had never been in it."""
        dropped = set(dropped)
        keep = [row for row, sample in enumerate(self.samples) if sample.id not in dropped]
        if len(keep) == len(self.samples):
            return self
        samples, examples = [self.samples[row] for row in keep], [self.example(row) for row in keep]
        return make_batch(self.spec, samples, examples, faults=self.faults)

    @property
    def cost(self) -> int:
        return int(self.arrays[self.spec.cost].sum())


def make_batch(
    spec: BatchSpec,
    samples: Sequence[Sample],
    examples: Sequence[Example],
    *,
    faults: Sequence[tuple[Sample, str]] = (),
    static_shapes: bool = False,
) -> Batch:
    """Pad examples to one length. An empty batch has arrays of no rows."""
    arrays: dict[str, np.ndarray] = {}
    for name, array in spec.arrays.items():
        if array.in_training and not (examples and name in examples[0]):
            continue
        rows = [np.asarray(example[name], array.dtype) for example in examples]
        if not array.lengths:
            arrays[name] = np.stack(rows) if rows else np.zeros((0, *array.inner_shape), array.dtype)
            continue
        lengths = np.array([len(row) for row in rows], np.int32)
        longest = padded_length(int(lengths.max(initial=0)), bucket=array.bucket if static_shapes else 0)
        arrays[name] = np.zeros((len(rows), longest, *array.inner_shape), array.dtype)
        for padded, row in zip(arrays[name], rows, strict=True):
            padded[: len(row)] = row
        arrays[array.lengths] = lengths
    return Batch(spec, tuple(samples), arrays, tuple(faults))


def padded_length(longest: int, *, bucket: int) -> int:
    """Round a length up, so that a GPU meets few shapes.

    >>> padded_length(12345, bucket=0), padded_length(12345, bucket=8000), padded_length(1, bucket=8000)
    (12345, 12813, 8000)
    """
    if not bucket:
        return longest
    length = bucket
    while length < longest:
        length = int(length * BUCKET_GROWTH)
    return length


class Loader:
    """Loads planned batches ahead of time; use as a context manager.

    Args:
        load: reads one sample; raises SampleFault for one that cannot be used. `Task.load`.
        spec: of the batches. `Task.spec`.
        threads: how many samples are read at once.
        static_shapes: pad to few lengths, for a GPU.
        keep_bytes: keep samples in memory once they are read, up to so much: a small corpus is decoded once, not in
            every epoch.
    """

    def __init__(
        self,
        load: Callable[[Sample], Example],
        spec: BatchSpec,
        *,
        threads: int,
        static_shapes: bool = False,
        keep_bytes: int = 0,
    ):
        self._load, self._spec = load, spec
        self._kept: dict[str, Example] = {}
        self._bytes_left = keep_bytes
        self._static_shapes = static_shapes
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="loader")
        self.seconds_waited = 0.0  # time in which the consumer had to wait for data

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *exception: object) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def forget(self) -> None:
        """Load every sample again when it is wanted next."""
        self._bytes_left += sum(map(_num_bytes, self._kept.values()))
        self._kept.clear()

    def _load_or_fault(self, sample: Sample) -> Example | str:
        key = sample.path + "\0" + sample.content  # ids of different sets may be the same
        example = self._kept.get(key)
        if example is None:
            try:
                example = self._load(sample)
            except SampleFault as fault:
                return str(fault)
            if _num_bytes(example) <= self._bytes_left:  # threads may overdraw it by a sample each
                self._bytes_left -= _num_bytes(example)
                self._kept[key] = example
        return example

    def _load_and_augment(self, sample: Sample, augment: Callable[[Sample, Example], Example] | None) -> Example | str:
        example = self._load_or_fault(sample)
        return example if augment is None or isinstance(example, str) else augment(sample, example)

    def load_now(
        self, samples: Sequence[Sample], *, augment: Callable[[Sample, Example], Example] | None = None
    ) -> Batch:
        """Load one batch and wait for it."""
        return self._collect(samples, [self._pool.submit(self._load_and_augment, s, augment) for s in samples])

    def _collect(self, samples: Sequence[Sample], futures: Sequence[Future[Example | str]]) -> Batch:
        started = time.perf_counter()
        loaded = [future.result() for future in futures]
        self.seconds_waited += time.perf_counter() - started
        good, examples, faults = [], [], []
        for sample, found in zip(samples, loaded, strict=True):
            if isinstance(found, str):
                faults.append((sample, found))
            else:
                good.append(sample)
                examples.append(found)
        return make_batch(self._spec, good, examples, faults=faults, static_shapes=self._static_shapes)

    def batches(
        self,
        planned: Iterable[Sequence[Sample]],
        *,
        augment: Callable[[int, Sample, Example], Example] | None = None,
    ) -> Iterator[Batch]:
        """Yield the planned batches in order, reading `BATCHES_AHEAD` of them ahead.

        Args:
            planned: the samples of each batch.
            augment: is called in the threads with the number of the batch among `planned`, the sample and its example,
                whose arrays it must not write into: they may be kept for the next epoch.
        """
        ahead: deque[tuple[Sequence[Sample], list[Future[Example | str]]]] = deque()
        try:
            for number, samples in enumerate(planned):
                change = None if augment is None else partial(augment, number)
                ahead.append((samples, [self._pool.submit(self._load_and_augment, s, change) for s in samples]))
                if len(ahead) > BATCHES_AHEAD:
                    yield self._collect(*ahead.popleft())
            while ahead:
                yield self._collect(*ahead.popleft())
        finally:
            for _, futures in ahead:
                for future in futures:
                    future.cancel()


def _num_bytes(example: Example) -> int:
    return sum(array.nbytes for array in example.values())
