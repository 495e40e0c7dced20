"""What the program knows of a task: which arrays a batch holds, what a sample costs, losses and answers.

There is a folder for each task beside this module, and no logic in it. A `Task` is plain Python and numpy; what it
computes in the step, its `Objective`, is written with Keras, which is imported when it is asked for.

A task needs a line in `tasks.TASKS`, one in `models.NETWORKS` with the networks that it trains, and one in
`config.presets.TASK_VALUES` with the flags that it has other defaults for. A checkpoint says all that `Task.describe`
gives: of it, `checkpoints.describe` reads "network", and "features" and "alphabet" where they are there; the task finds
the rest in `TrainedModel.described`. What it cannot do is left out of its class: `Exports`, `Transcribes`, `Hears`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np

from deepspeech_training.alphabet import Labels
from deepspeech_training.audio.cache import AudioCache
from deepspeech_training.checkpoints.describe import Checkpoint
from deepspeech_training.checkpoints.source import Source
from deepspeech_training.checkpoints.transfer import Transfer
from deepspeech_training.config import Config
from deepspeech_training.console import Console
from deepspeech_training.data.loader import Batch, BatchSpec, Example
from deepspeech_training.data.sample import CheckedData
from deepspeech_training.models.base import Kernels, Layers, Network, Weights
from deepspeech_training.reporting.figures import Figure

if TYPE_CHECKING:
    from deepspeech_training.exporting.folder import ExportedModel

Tensors = Mapping[str, Any]  # tensors of the backend by name
Answers = Mapping[str, np.ndarray]  # what `Objective.answers` gave, as arrays
AUDIO_SPEED = "audio-s/s"


@dataclass(frozen=True)
class CostUnit:
    """What speeds and estimates are told in.

    Args:
        size: so much of `Sample.cost` is one of them.
        speed: how many of them a second, such as "audio-s/s".
    """

    size: int
    speed: str

    @property
    def sample_rate(self) -> int | None:
        """Of audio; None where the samples are of another kind."""
        return self.size if self.speed == AUDIO_SPEED else None


class Objective(Protocol):
    """What is computed in the step, in keras.ops: pure functions of the network's weights and a batch's arrays.

    Every tensor has the batch as its first axis, but for what only `outputs` and the losses share.
    """

    def outputs(self, layers: Layers, arrays: Tensors, *, clip_keys: Any = None) -> Tensors:
        """What the network makes of a batch.

        Args:
            layers: of `Task.network`.
            arrays: those of the batch, by the names of `Task.spec`.
            clip_keys: uint32 [batch] in training, what its randomness draws from; None switches that off.
        """

    def losses(self, kernels: Kernels, outputs: Tensors, arrays: Tensors) -> Any:
        """One loss per sample, float32 [batch], so that a bad one can be named."""

    def training_losses(self, kernels: Kernels, outputs: Tensors, arrays: Tensors) -> Any:
        """What training makes smaller, [batch]: `losses`, or with more asked of the network."""

    def answers(self, outputs: Tensors) -> Tensors:
        """What `Task.decode` needs of the outputs. Where axis 1 differs from batch to batch, zeros may be added."""


class Metrics(Protocol):
    """How good the answers to some samples are: a dataclass of numbers that start at 0 and add up.

    Checkpoints keep these numbers in the middle of a validation, and those of several sets are added.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    def add(self, sample: Any, answer: Any) -> None:
        """Take in the answer to one sample, one of those of `Task.decode`."""

    def figures(self) -> dict[str, float]:
        """The values of `Task.figures`, by name."""


class Report(Protocol):
    """What a test set came to."""

    @property
    def name(self) -> str: ...

    @property
    def results(self) -> Sequence[Any]:
        """One for each sample."""

    @property
    def loss(self) -> float: ...

    def figures(self) -> dict[str, float]:
        """The values of `Task.figures`, by name."""

    def to_text(self, report_count: int) -> str:
        """The report a person reads, with so many of the best, median and worst results."""

    def as_json(self) -> list[dict[str, Any]]:
        """The results, for --test_output_file."""


