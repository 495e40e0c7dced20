"""Waveforms -> MFCC, in keras.ops, on the accelerator inside the training step.

The one definition of the features. It follows TensorFlow's AudioSpectrogram and Mfcc operators
(tensorflow/core/kernels/spectrogram.cc, mfcc.cc, mfcc_mel_filterbank.cc, mfcc_dct.cc), which DeepSpeech trained with
and which the deployed clients run: periodic Hann window, power spectrum, square root before the mel sum, floor 1e-12
under the logarithm, DCT scale sqrt(2 / filters), no lifter, no normalisation.
"""

import numpy as np
from keras import ops

from deepspeech_training.features_geometry import FeatureGeometry

NUM_MEL_FILTERS = 40
LOWEST_HZ = 20.0
LOG_FLOOR = 1e-12


def _mel(hz: np.ndarray | float) -> np.ndarray | float:
    return 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)


def mel_filterbank(num_bins: int, *, sample_rate: int) -> np.ndarray:
    """Weights that sum spectrum bins into mel bands, as TensorFlow's mfcc_mel_filterbank.cc has them.

    Args:
        num_bins: bins of the spectrum, from 0 Hz to half of `sample_rate` inclusive.
        sample_rate: Hz; the highest band ends at half of it.
    Returns:
        float32 [num_bins, 40].
    """
    highest_hz = sample_rate / 2
    centers = _mel(LOWEST_HZ) + (_mel(highest_hz) - _mel(LOWEST_HZ)) / (NUM_MEL_FILTERS + 1) * np.arange(
        1, NUM_MEL_FILTERS + 2
    )
    hz_per_bin = 0.5 * sample_rate / (num_bins - 1)
    first_bin, last_bin = int(1.5 + LOWEST_HZ / hz_per_bin), int(highest_hz / hz_per_bin)
    edges = np.concatenate([[_mel(LOWEST_HZ)], centers])
    weights = np.zeros((num_bins, NUM_MEL_FILTERS))
    for spectrum_bin in range(first_bin, min(last_bin, num_bins - 1) + 1):
        mel = _mel(spectrum_bin * hz_per_bin)
        band = int(np.searchsorted(centers, mel, side="left")) - 1  # the band whose centre lies below
        falling = (edges[band + 2] - mel) / (edges[band + 2] - edges[band + 1])
        if band >= 0:
            weights[spectrum_bin, band] += falling
        if band + 1 < NUM_MEL_FILTERS:
            weights[spectrum_bin, band + 1] += 1.0 - falling
    return weights.astype(np.float32)


def dct_matrix(num_coefficients: int) -> np.ndarray:
    """The DCT-II of mfcc_dct.cc as a constant matrix, float32 [40, num_coefficients]."""
    filters = np.arange(NUM_MEL_FILTERS) + 0.5
    angles = np.pi / NUM_MEL_FILTERS * np.outer(filters, np.arange(num_coefficients))
    return (np.sqrt(2.0 / NUM_MEL_FILTERS) * np.cos(angles)).astype(np.float32)


def _fft_length(window_samples: int) -> int:
    return 1 << (window_samples - 1).bit_length()


def mfcc(audio, num_samples, geometry: FeatureGeometry):
    """Compute the features of a batch of waveforms.

    Args:
        audio: float32 [batch, time], -1..1, zeros (or anything) past each clip's end.
        num_samples: int32 [batch], the true length of each clip.
        geometry: sample rate, window and step.
    Returns:
        features float32 [batch, frames, n_mfcc], exactly zero past each clip's last frame (the features of silence
        are not zeros: context windows of a padded clip would differ), and num_frames int32 [batch].
    """
    window, step = geometry.window_samples, geometry.step_samples
    audio = ops.pad(audio, [[0, 0], [0, window]])  # a batch shorter than one window still has a frame to cut
    hann = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window) / window)
    frames = ops.extract_sequences(audio, window, step)
    frames = frames * hann.astype(np.float32)
    fft_length = _fft_length(window)
    real, imaginary = ops.rfft(frames, fft_length=fft_length)
    magnitude = ops.sqrt(ops.square(real) + ops.square(imaginary))
    bands = ops.matmul(magnitude, mel_filterbank(fft_length // 2 + 1, sample_rate=geometry.sample_rate))
    features = ops.matmul(ops.log(ops.maximum(bands, LOG_FLOOR)), dct_matrix(geometry.n_mfcc))
    num_samples = ops.cast(num_samples, "int32")
    num_frames = ops.where(num_samples < window, 0, 1 + (num_samples - window) // step)
    longest = ops.maximum(ops.max(num_frames), 1)
    features = features[:, :longest]
    inside = ops.arange(longest)[None, :] < num_frames[:, None]
    return ops.where(inside[:, :, None], features, 0.0), num_frames
