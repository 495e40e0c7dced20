"""Waveforms -> MFCC, in keras.ops, on the accelerator inside the training step.

The one definition of the features. It follows TensorFlow's AudioSpectrogram and Mfcc operators
(tensorflow/core/kernels/spectrogram.cc, mfcc.cc, mfcc_mel_filterbank.cc, mfcc_dct.cc), which DeepSpeech trained with
and which the deployed clients run: periodic Hann window, power spectrum, square root before the mel sum, floor 1e-12
under the logarithm, DCT scale sqrt(2 / filters), no lifter, no normalisation.
"""

from typing import Any, Protocol

import numpy as np
from keras import ops

from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mel import (
    LOG_FLOOR,
    NUM_MEL_FILTERS,
    band_edges,
    dct_matrix,
    fft_length,
    hann_window,
    mel_filterbank,
    used_bins,
)


class StepChanges(Protocol):
    """What changes the values on their way through this module: `augment.spectrogram.StepAugmenter`."""

    def has(self, stage: str) -> bool:
        """Whether anything is done at this stage: "spectrogram", "mel" or "features"."""

    def apply(self, stage: str, values: Any, num_frames: Any) -> tuple[Any, Any]:
        """Change the values [batch, frames, depth] of a stage, and the number of frames [batch]."""


def mfcc(audio, num_samples, geometry: FeatureGeometry, *, augmenter: StepChanges | None = None):
    """Compute the features of a batch of waveforms.

    Args:
        audio: float32 [batch, time], -1..1, zeros (or anything) past each clip's end.
        num_samples: int32 [batch], the true length of each clip.
        geometry: sample rate, window and step.
        augmenter: of the spectrograms and features, in training.
    Returns:
        features float32 [batch, frames, n_mfcc], exactly zero past each clip's last frame (the features of silence
        are not zeros: context windows of a padded clip would differ), and num_frames int32 [batch].
    """
    bands, num_frames = mel_bands(audio, num_samples, geometry, augmenter=augmenter)
    features = ops.matmul(ops.log(ops.maximum(bands, LOG_FLOOR)), dct_matrix(geometry.n_mfcc))
    if augmenter is not None:
        features, num_frames = augmenter.apply("features", features, num_frames)
    longest = ops.maximum(ops.max(num_frames), 1)
    features = features[:, :longest]
    inside = ops.arange(longest)[None, :] < num_frames[:, None]
    return ops.where(inside[:, :, None], features, 0.0), num_frames


def mel_bands(audio, num_samples, geometry: FeatureGeometry, *, augmenter: StepChanges | None = None):
    """Compute the mel bands of a batch of waveforms: float32 [batch, frames, 40], and num_frames int32 [batch].

    Arguments as for `mfcc`. What lies past a clip's last frame means nothing.
    """
    power, num_frames = power_spectrogram(audio, num_samples, geometry, augmenter=augmenter)
    return ops.matmul(ops.sqrt(power), _filterbank(geometry, num_frames, augmenter)), num_frames


def power_spectrogram(audio, num_samples, geometry: FeatureGeometry, *, augmenter: StepChanges | None = None):
    """Compute the squared magnitudes: float32 [batch, frames, bins], and num_frames int32 [batch]; as `mel_bands`."""
    window, step = geometry.window_samples, geometry.step_samples
    audio = ops.pad(audio, [[0, 0], [0, window]])  # a batch shorter than one window still has a frame to cut
    frames = ops.extract_sequences(audio, window, step) * hann_window(window)
    real, imaginary = ops.rfft(frames, fft_length=fft_length(window))
    power = ops.square(real) + ops.square(imaginary)
    num_samples = ops.cast(num_samples, "int32")
    num_frames = ops.where(num_samples < window, 0, 1 + (num_samples - window) // step)
    if augmenter is not None and augmenter.has("spectrogram"):
        power, num_frames = augmenter.apply("spectrogram", power, num_frames)
        power = ops.maximum(power, 0.0)  # after `add` and `multiply`
    return power, num_frames


def _filterbank(geometry: FeatureGeometry, num_frames, augmenter: StepChanges | None):
    """The mel bank float32 [bins, 40], or one for each clip, [batch, bins, 40]."""
    bins = fft_length(geometry.window_samples) // 2 + 1
    if augmenter is None or not augmenter.has("mel"):
        return mel_filterbank(bins, sample_rate=geometry.sample_rate)
    hz = np.linspace(0.0, geometry.sample_rate / 2, bins, dtype=np.float32)[None, :]
    hz = hz + ops.cast(num_frames, "float32")[:, None] * 0.0  # one row for each clip
    hz, _ = augmenter.apply("mel", hz, num_frames)
    return warped_mel_filterbank(hz, sample_rate=geometry.sample_rate)


def warped_mel_filterbank(hz, *, sample_rate: int):
    """The bank of `mel.mel_filterbank` for bins whose frequencies are float32 [batch, bins]: [batch, bins, 40]."""
    bins = hz.shape[1]
    used = np.zeros(bins, np.float32)
    used[list(used_bins(bins, sample_rate=sample_rate))] = 1.0
    edges = band_edges(sample_rate).astype(np.float32)
    lower, centre, upper = (edges[i : i + NUM_MEL_FILTERS] for i in range(3))
    mel = (1127.0 * ops.log1p(hz / 700.0))[:, :, None]
    triangles = ops.minimum((mel - lower) / (centre - lower), (upper - mel) / (upper - centre))
    return ops.maximum(triangles, 0.0) * used[None, :, None]
