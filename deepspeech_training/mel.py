"""The constants of the features, in numpy: mel bands, DCT and window; the training step and the export share them."""

import numpy as np

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


def hann_window(window_samples: int) -> np.ndarray:
    """The periodic Hann window, float32 [window_samples]."""
    return (0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(window_samples) / window_samples)).astype(np.float32)


def fft_length(window_samples: int) -> int:
    """The power of two that a window is filled up to.

    >>> fft_length(512), fft_length(400)
    (512, 512)
    """
    return 1 << (window_samples - 1).bit_length()
