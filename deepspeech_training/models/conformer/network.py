"""The network in Keras: features -> logits, in training and in tests.

Tensors are [batch, frames, width]; what goes from block to block, normalisation, attention and the depthwise
convolution are float32, and the other products are in the type of the kernels.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.base import Kernels
from deepspeech_training.models.conformer.geometry import LAYER_NORM_EPSILON, MASKED, PAIR, ConformerGeometry
from deepspeech_training.models.dropout import dropout
from deepspeech_training.models.kernels import PlainKernels
from deepspeech_training.models.layers import NamedLayers

QUERIES = 32  # frames whose attention is computed together: memory grows with the length of a clip, not its square


class ConformerLayers(NamedLayers):
    """The network as a keras.Model.

    Args:
        geometry: shapes.
        kernels: how products and CTC are computed; plain Keras by default.
        weights: initial values by canonical name; zeros by default.
        normalisation: of the features; the weights are then those that take normalised ones.
        dropout_rate: share of what each module adds that is dropped in training.
    """

    def __init__(
        self,
        geometry: ConformerGeometry,
        *,
        kernels: Kernels | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
        normalisation: Normalisation | None = None,
        dropout_rate: float = 0.0,
    ):
        super().__init__("conformer", geometry.weight_shapes(), weights)
        self.geometry = geometry
        self.normalisation = normalisation
        self.kernels = kernels if kernels is not None else PlainKernels()
        self._dropout_rate = dropout_rate

    def call(self, features: Any, lengths: Any, clip_keys: Any = None) -> tuple[Any, Any]:
        """Logits float32 [batch, frames, num_classes] and their lengths; see `models.base.Layers`."""
        return self._logits(self._blocks(features, clip_keys)[-1], ops.shape(features)[1]), lengths

    def with_halfway(self, features: Any, lengths: Any, *, clip_keys: Any = None) -> tuple[Any, Any, Any]:
        """The same, and the logits that the output layer makes of the block in the middle.

        Intermediate CTC (Lee & Watanabe 2021, arXiv:2102.03216), which has no weights of its own either.
        """
        outputs, frames = self._blocks(features, clip_keys), ops.shape(features)[1]
        halfway = outputs[(len(outputs) - 1) // 2]
        return self._logits(outputs[-1], frames), lengths, self._logits(halfway, frames)

    def _blocks(self, features: Any, clip_keys: Any) -> list[Any]:
        """What each block gives, [batch, frames / 2, d_model]."""
        tensor = ops.silu(self._layer_norm("input/layer_norm", self._dense("input", self._windows(features))))
        outputs = []
        for number, block in enumerate(self.geometry.blocks):
            tensor = self._block(block, number, tensor, clip_keys)
            outputs.append(tensor)
        return outputs

    def _logits(self, tensor: Any, frames: Any) -> Any:
        """What a block gives -> float32 [batch, frames, num_classes]."""
        matrix, bias = (
            ops.concatenate([self.by_name[f"output/{part}/{name}"] for part in ("first", "second")], axis=-1)
            for name in ("weights", "bias")
        )
        logits = ops.cast(self.kernels.dense(tensor, matrix, bias), "float32")
        batch, pairs, _ = ops.shape(logits)
        return ops.reshape(logits, (batch, PAIR * pairs, self.geometry.num_classes))[:, :frames]

    def _windows(self, features: Any) -> Any:
        """[batch, frames, n] -> the windows of every second frame [batch, frames / 2, (2 * context + 1) * n]."""
        context = self.geometry.n_context
        frames = ops.shape(features)[1]
        pairs = -(-frames // PAIR)
        padded = ops.pad(features, [[0, 0], [context, context], [0, 0]])
        if self.normalisation is not None:  # after the padding: see models/folding.py
            padded = (padded - self.normalisation.mean) / self.normalisation.deviation
        places = range(2 * context + 1)
        return ops.concatenate([padded[:, i : i + PAIR * (pairs - 1) + 1 : PAIR] for i in places], axis=-1)

    def _block(self, block: str, number: int, tensor: Any, clip_keys: Any) -> Any:
        modules: dict[str, Any] = {
            "ff_1": lambda inputs: 0.5 * self._feed_forward(f"{block}/ff_1", inputs),
            "attention": lambda inputs: self._attention(f"{block}/attention", inputs),
            "convolution": lambda inputs: self._convolution(f"{block}/convolution", inputs),
            "ff_2": lambda inputs: 0.5 * self._feed_forward(f"{block}/ff_2", inputs),
        }
        for place, (module, compute) in enumerate(modules.items()):
            if module == "attention" and not self.geometry.heads:
                continue
            added = compute(self._layer_norm(f"{block}/{module}/layer_norm", tensor))
            if clip_keys is not None and self._dropout_rate > 0:
                layer = len(modules) * number + place
                added = dropout(added, self._dropout_rate, clip_keys=clip_keys, layer=layer, clip_axis=0)
            tensor = tensor + added
        return self._layer_norm(f"{block}/layer_norm", tensor)

    def _feed_forward(self, name: str, inputs: Any) -> Any:
        hidden = ops.silu(self._product(f"{name}/expand", inputs))
        return self._dense(f"{name}/project", hidden)

    def _convolution(self, name: str, inputs: Any) -> Any:
        values, gates = ops.split(self._product(f"{name}/gate", inputs), 2, axis=-1)
        gated = ops.cast(values * ops.sigmoid(gates), "float32")
        padded = ops.pad(gated, [[0, 0], [self.geometry.kernel - 1, 0], [0, 0]])
        kernel = ops.expand_dims(self.by_name[f"{name}/depthwise/kernel"], -1)
        heard = ops.depthwise_conv(padded, kernel) + self.by_name[f"{name}/depthwise/bias"]
        return self._dense(f"{name}/output", ops.silu(self._layer_norm(f"{name}/depthwise/layer_norm", heard)))

    def _attention(self, name: str, inputs: Any) -> Any:
        """Each frame looks at itself and at `left_context` frames before it: by position, as in a stream.

        Queries are taken in groups, each with the keys that any of its frames may look at.
        """
        geometry = self.geometry
        heads, width = geometry.heads, geometry.d_model // geometry.heads
        batch, frames, _ = ops.shape(inputs)
        groups = -(-frames // QUERIES)
        before = -(-geometry.left_context // QUERIES)  # groups of keys before that of the queries
        padding = [[0, 0], [before * QUERIES, groups * QUERIES - frames], [0, 0]]
        qkv = ops.pad(self._dense(f"{name}/qkv", inputs), padding)
        qkv = ops.reshape(qkv, (batch, before + groups, QUERIES, 3, heads, width))
        qkv = ops.transpose(qkv, (3, 0, 1, 4, 2, 5))  # [3, batch, before + groups, heads, QUERIES, width]

        def part(first: int, count: int, group: int) -> Any:
            """Some of queries, keys and values, of as many groups as there are queries, from a group on."""
            # Not by [:]: the gradient of a strided slice is computed by one thread, and took a sixth of a step.
            return ops.slice(qkv, (first, 0, group, 0, 0, 0), (count, batch, groups, heads, QUERIES, width))

        queries = part(0, 1, before)[0] * width**-0.5
        keys, values = ops.unstack(ops.concatenate([part(1, 2, group) for group in range(before + 1)], axis=4), 2)
        scores = ops.matmul(queries, ops.transpose(keys, (0, 1, 2, 4, 3)))
        shares = ops.softmax(scores + self._mask(groups, before), axis=-1)  # [batch, groups, heads, QUERIES, keys]
        heard = ops.transpose(ops.matmul(shares, values), (0, 1, 3, 2, 4))
        heard = ops.reshape(heard, (batch, groups * QUERIES, geometry.d_model))
        return self._dense(f"{name}/output", ops.slice(heard, (0, 0, 0), (batch, frames, geometry.d_model)))

    def _mask(self, groups: Any, before: int) -> Any:
        """float32 [groups, 1, QUERIES, keys], added to the scores."""
        query = np.arange(QUERIES)[:, None]
        key = np.arange(-before * QUERIES, QUERIES)  # from the group's first frame
        in_reach = (key <= query) & (key >= query - self.geometry.left_context)
        is_there = (QUERIES * ops.arange(groups))[:, None] + key >= 0
        allowed = in_reach[None, None] & is_there[:, None, None, :]
        return ops.where(allowed, 0.0, MASKED)

    def _product(self, name: str, inputs: Any) -> Any:
        """In the type of the kernels."""
        return self.kernels.dense(inputs, self.by_name[f"{name}/weights"], self.by_name[f"{name}/bias"])

    def _dense(self, name: str, inputs: Any) -> Any:
        return ops.cast(self._product(name, inputs), "float32")

    def _layer_norm(self, name: str, inputs: Any) -> Any:
        scaled = _standardised(inputs)
        return scaled * self.by_name[f"{name}/gamma"] + self.by_name[f"{name}/beta"]


@ops.custom_gradient
def _standardised(inputs: Any) -> Any:
    """Mean 0 and variance 1 along the last axis, with its gradient in half as many passes as the derived one has."""
    centred = inputs - ops.mean(inputs, axis=-1, keepdims=True)
    factor = ops.rsqrt(ops.mean(ops.square(centred), axis=-1, keepdims=True) + LAYER_NORM_EPSILON)
    outputs = centred * factor

    def gradient(*args: Any, upstream: Any = None) -> Any:
        if upstream is None:  # as Keras has it: backends differ in how they hand it over
            (upstream,) = args
        along = ops.mean(upstream * outputs, axis=-1, keepdims=True)
        return (upstream - ops.mean(upstream, axis=-1, keepdims=True) - outputs * along) * factor

    return outputs, gradient
