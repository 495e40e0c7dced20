"""The constants of the features, in numpy: mel bands, DCT and window; the training step and the export share them."""

import numpy as np

NUM_MEL_FILTERS = 40
LOWEST_HZ = 20.0
LOG_FLOOR = 1e-12


def _mel(hz: np.ndarray | float) -> np.ndarray | float:
    return 1127.0 * np.log1p(np.asarray(hz, np.float64) / 700.0)


def band_edges(sample_rate: int) -> np.ndarray:
    """Where the bands begin, in mel: band k rises from edge k to edge k + 1 and falls to edge k + 2. float64 [42]."""
    lowest, highest = _mel(LOWEST_HZ), _mel(sample_rate / 2)
    centers = lowest + (highest - lowest) / (NUM_MEL_FILTERS + 1) * np.arange(1, NUM_MEL_FILTERS + 2)
    return np.concatenate([[lowest], centers])


def used_bins(num_bins: int, *, sample_rate: int) -> range:
    """The bins of the spectrum that any band takes in; TensorFlow leaves out more at the bottom than it needs to."""
    hz_per_bin = 0.5 * sample_rate / (num_bins - 1)
    return range(int(1.5 + LOWEST_HZ / hz_per_bin), min(int(sample_rate / 2 / hz_per_bin), num_bins - 1) + 1)


def mel_filterbank(num_bins: int, *, sample_rate: int) -> np.ndarray:
    """Weights that sum spectrum bins into mel bands, as TensorFlow's mfcc_mel_filterbank.cc has them.

    Args:
        num_bins: bins of the spectrum, from 0 Hz to half of `sample_rate` inclusive.
        sample_rate: Hz; the highest band ends at half of it.
    Returns:
        float32 [num_bins, 40].
    """
    edges = band_edges(sample_rate)
    centers = edges[1:]
    hz_per_bin = 0.5 * sample_rate / (num_bins - 1)
    weights = np.zeros((num_bins, NUM_MEL_FILTERS))
    for spectrum_bin in used_bins(num_bins, sample_rate=sample_rate):
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
