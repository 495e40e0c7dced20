"""Lists of samples, whatever holds them: what plan, loop and summaries ask of all samples at once.

A list in memory, several lists one after the other, or some samples of a list. Where the samples are rows of a file
that is mapped into memory (`sample_table`), none of them becomes an object before a batch needs it.
"""

import hashlib
import heapq
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, overload

import numpy as np

from deepspeech_training.data.sample import Sample


@dataclass(frozen=True)
class Described:
    """What a summary says of samples: `fingerprint` of files, costs and contents, and the names of their speakers."""

    fingerprint: str
    characters: int
    speakers: frozenset[str | None]


class Summing:
    """Makes a `Described` of samples, one after the other."""

    def __init__(self) -> None:
        self._digest, self._characters = hashlib.sha256(), 0
        self._speakers: set[str | None] = set()

    def add(self, path: str, cost: int, content: str, speaker: str | None) -> None:
        self._digest.update(f"{os.path.basename(path)}\0{cost}\0{content}\n".encode("utf-8", "surrogateescape"))
        self._characters += len(content)
        self._speakers.add(speaker)

    def result(self) -> Described:
        return Described(self._digest.hexdigest()[:16], self._characters, frozenset(self._speakers))


class SampleList(Sequence[Any]):
    """Samples of one task; equal to another with the same samples in the same order."""

    def __len__(self) -> int:
        raise NotImplementedError

    def one(self, index: int) -> Any:
        """The sample at a place, which is not negative."""
        raise NotImplementedError

    @overload
    def __getitem__(self, index: int) -> Any: ...

    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self.one(place) for place in range(*index.indices(len(self)))]
        place = index + len(self) if index < 0 else index
        if not 0 <= place < len(self):
            raise IndexError(index)
        return self.one(place)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and list(self) == list(other)

    @cached_property
    def costs(self) -> np.ndarray:
        """`Sample.cost` of all, int64."""
        return np.array([sample.cost for sample in self], np.int64)

    @cached_property
    def sizes(self) -> np.ndarray:
        """`Sample.size` of all, int64."""
        return np.array([sample.size for sample in self], np.int64)

    def ids(self) -> Iterator[str]:
        return (sample.id for sample in self)

    def lines(self) -> Iterator[bytes]:
        """What the plan is made of, of which the fingerprint of a run is taken: id, cost, size and content of all."""
        return (line_of(sample) for sample in self)

    def with_ids(self, ids: set[str]) -> list[Any]:
        """The samples of these ids, in their order."""
        return [self[place] for place, sample_id in enumerate(self.ids()) if sample_id in ids]

    def describe(self) -> Described:
        summing = Summing()
        for sample in self:
            summing.add(sample.path, sample.cost, sample.content, getattr(sample, "speaker", None))
        return summing.result()


def line_of(sample: Sample) -> bytes:
    return f"{sample.id}\0{sample.cost}\0{sample.size}\0{sample.content}\n".encode()


class InMemory(SampleList):
    """A list of objects."""

    def __init__(self, samples: Sequence[Any]):
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def one(self, index: int) -> Any:
        return self._samples[index]


class Joined(SampleList):
    """Lists one after the other."""

    def __init__(self, parts: Sequence[SampleList]):
        self.parts = parts
        self.starts = np.cumsum([0, *map(len, parts)])

    def __len__(self) -> int:
        return int(self.starts[-1])

    def one(self, index: int) -> Any:
        part = int(np.searchsorted(self.starts, index, side="right")) - 1
        return self.parts[part].one(index - int(self.starts[part]))

    def __iter__(self) -> Iterator[Any]:
        for part in self.parts:
            yield from part

    @cached_property
    def costs(self) -> np.ndarray:
        return _concatenated(part.costs for part in self.parts)

    @cached_property
    def sizes(self) -> np.ndarray:
        return _concatenated(part.sizes for part in self.parts)

    def ids(self) -> Iterator[str]:
        for part in self.parts:
            yield from part.ids()

    def lines(self) -> Iterator[bytes]:
        for part in self.parts:
            yield from part.lines()

    def with_ids(self, ids: set[str]) -> list[Any]:
        return [sample for part in self.parts for sample in part.with_ids(ids)]


class Chosen(SampleList):
    """Some samples of a list."""

    def __init__(self, samples: SampleList, places: Sequence[int]):
        self._samples, self._places = samples, np.array(places, np.int64)

    def __len__(self) -> int:
        return len(self._places)

    def one(self, index: int) -> Any:
        return self._samples.one(int(self._places[index]))

    @cached_property
    def costs(self) -> np.ndarray:
        return self._samples.costs[self._places]

    @cached_property
    def sizes(self) -> np.ndarray:
        return self._samples.sizes[self._places]


def as_list(samples: Sequence[Any]) -> SampleList:
    """Samples as a `SampleList`; a list of objects stays what it is inside."""
    return samples if isinstance(samples, SampleList) else InMemory(samples)


def _concatenated(parts: Iterator[np.ndarray]) -> np.ndarray:
    arrays = list(parts)
    return np.concatenate(arrays) if arrays else np.zeros(0, np.int64)


def fair_choice(samples: Sequence[Any], limit: int, seed: int) -> Sequence[int]:
    """The places of `limit` samples that stand for all, ascending.

    The choice depends on seed and ids alone (BLAKE2b of both), not on numpy's version or on the other samples;
    a smaller limit takes a subset of what a larger one takes.

    Args:
        limit: 0 takes all.
    Raises:
        ValueError: `limit` is negative.
    """
    if limit < 0:
        raise ValueError(f"limit is {limit}")
    if limit == 0 or limit >= len(samples):
        return range(len(samples))
    ids = enumerate(as_list(samples).ids())
    ranked = ((hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=16).digest(), place) for place, name in ids)
    return sorted(place for _, place in heapq.nsmallest(limit, ranked))


def limit_fairly(samples: Sequence[Any], limit: int, seed: int) -> SampleList:
    """Some samples that stand for all, in their original order: see `fair_choice`."""
    places = fair_choice(samples, limit, seed)
    return as_list(samples) if len(places) == len(samples) else Chosen(as_list(samples), places)
