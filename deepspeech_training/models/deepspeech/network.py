"""DeepSpeech's network: features -> logits.

Three dense layers over a window of 9 frames on either side, one LSTM, two dense layers; clipped ReLU, dropout where
DeepSpeech 0.9.3 has it (Hannun et al. 2014, arXiv:1412.5567; training/deepspeech_training/train.py). The weights keep
DeepSpeech's names and layout, whatever kernel computes with them, so checkpoints of both convert without arithmetic.
"""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from keras import ops

from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.base import Kernels
from deepspeech_training.models.deepspeech.geometry import LAYER_NORM_EPSILON, NetworkGeometry
from deepspeech_training.models.dropout import dropout
from deepspeech_training.models.kernels import PlainKernels
from deepspeech_training.models.layers import NamedLayers


class DeepSpeechLayers(NamedLayers):
    """The network as a keras.Model. Inside, tensors are time-major: [frames, batch, depth].

    Args:
        geometry: shapes.
        kernels: how products, recurrence and CTC are computed; plain Keras by default.
        weights: initial values by canonical name; zeros by default.
        normalisation: of the features; the weights are then those that take normalised ones.
        dropout_rates: by dense layer; none by default.
    """

    def __init__(
        self,
        geometry: NetworkGeometry,
        *,
        kernels: Kernels | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
        normalisation: Normalisation | None = None,
        dropout_rates: Mapping[str, float] = MappingProxyType({}),
    ):
        super().__init__("deepspeech", geometry.weight_shapes(), weights)
        self.geometry = geometry
        self.normalisation = normalisation
        self.kernels = kernels if kernels is not None else PlainKernels()
        self._dropout_rates = dict(dropout_rates)

    def _stack_context(self, features):
        """float32 [frames, batch, n] -> [frames, batch, (2 * context + 1) * n], oldest frame first, zeros outside."""
        context = self.geometry.n_context
        frames = ops.shape(features)[0]
        padded = ops.pad(features, [[context, context], [0, 0], [0, 0]])
        if self.normalisation is not None:  # after the padding: see weights.py
            padded = (padded - self.normalisation.mean) / self.normalisation.deviation
        return ops.concatenate([padded[i : i + frames] for i in range(2 * context + 1)], axis=-1)

    def _dense(self, name: str, inputs, clip_keys):
        outputs = self.kernels.dense(inputs, self.by_name[f"{name}/weights"], self.by_name[f"{name}/bias"])
        outputs = ops.minimum(ops.relu(outputs), ops.cast(self.geometry.relu_clip, outputs.dtype))
        if self.geometry.layer_norm:  # after the clipped ReLU and before dropout, as in DeepSpeech
            outputs = ops.cast(outputs, "float32")
            mean, variance = ops.moments(outputs, axes=[-1], keepdims=True)
            outputs = (outputs - mean) * ops.rsqrt(variance + LAYER_NORM_EPSILON)
            outputs = outputs * self.by_name[f"{name}/layer_norm/gamma"] + self.by_name[f"{name}/layer_norm/beta"]
        rate = self._dropout_rates.get(name, 0.0)
        if clip_keys is not None and rate > 0:
            outputs = dropout(outputs, rate, clip_keys=clip_keys, layer=int(name[-1]), clip_axis=1)
        return outputs

    def layer_outputs(self, features, clip_keys=None):
        """Compute every layer.

        Args:
            features: float32 [batch, frames, n_features], zero past each clip's end.
            clip_keys: uint32 [batch] in training; None switches dropout off.
        Returns:
            dict of time-major tensors [frames, batch, ...] by layer name; the logits are "layer_6".
        """
        layers = {}
        tensor = self._stack_context(ops.transpose(features, [1, 0, 2]))
        for name in ("layer_1", "layer_2", "layer_3"):
            tensor = layers[name] = self._dense(name, tensor, clip_keys)
        tensor = self.kernels.lstm(tensor, self.by_name["lstm/kernel"], self.by_name["lstm/bias"])
        layers["lstm"] = tensor
        tensor = layers["layer_5"] = self._dense("layer_5", tensor, clip_keys)
        logits = self.kernels.dense(tensor, self.by_name["layer_6/weights"], self.by_name["layer_6/bias"])
        layers["layer_6"] = ops.cast(logits, "float32")
        return layers

    def call(self, features, lengths, clip_keys=None):
        """Logits float32 [batch, frames, num_classes] and their lengths; see `models.base.Layers`."""
        return ops.transpose(self.layer_outputs(features, clip_keys)["layer_6"], [1, 0, 2]), lengths
