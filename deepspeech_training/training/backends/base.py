"""The contract of a backend: what the rest of the program may know of the library that computes.

`Library` is the library itself, TensorFlow for now: its devices, versions, compiled functions. `Backend` is a model in
training on it: weights, Adam's moments, the compiled steps. `BACKENDS` in the package has the libraries.

What a second one, such as JAX, would take: a folder beside tensorflow/ with a `Library`, and a line in `BACKENDS`.
Keras runs on it once `loading` has set `KERAS_BACKEND`, so that networks, features, augmentations and losses stay as
they are. In the step, three things differ from TensorFlow's:

- *Shapes.* XLA compiles once per shape: the loader's `static_shapes` pads the sequences of a batch to few lengths
  (`data.loader.padded_length`), as it does for GPUs; the number of clips and of labels has to be rounded up in the same
  way. Lengths within a batch are data, never shapes: `features.mfcc_keras` cuts at the longest clip, and
  `augment.spectrogram.tempo` makes as many frames as the longest needs, which has to become a fixed limit.
- *Weights.* A step is a function (weights, moments, batch, keys, `Update`) -> (weights, moments, losses, norm):
  networks take their weights from variables by canonical name, which `keras.StatelessScope` replaces with arrays;
  `state` and `set_state` are what goes in and out. Nothing else has a state: randomness is a function of keys.
- *Kernels.* `models.kernels.PlainKernels` runs as it is; faster ones are compared with it at the start, as cuDNN's are.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np

from deepspeech_training.config.groups import PerformanceFlags
from deepspeech_training.data.loader import Batch
from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.machine.cluster import Cluster
from deepspeech_training.tasks.base import Answers, Task


class Peers(Protocol):
    """The processes that train together, of which this is one; all of them make the same calls in the same order.

    Args:
        count: of them.
        rank: which one this is, from 0.
    """

    count: int
    rank: int

    def exchange(self, value: Any) -> list[Any]:
        """Give each process a JSON value of this one; returns those of all, by rank.

        Raises:
            UserError: one of them has ended; it is named.
        """

    def from_first(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The arrays of the process of rank 0, whatever the others have."""


