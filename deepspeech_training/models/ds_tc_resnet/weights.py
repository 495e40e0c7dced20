"""The weights that a new network begins with."""

import numpy as np

from deepspeech_training.models.ds_tc_resnet.geometry import DsTcResNetGeometry
from deepspeech_training.models.initial import glorot_uniform, uniform


def initial_weights(geometry: DsTcResNetGeometry, *, seed: int) -> dict[str, np.ndarray]:
    """Draw fresh weights, a function of `seed`: Glorot's matrices, filters of the size of their inputs, zero biases."""
    weights = {}
    for place, (name, shape) in enumerate(geometry.weight_shapes().items()):
        if name.endswith("/depthwise/kernel"):  # each output hears one channel, not all of them as a matrix does
            weights[name] = uniform(shape, limit=np.sqrt(3.0 / shape[0]), seed=seed, place=place)
        elif len(shape) == 2:
            weights[name] = glorot_uniform(shape, seed=seed, place=place)
        else:
            weights[name] = np.full(shape, 1.0 if name.endswith("gamma") else 0.0, np.float32)
    return weights
