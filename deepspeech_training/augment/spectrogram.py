"""Augmentations of spectrograms and features, in keras.ops, inside the training step: the table IN_THE_STEP.

All clips of a batch go through the same operations, so there is one graph, whatever is drawn; a clip that is left alone
gets the values that change nothing. catalogue.py has the parameters.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import ops

from deepspeech_training.augment.augmenter import StepDraws
from deepspeech_training.augment.catalogue import Augmentation
from deepspeech_training.augment.random import layer_keys, normal, uint32, uniform
from deepspeech_training.features.geometry import FeatureGeometry

LOWEST_OCTAVE_HZ = 62.5  # of the equalizer
LEAST_POWER = 1e-12  # of a bin, for its logarithm
FIRST_ELEMENT = 1 << 16  # places below it are for the values of parameters, those above for the elements of a tensor


@dataclass
class StepDraw:
    """What one augmentation draws from, for all clips of a batch.

    Args:
        augmentation: which one.
        keys: uint32 [batch], a function of (seed, epoch, clip, index of the augmentation).
        clock: float32 [batch], 0..1.
        needed_frames: int32 [batch], frames that the transcripts need.
        geometry: of the features.
    """

    augmentation: Augmentation
    keys: Any
    clock: Any
    needed_frames: Any
    geometry: FeatureGeometry

    def __post_init__(self) -> None:
        self._drawn = 0
        self.applied = (self.uniform() < self.augmentation.p) & (self.clock >= self.augmentation.start)  # bool [batch]

    def uniform(self) -> Any:
        """float32 [batch], 0..1; drawn again each time."""
        self._drawn += 1
        return uniform(self.keys, uint32(self._drawn))

    def value(self, name: str, *, unless_applied: float) -> Any:
        """float32 [batch]: a value for a parameter, drawn again each time; another one where a clip is left alone."""
        limits = self.augmentation.values[name]
        value = limits.start + self.clock * (limits.end - limits.start)
        if limits.radius:
            value = value + limits.radius * (2.0 * self.uniform() - 1.0)
        if limits.whole:
            value = ops.round(value)
        return ops.where(self.applied, value, unless_applied)

    def of_elements(self, how: Callable[[Any, Any], Any], shape: Sequence[Any]) -> Any:
        """`how` (normal or uniform) for every element of a tensor [batch, time, depth], by time and place in it."""
        time, depth = shape[1], shape[2]
        places = ops.cast(ops.arange(time * depth), "uint32") + uint32(FIRST_ELEMENT)
        return how(self.keys[:, None, None], ops.reshape(places, (1, time, depth)))


# --- moving parts of a tensor --------------------------------------------------------------------------------------


def _rows(tensor: Any, rows: Any) -> Any:
    """[batch, n, depth] and int32 [batch, m] -> [batch, m, depth]: those rows of each."""
    batch, length, depth = ops.shape(tensor)
    flat = ops.reshape(tensor, (batch * length, depth))
    return ops.take(flat, rows + ops.arange(batch)[:, None] * length, axis=0)


def _rows_between(tensor: Any, places: Any, last: Any) -> Any:
    """[batch, n, depth] at places float32 [batch, m], linear between rows; none beyond `last`, int32 [batch]."""
    last = last[:, None]
    lower = ops.clip(ops.cast(ops.floor(places), "int32"), 0, last)
    upper = ops.minimum(lower + 1, last)
    share = ops.clip(places - ops.cast(lower, "float32"), 0.0, 1.0)[:, :, None]
    below = _rows(tensor, lower)
    return below + (_rows(tensor, upper) - below) * share


def _places(length: Any, scale: Any) -> Any:
    """float32 [batch, length]: 0, 1, 2 ... times a scale float32 [batch]."""
    return ops.cast(ops.arange(length), "float32")[None, :] * scale[:, None]


def pitch(power: Any, frames: Any, draw: StepDraw) -> tuple[Any, Any]:
    bins = power.shape[2]
    new_bins = ops.floor(bins * draw.value("pitch", unless_applied=1.0))
    places = _places(bins, bins / new_bins)
    moved = _rows_between(ops.transpose(power, (0, 2, 1)), places, ops.full_like(frames, bins - 1))
    inside = ops.arange(bins)[None, :] < ops.cast(new_bins, "int32")[:, None]
    return ops.transpose(ops.where(inside[:, :, None], moved, 0.0), (0, 2, 1)), frames


def tempo(power: Any, frames: Any, draw: StepDraw) -> tuple[Any, Any]:
    old = ops.cast(frames, "float32")
    new = ops.cast(ops.floor(old / draw.value("factor", unless_applied=1.0)), "int32")
    max_time_ms = draw.augmentation.values["max_time"]
    if max_time_ms > 0:
        new = ops.where(draw.applied, ops.minimum(new, int(max_time_ms / draw.geometry.win_step_ms)), new)
    new = ops.where(new < ops.maximum(draw.needed_frames, 1), frames, new)  # else CTC could not align it
    scale = old / ops.cast(ops.maximum(new, 1), "float32")
    longest = ops.maximum(ops.max(new), 1)
    return _rows_between(power, _places(longest, scale), ops.maximum(frames - 1, 0)), new


def warp(power: Any, frames: Any, draw: StepDraw) -> tuple[Any, Any]:
    """Bilinear at shifted places; the shifts are bicubic between random points, and zero at all edges."""
    bins = power.shape[2]
    batch, length, _ = ops.shape(power)
    most_t, most_f = (round(draw.augmentation.values[name].high) for name in ("nt", "nf"))
    sizes: dict[str, Any] = {"t": ops.cast(frames, "float32"), "f": ops.full_like(draw.clock, bins)}
    points, weights = {}, {}
    for axis, most, extent in (("t", most_t, length), ("f", most_f, bins)):
        points[axis] = draw.value(f"n{axis}", unless_applied=1.0)
        scale = (points[axis] + 2) / ops.maximum(sizes[axis], 1.0)
        weights[axis] = _cubic_weights(_places(extent, scale), points[axis], most)  # [batch, extent, most]

    def shifts(axis: str, first_place: int) -> Any:
        share = draw.value(f"w{axis}", unless_applied=0.0)
        deviation = share * sizes[axis] / (2 * (points[axis] + 1))
        places = uint32(first_place) + ops.cast(ops.reshape(ops.arange(most_t * most_f), (1, -1)), "uint32")
        grid = ops.reshape(normal(draw.keys[:, None], places), (-1, most_t, most_f)) * deviation[:, None, None]
        return ops.einsum("bti,bij,bfj->btf", weights["t"], grid, weights["f"])

    time = ops.cast(ops.arange(length), "float32")[None, :, None] - shifts("t", 1 << 12)
    frequency = ops.cast(ops.arange(bins), "float32")[None, None, :] - shifts("f", 1 << 13)
    time = ops.clip(time, 0.0, ops.maximum(sizes["t"], 1.0)[:, None, None] - 1.0)
    frequency = ops.clip(frequency, 0.0, bins - 1.0)
    lower_t, lower_f = ops.floor(time), ops.floor(frequency)
    flat = ops.reshape(power, (-1,))
    first = ops.arange(batch)[:, None, None] * (length * bins)
    warped = ops.zeros_like(power)
    for step_t in (0, 1):
        for step_f in (0, 1):
            row = ops.minimum(ops.cast(lower_t, "int32") + step_t, ops.maximum(frames - 1, 0)[:, None, None])
            column = ops.minimum(ops.cast(lower_f, "int32") + step_f, bins - 1)
            share_t = time - lower_t if step_t else 1.0 - (time - lower_t)
            share_f = frequency - lower_f if step_f else 1.0 - (frequency - lower_f)
            warped = warped + ops.take(flat, first + row * bins + column) * share_t * share_f
    return warped, frames


def _cubic_weights(places: Any, points: Any, most: int) -> Any:
    """Weights of the inner points 1 .. `points` [batch] at places [batch, n]: Keys' cubic of a = -0.75, TensorFlow 1's.

    Returns float32 [batch, n, most]; points that a clip has not weigh nothing.
    """
    inner = ops.arange(1, most + 1, dtype="float32")
    distance = ops.abs(places[:, :, None] - inner)
    a = -0.75
    near = ((a + 2) * distance - (a + 3)) * ops.square(distance) + 1
    far = ((a * distance - 5 * a) * distance + 8 * a) * distance - 4 * a
    weights = ops.where(distance <= 1, near, ops.where(distance < 2, far, 0.0))
    return ops.where(inner[None, None, :] <= points[:, None, None], weights, 0.0)


# --- masks and noise -----------------------------------------------------------------------------------------------


def _masked(draw: StepDraw, length: Any, extent: Any, units: float) -> Any:
    """bool [batch, length]: True where none of `n` masks is. A mask lies within 0 .. `extent`, int32 [batch]."""
    position = ops.arange(length)[None, :]
    count = draw.value("n", unless_applied=0.0)
    kept = ops.ones_like(position + extent[:, None], dtype="bool")
    for number in range(round(draw.augmentation.values["n"].high)):
        size = ops.cast(ops.floor(draw.value("size", unless_applied=0.0) * units), "int32")
        size = ops.maximum(1, ops.minimum(extent - 1, size))
        room = ops.cast(ops.maximum(extent - size, 0), "float32")
        start = ops.cast(ops.floor(draw.uniform() * room), "int32")
        inside = (position >= start[:, None]) & (position < (start + size)[:, None])
        kept = kept & ~(inside & (number < count)[:, None])
    return kept


def _fill(tensor: Any, frames: Any, draw: StepDraw) -> Any:
    """What is put under a mask: 0, or the mean of each clip's frames [batch, 1, depth], of power the geometric one."""
    if draw.augmentation.values["fill"] == "zero":
        return 0.0
    inside = ops.cast(ops.arange(ops.shape(tensor)[1])[None, :] < frames[:, None], tensor.dtype)[:, :, None]
    count = ops.cast(frames, tensor.dtype)[:, None, None]
    if draw.augmentation.domain == "features":
        return ops.sum(tensor * inside, axis=1, keepdims=True) / count
    of_logs = ops.sum(ops.log(ops.maximum(tensor, LEAST_POWER)) * inside, axis=1, keepdims=True) / count
    return ops.exp(of_logs)


