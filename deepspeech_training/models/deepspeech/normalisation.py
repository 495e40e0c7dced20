"""Features to zero mean and unit deviation, in training only: what is saved needs no normalisation any more.

The network in training sees (feature - mean) / deviation, each of the 26 coefficients with its own two figures, those
of the whole training set. Context beyond the ends of a clip is raw zeros that are normalised too. Under that order,
and only under it, the arithmetic can be put into the first layer, and the deployed clients, which know nothing of it,
compute the same from raw features:

    (x - m) / d @ W + b  =  x @ (W / d) + (b - sum(W * m / d))
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from deepspeech_training.errors import UserError

SMALLEST_DEVIATION = 1e-2  # of a coefficient that is constant in the training set
FOLDED_WEIGHTS = ("layer_1/weights", "layer_1/bias")

Weights = dict[str, np.ndarray]


@dataclass(frozen=True)
class Normalisation:
    """Mean and standard deviation of each coefficient: float32 [n_features] both."""

    mean: np.ndarray
    deviation: np.ndarray

    @classmethod
    def of(cls, frames: Iterable[np.ndarray]) -> "Normalisation":
        """Measure them; each item of `frames` is float [any number of frames, n_features].

        >>> Normalisation.of([np.array([[1.0, 5.0]]), np.array([[3.0, 5.0]])])
        Normalisation(mean=array([2., 5.], dtype=float32), deviation=array([1.  , 0.01], dtype=float32))
        """
        count, mean, squares = 0, np.zeros(()), np.zeros(())  # squares: of the distances from the mean, summed
        for part in frames:
            if not len(part):
                continue
            part = np.asarray(part, np.float64)
            part_mean = part.mean(axis=0)
            distance = part_mean - mean
            # Chan, Golub, LeVeque 1979: two means of unequal counts joined without a loss of digits
            squares = squares + ((part - part_mean) ** 2).sum(axis=0)
            squares = squares + distance**2 * count * len(part) / (count + len(part))
            mean = mean + distance * len(part) / (count + len(part))
            count += len(part)
        if not count:
            raise UserError("--normalise_features: none of the training clips can be read, so nothing is measured")
        deviation = np.maximum(np.sqrt(squares / count), SMALLEST_DEVIATION)
        return cls(mean.astype(np.float32), deviation.astype(np.float32))

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray]) -> "Normalisation | None":
        """What `as_arrays` put into a checkpoint; None where it has none."""
        if "normalisation/mean" not in arrays:
            return None
        return cls(arrays["normalisation/mean"], arrays["normalisation/deviation"])

    def as_arrays(self) -> Weights:
        return {"normalisation/mean": self.mean, "normalisation/deviation": self.deviation}

    def fold(self, weights: Mapping[str, np.ndarray]) -> Weights:
        """Weights that take normalised features -> weights that take raw ones; only layer 1 differs."""
        mean, deviation, kernel = self._with_kernel(weights)
        folded = kernel / deviation
        bias = weights["layer_1/bias"] - (folded * mean).sum(axis=(0, 1))
        return self._replaced(weights, folded, bias)

    def unfold(self, weights: Mapping[str, np.ndarray]) -> Weights:
        """Weights that take raw features -> weights that take normalised ones: undoes `fold`, but for rounding."""
        mean, deviation, kernel = self._with_kernel(weights)
        bias = weights["layer_1/bias"] + (kernel * mean).sum(axis=(0, 1))
        return self._replaced(weights, kernel * deviation, bias)

    def _with_kernel(self, weights: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Mean and deviation [n_features, 1] and layer 1's matrix [context, n_features, n_hidden], in float64."""
        mean, deviation = self.mean.astype(np.float64)[:, None], self.deviation.astype(np.float64)[:, None]
        matrix = weights["layer_1/weights"].astype(np.float64)
        return mean, deviation, matrix.reshape(-1, len(mean), matrix.shape[1])

    @staticmethod
    def _replaced(weights: Mapping[str, np.ndarray], kernel: np.ndarray, bias: np.ndarray) -> Weights:
        kernel = kernel.reshape(-1, kernel.shape[-1])
        return {**weights, "layer_1/weights": kernel.astype(np.float32), "layer_1/bias": bias.astype(np.float32)}
