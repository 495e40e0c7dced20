"""The figures by which a model is judged, described: tasks declare theirs, and all that reports knows nothing more."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from deepspeech_training.reporting.records import Record


@dataclass(frozen=True)
class Figure(Record):
    """One figure of a set of samples, such as the loss or the word error rate.

    Args:
        name: its key in events, checkpoints and flags, such as "wer".
        label: what a person reads, such as "WER".
        better: which of two values is the better one.
        percent: written as a percentage.
        digits: decimal places, where it is not a percentage.
        poor: a model of this value or a worse one is of no use; None where the figure does not decide that.
        good: a model of this value or a better one has little left to learn.
        empty: the value of a model that writes nothing, of error rates.
        unit: what it counts, such as "characters".

    >>> accuracy = Figure("accuracy", "accuracy", "higher", percent=True)
    >>> accuracy.is_better(0.9, 0.8), accuracy.is_better(None, 0.8), accuracy.is_better(0.1, None)
    (True, False, True)
    >>> accuracy.text(0.8514), LOSS.text(3.25), LOSS.text(None)
    ('85.1%', '3.2500', '-')
    """

    name: str
    label: str
    better: Literal["lower", "higher"]
    percent: bool = False
    digits: int = 3
    poor: float | None = None
    good: float | None = None
    empty: float | None = None
    unit: str = "answers"

    def rank(self, value: float | None) -> float:
        """For sorting: the better, the smaller; what is not known comes last."""
        if value is None:
            return math.inf
        return value if self.better == "lower" else -value

    def is_better(self, value: float | None, than: float | None) -> bool:
        """Whether `value` is strictly better; a value that is not known never is."""
        return self.rank(value) < self.rank(than)

    def text(self, value: float | None, *, digits: int | None = None) -> str:
        """A value as a person reads it, with other `digits` than usual if told."""
        if value is None:
            return "-"
        return f"{value:.1%}" if self.percent else f"{value:.{self.digits if digits is None else digits}f}"


LOSS = Figure("loss", "loss", "lower", digits=4)  # every task has it
WER = Figure("wer", "WER", "lower", empty=1.0, unit="words")
CER = Figure("cer", "CER", "lower", poor=0.5, good=0.05, empty=1.0, unit="characters")
# Of speech to text, and of the logs and checkpoints of versions that knew no other task and do not name its figures.
SPEECH_TO_TEXT = (WER, CER)


def decisive(figures: Sequence[Figure]) -> Figure:
    """The figure that tells whether a model is of use, without such a one the first."""
    return next((figure for figure in figures if figure.poor is not None), next(iter(figures), LOSS))


def figures_text(values: Mapping[str, float | None], figures: Sequence[Figure]) -> str:
    """The values of several figures.

    >>> figures_text({"cer": 0.25, "wer": 0.5}, SPEECH_TO_TEXT)
    'WER 0.500 CER 0.250'
    """
    return " ".join(f"{figure.label} {figure.text(values.get(figure.name))}" for figure in figures)


def figures_of(description: Mapping[str, Any]) -> tuple[Figure, ...]:
    """The figures of the task that a checkpoint or a session log is of."""
    described = description.get("judged_by")
    return SPEECH_TO_TEXT if described is None else tuple(map(Figure.from_json, described))
