"""All `--augment` of a run: applies those of the waveform, and says what the training step draws the others from."""

import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from deepspeech_training.augment.catalogue import Augmentation, ValueRange
from deepspeech_training.augment.recordings import AudioSource
from deepspeech_training.augment.waveform import WAVEFORM, Draw
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.features.geometry import FeatureGeometry

MANY_FRAMES = 1 << 23  # no clip has as many, so that none is made shorter or longer


class StepDraws(NamedTuple):
    """What the augmentations of the training step draw from: numbers for a clip, arrays [batch] for a batch.

    Args:
        keys: uint32, a function of (seed, epoch, clip).
        clock: float32, how much of the run is done, 0..1.
        needed_frames: int32, frames of features that the transcript needs.
    """

    keys: Any
    clock: Any
    needed_frames: Any

    @classmethod
    def of(cls, digest: bytes, *, clock: float, needed_frames: int) -> "StepDraws":
        key = int.from_bytes(digest[:4], "little")
        return cls(np.uint32(key), np.float32(clock), np.int32(needed_frames))

    @classmethod
    def batch(cls, clips: Sequence["StepDraws"]) -> "StepDraws":
        """Those of clips as arrays."""
        return cls(*(np.stack(numbers) for numbers in zip(*clips, strict=True)))


class Augmenter:
    """Augments clips; what one draws is a function of (seed, epoch, clip, its place on the command line).

    Args:
        augmentations: in the order of the command line; those of the sample domain come before those of the signal.
        geometry: sample rate and frames of the features.
        seed: `--random_seed`.
    Raises:
        FlagError: the `source` of one cannot be used.
    """

    def __init__(self, augmentations: Sequence[Augmentation], geometry: FeatureGeometry, *, seed: int):
        self._geometry, self._seed = geometry, seed
        self._waveform = sorted((a for a in augmentations if a.in_waveform), key=lambda a: a.domain == "signal")
        self.in_the_step = tuple(a for a in augmentations if not a.in_waveform)
        self._sources = {a.index: source for a in self._waveform if (source := self._source(a)) is not None}

    def _source(self, augmentation: Augmentation) -> AudioSource | None:
        path = augmentation.values.get("source")
        if not path:
            return None
        try:
            return AudioSource(path, sample_rate=self._geometry.sample_rate)
        except UserError as error:
            raise FlagError(f"--augment {augmentation}: {error}") from error

    def __call__(
        self, sample_id: str, audio: np.ndarray, *, needed_frames: int, epoch: int, clock: float
    ) -> tuple[np.ndarray, StepDraws]:
        """The augmented waveform of a clip, and what the training step draws the other augmentations from.

        Args:
            sample_id: of the clip.
            audio: float32 [samples].
            needed_frames: frames of features that its transcript needs: it does not become shorter.
            epoch: from 0.
            clock: how much of the run is done, 0..1.
        """
        for augmentation in self._waveform:
            draw = Draw(
                augmentation,
                clock,
                self._generator(sample_id, epoch, augmentation.index),
                self._geometry.sample_rate,
                self._sources.get(augmentation.index),
            )
            if draw.random.random() < augmentation.p and clock >= augmentation.start:
                augmented = WAVEFORM[augmentation.name](audio, draw)
                if self._geometry.num_frames(len(augmented)) >= needed_frames:  # else CTC could not align it
                    audio = augmented
        draws = StepDraws.of(self._digest(sample_id, epoch, "step"), clock=clock, needed_frames=needed_frames)
        return np.ascontiguousarray(audio, np.float32), draws

    def source_fingerprints(self) -> dict[str, str]:
        """A hash of the recordings' names and sizes for each `source`, by its path."""
        return {source.path: source.fingerprint() for source in self._sources.values()}

    def _digest(self, sample_id: str, epoch: int, use: int | str) -> bytes:
        return hashlib.blake2b(f"{self._seed}/{epoch}/{sample_id}/{use}".encode(), digest_size=16).digest()

    def _generator(self, sample_id: str, epoch: int, use: int) -> np.random.Generator:
        key = np.frombuffer(self._digest(sample_id, epoch, use), "<u8")
        return np.random.Generator(np.random.Philox(key=key))

    def longest(self, num_samples: int) -> int:
        """The length that a clip of so many samples could have at most, those of the step counted as if here."""
        for augmentation in self._waveform:
            values = augmentation.values
            if augmentation.name == "speed":
                num_samples = round(num_samples / (round(100 * min(1.0, values["factor"].low)) / 100))
            if augmentation.name == "silence":
                added_ms = values["before"].high + values["after"].high
                num_samples += round(added_ms * self._geometry.sample_rate / 1000)
        for augmentation in self.in_the_step:
            factor = augmentation.values.get("factor")
            if augmentation.name == "tempo" and isinstance(factor, ValueRange):
                num_samples = round(num_samples / min(1.0, factor.low))
        return num_samples

    def lengthened(self, audio: np.ndarray) -> tuple[np.ndarray, StepDraws]:
        """A clip as long as it could become, which the step does not make longer still: to try memory with."""
        longest = np.pad(audio, (0, self.longest(len(audio)) - len(audio)))
        return longest, StepDraws.of(bytes(16), clock=0.0, needed_frames=MANY_FRAMES)
