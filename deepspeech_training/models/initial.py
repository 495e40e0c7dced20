"""How new weights are drawn: each array has a generator of its own, a function of the seed and its place.

So no backend, device count or order of creation changes the draw.
"""

from collections.abc import Mapping

import numpy as np


def uniform(shape: tuple[int, ...], *, limit: float, seed: int, place: int) -> np.ndarray:
    """float32 in -`limit`..`limit`; `place` is the number of the array among those of the network."""
    generator = np.random.Generator(np.random.Philox(key=[seed, place]))
    return generator.uniform(-limit, limit, shape).astype(np.float32)


def glorot_uniform(shape: tuple[int, ...], *, seed: int, place: int) -> np.ndarray:
    """A matrix [inputs, outputs] that keeps the size of what goes through it (Glorot & Bengio 2010)."""
    return uniform(shape, limit=np.sqrt(6.0 / sum(shape)), seed=seed, place=place)


def of_blocks(shapes: Mapping[str, tuple[int, ...]], *, seed: int) -> dict[str, np.ndarray]:
    """Convolutions and dense layers, in the order of `shapes`: Glorot matrices, filters by their size, zero biases."""
    weights = {}
    for place, (name, shape) in enumerate(shapes.items()):
        if name.endswith("/depthwise/kernel"):  # each output hears one channel, not all of them as a matrix does
            weights[name] = uniform(shape, limit=np.sqrt(3.0 / shape[0]), seed=seed, place=place)
        elif len(shape) == 2:
            weights[name] = glorot_uniform(shape, seed=seed, place=place)
        else:
            weights[name] = np.full(shape, 1.0 if name.endswith("gamma") else 0.0, np.float32)
    return weights