def frequency_mask(power: Any, frames: Any, draw: StepDraw) -> tuple[Any, Any]:
    bins = power.shape[2]
    kept = _masked(draw, bins, ops.full_like(frames, bins), 1.0)
    return ops.where(kept[:, None, :], power, _fill(power, frames, draw)), frames


def time_mask(tensor: Any, frames: Any, draw: StepDraw) -> tuple[Any, Any]:
    kept = _masked(draw, ops.shape(tensor)[1], frames, 1.0 / draw.geometry.win_step_ms)
    return ops.where(kept[:, :, None], tensor, _fill(tensor, frames, draw)), frames


def dropout(tensor: Any, frames: Any, draw: StepDraw) -> tuple[Any, Any]:
    rate = draw.value("rate", unless_applied=0.0)[:, None, None]
    return ops.where(draw.of_elements(uniform, ops.shape(tensor)) < rate, 0.0, tensor), frames


def add(tensor: Any, frames: Any, draw: StepDraw) -> tuple[Any, Any]:
    deviation = draw.value("stddev", unless_applied=0.0)[:, None, None]
    return tensor + deviation * draw.of_elements(normal, ops.shape(tensor)), frames


def multiply(tensor: Any, frames: Any, draw: StepDraw) -> tuple[Any, Any]:
    deviation = draw.value("stddev", unless_applied=0.0)[:, None, None]
    return tensor * (1.0 + deviation * draw.of_elements(normal, ops.shape(tensor))), frames