class Examination(Protocol):
    """A test, with all that the task does for an answer, such as a beam and a scorer: a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *exception: object) -> None: ...

    def take(self, samples: Sequence[Any], losses: np.ndarray, answers: Answers) -> Callable[[], Sequence[Any]]:
        """Begin with a batch; what is returned waits for its results and gives them."""

    def report(self, name: str, results: Sequence[Any]) -> Report:
        """The report of a set of that name."""


@dataclass(frozen=True)
class Order:
    """What a task is put together from.

    Args:
        config: the flags, with those that the checkpoint decides.
        source: where the weights come from.
        trains: whether it is to be trained, or only tested and used.
        folder: of the checkpoints that are saved, or without training used.
        console: for what a person should know.
    """

    config: Config
    source: Source
    trains: bool
    folder: Path
    console: Console


@dataclass(frozen=True)
class Prepared:
    """A task put together, and all that it works on, checked.

    Args:
        config: that of the order, with the CSVs that were found or made.
        data: the samples of each set.
        transfer: what the weights take from another run, now or when the run began.
        labels: those of the outputs, by which --reuse_characters tells them apart; None where there are none.
        recordings: fingerprints of what is mixed into the samples, by path.
        cache: of decoded audio.
    """

    task: "Task"
    config: Config
    data: CheckedData
    transfer: Transfer | None
    labels: Labels | None = None
    recordings: Mapping[str, str] = field(default_factory=dict)
    cache: AudioCache | None = None


@runtime_checkable
class Hears(Protocol):
    """An objective that makes features of audio, which can be normalised."""

    def features(self, audio: Any, num_samples: Any) -> tuple[Any, Any]:
        """Waveforms [batch, time] -> features [batch, frames, depth], and the frames of each [batch]."""


@runtime_checkable
class Transcribes(Protocol):
    """A task that --one_shot_infer can be used with."""

    def transcribe(self, path: str, answers_of: Callable[[Batch], Answers]) -> str:
        """The text of an audio file.

        Raises:
            UserError: it cannot be read, or is too short.
        """


@runtime_checkable
class Exports(Protocol):
    """A task whose models can be exported.

    Args:
        num_compared: samples of --test_files that an export is compared with its checkpoint on, at most.
    """

    num_compared: ClassVar[int]

    def exported(
        self, checkpoint: Checkpoint, samples: Sequence[Any], config: Config, console: Console
    ) -> "ExportedModel":
        """Make the file of a model, and compare it with its checkpoint.

        Args:
            samples: some of --test_files, to compare on; may be none.
        Raises:
            UserError: it cannot be exported, or differs from the checkpoint by more than is allowed.
        """


@runtime_checkable
class UsedAsItIs(Protocol):
    """A task whose checkpoints are used without an export."""

    def how_to_use(self, folder: str) -> str:
        """The command that uses the checkpoints of a folder."""


@runtime_checkable
class TakesWeights(Protocol):
    """A task whose tests compute with the weights themselves, as its exported models do."""

    def take_weights(self, weights: Weights) -> None:
        """Those of the checkpoint that is tested."""


class Task(Protocol):
    """A kind of model that can be trained, evaluated and reported on. Its samples are of a class of its own.

    Args:
        name: in `TASKS`.
        figures: by which a model is judged, besides the loss.
        best_by: the name of that which makes a checkpoint the best, unless --best_by says another.
        network: fixes the weights.
        spec: which arrays a batch holds.
        unit: of speeds and estimates.
        augments: whether `augment` does anything.
        metrics: makes a Metrics; takes its numbers as keyword arguments.
    """

    @property
    def name(self) -> str: ...

    @property
    def figures(self) -> Sequence[Figure]: ...

    @property
    def best_by(self) -> str: ...

    @property
    def network(self) -> Network: ...

    @property
    def spec(self) -> BatchSpec: ...

    @property
    def unit(self) -> CostUnit: ...

    @property
    def augments(self) -> bool: ...

    @property
    def metrics(self) -> Callable[..., Metrics]: ...

    def load(self, sample: Any) -> Example:
        """Read one sample, in a worker thread.

        Raises:
            SampleFault: it cannot be used.
        """

    def read_anew(self) -> None:
        """Take nothing from a cache before it has been read from its file once more."""

    def augment(self, sample: Any, example: Example, *, epoch: int, clock: float) -> Example:
        """The example as a step of this epoch gets it; its arrays are not written into.

        Args:
            clock: how much of the run is done, 0..1.
        """

    def frames(self, cost: int) -> int:
        """Frames that the network takes of a sample of this cost in a training step, of all its views."""

    def longest(self, cost: int) -> int:
        """What a sample of this cost could cost at most when it is augmented."""

    def lengthened(self, example: Example) -> Example:
        """An example as long as it could become, to try memory with."""

    def objective(self) -> Objective: ...

    def decode(self, answers: Answers) -> Sequence[Any]:
        """One answer per sample."""

    def examination(self) -> Examination:
        """A test, as the flags ask for it."""

    def describe(self) -> dict[str, Any]:
        """What a checkpoint must say so that its weights can be used, JSON values."""
