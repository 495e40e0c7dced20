"""Features to zero mean and unit deviation, in training only: what is saved needs no normalisation any more.

A network in training sees (feature - mean) / deviation, each coefficient with its own two figures, those of the whole
training set. `Network.fold` puts them into its first layer, for the deployed clients, which know nothing of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from deepspeech_training.errors import UserError

SMALLEST_DEVIATION = 1e-2  # of a coefficient that is constant in the training set


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

    def as_arrays(self) -> dict[str, np.ndarray]:
        return {"normalisation/mean": self.mean, "normalisation/deviation": self.deviation}