# --- gains ---------------------------------------------------------------------------------------------------------


def equalizer(power: Any, frames: Any, draw: StepDraw) -> tuple[Any, Any]:
    bins = power.shape[2]
    octaves = _octave_weights(bins, draw.geometry.sample_rate)
    db = ops.stack([draw.value("db", unless_applied=0.0) for _ in range(len(octaves))], axis=1)
    from_1_khz = np.arange(len(octaves), dtype=np.float32) - np.float32(np.log2(1000.0 / LOWEST_OCTAVE_HZ))
    lowest = (np.arange(len(octaves)) == 0).astype(np.float32)
    db += draw.value("slope", unless_applied=0.0)[:, None] * from_1_khz
    db += draw.value("low", unless_applied=0.0)[:, None] * lowest
    gains = ops.exp(ops.matmul(db, octaves) * float(np.log(10.0) / 10.0))
    return power * gains[:, None, :], frames


def _octave_weights(bins: int, sample_rate: int) -> np.ndarray:
    """float32 [octaves, bins]: how much each octave counts in each bin, linear in the logarithm of the frequency."""
    hz = np.linspace(0.0, sample_rate / 2, bins)
    count = max(1, int(np.log2(sample_rate / 2 / LOWEST_OCTAVE_HZ)) + 1)
    place = np.clip(np.log2(np.maximum(hz, 1e-3) / LOWEST_OCTAVE_HZ), 0, count - 1)
    return np.maximum(0.0, 1.0 - np.abs(place[None, :] - np.arange(count)[:, None])).astype(np.float32)


