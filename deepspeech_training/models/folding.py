"""The normalisation of the features put into the weights of the first dense layer, which takes windows of frames.

Context beyond the ends of a clip is raw zeros, which are normalised too. Under that order, and only under it, the
layer can take the normalisation over, so that it computes the same from raw features:

    (x - m) / d @ W + b  =  x @ (W / d) + (b - sum(W * m / d))
"""

from collections.abc import Mapping

import numpy as np

from deepspeech_training.features.normalisation import Normalisation


def fold(weights: Mapping[str, np.ndarray], normalisation: Normalisation, *, layer: str) -> dict[str, np.ndarray]:
    """Weights that take normalised features -> weights that take raw ones; only `layer` differs."""
    mean, deviation, kernel = _with_kernel(weights, normalisation, layer)
    folded = kernel / deviation
    return _replaced(weights, layer, folded, weights[f"{layer}/bias"] - (folded * mean).sum(axis=(0, 1)))


def unfold(weights: Mapping[str, np.ndarray], normalisation: Normalisation, *, layer: str) -> dict[str, np.ndarray]:
    """Weights that take raw features -> weights that take normalised ones: undoes `fold`, but for rounding."""
    mean, deviation, kernel = _with_kernel(weights, normalisation, layer)
    return _replaced(weights, layer, kernel * deviation, weights[f"{layer}/bias"] + (kernel * mean).sum(axis=(0, 1)))


def _with_kernel(
    weights: Mapping[str, np.ndarray], normalisation: Normalisation, layer: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and deviation [n_features, 1] and the matrix [context, n_features, units], in float64."""
    mean = normalisation.mean.astype(np.float64)[:, None]
    deviation = normalisation.deviation.astype(np.float64)[:, None]
    matrix = weights[f"{layer}/weights"].astype(np.float64)
    return mean, deviation, matrix.reshape(-1, len(mean), matrix.shape[1])


def _replaced(
    weights: Mapping[str, np.ndarray], layer: str, kernel: np.ndarray, bias: np.ndarray
) -> dict[str, np.ndarray]:
    kernel = kernel.reshape(-1, kernel.shape[-1])
    return {**weights, f"{layer}/weights": kernel.astype(np.float32), f"{layer}/bias": bias.astype(np.float32)}
