"""How new weights are drawn: each array has a generator of its own, a function of the seed and its place.

So no backend, device count or order of creation changes the draw.
"""

import numpy as np


def uniform(shape: tuple[int, ...], *, limit: float, seed: int, place: int) -> np.ndarray:
    """float32 in -`limit`..`limit`; `place` is the number of the array among those of the network."""
    generator = np.random.Generator(np.random.Philox(key=[seed, place]))
    return generator.uniform(-limit, limit, shape).astype(np.float32)


def glorot_uniform(shape: tuple[int, ...], *, seed: int, place: int) -> np.ndarray:
    """A matrix [inputs, outputs] that keeps the size of what goes through it (Glorot & Bengio 2010)."""
    return uniform(shape, limit=np.sqrt(6.0 / sum(shape)), seed=seed, place=place)
