"""Samples to MFCC frames on numpy: the features of the trainer (`features`), window by window, without Keras.

The exported graph has the same in the clients' operators, one window at each call; but LiteRT runs a whole graph at
a time, so to use it would run the network once for each window. The tests hold both against each other.
"""

import numpy as np

from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mel import LOG_FLOOR, dct_matrix, fft_length, hann_window, mel_filterbank


class Mfcc:
    """Features of one geometry; holds nothing but constants, so that any number of threads may share it.

    >>> Mfcc(FeatureGeometry())(np.zeros(512 + 320, np.float32)).shape
    (2, 26)
    """

    def __init__(self, geometry: FeatureGeometry):
        self._window, self._step = geometry.window_samples, geometry.step_samples
        self._fft_length = fft_length(self._window)
        self._hann = hann_window(self._window)
        bands = mel_filterbank(self._fft_length // 2 + 1, sample_rate=geometry.sample_rate)
        self._bands = bands
        self._dct = dct_matrix(geometry.n_mfcc)

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Compute the features of every window that lies wholly inside the samples.

        Args:
            samples: float32 [samples], -1..1, at least one window.
        Returns:
            float32 [frames, n_mfcc].
        """
        windows = np.lib.stride_tricks.sliding_window_view(samples, self._window)[:: self._step]
        magnitude = np.abs(np.fft.rfft(windows * self._hann, self._fft_length))
        return np.log(np.maximum(magnitude @ self._bands, np.float32(LOG_FLOOR))) @ self._dct
