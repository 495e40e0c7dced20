"""Networks of words in Keras: what is trained, and validated greedily."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from deepspeech_training.models.arrays import LAYER_NORM_EPSILON
from deepspeech_training.models.base import Kernels
from deepspeech_training.models.dropout import dropout
from deepspeech_training.models.kernels import PlainKernels
from deepspeech_training.models.layers import NamedLayers
from deepspeech_training.models.word_model import Computation, WordModel


class KerasArrays:
    """See `models.arrays.Arrays`.

    Args:
        clip_keys: uint32 [batch] in training, what dropout draws from; None: there is none.
    """

    def __init__(self, kernels: Kernels, *, dropout_rate: float = 0.0, clip_keys: Any = None):
        self._kernels, self._rate, self._keys = kernels, dropout_rate, clip_keys

    def shape(self, tensor: Any) -> Sequence[Any]:
        return ops.shape(tensor)

    def arange(self, count: Any) -> Any:
        return ops.arange(count, dtype="int32")

    def zeros(self, shape: Sequence[Any]) -> Any:
        return ops.zeros(shape, "float32")

    def reshape(self, tensor: Any, shape: Sequence[Any]) -> Any:
        return ops.reshape(tensor, shape)

    def transpose(self, tensor: Any, axes: Sequence[int]) -> Any:
        return ops.transpose(tensor, axes)

    def concatenate(self, tensors: Sequence[Any], axis: int) -> Any:
        return ops.concatenate(tensors, axis)

    def where(self, condition: Any, one: Any, other: Any) -> Any:
        return ops.where(condition, ops.cast(one, "float32"), ops.cast(other, "float32"))

    def rows(self, table: Any, numbers: Any) -> Any:
        return ops.take(ops.convert_to_tensor(table), numbers, axis=0)

    def turned(self, tensor: Any, lengths: Any) -> Any:
        places = self.arange(ops.shape(tensor)[1])[None, :]
        source = ops.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
        return ops.take_along_axis(tensor, source[:, :, None], axis=1)

    def matmul(self, one: Any, other: Any) -> Any:
        return ops.matmul(one, other)

    def dense(self, inputs: Any, weights: Any, bias: Any) -> Any:
        return ops.cast(self._kernels.dense(inputs, weights, bias), "float32")

    def layer_norm(self, inputs: Any, gamma: Any, beta: Any) -> Any:
        mean = ops.mean(inputs, axis=-1, keepdims=True)
        variance = ops.mean(ops.square(inputs - mean), axis=-1, keepdims=True)
        return (inputs - mean) * ops.rsqrt(variance + LAYER_NORM_EPSILON) * gamma + beta

    def lstm(self, inputs: Any, kernel: Any, bias: Any) -> Any:
        outputs = self._kernels.lstm(ops.transpose(inputs, (1, 0, 2)), kernel, bias)  # frames first
        return ops.transpose(ops.cast(outputs, "float32"), (1, 0, 2))

    def relu(self, tensor: Any) -> Any:
        return ops.relu(tensor)

    def sigmoid(self, tensor: Any) -> Any:
        return ops.sigmoid(tensor)

    def tanh(self, tensor: Any) -> Any:
        return ops.tanh(tensor)

    def softmax(self, tensor: Any) -> Any:
        return ops.softmax(tensor, axis=-1)

    def dropped(self, tensor: Any, place: int) -> Any:
        if self._keys is None or self._rate <= 0:
            return tensor
        return dropout(tensor, self._rate, clip_keys=self._keys, layer=place, clip_axis=0)

    def cache(self, shape: Sequence[Any]) -> Any:
        return ops.zeros(shape, "float32")

    def remembered(self, cache: Any, new: Any, place: Any) -> tuple[Any, Any]:
        """All steps have their place from the beginning, since tensors of a compiled loop do not grow."""
        places = self.arange(ops.shape(cache)[2])
        filled = ops.where((places == place)[None, None, :, None], new, cache)
        return filled, (places <= place)[None, None, None, :]


class WordLayers(NamedLayers):
    """A network of words as a keras.Model.

    Args:
        network: what it computes.
        dropout_rate: share of what is dropped in training.
    """

    def __init__(
        self,
        network: WordModel,
        *,
        kernels: Kernels | None = None,
        weights: Mapping[str, np.ndarray] | None = None,
        dropout_rate: float = 0.0,
    ):
        super().__init__(network.name, network.weight_shapes(), weights)
        self.network = network
        self._kernels = kernels if kernels is not None else PlainKernels()
        self._dropout_rate = dropout_rate

    def computation(self, clip_keys: Any = None) -> Computation:
        """What it computes in a step; with keys, in training."""
        arrays = KerasArrays(self._kernels, dropout_rate=self._dropout_rate, clip_keys=clip_keys)
        return self.network.computation(self.by_name, arrays)

    def call(self, inputs: Any, lengths: Any, *, clip_keys: Any = None) -> tuple[Any, Any]:
        """Logits of the symbols after `inputs["previous"]`, of a word `inputs["given"]` of `lengths`."""
        computation = self.computation(clip_keys)
        logits = computation.logits(computation.encode(inputs["given"], lengths), inputs["previous"])
        return logits, lengths

    def greedy(self, given: Any, lengths: Any, *, steps: Any) -> Any:
        """The likeliest symbol at each step, int32 [batch, steps]; zeros after the end."""
        computation = self.computation()
        memory = computation.encode(given, lengths)
        batch = ops.shape(given)[0]
        places = ops.arange(steps, dtype="int32")

        def goes_on(place: Any, previous: Any, ended: Any, written: Any, state: Any) -> Any:
            return ops.logical_and(place < steps, ops.logical_not(ops.all(ended)))

        def step(place: Any, previous: Any, ended: Any, written: Any, state: Any) -> tuple[Any, ...]:
            logits, state = computation.step(memory, state, previous, place)
            symbols = ops.where(ended, 0, ops.cast(ops.argmax(logits, axis=-1), "int32"))
            written = ops.where((places == place)[None, :], symbols[:, None], written)
            return place + 1, symbols, ops.logical_or(ended, symbols == 0), written, dict(state)

        begun = (
            ops.convert_to_tensor(0, dtype="int32"),
            ops.zeros((batch,), "int32"),
            ops.zeros((batch,), "bool"),
            ops.zeros((batch, steps), "int32"),
            dict(computation.begin(batch, steps)),
        )
        return ops.while_loop(goes_on, step, begun)[3]
