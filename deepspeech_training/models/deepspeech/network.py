"""DeepSpeech's network: features -> logits.

Three dense layers over a window of 9 frames on either side, one LSTM, two dense layers; clipped ReLU, dropout where
DeepSpeech 0.9.3 has it (Hannun et al. 2014, arXiv:1412.5567; training/deepspeech_training/train.py). The weights keep
DeepSpeech's names and layout, whatever kernel computes with them, so checkpoints of both convert without arithmetic.
"""

from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from deepspeech_training.augment.random import hashed_bits, layer_keys, uint32
from deepspeech_training.models.deepspeech.geometry import DENSE_LAYERS, LAYER_NORM_EPSILON, NetworkGeometry
from deepspeech_training.models.deepspeech.normalisation import Normalisation
from deepspeech_training.models.kernels import PlainKernels

# Where the bias of the CTC blank starts. At 0 training may settle on guessing a clip's first letter in frame 0, the one
# frame that looks like no other, as the LSTM starts from zeros: with half of the seeds of `benchmarks/learning.py
# commands` the WER then stayed above 0.6. At 5 the commands go as well as at 3, the digits worse (docs/results.md).
BLANK_BIAS = 3.0


def initial_weights(geometry: NetworkGeometry, *, seed: int) -> dict[str, np.ndarray]:
    """Draw fresh weights: Glorot uniform matrices (Glorot & Bengio 2010), zero biases but the blank's (`BLANK_BIAS`).

    Each weight has a generator of its own, a function of `seed` and its place, so that no backend, device count or
    order of creation changes the draw.
    """
    weights = {}
    for place, (name, shape) in enumerate(geometry.weight_shapes().items()):
        if len(shape) == 2:
            limit = np.sqrt(6.0 / sum(shape))
            generator = np.random.Generator(np.random.Philox(key=[seed, place]))
            weights[name] = generator.uniform(-limit, limit, shape).astype(np.float32)
        else:
            weights[name] = np.full(shape, 1.0 if name.endswith("gamma") else 0.0, np.float32)
    weights["layer_6/bias"][-1] = BLANK_BIAS  # the blank is the last class
    return weights


def dropout_mask(shape, rate: float, *, clip_keys, layer: int):
    """Decide which units of which frames of which clips stay: True with probability 1 - `rate`.

    The decision is a function of (clip key, layer, frame, unit) alone: the same clip has the same mask alone and in
    any padded batch, in a repeated step and after a restart. The bits are a 32-bit integer hash of the place
    (`stateless_random.hashed_bits`), and decide on two units, with 16 bits each.

    Args:
        shape: of the tensor to drop from: (frames, batch, units).
        rate: 0..1, the share to drop, to 1 / 65536.
        clip_keys: uint32 [batch], a function of (seed, step, clip).
        layer: number of the layer, so that layers differ.
    Returns:
        bool [frames, batch, units].
    """

    frames, _, units = shape
    half = (units + 1) // 2
    place = ops.reshape(ops.cast(ops.arange(frames * half), "uint32"), (frames, 1, half))
    bits = hashed_bits(layer_keys(clip_keys, layer)[None, :, None], place)
    threshold = round(rate * 65536)
    low = ops.bitwise_and(bits, uint32(0xFFFF)) >= uint32(threshold)
    high = bits >= uint32(threshold << 16)
    return ops.concatenate([low, high], axis=-1)[:, :, :units]


