"""Two tasks that are not speech to text, with a network that is no acoustic model: what the program does with any."""

import csv
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.audio.files import read_audio
from deepspeech_training.config.presets import TASK_VALUES
from deepspeech_training.data.loader import ArraySpec, BatchSpec, Example
from deepspeech_training.data.sample import CheckedData, SampleSet
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models import MODELS
from deepspeech_training.models.base import Network
from deepspeech_training.reporting.figures import Figure
from deepspeech_training.tasks import TASKS
from deepspeech_training.tasks.base import CostUnit, Order, Prepared

LETTERS = "abcdefgh"
GEOMETRY = FeatureGeometry()


def register() -> None:
    MODELS["one_hidden_layer"] = f"{__name__}:OneHiddenLayer"
    TASKS["sounds"] = f"{__name__}:prepare_sounds"
    TASKS["spelling"] = f"{__name__}:prepare_spelling"
    TASK_VALUES["spelling"] = {"n_hidden": 16, "train_batch_size": 1}


# --- the network -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OneHiddenLayer(Network):
    """float32 [batch, places, n_inputs] -> [batch, places, num_classes], each place by itself."""

    name = "one_hidden_layer"
    flags = frozenset({"n_hidden"})
    size_flag = "n_hidden"

    n_inputs: int
    n_hidden: int

    def weight_shapes(self):
        return {
            "hidden/weights": (self.n_inputs, self.n_hidden),
            "hidden/bias": (self.n_hidden,),
            "output/weights": (self.n_hidden, self.num_classes),
            "output/bias": (self.num_classes,),
        }

    @classmethod
    def from_flags(cls, flags, *, num_classes):
        raise NotImplementedError("its tasks say the number of inputs")

    def initial_weights(self, *, seed):
        generator = np.random.default_rng(seed)
        return {n: generator.normal(size=s, scale=0.3).astype(np.float32) for n, s in self.weight_shapes().items()}

    def build(self, kernels=None, *, weights=None, normalisation=None, **training_options):
        from keras import ops

        from deepspeech_training.models.layers import NamedLayers

        class Layers(NamedLayers):
            def call(self, inputs, lengths, *, clip_keys=None):
                hidden = ops.matmul(inputs, self.by_name["hidden/weights"]) + self.by_name["hidden/bias"]
                outputs = ops.matmul(ops.tanh(hidden), self.by_name["output/weights"]) + self.by_name["output/bias"]
                return outputs, lengths

        return Layers(self.name, self.weight_shapes(), weights)

    def step_bytes(self, *, clips, frames):
        return 24 * self.num_parameters + 8 * clips * frames * self.n_hidden


# --- what the tasks share --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """`given` is what the network gets, `wanted` what it should answer."""

    id: str
    csv_path: str
    row: int
    given: str
    wanted: str
    cost: int
    size: int = 0

    @property
    def path(self) -> str:
        return self.given

    @property
    def content(self) -> str:
        return self.wanted


def read(order: Order, check) -> CheckedData:
    """The rows of all CSVs that the call needs; `check` says what is wrong with one, or "", and what it costs."""
    data = order.config.data
    kinds = {"test": data.test_files}
    if order.trains:
        kinds |= {"train": data.train_files, "dev": data.dev_files, "metrics": data.metrics_files}
    sets: dict[str, list[SampleSet[Row]]] = {}
    for kind, paths in kinds.items():
        for path in paths:
            rows = []
            with open(path, encoding="utf-8", newline="") as file:
                for number, (given, wanted) in enumerate(list(csv.reader(file))[1:], start=2):
                    fault, cost = check(Path(path).parent, given, wanted)
                    if fault:
                        raise UserError(f"{path}, row {number}: {fault}")
                    rows.append(Row(f"{Path(path).name}:{number}", path, number, given, wanted, cost))
            sets.setdefault(kind, []).append(SampleSet(path, Path(path).name, rows))
    return CheckedData(sets)


