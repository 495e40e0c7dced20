"""DeepSpeech's network in numpy: what an exported model is compared with, and what runs where TensorFlow is not."""

from collections.abc import Callable, Mapping

import numpy as np

from deepspeech_training.models.deepspeech.geometry import LAYER_NORM_EPSILON, NetworkGeometry
from deepspeech_training.models.reference import layer_norm, sigmoid

State = tuple[np.ndarray, np.ndarray]  # c and h of the LSTM, float32 [1, n_hidden] each


def forward(
    weights: Mapping[str, np.ndarray],
    windows: np.ndarray,
    network: NetworkGeometry,
    state: State | None = None,
    *,
    observe: Callable[[str, np.ndarray], None] = lambda layer, values: None,
) -> tuple[np.ndarray, State]:
    """Compute the network in float32.

    Args:
        weights: by canonical name.
        windows: float32 [frames, 2 * n_context + 1, n_features] from `stack_context`, all of them or the next ones.
        network: shapes and clipping.
        state: where the LSTM was after the windows before; None at the start.
        observe: is called with each dense layer's name and its outputs [frames, n_hidden], clipped and not yet
            normalised, and with "lstm" and the gates i, f and o of a frame [3, n_hidden].
    Returns:
        logits float32 [frames, num_classes], and the state after them.
    """

    def dense(name: str, inputs: np.ndarray) -> np.ndarray:
        outputs = inputs @ weights[f"{name}/weights"] + weights[f"{name}/bias"]
        outputs = np.minimum(np.maximum(outputs, 0), np.float32(network.relu_clip))
        observe(name, outputs)
        if network.layer_norm:
            gamma, beta = (weights[f"{name}/layer_norm/{part}"] for part in ("gamma", "beta"))
            outputs = layer_norm(outputs, gamma, beta, epsilon=LAYER_NORM_EPSILON)
        return outputs

    n = network.n_hidden
    tensor = windows.reshape(len(windows), -1)
    for name in ("layer_1", "layer_2", "layer_3"):
        tensor = dense(name, tensor)
    kernel, bias = weights["lstm/kernel"], weights["lstm/bias"]
    from_inputs = tensor @ kernel[:n] + bias  # [frames, 4 * n], all frames at once
    c, h = state if state is not None else (np.zeros((1, n), np.float32), np.zeros((1, n), np.float32))
    outputs = np.zeros((len(windows), n), np.float32)
    for frame in range(len(windows)):
        gate_i, candidate, gate_f, gate_o = np.split(from_inputs[frame : frame + 1] + h @ kernel[n:], 4, axis=1)
        gates = sigmoid(np.concatenate([gate_i, gate_f, gate_o]))
        observe("lstm", gates)
        c = gates[1:2] * c + gates[0:1] * np.tanh(candidate)
        h = gates[2:3] * np.tanh(c)
        outputs[frame] = h[0]
    return dense("layer_5", outputs) @ weights["layer_6/weights"] + weights["layer_6/bias"], (c, h)
