"""The network in numpy: what an exported model is compared with, and what runs where TensorFlow is not."""

from collections.abc import Callable, Mapping

import numpy as np

from deepspeech_training.models.conformer.geometry import LAYER_NORM_EPSILON, PAIR, ConformerGeometry
from deepspeech_training.models.reference import layer_norm, sigmoid, softmax, stack_context

QUERIES = 64  # frames whose attention is computed together


def forward(
    weights: Mapping[str, np.ndarray],
    features: np.ndarray,
    network: ConformerGeometry,
    *,
    observe: Callable[[str, np.ndarray], None] = lambda block, gates: None,
) -> np.ndarray:
    """Compute the network in float32.

    Args:
        weights: by canonical name.
        features: float32 [frames, n_features] of a whole clip.
        network: shapes.
        observe: is called with each block's name and the gates of its convolution [frames / 2, d_model].
    Returns:
        logits float32 [frames, num_classes].
    """

    def dense(name: str, inputs: np.ndarray) -> np.ndarray:
        return inputs @ weights[f"{name}/weights"] + weights[f"{name}/bias"]

    def normal(name: str, inputs: np.ndarray) -> np.ndarray:
        gamma, beta = weights[f"{name}/layer_norm/gamma"], weights[f"{name}/layer_norm/beta"]
        return layer_norm(inputs, gamma, beta, epsilon=LAYER_NORM_EPSILON)

    def feed_forward(name: str, inputs: np.ndarray) -> np.ndarray:
        hidden = _silu(dense(f"{name}/expand", normal(name, inputs)))
        return np.float32(0.5) * dense(f"{name}/project", hidden)

    def attention(name: str, inputs: np.ndarray) -> np.ndarray:
        queries, keys, values = np.split(dense(f"{name}/qkv", normal(name, inputs)), 3, axis=1)
        return dense(f"{name}/output", _attention(queries, keys, values, network))

    def convolution(block: str, inputs: np.ndarray) -> np.ndarray:
        name = f"{block}/convolution"
        values, gates = np.split(dense(f"{name}/gate", normal(name, inputs)), 2, axis=1)
        gates = sigmoid(gates)
        observe(block, gates)
        padded = np.pad(values * gates, [(network.kernel - 1, 0), (0, 0)])
        heard = np.zeros_like(values) + weights[f"{name}/depthwise/bias"]
        for place, row in enumerate(weights[f"{name}/depthwise/kernel"]):
            heard += padded[place : place + len(values)] * row
        return dense(f"{name}/output", _silu(normal(f"{name}/depthwise", heard)))

    windows = stack_context(features, n_context=network.n_context)[::PAIR]
    tensor = _silu(normal("input", dense("input", windows.reshape(len(windows), -1))))
    for block in network.blocks:
        tensor = tensor + feed_forward(f"{block}/ff_1", tensor)
        if network.heads:
            tensor = tensor + attention(f"{block}/attention", tensor)
        tensor = tensor + convolution(block, tensor)
        tensor = tensor + feed_forward(f"{block}/ff_2", tensor)
        tensor = normal(block, tensor)
    pairs = np.stack([dense(f"output/{part}", tensor) for part in ("first", "second")], axis=1)
    return pairs.reshape(-1, network.num_classes)[: len(features)]


def _silu(x: np.ndarray) -> np.ndarray:
    return x * sigmoid(x)


def _attention(queries: np.ndarray, keys: np.ndarray, values: np.ndarray, network: ConformerGeometry) -> np.ndarray:
    """Each frame looks at itself and at `left_context` frames before it; all are float32 [frames, d_model]."""
    width = network.d_model // network.heads
    heard = np.zeros_like(values)
    for first in range(0, len(queries), QUERIES):
        ours = slice(first, min(first + QUERIES, len(queries)))
        theirs = slice(max(first - network.left_context, 0), ours.stop)
        distance = np.arange(ours.start, ours.stop)[:, None] - np.arange(theirs.start, theirs.stop)
        outside = (distance < 0) | (distance > network.left_context)
        for head in range(network.heads):
            part = slice(head * width, (head + 1) * width)
            scores = queries[ours, part] @ keys[theirs, part].T * np.float32(width**-0.5)
            scores[outside] = -np.inf
            heard[ours, part] = softmax(scores) @ values[theirs, part]
    return heard
