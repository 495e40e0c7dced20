"""Probabilities like those of a network that is unsure: of sentences, misheard here and there."""

from collections.abc import Sequence

import numpy as np


def sentence_posteriors(
    labels: Sequence[int], num_classes: int, rng: np.random.Generator, *, confusion: float, sharpness: float = 4.0
) -> np.ndarray:
    """float32 [frames, classes]: each label for one to three frames, blanks between some.

    Args:
        confusion: how often another label than the right one is the likeliest.
        sharpness: how far the likeliest logit stands out.
    """
    blank, path = num_classes - 1, []
    for place, label in enumerate(labels):
        path += [label] * int(rng.integers(1, 4))
        if rng.random() < 0.6 or (place + 1 < len(labels) and labels[place + 1] == label):
            path += [blank] * int(rng.integers(1, 3))
    logits = rng.normal(size=(len(path) + 3, num_classes)).astype(np.float32)
    for frame, label in enumerate(path, start=1):
        heard = int(rng.integers(num_classes)) if rng.random() < confusion else label
        logits[frame, heard] += sharpness
        logits[frame, label] += sharpness * 0.7 if heard != label else 0
        logits[frame, blank] += 1
    logits[[0, -2, -1], blank] += 12  # silence around it
    logits -= logits.max(axis=1, keepdims=True)
    probs = np.exp(logits)
    return (probs / probs.sum(axis=1, keepdims=True)).astype(np.float32)