class DeepSpeech(keras.Model):
    """The network as a keras.Model.

    Args:
        geometry: shapes.
        kernels: how products, recurrence and CTC are computed; plain Keras unless told.
        weights: initial values by canonical name; zeros unless told.
        normalisation: of the features; the weights are then those that take normalised ones.
    """

    def __init__(
        self,
        geometry: NetworkGeometry,
        *,
        kernels=None,
        weights: dict[str, np.ndarray] | None = None,
        normalisation: Normalisation | None = None,
    ):
        super().__init__(name="deepspeech")
        self.geometry = geometry
        self.normalisation = normalisation
        self.kernels = kernels if kernels is not None else PlainKernels()
        self.by_name = {}
        for name, shape in geometry.weight_shapes().items():
            variable = self.add_weight(name=name.replace("/", "_"), shape=shape, initializer="zeros", dtype="float32")
            self.by_name[name] = variable
        self.built = True
        if weights is not None:
            self.set_named_weights(weights)

    def set_named_weights(self, weights: dict[str, np.ndarray]) -> None:
        for name, variable in self.by_name.items():
            variable.assign(weights[name])

    def named_weights(self) -> dict[str, np.ndarray]:
        return {name: variable.numpy() for name, variable in self.by_name.items()}

    def _stack_context(self, features):
        """float32 [frames, batch, n] -> [frames, batch, (2 * context + 1) * n], oldest frame first, zeros outside."""
        context = self.geometry.n_context
        frames = ops.shape(features)[0]
        padded = ops.pad(features, [[context, context], [0, 0], [0, 0]])
        if self.normalisation is not None:  # after the padding: see normalisation.py
            padded = (padded - self.normalisation.mean) / self.normalisation.deviation
        return ops.concatenate([padded[i : i + frames] for i in range(2 * context + 1)], axis=-1)

    def _dense(self, name: str, inputs, *, dropout_rate: float, clip_keys):
        outputs = self.kernels.dense(inputs, self.by_name[f"{name}/weights"], self.by_name[f"{name}/bias"])
        outputs = ops.minimum(ops.relu(outputs), ops.cast(self.geometry.relu_clip, outputs.dtype))
        if self.geometry.layer_norm:  # after the clipped ReLU and before dropout, as in DeepSpeech
            outputs = ops.cast(outputs, "float32")
            mean, variance = ops.moments(outputs, axes=[-1], keepdims=True)
            outputs = (outputs - mean) * ops.rsqrt(variance + LAYER_NORM_EPSILON)
            outputs = outputs * self.by_name[f"{name}/layer_norm/gamma"] + self.by_name[f"{name}/layer_norm/beta"]
        if clip_keys is not None and dropout_rate > 0:
            mask = dropout_mask(ops.shape(outputs), dropout_rate, clip_keys=clip_keys, layer=int(name[-1]))
            scale = ops.cast(1.0 / (1.0 - dropout_rate), outputs.dtype)
            outputs = ops.where(mask, outputs * scale, ops.zeros((), outputs.dtype))
        return outputs

    def layer_outputs(self, features, num_frames, *, clip_keys=None, dropout_rates: Sequence[float] = (0, 0, 0, 0)):
        """Compute every layer.

        Args:
            features: float32 [batch, frames, n_features], zero past each clip's end.
            num_frames: int32 [batch].
            clip_keys: uint32 [batch] in training; None switches dropout off.
            dropout_rates: of layers 1, 2, 3 and 5.
        Returns:
            dict of time-major tensors [frames, batch, ...] by layer name; the logits are "layer_6".
        """
        rates = dict(zip(DENSE_LAYERS, dropout_rates, strict=True))
        layers = {}
        tensor = self._stack_context(ops.transpose(features, [1, 0, 2]))
        for name in ("layer_1", "layer_2", "layer_3"):
            tensor = layers[name] = self._dense(name, tensor, dropout_rate=rates[name], clip_keys=clip_keys)
        tensor = self.kernels.lstm(tensor, self.by_name["lstm/kernel"], self.by_name["lstm/bias"])
        layers["rnn_output"] = tensor
        tensor = layers["layer_5"] = self._dense("layer_5", tensor, dropout_rate=rates["layer_5"], clip_keys=clip_keys)
        logits = self.kernels.dense(tensor, self.by_name["layer_6/weights"], self.by_name["layer_6/bias"])
        layers["layer_6"] = ops.cast(logits, "float32")
        return layers

    def call(self, features, num_frames, clip_keys=None, dropout_rates: Sequence[float] = (0, 0, 0, 0)):
        """float32 [batch, frames, n_features] -> time-major logits float32 [frames, batch, num_classes]."""
        layers = self.layer_outputs(features, num_frames, clip_keys=clip_keys, dropout_rates=dropout_rates)
        return layers["layer_6"]
