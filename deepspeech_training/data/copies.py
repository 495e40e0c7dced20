"""The same recording under several names or in several formats, found by its samples.

Nearly all recordings differ in their length to the sample, which is known already. Of those that do not, files of one
kind are compared by some bytes in the middle, and only what is left is decoded.
"""

import itertools
import os
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deepspeech_training.audio.files import AudioError, AudioInfo, num_samples_after_resampling, read_audio
from deepspeech_training.audio.fingerprint import fingerprint, is_copy
from deepspeech_training.audio.shards import read_part

if TYPE_CHECKING:  # importers start without numpy
    import numpy as np

MOST_COPIES = 10  # of one recording; what is there more often is the same sound, such as a beep
MIDDLE_BYTES = 4096
SAMPLE_RATE = 16000  # at which recordings of several rates are compared
THREADS = 8
_SIZE_TELLS_LENGTH = (".wav", ".wave", ".aiff", ".aif", ".au", ".w64")


@dataclass(frozen=True, slots=True)
class Recording:
    """A file, its size in bytes, what is known of its sound, and the set that it is in."""

    path: str
    size: int
    info: AudioInfo
    set_name: str = ""


def find_copies(recordings: Sequence[Recording], *, across_sets: bool = False) -> list[list[Recording]]:
    """Recordings with the same samples, two or more together, in their order. Silence is left out.

    Args:
        across_sets: only those that are in more than one set.
    """

    def counts(group: Sequence[Recording]) -> bool:
        return len(group) > 1 and (not across_sets or len({one.set_name for one in group}) > 1)

    def divide(groups: list[list[Recording]], key: Callable[[Recording], Hashable]) -> list[list[Recording]]:
        keys = iter(list(pool.map(key, itertools.chain(*groups))))
        parts = [_together(group, list(itertools.islice(keys, len(group)))) for group in groups]
        return [part for part in itertools.chain(*parts) if counts(part)]

    alike = [group for group in _together(recordings, [_length(one) for one in recordings]) if counts(group)]
    of_one_kind = [group for group in alike if len({_kind(one) for one in group}) == 1]
    of_several = [group for group in alike if len({_kind(one) for one in group}) > 1]
    with ThreadPoolExecutor(THREADS) as pool:
        alike = divide([*divide(of_one_kind, _middle), *of_several], _fingerprint)
    copies = []
    for group in alike:
        by_path = {one.path: one for one in group}
        copies += [[by_path[path] for path in paths] for paths in divide_by_sound(list(by_path))]
    return [group for group in copies if counts(group) and len(group) <= MOST_COPIES]


def divide_by_sound(paths: Sequence[str], *, sample_rate: int = SAMPLE_RATE) -> list[list[str]]:
    """Files with the same samples together; what cannot be decoded is left out."""
    found: list[tuple[np.ndarray, list[str]]] = []
    for path in paths:
        samples = _samples(path, sample_rate)
        if samples is None:
            continue
        copies = next((copies for first, copies in found if is_copy(first, samples)), None)
        if copies is None:
            found.append((samples, [path]))
        else:
            copies.append(path)
    return [copies for _, copies in found]


def _together(group: Sequence[Recording], keys: Sequence[Hashable]) -> list[list[Recording]]:
    found: dict[Hashable, list[Recording]] = {}
    for one, key in zip(group, keys, strict=True):
        if key:
            found.setdefault(key, []).append(one)
    return list(found.values())


def _length(recording: Recording) -> int:
    info = recording.info
    return num_samples_after_resampling(info.num_frames, info.sample_rate, SAMPLE_RATE)


def _kind(recording: Recording) -> tuple[str, int]:
    """Files of one kind are copies only if their bytes are the same."""
    end = os.path.splitext(recording.path)[1].lower()
    return end, recording.size if end in _SIZE_TELLS_LENGTH else 0


def _middle(recording: Recording) -> tuple[int, bytes] | None:
    try:
        return recording.size, read_part(recording.path, max(0, (recording.size - MIDDLE_BYTES) // 2), MIDDLE_BYTES)
    except (OSError, AudioError):
        return None


def _fingerprint(recording: Recording) -> str:
    samples = _samples(recording.path, SAMPLE_RATE)
    return "" if samples is None else fingerprint(samples)


def _samples(path: str, sample_rate: int) -> "np.ndarray | None":
    try:
        return read_audio(path, sample_rate=sample_rate, dtype="int16")
    except AudioError:
        return None
