"""The operations that networks of words are written in, once for numpy and once for Keras (`word_layers.py`).

Such a network is small and is run step by step: what is trained and what runs without TensorFlow are one text.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from deepspeech_training.models.reference import layer_norm, sigmoid, softmax

LAYER_NORM_EPSILON = 1e-5
MASKED = -1e9  # what a score gets where attention must not look: its weight is then 0 in float32


class Arrays(Protocol):
    """Tensors are [batch, places, width] where nothing else is said."""

    def shape(self, tensor: Any) -> Sequence[Any]: ...

    def arange(self, count: Any) -> Any:
        """int32 0, 1, 2 ..."""

    def zeros(self, shape: Sequence[Any]) -> Any:
        """float32."""

    def reshape(self, tensor: Any, shape: Sequence[Any]) -> Any: ...

    def transpose(self, tensor: Any, axes: Sequence[int]) -> Any: ...

    def concatenate(self, tensors: Sequence[Any], axis: int) -> Any: ...

    def where(self, condition: Any, one: Any, other: Any) -> Any: ...

    def rows(self, table: Any, numbers: Any) -> Any:
        """The rows of a matrix by their numbers: [batch, places] -> [batch, places, width]."""

    def turned(self, tensor: Any, lengths: Any) -> Any:
        """Each sequence from its end to its start; what is behind its length stays."""

    def matmul(self, one: Any, other: Any) -> Any: ...

    def dense(self, inputs: Any, weights: Any, bias: Any) -> Any:
        """`inputs @ weights + bias`."""

    def layer_norm(self, inputs: Any, gamma: Any, beta: Any) -> Any: ...

    def lstm(self, inputs: Any, kernel: Any, bias: Any) -> Any:
        """An LSTM from a zero state; the layout of `Kernels.lstm`."""

    def relu(self, tensor: Any) -> Any: ...

    def sigmoid(self, tensor: Any) -> Any: ...

    def tanh(self, tensor: Any) -> Any: ...

    def softmax(self, tensor: Any) -> Any:
        """Along the last axis."""

    def dropped(self, tensor: Any, place: int) -> Any:
        """Dropout in training; `place` tells those of a network apart."""

    def cache(self, shape: Sequence[Any]) -> Any:
        """What `remembered` begins with, for [batch, heads, steps, width]."""

    def remembered(self, cache: Any, new: Any, place: Any) -> tuple[Any, Any]:
        """The cache with what step `place` adds [batch, heads, 1, width], and bool of its steps that are there."""


class NumpyArrays:
    """See `Arrays`."""

    def shape(self, tensor: Any) -> Sequence[Any]:
        return tensor.shape

    def arange(self, count: Any) -> Any:
        return np.arange(count, dtype=np.int32)

    def zeros(self, shape: Sequence[Any]) -> Any:
        return np.zeros(shape, np.float32)

    def reshape(self, tensor: Any, shape: Sequence[Any]) -> Any:
        return np.reshape(tensor, shape)

    def transpose(self, tensor: Any, axes: Sequence[int]) -> Any:
        return np.transpose(tensor, axes)

    def concatenate(self, tensors: Sequence[Any], axis: int) -> Any:
        return np.concatenate(tensors, axis)

    def where(self, condition: Any, one: Any, other: Any) -> Any:
        return np.where(condition, np.float32(one), np.float32(other))

    def rows(self, table: Any, numbers: Any) -> Any:
        return table[numbers]

    def turned(self, tensor: Any, lengths: Any) -> Any:
        places = np.arange(tensor.shape[1])
        source = np.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
        return np.take_along_axis(tensor, source[:, :, None], axis=1)

    def matmul(self, one: Any, other: Any) -> Any:
        return np.matmul(one, other)

    def dense(self, inputs: Any, weights: Any, bias: Any) -> Any:
        return (inputs.reshape(-1, inputs.shape[-1]) @ weights + bias).reshape(*inputs.shape[:-1], -1)

    def layer_norm(self, inputs: Any, gamma: Any, beta: Any) -> Any:
        return layer_norm(inputs, gamma, beta, epsilon=LAYER_NORM_EPSILON)

    def lstm(self, inputs: Any, kernel: Any, bias: Any) -> Any:
        batch, places, depth = inputs.shape
        units = len(bias) // 4
        from_inputs = self.dense(inputs, kernel[:depth], bias)
        cell = output = np.zeros((batch, units), np.float32)
        outputs = np.empty((batch, places, units), np.float32)
        for place in range(places):
            i, j, f, o = np.split(from_inputs[:, place] + output @ kernel[depth:], 4, axis=-1)
            cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(j)
            outputs[:, place] = output = sigmoid(o) * np.tanh(cell)
        return outputs

    def relu(self, tensor: Any) -> Any:
        return np.maximum(tensor, 0)

    def sigmoid(self, tensor: Any) -> Any:
        return sigmoid(tensor)

    def tanh(self, tensor: Any) -> Any:
        return np.tanh(tensor)

    def softmax(self, tensor: Any) -> Any:
        return softmax(tensor)

    def dropped(self, tensor: Any, place: int) -> Any:
        return tensor

    def cache(self, shape: Sequence[Any]) -> Any:
        batch, heads, _, width = shape
        return np.zeros((batch, heads, 0, width), np.float32)

    def remembered(self, cache: Any, new: Any, place: Any) -> tuple[Any, Any]:
        return np.concatenate([cache, new], axis=2), np.True_
