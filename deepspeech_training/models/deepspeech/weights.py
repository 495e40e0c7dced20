"""The weights that a new network begins with, and the normalisation of the features put into those of layer 1.

Context beyond the ends of a clip is raw zeros, which are normalised too. Under that order, and only under it, layer 1
can take the normalisation over, so that it computes the same from raw features:

    (x - m) / d @ W + b  =  x @ (W / d) + (b - sum(W * m / d))
"""

from collections.abc import Mapping

import numpy as np

from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.deepspeech.geometry import NetworkGeometry

# Where the bias of the CTC blank starts. At 0 training may settle on guessing a clip's first letter in frame 0, the one
# frame that looks like no other, as the LSTM starts from zeros: with half of the seeds of `benchmarks/learning.py
# commands` the WER then stayed above 0.6. At 5 the commands go as well as at 3, the digits worse (docs/results.md).
BLANK_BIAS = 3.0


def initial_weights(geometry: NetworkGeometry, *, seed: int) -> dict[str, np.ndarray]:
    """Draw fresh weights: Glorot uniform matrices (Glorot & Bengio 2010), zero biases but the blank's (`BLANK_BIAS`).

    Each weight has a generator of its own, a function of `seed` and its place, so that no backend, device count or
    order of creation changes the draw.
    """
    weights = {}
    for place, (name, shape) in enumerate(geometry.weight_shapes().items()):
        if len(shape) == 2:
            limit = np.sqrt(6.0 / sum(shape))
            generator = np.random.Generator(np.random.Philox(key=[seed, place]))
            weights[name] = generator.uniform(-limit, limit, shape).astype(np.float32)
        else:
            weights[name] = np.full(shape, 1.0 if name.endswith("gamma") else 0.0, np.float32)
    weights["layer_6/bias"][-1] = BLANK_BIAS  # the blank is the last class
    return weights


def fold(weights: Mapping[str, np.ndarray], normalisation: Normalisation) -> dict[str, np.ndarray]:
    """Weights that take normalised features -> weights that take raw ones; only layer 1 differs."""
    mean, deviation, kernel = _with_kernel(weights, normalisation)
    folded = kernel / deviation
    return _replaced(weights, folded, weights["layer_1/bias"] - (folded * mean).sum(axis=(0, 1)))


def unfold(weights: Mapping[str, np.ndarray], normalisation: Normalisation) -> dict[str, np.ndarray]:
    """Weights that take raw features -> weights that take normalised ones: undoes `fold`, but for rounding."""
    mean, deviation, kernel = _with_kernel(weights, normalisation)
    return _replaced(weights, kernel * deviation, weights["layer_1/bias"] + (kernel * mean).sum(axis=(0, 1)))


def _with_kernel(
    weights: Mapping[str, np.ndarray], normalisation: Normalisation
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and deviation [n_features, 1] and layer 1's matrix [context, n_features, n_hidden], in float64."""
    mean = normalisation.mean.astype(np.float64)[:, None]
    deviation = normalisation.deviation.astype(np.float64)[:, None]
    matrix = weights["layer_1/weights"].astype(np.float64)
    return mean, deviation, matrix.reshape(-1, len(mean), matrix.shape[1])


def _replaced(weights: Mapping[str, np.ndarray], kernel: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
    kernel = kernel.reshape(-1, kernel.shape[-1])
    return {**weights, "layer_1/weights": kernel.astype(np.float32), "layer_1/bias": bias.astype(np.float32)}
