"""The contract of networks that write a word from another, symbol by symbol: letters to phones, or back.

An encoder looks at all that is given; a decoder gives the probabilities of the next symbol from that and from the
symbols before. In training it computes all steps at once, in use one after the other. What it computes is written
once, in `models.arrays`, for Keras and for numpy.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, Self

import numpy as np

from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.arrays import MASKED, Arrays
from deepspeech_training.models.base import Kernels, Layers, Network, Weights
from deepspeech_training.models.initial import glorot_uniform, uniform

PADDING_AND_UNKNOWN = 2  # numbers of what is given besides those of symbols, the first and the last
MOST_PER_SYMBOL, MOST_BESIDES = 2, 8


def most_symbols(num_given: Any) -> Any:
    """How many symbols an answer to so many may have: one that never ended would repeat itself for ever."""
    return MOST_PER_SYMBOL * num_given + MOST_BESIDES


class Computation(Protocol):
    """What a network computes, with its weights; every tensor has the batch as its first axis."""

    def encode(self, given: Any, lengths: Any) -> Mapping[str, Any]:
        """What the decoder looks at, of numbers int32 [batch, places] and their lengths int32 [batch]."""

    def logits(self, memory: Mapping[str, Any], previous: Any) -> Any:
        """Of all steps at once, from the symbol before each, int32 [batch, steps] -> float32 [batch, steps, classes].

        Before the first symbol, that is 0.
        """

    def begin(self, batch: Any, steps: Any) -> Mapping[str, Any]:
        """The state before the first step, for up to so many."""

    def step(
        self, memory: Mapping[str, Any], state: Mapping[str, Any], previous: Any, place: Any
    ) -> tuple[Any, Mapping[str, Any]]:
        """One step: from the symbols before, int32 [batch] -> logits float32 [batch, classes] and the new state."""


@dataclass(frozen=True)
class WordModel(Network):
    """What fixes the weights of such a network.

    Args:
        num_classes: the end, and each symbol that can be written.
        num_given: symbols that can be given, with padding and the unknown one.
    """

    size_flag: ClassVar[str]

    num_given: int

    @classmethod
    @abstractmethod
    def from_flags(
        cls, flags: Mapping[str, Any], *, num_classes: int, num_given: int = PADDING_AND_UNKNOWN
    ) -> Self: ...

    @classmethod
    def training_options(cls, flags: Mapping[str, Any]) -> dict[str, Any]:
        return {"dropout_rate": flags["dropout_rate"]}

    @property
    def fault_of_size(self) -> str:
        """What `size_flag` must be and is not; "" where it fits."""
        return ""

    @property
    def num_previous(self) -> int:
        """Symbols that can be before one: those that it can be, and one that the training data did not have."""
        return self.num_classes + 1

    @abstractmethod
    def computation(self, weights: Mapping[str, Any], arrays: Arrays) -> Computation:
        """What it computes, with weights and arrays of numpy, or with variables and tensors of Keras."""

    def build(
        self,
        kernels: Kernels | None = None,
        *,
        weights: Weights | None = None,
        normalisation: Normalisation | None = None,
        **training_options: Any,
    ) -> Layers:
        from deepspeech_training.models.word_layers import WordLayers  # Keras: 3 s

        assert normalisation is None, "it hears nothing"
        return WordLayers(self, kernels=kernels, weights=weights, **training_options)

    def initial_weights(self, *, seed: int) -> dict[str, np.ndarray]:
        """Glorot's matrices, embeddings of unit length, zero biases; an LSTM remembers at first (its gates f)."""
        weights = {}
        for place, (name, shape) in enumerate(self.weight_shapes().items()):
            kind = name.rsplit("/", 1)[-1]
            if kind == "embedding":
                weights[name] = uniform(shape, limit=np.sqrt(3.0 / shape[1]), seed=seed, place=place)
                if name == "letters/embedding":
                    weights[name][[0, -1]] = 0.0  # padding, and what was never met: neither can be trained
            elif len(shape) == 2:
                weights[name] = glorot_uniform(shape, seed=seed, place=place)
            else:
                weights[name] = np.full(shape, 1.0 if kind == "gamma" else 0.0, np.float32)
                if kind == "lstm_bias":
                    units = shape[0] // 4
                    weights[name][2 * units : 3 * units] = 1.0
        return weights

    def step_bytes(self, *, clips: int, frames: int) -> int:
        """About: weights, gradient, two moments and a copy, and some 60 numbers of each width for each symbol."""
        width = max(shape[-1] for name, shape in self.weight_shapes().items() if not name.startswith("output"))
        symbols = frames + most_symbols(frames)
        return 5 * 4 * self.num_parameters + clips * symbols * (60 * 4 * width + 12 * self.num_classes)


def dense_shapes(name: str, inputs: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/weights": (inputs, outputs), f"{name}/bias": (outputs,)}


def norm_shapes(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}/gamma": (width,), f"{name}/beta": (width,)}


class Part:
    """Weights by name, and the operations on them that networks share."""

    def __init__(self, weights: Mapping[str, Any], arrays: Arrays):
        self.weights, self.arrays = weights, arrays

    def dense(self, name: str, inputs: Any) -> Any:
        return self.arrays.dense(inputs, self.weights[f"{name}/weights"], self.weights[f"{name}/bias"])

    def norm(self, name: str, inputs: Any) -> Any:
        return self.arrays.layer_norm(inputs, self.weights[f"{name}/gamma"], self.weights[f"{name}/beta"])

    def rows(self, name: str, numbers: Any) -> Any:
        return self.arrays.rows(self.weights[f"{name}/embedding"], numbers)

    def heads(self, tensor: Any, heads: int) -> Any:
        """[batch, places, width] -> [batch, heads, places, width / heads]."""
        batch, places, width = self.arrays.shape(tensor)
        return self.arrays.transpose(self.arrays.reshape(tensor, (batch, places, heads, width // heads)), (0, 2, 1, 3))

    def attention(self, queries: Any, keys: Any, values: Any, mask: Any) -> Any:
        """[batch, heads, places, width] each, bool of what may be looked at -> [batch, places, heads * width].

        Masked with `where`: of a sum, TensorFlow 2.21 makes one operator with the product, which in a compiled loop
        and with one head gives empty tensors.
        """
        arrays = self.arrays
        batch, heads, places, width = arrays.shape(queries)
        scores = arrays.matmul(queries * width**-0.5, arrays.transpose(keys, (0, 1, 3, 2)))
        shares = arrays.softmax(arrays.where(mask, scores, MASKED))
        found = arrays.transpose(arrays.matmul(shares, values), (0, 2, 1, 3))
        return arrays.reshape(found, (batch, places, heads * width))


def parts(tensor: Any, count: int) -> Sequence[Any]:
    """The last axis in `count` equal parts."""
    width = tensor.shape[-1] // count
    return [tensor[..., place * width : (place + 1) * width] for place in range(count)]
