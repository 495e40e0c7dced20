"""Batches of audio in memory, read ahead by threads while the accelerator works on the batch before.

Decoding and resampling happen in C and release Python's lock, so threads are enough. Nothing here is random, and the
order of batches is the plan's, whatever the number of threads. What augments the clips draws by epoch and clip alone.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from deepspeech_training.data.plan import padded_length
from deepspeech_training.data.samples import Sample

BATCHES_AHEAD = 4


class ClipFault(Exception):
    """One clip cannot be used; the message ends a sentence that begins with its name."""


@dataclass(frozen=True)
class Clip:
    """One sample in memory: audio float32 [samples], labels int32 [labels], and `draws` float32 [n] for the step."""

    audio: np.ndarray
    labels: np.ndarray
    draws: np.ndarray | None = None


@dataclass(frozen=True)
class Batch:
    """What a step takes; row k of every array belongs to `samples[k]`.

    Args:
        samples: the clips that are in it.
        audio: float32 [batch, time], zeros past each clip's end.
        num_samples: int32 [batch].
        labels: int32 [batch, labels], zeros past `num_labels`.
        num_labels: int32 [batch].
        faults: samples that could not be loaded, with the reason; they are not in the arrays.
        draws: float32 [batch, n], what augmentations in the step draw from; None where nothing is augmented.
    """

    samples: tuple[Sample, ...]
    audio: np.ndarray
    num_samples: np.ndarray
    labels: np.ndarray
    num_labels: np.ndarray
    faults: tuple[tuple[Sample, str], ...] = ()
    draws: np.ndarray | None = None

    def without(self, dropped: Iterable[str]) -> "Batch":
        """The same batch without the samples of these ids, as if they had never been in it."""
        dropped = set(dropped)
        keep = [k for k, sample in enumerate(self.samples) if sample.id not in dropped]
        if len(keep) == len(self.samples):
            return self
        draws = self.draws if self.draws is not None else [None] * len(self.samples)
        clips = [
            Clip(self.audio[k, : self.num_samples[k]], self.labels[k, : self.num_labels[k]], draws[k]) for k in keep
        ]
        return make_batch([self.samples[k] for k in keep], clips, faults=self.faults)

    @property
    def samples_of_audio(self) -> int:
        return int(self.num_samples.sum())


def make_batch(samples: Sequence[Sample], clips: Sequence[Clip], *, faults=(), static_shapes: bool = False) -> Batch:
    """Pad clips to one length. An empty batch has arrays of no rows."""
    num_samples = np.array([len(c.audio) for c in clips], np.int32)
    num_labels = np.array([len(c.labels) for c in clips], np.int32)
    longest = padded_length(int(num_samples.max(initial=0)), static_shapes=static_shapes)
    audio = np.zeros((len(clips), longest), np.float32)
    labels = np.zeros((len(clips), int(num_labels.max(initial=0))), np.int32)
    for row, clip in enumerate(clips):
        audio[row, : len(clip.audio)] = clip.audio
        labels[row, : len(clip.labels)] = clip.labels
    draws = np.stack([clip.draws for clip in clips]) if clips and clips[0].draws is not None else None
    return Batch(tuple(samples), audio, num_samples, labels, num_labels, tuple(faults), draws)


class Loader:
    """Loads planned batches ahead of time; use as a context manager.

    Args:
        load: reads one sample; raises ClipFault for one that cannot be used. `Task.load`.
        threads: how many clips are read at once.
        static_shapes: pad to few lengths, for a GPU.
        keep_bytes: keep clips in memory once they are read, up to so much audio: a small corpus is decoded once, not
            in every epoch.
    """

    def __init__(
        self, load: Callable[[Sample], Clip], *, threads: int, static_shapes: bool = False, keep_bytes: int = 0
    ):
        self._load = load
        self._kept: dict[str, Clip] = {}
        self._bytes_left = keep_bytes
        self._static_shapes = static_shapes
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="loader")
        self.seconds_waited = 0.0  # time in which the consumer had to wait for data

    def __enter__(self) -> "Loader":
        return self

    def __exit__(self, *exception) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)

    def forget(self) -> None:
        """Load every clip anew when it is wanted next."""
        self._bytes_left += sum(clip.audio.nbytes for clip in self._kept.values())
        self._kept.clear()

    def _load_or_fault(self, sample: Sample) -> Clip | str:
        key = sample.path + "\0" + sample.transcript  # ids of different sets may be the same
        clip = self._kept.get(key)
        if clip is None:
            try:
                clip = self._load(sample)
            except ClipFault as fault:
                return str(fault)
            if clip.audio.nbytes <= self._bytes_left:  # threads may overdraw it by a clip each
                self._bytes_left -= clip.audio.nbytes
                self._kept[key] = clip
        return clip

    def _load_and_augment(self, sample: Sample, augment: Callable[[Sample, Clip], Clip] | None) -> Clip | str:
        clip = self._load_or_fault(sample)
        return clip if augment is None or isinstance(clip, str) else augment(sample, clip)

    def load_now(self, samples: Sequence[Sample], *, augment: Callable[[Sample, Clip], Clip] | None = None) -> Batch:
        """Load one batch and wait for it."""
        return self._collect(samples, [self._pool.submit(self._load_and_augment, s, augment) for s in samples])

    def _collect(self, samples: Sequence[Sample], futures: Sequence[Future]) -> Batch:
        started = time.perf_counter()
        loaded = [f.result() for f in futures]
        self.seconds_waited += time.perf_counter() - started
        good = [(s, c) for s, c in zip(samples, loaded, strict=True) if isinstance(c, Clip)]
        faults = [(s, c) for s, c in zip(samples, loaded, strict=True) if isinstance(c, str)]
        return make_batch([s for s, _ in good], [c for _, c in good], faults=faults, static_shapes=self._static_shapes)

    def batches(
        self, planned: Iterable[Sequence[Sample]], *, augment: Callable[[int, Sample, Clip], Clip] | None = None
    ) -> Iterator[Batch]:
        """Yield the planned batches in order, reading `BATCHES_AHEAD` of them ahead.

        Args:
            planned: the samples of each batch.
            augment: is called in the threads with the number of the batch among `planned`, the sample and its clip,
                which it must not write into: it may be kept for the next epoch.
        """
        ahead: deque[tuple[Sequence[Sample], list[Future]]] = deque()
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
