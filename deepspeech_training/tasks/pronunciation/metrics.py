"""How good answers to words are: the share of wrong words and of wrong symbols, and the report of a test."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepspeech_training.data.spelling import Spelling
from deepspeech_training.reporting.metrics import edit_distance, error_rate
from deepspeech_training.runtime.pronouncer import Pronouncer
from deepspeech_training.tasks.base import Answers
from deepspeech_training.tasks.pronunciation.samples import Units, WordSample

TOP = 5


@dataclass
class WordErrors:
    """Word and symbol error rate over all samples together.

    Args:
        wrong, words: a word is wrong where its answer is none of those that are right, as in SIGMORPHON's tasks.
        distance, symbols: from the nearest right answer, and the length of that.
    """

    wrong: int = 0
    words: int = 0
    distance: int = 0
    symbols: int = 0

    def add(self, sample: WordSample, answer: Units) -> None:
        distance, length = min((edit_distance(right, answer), len(right)) for right in sample.right)
        self.wrong += distance > 0
        self.words += 1
        self.distance += distance
        self.symbols += length

    def figures(self) -> dict[str, float]:
        return {"wer": error_rate(self.wrong, self.words), "per": error_rate(self.distance, self.symbols)}


@dataclass(frozen=True)
class WordResult:
    """What became of a word in a test: the answers of the beam, best first, and the greedy one."""

    sample: WordSample
    answers: tuple[Units, ...]
    probabilities: tuple[float, ...]
    greedy: Units
    loss: float

    @property
    def best(self) -> Units:
        return self.answers[0] if self.answers else ()

    @property
    def place(self) -> int | None:
        """At which place the first right answer is, from 1; None where none of them is right."""
        right = (place for place, answer in enumerate(self.answers, start=1) if answer in self.sample.right)
        return next(right, None)


@dataclass(frozen=True)
class WordReport:
    """See `tasks.base.Report`; `joined` writes symbols as the data does."""

    name: str
    results: Sequence[WordResult]
    joined: Callable[[Units], str]

    @property
    def loss(self) -> float:
        return sum(result.loss for result in self.results) / max(len(self.results), 1)

    def figures(self) -> dict[str, float]:
        return _errors(self.results, lambda result: result.best).figures()

    def within(self, count: int) -> float:
        """The share of words with a right answer among the first `count`, 0..1."""
        found = sum(result.place is not None and result.place <= count for result in self.results)
        return found / max(len(self.results), 1)

    def to_text(self, report_count: int) -> str:
        own, greedy = self.figures(), _errors(self.results, lambda result: result.greedy).figures()
        lines = [
            f"Test on {self.name} - WER: {own['wer']:.6f}, PER: {own['per']:.6f}, loss: {self.loss:.6f} "
            f"({len(self.results):,} words)",
            f"Greedy, without beam - WER: {greedy['wer']:.6f}, PER: {greedy['per']:.6f}",
            f"Right at once {self.within(1):.2%}, among the first {TOP} {self.within(TOP):.2%}",
        ]
        wrong = sorted((r for r in self.results if r.place != 1), key=lambda r: -r.probabilities[0])
        if wrong and report_count:
            lines.append("Wrong, the surest first:")
        for result in wrong[:report_count]:
            right = ", ".join(map(self.joined, result.sample.right))
            found = f"{self.joined(result.best)} ({result.probabilities[0]:.1%})"
            lines.append(f"  {result.sample.id}  {result.sample.source}: {found}, not {right}")
        return "\n".join(lines)

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {
                "id": result.sample.id,
                "source": result.sample.source,
                "right": [*map(self.joined, result.sample.right)],
                "answers": [
                    {"text": self.joined(answer), "probability": probability}
                    for answer, probability in zip(result.answers, result.probabilities, strict=True)
                ],
                "greedy": self.joined(result.greedy),
                "loss": result.loss,
            }
            for result in self.results
        ]


class WordExamination:
    """See `tasks.base.Examination`: a beam on the very network that is exported.

    Args:
        decode: greedily; `Task.decode`.
        target: how answers are written.
        width: of the beam.
    """

    def __init__(
        self,
        pronouncer: Pronouncer,
        decode: Callable[[Answers], Sequence[Units]],
        target: Spelling,
        *,
        width: int,
    ):
        self._pronouncer, self._decode, self._target, self._width = pronouncer, decode, target, width

    def __enter__(self) -> "WordExamination":
        return self

    def __exit__(self, *exception: object) -> None:
        pass

    def take(
        self, samples: Sequence[WordSample], losses: np.ndarray, answers: Answers
    ) -> Callable[[], Sequence[WordResult]]:
        greedy = self._decode(answers)

        def results() -> list[WordResult]:
            found = self._pronouncer.search([sample.given for sample in samples], width=self._width)
            return [
                WordResult(
                    sample,
                    tuple(self._target.units_of(numbers) for _, numbers in written),
                    tuple(math.exp(log_prob) for log_prob, _ in written),
                    units,
                    float(loss),
                )
                for sample, written, units, loss in zip(samples, found, greedy, losses, strict=True)
            ]

        return results

    def report(self, name: str, results: Sequence[WordResult]) -> WordReport:
        return WordReport(name, results, self._target.joined)


def _errors(results: Sequence[WordResult], answer: Callable[[WordResult], Units]) -> WordErrors:
    errors = WordErrors()
    for result in results:
        errors.add(result.sample, answer(result))
    return errors