class Alone:
    """The peers of a process that trains by itself."""

    count, rank = 1, 0

    def exchange(self, value: Any) -> list[Any]:
        return [value]

    def from_first(self, arrays: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        return arrays


@dataclass(frozen=True)
class Machine:
    """What a run computes with.

    Args:
        devices: of this process, names such as "CPU:0" or "GPU:1".
        description: of the devices, for a person.
        compute_dtype: "float32" or "bfloat16".
        precision: for a person, with the reason where it is not what was asked for.
        intra_op, inter_op: threads.
        on_gpu: devices are GPUs.
        versions: of the libraries that compute, by their names.
        peers: with which it trains; all have as many devices.
    """

    devices: tuple[str, ...]
    description: str
    compute_dtype: str
    precision: str
    intra_op: int
    inter_op: int
    on_gpu: bool
    versions: Mapping[str, str]
    peers: Peers = field(default_factory=Alone)

    @property
    def num_devices(self) -> int:
        """Of all processes."""
        return len(self.devices) * self.peers.count


class Part(NamedTuple):
    """Which rows of a batch that several processes share are those of this one.

    Args:
        first: the place of its first row among all rows.
        total: the rows of all processes.
    """

    first: int
    total: int


@dataclass(frozen=True)
class UpdateRules:
    """How a gradient changes the weights: Adam in TensorFlow 1's form.

    Args:
        beta1, beta2, epsilon: Adam's (Kingma & Ba 2015, arXiv:1412.6980).
        max_grad_norm: gradients are scaled down to this global norm; 0 leaves them.
        weight_decay: AdamW's (Loshchilov & Hutter 2019, arXiv:1711.05101), of the matrices.
        ema: decay of the average of the weights, which is then what is evaluated; 0 keeps none.
        rate_factors: by group of weights, what its learning rate is multiplied with; 0 freezes it: it has no part in
            gradient and norm, and its weights and moments are not touched. A group that is not named has 1.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    max_grad_norm: float = 0.0
    weight_decay: float = 0.0
    ema: float = 0.0
    rate_factors: Mapping[str, float] = field(default_factory=dict)


class Update(NamedTuple):
    """The numbers of one update, scalars: float32, `apply` bool."""

    learning_rate: Any
    beta1_power: Any  # beta1 ** t
    beta2_power: Any
    ema_decay: Any
    apply: Any

    @classmethod
    def number(cls, updates: int, rules: UpdateRules, *, learning_rate: float, apply: bool) -> "Update":
        """Those of the update after so many: Adam's t is one more."""
        return cls(
            np.float32(learning_rate),
            np.float32(rules.beta1 ** (updates + 1)),
            np.float32(rules.beta2 ** (updates + 1)),
            np.float32(ema_decay(rules.ema, updates)),
            np.bool_(apply),
        )


def ema_decay(decay: float, updates: int) -> float:
    """The decay of one step: less in the first ones, or the average would long be that of the initial weights.

    The rule of tf.train.ExponentialMovingAverage with `num_updates`.

    >>> [round(ema_decay(0.999, updates), 3) for updates in (0, 10, 990, 100_000)]
    [0.1, 0.55, 0.991, 0.999]
    """
    return min(decay, (1 + updates) / (10 + updates))


class Backend(Protocol):
    """A model in training: its weights, Adam's moments, and the compiled steps on one or several devices."""

    def train_step(
        self,
        batch: Batch,
        clip_keys: np.ndarray,
        *,
        learning_rate: float,
        updates: int,
        apply: bool = True,
        part: Part | None = None,
    ) -> tuple[np.ndarray, float]:
        """Run one step and, if every loss and the gradient are finite, update the weights.

        Args:
            batch: from the loader; of several processes the rows of this one, which may be none.
            clip_keys: uint32 [batch], what the randomness of the step draws from; see `data.plan.clip_keys`.
            learning_rate: Adam's.
            updates: how many updates were made before.
            apply: False only computes.
            part: where these rows are among those of all processes; None where there is one process.
        Returns:
            losses float32 [total], those of all processes, and the global norm of the gradient. The weights changed
            if and only if `apply` and all of these are finite.
        Raises:
            OutOfMemory: the batch does not fit; nothing has changed.
            UserError: another process has ended.
        """

    def evaluate_step(self, batch: Batch) -> tuple[np.ndarray, Answers]:
        """Losses float32 [batch], and what `Task.decode` makes answers of; of this process alone."""

    @property
    def num_parameters(self) -> int: ...

    @property
    def trains_other_weights(self) -> bool:
        """Whether the weights in training are not those to use: averages, or other features."""

    def state(self) -> dict[str, np.ndarray]:
        """All arrays of a checkpoint.

        By name the weights to use: averaged where there is an average, with the normalisation folded in. As far as they
        differ, those that are trained are under "trained/NAME", and averages that are not folded under "ema/NAME";
        the mean and deviation of the features under "normalisation/"; Adam's first and second moments under
        "adam_m/NAME" and "adam_v/NAME".
        """

    def set_state(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from what `state` gave: with the same bits, unless an average or the moments are missing there.

        Weights that are there by name alone are taken for trained and averaged ones; missing moments are zeros.
        """

    def set_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take these weights to evaluate; moments stay."""


class Library(Protocol):
    """A library that computes. Nothing of it is imported before it is used."""

    title: str  # for a person

    def loading(self) -> AbstractContextManager[None]:
        """A block in which Keras is imported: it sets up Keras for this library, and hides the lines both write."""

    def set_up(
        self, flags: PerformanceFlags, cluster: Cluster | None = None, say: Callable[[str], None] = print
    ) -> Machine:
        """Import the library, fix its threads and devices, and say what there is; once, before anything is computed.

        With a cluster it waits for the other workers; `say` gets a line where that takes long.

        Raises:
            UserError: the threads are fixed already, or not all workers have come.
        """

    def probe(self) -> dict[str, Any]:
        """Set up, compute a little on each device, and say what came out, for `doctor`: JSON values.

        "versions", "devices", "on_gpu", "right" (bool by device), "cuda" and "cudnn" (versions, "" without), and
        "capabilities": those of the GPUs that it was built for, such as "sm_80".
        """

    def backend(
        self,
        task: Task,
        weights: Mapping[str, np.ndarray],
        *,
        devices: Sequence[str] = ("CPU:0",),
        peers: Peers | None = None,
        compute_dtype: str = "float32",
        rules: UpdateRules | None = None,
        training_options: Mapping[str, Any] | None = None,
        normalisation: Normalisation | None = None,
        log: Callable[[str], None] = print,
    ) -> Backend:
        """A model in training.

        Args:
            task: what is trained.
            weights: initial weights by canonical name.
            devices: one gives a plain step, several share every batch in equal parts.
            peers: with which it trains, those of `Machine`; None where it is alone.
            compute_dtype: of matrix products, "float32" or "bfloat16".
            rules: how it is trained.
            training_options: of the network, such as rates of dropout; see `Network.training_options`.
            normalisation: of the features in training.
            log: receives one line when a faster kernel is refused.
        """

    def over_batches(self, function: Callable, batches: Iterable[Batch], *, device: str) -> Iterator[tuple[Batch, Any]]:
        """Compute a function of the arrays of each batch, compiled; the results are numpy's."""
