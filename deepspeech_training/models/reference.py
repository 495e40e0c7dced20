"""What the networks' references in numpy share."""

import numpy as np


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
