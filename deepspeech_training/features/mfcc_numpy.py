"""Samples to MFCC frames on numpy: the features of the trainer (`mfcc_keras`), window by window, without Keras.

The exported graph has the same in the clients' operators, one window at each call; but LiteRT runs a whole graph at
a time, so to use it would run the network once for each window. The tests hold both against each other.
"""

import numpy as np

from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mel import LOG_FLOOR, dct_matrix, fft_length, hann_window, mel_filterbank


class Mfcc:
    """Features of one geometry; holds nothing but constants, so that any number of threads may share it.

    Args:
        geometry: sample rate, window, step and number of coefficients.
        dtype: computes in it; float64 for what others are measured against.

    >>> Mfcc(FeatureGeometry())(np.zeros(512 + 320, np.float32)).shape
    (2, 26)
    """

    def __init__(self, geometry: FeatureGeometry, *, dtype: type[np.floating] = np.float32):
        self._window, self._step = geometry.window_samples, geometry.step_samples
        self._fft_length = fft_length(self._window)
        self._hann = hann_window(self._window).astype(dtype)
        self._bands = mel_filterbank(self._fft_length // 2 + 1, sample_rate=geometry.sample_rate).astype(dtype)
        self._dct = dct_matrix(geometry.n_mfcc).astype(dtype)
        self._floor = dtype(LOG_FLOOR)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Compute the features of every window that lies wholly inside the samples.

        Args:
            samples: float32 [samples], -1..1.
        Returns:
            float32 [frames, n_mfcc]; no frame where there are fewer samples than a window has.
        """
        if len(samples) < self._window:
            return np.zeros((0, self._dct.shape[1]), np.float32)
        windows = np.lib.stride_tricks.sliding_window_view(samples, self._window)[:: self._step]
        magnitude = np.abs(np.fft.rfft(windows * self._hann, self._fft_length))
        return (np.log(np.maximum(magnitude @ self._bands, self._floor)) @ self._dct).astype(np.float32, copy=False)


def with_last_frame(audio: np.ndarray, geometry: FeatureGeometry) -> np.ndarray:
    """What a client computes the features of: the whole windows, and the rest filled up with zeros to one more.

    Args:
        audio: float32 [samples], -1..1.
    Returns:
        float32 [samples], those of `num_frames` + 1 windows.

    >>> Mfcc(FeatureGeometry())(with_last_frame(np.ones(16000, np.float32), FeatureGeometry())).shape
    (50, 26)
    """
    num_frames = geometry.num_frames(len(audio)) + 1
    filled = np.zeros((num_frames - 1) * geometry.step_samples + geometry.window_samples, np.float32)
    kept = min(len(audio), len(filled))
    filled[:kept] = audio[:kept]
    return filled