@dataclass(frozen=True)
class Answered:
    """One result of a test."""

    row: Row
    answer: str
    loss: float


@dataclass(frozen=True)
class ReportOfSet:
    name: str
    results: Sequence[Answered]
    metrics: Any

    @property
    def loss(self) -> float:
        return sum(result.loss for result in self.results) / max(len(self.results), 1)

    def figures(self) -> dict[str, float]:
        return self.metrics.figures()

    def to_text(self, report_count: int) -> str:
        wrong = [f"{r.row.given}: {r.answer}, not {r.row.wanted}" for r in self.results if r.answer != r.row.wanted]
        figures = " ".join(f"{name} {value:.3f}" for name, value in self.figures().items())
        return "\n".join([f"Test on {self.name}: {figures}", *wrong[:report_count]])

    def as_json(self) -> list[dict[str, Any]]:
        return [{"id": r.row.id, "answer": r.answer, "loss": r.loss} for r in self.results]


class ExaminationOf:
    def __init__(self, task):
        self._task = task

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        pass

    def take(self, samples, losses, answers):
        results = map(Answered, samples, self._task.decode(answers), map(float, losses))
        return lambda: list(results)

    def report(self, name, results):
        metrics = self._task.metrics()
        for result in results:
            metrics.add(result.row, result.answer)
        return ReportOfSet(name, results, metrics)


class Other:
    """What both tasks do alike."""

    augments = False

    def read_anew(self):
        pass

    def augment(self, sample, example, *, epoch, clock):
        raise AssertionError("it augments nothing")

    def frames(self, cost):
        return cost

    def longest(self, cost):
        return cost

    def lengthened(self, example):
        return example

    def examination(self):
        return ExaminationOf(self)


# --- a classifier of sounds: one label a row, accuracy ---------------------------------------------------------------


@dataclass
class Accuracy:
    right: int = 0
    answered: int = 0

    def add(self, sample: Row, answer: str) -> None:
        self.right += answer == sample.wanted
        self.answered += 1

    def figures(self):
        return {"accuracy": self.right / max(self.answered, 1)}


class Sounds(Other):
    """A recording -> which of some kinds of sound it is; the network sees the mean of its MFCC."""

    name = "sounds"
    figures = (Figure("accuracy", "accuracy", "higher", percent=True, poor=0.4, good=0.95),)
    best_by = "accuracy"
    unit = CostUnit(GEOMETRY.sample_rate, "audio-s/s")
    metrics = Accuracy
    spec = BatchSpec(
        {"audio": ArraySpec("float32", (None,), "num_samples"), "label": ArraySpec("int32")}, cost="num_samples"
    )

    def __init__(self, network: OneHiddenLayer, labels: Sequence[str]):
        self.network, self.labels = network, labels

    def load(self, sample: Row) -> Example:
        audio = read_audio(str(Path(sample.csv_path).parent / sample.given), sample_rate=GEOMETRY.sample_rate)
        return {"audio": audio, "label": np.int32(self.labels.index(sample.wanted))}

    def objective(self):
        from keras import ops

        from deepspeech_training.features.mfcc_keras import mfcc

        class Objective:
            def outputs(self, layers, arrays: Mapping[str, Any], *, clip_keys=None):
                features, lengths = mfcc(arrays["audio"], arrays["num_samples"], GEOMETRY)
                mean = ops.sum(features, axis=1) / ops.cast(ops.maximum(lengths, 1), "float32")[:, None]
                logits, _ = layers(ops.stop_gradient(mean[:, None] / 20.0), ops.ones_like(lengths))
                return {"logits": logits[:, 0]}

            def losses(self, kernels, outputs, arrays):
                chosen = ops.one_hot(arrays["label"], outputs["logits"].shape[-1])
                return -ops.sum(ops.log_softmax(outputs["logits"]) * chosen, axis=-1)

            training_losses = losses

            def answers(self, outputs):
                return {"label": ops.argmax(outputs["logits"], axis=-1)}

        return Objective()

    def decode(self, answers):
        return [self.labels[label] for label in answers["label"]]

    def describe(self):
        return {
            "task": self.name,
            "labels": list(self.labels),
            "features": asdict(GEOMETRY),
            "network": self.network.describe(),
        }