# --- the mel bank --------------------------------------------------------------------------------------------------

SHARE_WARPED = 0.6  # of half the sample rate: Jaitly & Hinton's 4800 Hz of 8000


def vtlp(hz: Any, frames: Any, draw: StepDraw) -> tuple[Any, Any]:
    """Frequencies float32 [batch, bins] that the bins of the spectrum count as -> the same, warped."""
    factor = draw.value("factor", unless_applied=1.0)[:, None]
    highest = draw.geometry.sample_rate / 2
    edge = SHARE_WARPED * highest * ops.minimum(factor, 1.0) / factor
    above = highest - (highest - edge * factor) / (highest - edge) * (highest - hz)
    return ops.where(hz <= edge, hz * factor, above), frames


IN_THE_STEP: Mapping[str, Callable[[Any, Any, StepDraw], tuple[Any, Any]]] = {
    "pitch": pitch,
    "tempo": tempo,
    "warp": warp,
    "frequency_mask": frequency_mask,
    "time_mask": time_mask,
    "dropout": dropout,
    "add": add,
    "multiply": multiply,
    "equalizer": equalizer,
    "vtlp": vtlp,
}


MOVE_TIME = ("tempo", "warp")


class StepAugmenter:
    """The augmentations of the training step for one batch.

    Args:
        augmentations: none of the waveform.
        geometry: of the features.
        draws: of the clips of the batch.
        view: number of the view of the clips: what moves their time is the same in all views, all else differs.
    """

    def __init__(
        self, augmentations: Sequence[Augmentation], geometry: FeatureGeometry, draws: StepDraws, *, view: int = 0
    ):
        self._augmentations, self._geometry, self._draws, self._view = tuple(augmentations), geometry, draws, view

    def has(self, domain: str) -> bool:
        return any(a.domain == domain for a in self._augmentations)

    def apply(self, domain: str, tensor: Any, frames: Any) -> tuple[Any, Any]:
        """Apply those of a domain, in order.

        Args:
            domain: "spectrogram": `tensor` is a power spectrogram [batch, frames, bins]; "mel": the frequencies in Hz
                that the bins count as, [batch, bins]; "features": MFCC [batch, frames, n_mfcc].
            tensor: see `domain`.
            frames: int32 [batch], frames of each clip.
        Returns:
            both, augmented.
        """
        for augmentation in self._augmentations:
            if augmentation.domain == domain:
                keys = layer_keys(self._draws.keys, augmentation.index + 1)
                if self._view and augmentation.name not in MOVE_TIME:
                    keys = layer_keys(keys, self._view)
                draw = StepDraw(
                    augmentation,
                    keys,
                    self._draws.clock,
                    self._draws.needed_frames,
                    self._geometry,
                )
                tensor, frames = IN_THE_STEP[augmentation.name](tensor, frames, draw)
        return tensor, frames
