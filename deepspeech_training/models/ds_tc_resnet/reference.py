"""The network in numpy: what an exported model is compared with, and what runs where TensorFlow is not."""

from collections.abc import Callable, Mapping

import numpy as np

from deepspeech_training.models.ds_tc_resnet.geometry import LAYER_NORM_EPSILON, Block, DsTcResNetGeometry
from deepspeech_training.models.reference import layer_norm


def forward(
    weights: Mapping[str, np.ndarray],
    features: np.ndarray,
    network: DsTcResNetGeometry,
    *,
    observe: Callable[[str, np.ndarray], None] = lambda block, active: None,
) -> np.ndarray:
    """Compute the network in float32.

    Args:
        weights: by canonical name.
        features: float32 [frames, n_features] of a whole clip.
        network: shapes.
        observe: is called with each block's name and bool [channels], those that are not zero in some frame.
    Returns:
        logits float32 [frames, num_classes].
    """

    def dense(name: str, inputs: np.ndarray) -> np.ndarray:
        return inputs @ weights[f"{name}/weights"] + weights[f"{name}/bias"]

    def filtered(block: Block, inputs: np.ndarray) -> np.ndarray:
        padded = np.pad(inputs, [(block.reach, 0), (0, 0)])
        heard = np.zeros_like(inputs) + weights[f"{block.name}/depthwise/bias"]
        for place, row in enumerate(weights[f"{block.name}/depthwise/kernel"]):
            begin = place * block.dilation
            heard += padded[begin : begin + len(inputs)] * row
        return heard

    tensor = features
    for block in network.blocks:
        name = block.name
        gamma, beta = weights[f"{name}/layer_norm/gamma"], weights[f"{name}/layer_norm/beta"]
        heard = dense(f"{name}/pointwise", filtered(block, tensor))
        heard = layer_norm(heard, gamma, beta, epsilon=LAYER_NORM_EPSILON)
        if block.residual:
            heard = heard + dense(f"{name}/residual", tensor)
        tensor = np.maximum(heard, np.float32(0))
        observe(name, (tensor > 0).any(axis=0))
    return dense("output", tensor)
