"""Best-path decoding: the likeliest class of each frame, repeats merged, blanks dropped (Graves et al. 2006, 3.2)."""

import numpy as np


def greedy_labels(log_probs: np.ndarray, *, blank: int) -> np.ndarray:
    """Decode one clip.

    Args:
        log_probs: float [frames, classes].
        blank: the class that stands for no label.
    Returns:
        int64 [labels].

    >>> probs = np.eye(3)[[0, 0, 2, 0, 1, 2]]  # a a - a b -
    >>> greedy_labels(probs, blank=2)
    array([0, 0, 1])
    """
    best = np.argmax(log_probs, axis=-1)
    changed = np.ones(len(best), bool)
    changed[1:] = best[1:] != best[:-1]
    return best[changed & (best != blank)]
