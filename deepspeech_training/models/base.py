"""The contract of a network: all that the rest of the program may know of one. There is no Keras here, and no files.

A network is described by a frozen dataclass that derives from `Network` (from `AcousticModel` if it hears), lies in a
folder of its own beside this file, and has a line in `MODELS`. Its fields fix the shapes and the meaning of the
weights, and a checkpoint says them. Layers, reference and export are imported when a method needs them, so that a
description is made and asked in any process.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, Self, TypeVar, runtime_checkable

import numpy as np

from deepspeech_training.features.normalisation import Normalisation

Weights = Mapping[str, np.ndarray]  # float32 by canonical name
Lengths = TypeVar("Lengths", int, np.ndarray, Any)  # a number, an integer array or an integer tensor of a backend
# Called for each layer while the reference computes: its name, bool [units] of those that are not zero in some frame
# (None where that says nothing), and the share of its values that are at a limit, 0..1.
Observer = Callable[[str, np.ndarray | None, float], None]


class Kernels(Protocol):
    """The operations whose fastest form depends on the backend; `models.kernels.PlainKernels` is the reference."""

    def dense(self, inputs: Any, weights: Any, bias: Any) -> Any:
        """`inputs @ weights + bias`: [frames, batch, in] x [in, out] -> [frames, batch, out]."""

    def lstm(self, inputs: Any, kernel: Any, bias: Any) -> Any:
        """Run an LSTM from a zero state over [frames, batch, depth] -> [frames, batch, units]."""

    def ctc_loss(self, logits: Any, num_frames: Any, labels: Any, num_labels: Any) -> Any:
        """The CTC loss of logits [batch, frames, classes], the blank last -> float32 [batch]."""


class Layers(Protocol):
    """A network at work, a keras.Model: what `Network.build` makes (`models.layers.NamedLayers` has all but call)."""

    by_name: dict[str, Any]  # the variables by canonical name

    def __call__(self, inputs: Any, lengths: Any, *, clip_keys: Any = None) -> tuple[Any, Any]:
        """Compute the outputs of a batch.

        Args:
            inputs: float32 [batch, frames, n_features], zero past each clip's end.
            lengths: int32 [batch], the frames of each clip.
            clip_keys: uint32 [batch] in training: what its randomness draws from; None switches that off.
        Returns:
            float32 [batch, output frames, classes], and int32 [batch]: those that count, `output_lengths(lengths)`.
        """

    def named_weights(self) -> dict[str, np.ndarray]: ...

    def set_named_weights(self, weights: Weights) -> None: ...


@runtime_checkable
class LayersWithHalfway(Layers, Protocol):
    """Layers whose output layer can be put on what continues halfway, for a second loss in training."""

    def with_halfway(self, inputs: Any, lengths: Any, *, clip_keys: Any = None) -> tuple[Any, Any, Any]:
        """Outputs and lengths as of a call, and the outputs halfway, of the shape of the others."""


@dataclass(frozen=True)
class Network(ABC):
    """What fixes the weights of a network, and what they mean.

    A weight's canonical name begins with its group: "layer_1/bias" belongs to the group "layer_1". Groups are what is
    frozen, transferred and given a learning rate as a whole. The first one takes the inputs, and the last one makes
    the outputs: the last axis of each of its weights is that of the classes.

    Args:
        num_classes: outputs of each frame; with CTC the blank is the last one.
    """

    name: ClassVar[str]  # in MODELS
    flags: ClassVar[frozenset[str]]  # those that `from_flags` and `training_options` read
    size_flag: ClassVar[str]  # the flag and field that makes it larger

    num_classes: int

    @abstractmethod
    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Every weight's canonical name and shape, in the order from the input to the output."""

    @classmethod
    @abstractmethod
    def from_flags(cls, flags: Mapping[str, Any], *, num_classes: int) -> Self:
        """The network that the flags ask for; `flags` has the values of all by name."""

    @classmethod
    def training_options(cls, flags: Mapping[str, Any]) -> dict[str, Any]:
        """What only training takes from the flags, such as rates of dropout, for `build`."""
        return {}

    @abstractmethod
    def initial_weights(self, *, seed: int) -> dict[str, np.ndarray]:
        """Fresh weights, a function of `seed` alone."""

    @abstractmethod
    def build(
        self,
        kernels: Kernels | None = None,
        *,
        weights: Weights | None = None,
        normalisation: Normalisation | None = None,
        **training_options: Any,
    ) -> Layers:
        """Make the keras.Model.

        Args:
            kernels: the plain ones by default.
            weights: zeros by default.
            normalisation: of the inputs; the weights are then those that take normalised ones.
            training_options: see `training_options`.
        """

    @abstractmethod
    def step_bytes(self, *, clips: int, frames: int) -> int:
        """Bytes that a training step on the CPU takes for clips of `frames` frames each, to some 10 %."""

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of weights, from the input to the output."""
        return tuple(dict.fromkeys(group_of(name) for name in self.weight_shapes()))

    @property
    def num_parameters(self) -> int:
        return sum(math.prod(shape) for shape in self.weight_shapes().values())

    def describe(self) -> dict[str, Any]:
        """What a checkpoint must say of the network, JSON values; `models.network_of` reads it."""
        return {"name": self.name, **asdict(self)}

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """What `describe` gave, without the name.

        Raises:
            TypeError: it lacks something, or says what this network does not know.
        """
        return cls(**description)


class AcousticModel(Network):
    """A network from frames of features to frames of classes, in a stream too.

    An exported model takes `n_steps` frames a call, each with its neighbours, and gives `n_steps / stride` frames of
    probabilities. Where the frames of a clip do not fill the last call, those are kept that `output_lengths` counts.
    Our runtime learns all of this from the file; DeepSpeech's and Coqui STT's clients take a stride of 1 for granted,
    and two states `state_c` and `state_h` of one shape, [1, n].
    """

    # Whether the samples after a clip's last whole window make one more frame in training and validation, filled up
    # with zeros, as the clients feed it: what was never heard in training may be answered with a letter.
    hears_the_rest: ClassVar[bool] = False

    n_features: int  # depth of a frame of features
    n_context: int  # frames on either side that are fed together with each frame

    @property
    def stride(self) -> int:
        """Frames of features for each frame of outputs."""
        return 1

    def output_lengths(self, num_frames: Lengths) -> Lengths:
        """Frames of outputs from frames of features: the last may be of fewer. All networks count like this."""
        return -(-num_frames // self.stride)

    @property
    def frames_together(self) -> int:
        """Frames of features that cannot be told apart from outside: a call takes a multiple of so many."""
        return self.stride

    def fault_of_steps(self, n_steps: int) -> str:
        """Why an exported model cannot take `n_steps` frames a call; "" where it can."""
        if n_steps % self.frames_together == 0:
            return ""
        count = self.frames_together
        return f"the network {self.name} takes {count} frames together, so it must be a multiple of {count}"

    @abstractmethod
    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        """The state of a stream, zeros at its start: an exported model takes `previous_NAME` and gives `new_NAME`."""

    @abstractmethod
    def add_to(self, graph: Any, weights: Weights, windows: int, state: Mapping[str, int], *, n_steps: int) -> int:
        """Write the network into a `.tflite` under construction, in operators that the deployed clients know.

        Args:
            graph: `models.tflite_graph.Graph`; tensors are known by their numbers.
            weights: those of `weight_shapes`.
            windows: float32 [1, n_steps, 2 * n_context + 1, n_features].
            state: `previous_NAME` by NAME. The operator that computes the new one names it `new_NAME`, and makes it
                an output with `Graph.output`.
        Returns:
            The logits, float32 [n_steps / stride, num_classes].
        """

    @abstractmethod
    def export_bytes(self, *, quantized: bool) -> int:
        """About the size of the exported model."""

    @abstractmethod
    def reference(self, weights: Weights, features: np.ndarray, *, observe: Observer | None = None) -> np.ndarray:
        """Compute the network in numpy, plainly: what exports are compared with, and what runs without TensorFlow.

        Args:
            features: float32 [frames, n_features] of a whole clip.
        Returns:
            Logits float32 [output_lengths(frames), num_classes].
        """

    @abstractmethod
    def fold(self, weights: Weights, normalisation: Normalisation) -> dict[str, np.ndarray]:
        """Weights that take normalised features -> weights that take raw ones; only the first group differs."""

    @abstractmethod
    def unfold(self, weights: Weights, normalisation: Normalisation) -> dict[str, np.ndarray]:
        """Undo `fold`, but for rounding."""


def group_of(weight: str) -> str:
    """The group that a weight belongs to.

    >>> group_of("layer_1/layer_norm/gamma")
    'layer_1'
    """
    return weight.split("/", 1)[0]
