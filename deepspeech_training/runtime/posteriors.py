"""An exported model as a function from a whole clip to the probabilities of its frames, for those who decode later."""

import os

import numpy as np

from deepspeech_training.features.mfcc_numpy import Mfcc
from deepspeech_training.runtime.model import _NetworkPool
from deepspeech_training.runtime.model_file import ModelFile


class Posteriors:
    """What the network of a `.tflite` says of each frame; any number of threads may call it.

    Args:
        path: the exported model.
        num_threads: how many calls may run at the same time.
    Raises:
        ModelError: the file is not such a model, or is damaged.
    """

    def __init__(self, path: str | os.PathLike, *, num_threads: int):
        self.file = ModelFile.read(path)
        self._mfcc = Mfcc(self.file.geometry)
        self._networks = _NetworkPool(self.file, limit=num_threads)

    def __call__(self, audio: np.ndarray) -> np.ndarray:
        """Compute the same as `Stream`: every whole window, and one of the rest filled up with zeros.

        Args:
            audio: int16 [samples] at the model's rate.
        Returns:
            float32 [frames, classes], the blank last.
        """
        geometry, n_steps = self.file.geometry, self.file.n_steps
        num_frames = geometry.num_frames(len(audio)) + 1 if len(audio) else 0
        samples = np.zeros(max(num_frames - 1, 0) * geometry.step_samples + geometry.window_samples, np.float32)
        samples[: min(len(audio), len(samples))] = audio[: len(samples)] / np.float32(32768)
        frames = np.zeros((num_frames + 2 * geometry.n_context + n_steps, geometry.n_mfcc), np.float32)
        frames[geometry.n_context :][:num_frames] = self._mfcc(samples)[:num_frames]
        # [frames, 2 * n_context + 1, n_mfcc]: each frame with its neighbours.
        windows = np.lib.stride_tricks.sliding_window_view(frames, 2 * geometry.n_context + 1, axis=0).transpose(
            0, 2, 1
        )
        c = h = np.zeros((1, self.file.n_cell), np.float32)
        probs = np.zeros((0, len(self.file.labels) + 1), np.float32)
        parts = [probs]
        for start in range(0, num_frames, n_steps):
            probs, c, h = self._networks.run(windows[None, start : start + n_steps], c, h)
            parts.append(probs)
        return np.concatenate(parts)[:num_frames]
