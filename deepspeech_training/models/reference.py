"""What the networks' references in numpy share."""

import numpy as np

STUCK_GATE = 1e-3  # a gate nearer than this to 0 or 1 passes nothing on to the weights


def stack_context(features: np.ndarray, *, n_context: int) -> np.ndarray:
    """Give every frame its neighbours, as the first dense layer expects; frames outside the clip are zeros.

    Args:
        features: float32 [frames, depth].
        n_context: frames taken on either side.
    Returns:
        float32 [frames, 2 * n_context + 1, depth], the oldest frame first.

    >>> stack_context(np.ones((5, 26), np.float32), n_context=9).shape
    (5, 19, 26)
    """
    padded = np.pad(features, [(n_context, n_context), (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * n_context + 1, axis=0)  # [frames, depth, window]
    return np.ascontiguousarray(windows.transpose(0, 2, 1))


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities of logits [frames, classes]."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return exponentials / exponentials.sum(axis=-1, keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    """The logistic function in float32, without overflow."""
    return np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * x)


def layer_norm(values: np.ndarray, gamma: np.ndarray, beta: np.ndarray, *, epsilon: float) -> np.ndarray:
    """Each frame at mean 0 and variance 1, then scaled and shifted (Ba et al. 2016, arXiv:1607.06450)."""
    mean, variance = values.mean(-1, keepdims=True), values.var(-1, keepdims=True)
    return (values - mean) / np.sqrt(variance + np.float32(epsilon)) * gamma + beta


def stuck_share(gates: np.ndarray) -> float:
    """The share of gates that are all but 0 or 1."""
    return float((np.minimum(gates, 1 - gates) < STUCK_GATE).mean())
