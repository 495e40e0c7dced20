"""The part of the task that needs no Keras: samples -> examples, and numbers -> symbols."""

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from deepspeech_training.checkpoints.describe import Checkpoint
from deepspeech_training.config import Config
from deepspeech_training.console import Console
from deepspeech_training.data.loader import ArraySpec, BatchSpec, Example
from deepspeech_training.data.spelling import END
from deepspeech_training.models.base import Weights
from deepspeech_training.models.word_model import WordModel
from deepspeech_training.reporting.figures import Figure
from deepspeech_training.runtime.pronouncer import Pronouncer
from deepspeech_training.tasks.base import Answers, CostUnit
from deepspeech_training.tasks.pronunciation.metrics import WordErrors, WordExamination
from deepspeech_training.tasks.pronunciation.samples import Direction, Units, WordSample

if TYPE_CHECKING:
    from deepspeech_training.exporting.folder import ExportedModel
    from deepspeech_training.tasks.pronunciation.objective import WordObjective

TO_IPA, TO_WORD = "word_to_ipa", "ipa_to_word"
WER = Figure("wer", "WER", "lower", poor=0.9, good=0.05, empty=1.0, unit="words")
PER = Figure("per", "PER", "lower", empty=1.0, unit="symbols")


class WordTask:
    """Words to pronunciations, or back.

    Args:
        direction: which side is given, and how both are written.
        network: what writes.
        label_smoothing: see `WordObjective`.
        beam_width: of tests.
    """

    figures = (WER, PER)
    best_by = "wer"
    metrics = WordErrors
    unit = CostUnit(1, "letters/s")
    augments = False
    num_compared = 500
    spec = BatchSpec(
        {"given": ArraySpec("int32", (None,), "num_given"), "wanted": ArraySpec("int32", (None,), "num_wanted")},
        cost="num_given",
    )

    def __init__(self, direction: Direction, network: WordModel, *, label_smoothing: float = 0.0, beam_width: int = 5):
        self.direction, self.network = direction, network
        self._label_smoothing, self._beam_width = label_smoothing, beam_width
        self._weights: Weights | None = None

    @property
    def name(self) -> str:
        return TO_IPA if self.direction.to_ipa else TO_WORD

    def load(self, sample: WordSample) -> Example:
        return {"given": np.array(sample.given, np.int32), "wanted": np.array([*sample.wanted, END], np.int32)}

    def read_anew(self) -> None:
        pass  # there are no files behind the samples

    def augment(self, sample: WordSample, example: Example, *, epoch: int, clock: float) -> Example:
        raise NotImplementedError("it augments nothing")

    def frames(self, cost: int) -> int:
        return cost

    def longest(self, cost: int) -> int:
        return cost

    def lengthened(self, example: Example) -> Example:
        return example

    def objective(self) -> "WordObjective":
        from deepspeech_training.tasks.pronunciation.objective import WordObjective

        return WordObjective(label_smoothing=self._label_smoothing)

    def decode(self, answers: Answers) -> list[Units]:
        ended = ([*map(int, numbers), END] for numbers in answers["symbols"])
        return [self.direction.target.units_of(numbers[: numbers.index(END)]) for numbers in ended]

    def take_weights(self, weights: Weights) -> None:
        self._weights = weights

    def examination(self) -> WordExamination:
        assert self._weights is not None, "a test begins with weights"
        pronouncer = Pronouncer.of(self.network, self._weights, self.direction.source, self.direction.target)
        return WordExamination(pronouncer, self.decode, self.direction.target, width=self._beam_width)

    def exported(
        self, checkpoint: Checkpoint, samples: Sequence[WordSample], config: Config, console: Console
    ) -> "ExportedModel":
        from deepspeech_training.exporting.pronunciation import Word, WordsToExport, export_pronunciation

        direction, target = self.direction, self.direction.target
        model = WordsToExport(
            checkpoint.path.name, checkpoint.weights, self.name, direction.source, target, self.network
        )
        words = [
            Word(sample.source, sample.given, frozenset(target.numbers(target.joined(units)) for units in sample.right))
            for sample in samples
        ]
        return export_pronunciation(
            model, words, export=config.export, language=config.card.export_language, console=console
        )

    def how_to_use(self, folder: str) -> str:
        return f"deepspeech g2p --model {shlex.quote(folder)} WORD"

    def describe(self) -> dict[str, Any]:
        return {
            "task": self.name,
            "source": self.direction.source.describe(),
            "target": self.direction.target.describe(),
            "network": self.network.describe(),
        }
