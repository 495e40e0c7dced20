"""How loud the speech and the noise of an utterance are, taken block by block as its audio arrives."""

from dataclasses import dataclass

import numpy as np

FRAME_S = 0.02
FLOOR_DBFS = -100.0  # below the smallest step of 16 bits (-90 dBFS): digital silence
BINS_PER_DB = 2
NUM_BINS = int(-FLOOR_DBFS) * BINS_PER_DB + 1
# As NIST's STNR has it: speech is the level that a few of the frames exceed, noise that of the quietest ones.
SPEECH_SHARE, NOISE_SHARE = 0.95, 0.10
FULL_SCALE = 32767
BLOCK_S = 4  # audio comes in pieces of 30 ms: many are measured at once, for speed


@dataclass(frozen=True, slots=True)
class Signal:
    """What the audio of an utterance was like.

    Attributes:
        level_dbfs, noise_dbfs: RMS of the loud and of the quiet frames of 20 ms; a full-scale sine has -3.
        clipped: share of the samples at full scale.
    """

    seconds: float
    level_dbfs: float
    noise_dbfs: float
    clipped: float


class Loudness:
    """Measures int16 samples; holds some seconds of them, and the levels as counts in steps of half a decibel.

    >>> loudness = Loudness(16000)
    >>> loudness.add(np.tile(np.array([1000, -1000], np.int16), 16000))
    >>> loudness.measured()
    Signal(seconds=2.0, level_dbfs=-30.5, noise_dbfs=-30.5, clipped=0.0)
    """

    def __init__(self, sample_rate: int):
        self._rate = sample_rate
        self._frame = round(FRAME_S * sample_rate)
        self._waiting: list[np.ndarray] = []
        self._num_waiting = 0
        self._num_samples = self._num_clipped = 0
        self._counts = np.zeros(NUM_BINS, np.int64)

    @property
    def seconds(self) -> float:
        """Of audio that was added."""
        return (self._num_samples + self._num_waiting) / self._rate

    def add(self, samples: np.ndarray) -> None:
        """Take further audio: int16 [samples]."""
        self._waiting.append(samples)
        self._num_waiting += len(samples)
        if self._num_waiting >= BLOCK_S * self._rate:
            self._measure(least_frames=0)

    def measured(self) -> Signal:
        """Of all that was added; at least one sample must have been."""
        # An utterance shorter than a frame is one.
        self._measure(least_frames=0 if self._counts.any() else 1)
        return Signal(
            self.seconds,
            self._exceeded_by(1 - SPEECH_SHARE),
            self._exceeded_by(1 - NOISE_SHARE),
            self._num_clipped / max(self._num_samples, 1),
        )

    def _measure(self, *, least_frames: int) -> None:
        """Count the whole frames that wait; the samples after them wait on."""
        samples = np.concatenate(self._waiting) if self._waiting else np.zeros(0, np.int16)
        frames = len(samples) // self._frame
        size = self._frame
        if frames < least_frames:
            frames, size = 1, len(samples)
        whole, rest = samples[: frames * size], samples[frames * size :]
        self._waiting, self._num_waiting = [rest.copy()], len(rest)
        if not len(whole):
            return
        self._num_samples += len(whole)
        if whole.max() == FULL_SCALE or whole.min() <= -FULL_SCALE:
            self._num_clipped += int(np.count_nonzero((whole == FULL_SCALE) | (whole <= -FULL_SCALE)))
        scaled = whole.reshape(frames, size).astype(np.float32)
        powers = np.einsum("ij,ij->i", scaled, scaled) / size
        decibels = 10 * np.log10(np.maximum(powers, 1e-3)) - 20 * np.log10(FULL_SCALE + 1)
        bins = np.rint((decibels.clip(FLOOR_DBFS, 0) - FLOOR_DBFS) * BINS_PER_DB).astype(np.int64)
        self._counts += np.bincount(bins, minlength=NUM_BINS)

    def _exceeded_by(self, share: float) -> float:
        """The level that this share of the frames exceeds, or is at."""
        louder = np.cumsum(self._counts[::-1])[::-1]
        return float(FLOOR_DBFS + np.flatnonzero(louder >= max(share * louder[0], 1))[-1] / BINS_PER_DB)
