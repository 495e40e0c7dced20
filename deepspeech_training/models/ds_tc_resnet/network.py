"""The network in Keras: features -> logits of every frame, in training and in tests; tensors [batch, frames, width]."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.base import Kernels
from deepspeech_training.models.dropout import dropout
from deepspeech_training.models.ds_tc_resnet.geometry import LAYER_NORM_EPSILON, Block, DsTcResNetGeometry
from deepspeech_training.models.kernels import PlainKernels
from deepspeech_training.models.layers import NamedLayers


class DsTcResNetLayers(NamedLayers):
    """The network as a keras.Model.

    Args:
        geometry: shapes.
        kernels: how products are computed; plain Keras by default.
        weights: initial values by canonical name; zeros by default.
        normalisation: of the features; the weights are then those that take normalised ones.
        dropout_rate: share of the outputs of each block that is dropped in training.
    """

    def __init__(
        self,
        geometry: DsTcResNetGeometry,
        *,
        kernels: Kernels | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
        normalisation: Normalisation | None = None,
        dropout_rate: float = 0.0,
    ):
        super().__init__("ds_tc_resnet", geometry.weight_shapes(), weights)
        self.geometry = geometry
        self.normalisation = normalisation
        self.kernels = kernels if kernels is not None else PlainKernels()
        self._dropout_rate = dropout_rate

    def call(self, features: Any, lengths: Any, clip_keys: Any = None) -> tuple[Any, Any]:
        """Logits float32 [batch, frames, num_classes] and their lengths; see `models.base.Layers`."""
        tensor = features
        for number, block in enumerate(self.geometry.blocks):
            tensor = self._block(block, tensor, is_first=number == 0)
            if clip_keys is not None and self._dropout_rate > 0:
                tensor = dropout(tensor, self._dropout_rate, clip_keys=clip_keys, layer=number, clip_axis=0)
        return self._dense("output", tensor), lengths

    def _block(self, block: Block, inputs: Any, *, is_first: bool) -> Any:
        padded = ops.pad(inputs, [[0, 0], [block.reach, 0], [0, 0]])
        if is_first and self.normalisation is not None:  # after the padding, so that the filter can take it over
            padded = (padded - self.normalisation.mean) / self.normalisation.deviation
        kernel = ops.expand_dims(self.by_name[f"{block.name}/depthwise/kernel"], -1)
        heard = ops.depthwise_conv(padded, kernel, dilation_rate=block.dilation)
        heard = heard + self.by_name[f"{block.name}/depthwise/bias"]
        tensor = self._layer_norm(f"{block.name}/layer_norm", self._dense(f"{block.name}/pointwise", heard))
        if block.residual:
            tensor = tensor + self._dense(f"{block.name}/residual", inputs)
        return ops.relu(tensor)

    def _dense(self, name: str, inputs: Any) -> Any:
        product = self.kernels.dense(inputs, self.by_name[f"{name}/weights"], self.by_name[f"{name}/bias"])
        return ops.cast(product, "float32")

    def _layer_norm(self, name: str, inputs: Any) -> Any:
        mean, variance = ops.moments(inputs, axes=[-1], keepdims=True)
        scaled = (inputs - mean) * ops.rsqrt(variance + LAYER_NORM_EPSILON)
        return scaled * self.by_name[f"{name}/gamma"] + self.by_name[f"{name}/beta"]