def prepare_sounds(order: Order) -> Prepared:
    def check(folder, given, wanted):
        if not wanted:
            return "there is no label", 0
        return "", len(read_audio(str(folder / given), sample_rate=GEOMETRY.sample_rate))

    data = read(order, check)
    if order.source.found is None:
        labels = sorted({row.wanted for found in data.sets["train"] for row in found.samples})
        network = OneHiddenLayer(len(labels), n_inputs=GEOMETRY.n_mfcc, n_hidden=order.config.geometry.n_hidden)
    else:
        labels, network = order.source.checkpoint.model.described["labels"], order.source.checkpoint.model.network
    return Prepared(Sounds(network, labels), order.config, data, None)


# --- letters to letters: no audio ------------------------------------------------------------------------------------


@dataclass
class WrongLetters:
    wrong: int = 0
    letters: int = 0

    def add(self, sample: Row, answer: str) -> None:
        self.wrong += (Counter(enumerate(sample.wanted)) - Counter(enumerate(answer))).total()
        self.letters += len(sample.wanted)

    def figures(self):
        return {"wrong": self.wrong / max(self.letters, 1)}


class Spelling(Other):
    """A word -> another of as many letters."""

    name = "spelling"
    figures = (Figure("wrong", "wrong letters", "lower", poor=0.5, good=0.05, unit="letters"),)
    best_by = "wrong"
    unit = CostUnit(1, "letters/s")
    metrics = WrongLetters
    spec = BatchSpec(
        {"given": ArraySpec("int32", (None,), "num_letters"), "wanted": ArraySpec("int32", (None,), "num_wanted")},
        cost="num_letters",
    )

    def __init__(self, network: OneHiddenLayer):
        self.network = network

    def load(self, sample: Row) -> Example:
        return {name: np.array([LETTERS.index(c) for c in getattr(sample, name)]) for name in ("given", "wanted")}

    def objective(self):
        from keras import ops

        class Objective:
            def outputs(self, layers, arrays: Mapping[str, Any], *, clip_keys=None):
                logits, lengths = layers(ops.one_hot(arrays["given"], len(LETTERS)), arrays["num_letters"])
                return {"logits": logits, "lengths": lengths}

            def losses(self, kernels, outputs, arrays):
                chosen = ops.one_hot(arrays["wanted"], len(LETTERS))
                each = -ops.sum(ops.log_softmax(outputs["logits"]) * chosen, axis=-1)
                inside = ops.arange(ops.shape(each)[1])[None, :] < outputs["lengths"][:, None]
                return ops.sum(ops.where(inside, each, 0.0), axis=1)

            training_losses = losses

            def answers(self, outputs):
                return {"letters": ops.argmax(outputs["logits"], axis=-1), "lengths": outputs["lengths"]}

        return Objective()

    def decode(self, answers):
        clips = zip(answers["letters"], answers["lengths"], strict=True)
        return ["".join(LETTERS[letter] for letter in letters[:length]) for letters, length in clips]

    def describe(self):
        return {"task": self.name, "network": self.network.describe()}


def prepare_spelling(order: Order) -> Prepared:
    def check(folder, given, wanted):
        strange = set(given + wanted) - set(LETTERS)
        return (f"letters that are not known: {''.join(sorted(strange))}" if strange else ""), len(given)

    if order.config.augmentation.augment:
        raise FlagError("--augment: this task has no audio")
    network = OneHiddenLayer(len(LETTERS), n_inputs=len(LETTERS), n_hidden=order.config.geometry.n_hidden)
    if order.source.found is not None:
        network = order.source.checkpoint.model.network
    return Prepared(Spelling(network), order.config, read(order, check), None)
