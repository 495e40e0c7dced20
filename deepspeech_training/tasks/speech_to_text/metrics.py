"""How good transcripts are: error rates of a validation, and the test of a set with beam and scorer."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from deepspeech_training.data.speech_sample import SpeechSample
from deepspeech_training.decoding.clip_decoder import ClipDecoder, Heard
from deepspeech_training.reporting.metrics import Result, SetReport, edit_distance, error_rate
from deepspeech_training.tasks.base import Answers


@dataclass
class ErrorRates:
    """Word and character error rate over all samples together."""

    word_distance: int = 0
    words: int = 0
    char_distance: int = 0
    characters: int = 0

    def add(self, sample: SpeechSample, answer: str) -> None:
        self.word_distance += edit_distance(sample.transcript.split(), answer.split())
        self.words += len(sample.transcript.split())
        self.char_distance += edit_distance(sample.transcript, answer)
        self.characters += len(sample.transcript)

    def figures(self) -> dict[str, float]:
        return {
            "wer": error_rate(self.word_distance, self.words),
            "cer": error_rate(self.char_distance, self.characters),
        }


class SpeechExamination:
    """See `tasks.base.Examination`.

    Args:
        decode: greedily; `Task.decode`.
        decoder: the beam, which works on clips while the backend is at the next ones; None for greedy decoding alone.
        knows: says whether the scorer has a word; None without a scorer.
    """

    def __init__(
        self,
        decode: Callable[[Answers], Sequence[str]],
        decoder: ClipDecoder | None,
        knows: Callable[[str], bool] | None,
    ):
        self._decode, self._decoder, self._knows = decode, decoder, knows

    def __enter__(self) -> "SpeechExamination":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._decoder is not None:
            self._decoder.close()

    def take(
        self, samples: Sequence[SpeechSample], losses: np.ndarray, answers: Answers
    ) -> Callable[[], Sequence[Result]]:
        greedy = self._decode(answers)
        if self._decoder is None:
            return lambda: [
                Result(sample.path, sample.transcript, text, float(loss))
                for sample, loss, text in zip(samples, losses, greedy, strict=True)
            ]
        clips = zip(answers["log_probs"], answers["lengths"], strict=True)
        heard: list[Future[Heard]] = [self._decoder.submit(clip[:frames]) for clip, frames in clips]

        def results() -> list[Result]:
            return [
                Result(sample.path, sample.transcript, found.text, float(loss), text, found.without_scorer)
                for sample, loss, text, found in zip(samples, losses, greedy, (h.result() for h in heard), strict=True)
            ]

        return results

    def report(self, name: str, results: Sequence[Result]) -> SetReport:
        return SetReport(name, tuple(results), self._knows)
