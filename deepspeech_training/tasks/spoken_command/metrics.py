"""How good answers to commands are: the accuracy of a validation, and the test of a set."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepspeech_training.console import Console
from deepspeech_training.reporting.commands import CommandReport, CommandResult, write_picture
from deepspeech_training.tasks.base import Answers
from deepspeech_training.tasks.spoken_command.clips import CommandSample


@dataclass(frozen=True)
class Heard:
    """The likeliest class of a clip, and its probability."""

    label: str
    probability: float


@dataclass
class Accuracy:
    """The share of clips whose class is heard, over all samples together."""

    right: int = 0
    answered: int = 0

    def add(self, sample: CommandSample, answer: Heard) -> None:
        self.right += answer.label == sample.label
        self.answered += 1

    def figures(self) -> dict[str, float]:
        return {"accuracy": self.right / max(self.answered, 1)}


class CommandExamination:
    """See `tasks.base.Examination`.

    Args:
        decode: `Task.decode`.
        labels: the classes, in their order.
        folder: where the picture of each set's confusions goes; None for nowhere.
    """

    def __init__(
        self, decode: Callable[[Answers], Sequence[Heard]], labels: Sequence[str], folder: Path | None, console: Console
    ):
        self._decode, self._labels, self._folder, self._console = decode, tuple(labels), folder, console

    def __enter__(self) -> "CommandExamination":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def take(
        self, samples: Sequence[CommandSample], losses: np.ndarray, answers: Answers
    ) -> Callable[[], Sequence[CommandResult]]:
        heard = zip(samples, losses, self._decode(answers), strict=True)
        results = [CommandResult(s.path, s.label, one.label, one.probability, float(loss)) for s, loss, one in heard]
        return lambda: results

    def report(self, name: str, results: Sequence[CommandResult]) -> CommandReport:
        report = CommandReport(name, tuple(results), self._labels)
        if self._folder is not None:
            write_picture(report, self._folder / f"confusion-{Path(name).stem}.png", self._console)
        return report
