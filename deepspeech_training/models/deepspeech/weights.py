"""The weights that a new network begins with."""

import numpy as np

from deepspeech_training.models.deepspeech.geometry import NetworkGeometry
from deepspeech_training.models.initial import glorot_uniform

# Where the bias of the CTC blank starts. At 0 training may settle on guessing a clip's first letter in frame 0, the one
# frame that looks like no other, as the LSTM starts from zeros: with half of the seeds of `benchmarks/learning.py
# commands` the WER then stayed above 0.6. At 5 the commands go as well as at 3, the digits worse (docs/results.md).
BLANK_BIAS = 3.0


def initial_weights(geometry: NetworkGeometry, *, seed: int) -> dict[str, np.ndarray]:
    """Draw fresh weights, a function of `seed`: Glorot's matrices, zero biases but the blank's (`BLANK_BIAS`)."""
    weights = {}
    for place, (name, shape) in enumerate(geometry.weight_shapes().items()):
        if len(shape) == 2:
            weights[name] = glorot_uniform(shape, seed=seed, place=place)
        else:
            weights[name] = np.full(shape, 1.0 if name.endswith("gamma") else 0.0, np.float32)
    weights["layer_6/bias"][-1] = BLANK_BIAS  # the blank is the last class
    return weights
