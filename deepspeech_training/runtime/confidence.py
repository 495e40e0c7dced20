"""How likely a word is right, and where it ends: from what the network said of each class in the frames of the word.

The probability is a logistic function of three figures. For each character the margin is the logarithm of its
probability against that of the likeliest other class, where that is highest within its frames; the figures are the
mean and the lowest margin of the word, and the logarithm of its length. The weights were fitted by
`benchmarks/confidence.py`, which prints how well they hold for other speakers (docs/inference.md).
"""

import math
from typing import NamedTuple

import numpy as np

from deepspeech_training.decoding.candidate import Candidate
from deepspeech_training.runtime.model import TextDecoder

SMALLEST = np.float32(1e-6)  # of a probability: what is below it is noise of 8-bit weights
STILL_HEARD = 0.05  # a character lasts while it is as likely as this
LINGERS_FRAMES = 2  # its sound goes on after its peak is over: 40 ms in the median


class Weights(NamedTuple):
    """Of the logistic function."""

    bias: float
    mean_margin: float
    lowest_margin: float
    log_length: float


WITHOUT_SCORER = Weights(-3.590, 0.535, 0.647, 1.539)
WITH_SCORER = Weights(-2.415, 0.499, 0.282, 1.896)


class Evidence(NamedTuple):
    """What the network said of a word: the frame after its last one, and the figures that its confidence comes from."""

    end_frame: int
    mean_margin: float
    lowest_margin: float
    log_length: float

    def confidence(self, weights: Weights) -> float:
        """The probability that the word is right."""
        score = weights.bias + sum(weight * figure for weight, figure in zip(weights[1:], self[1:], strict=True))
        return 1 / (1 + math.exp(-min(max(score, -30.0), 30.0)))


class Posteriors:
    """A decoder that is fed, and the probabilities of those frames whose words are not made yet."""

    def __init__(self, decoder: TextDecoder, *, num_classes: int):
        self._decoder = decoder
        self._probs = np.zeros((0, num_classes), np.float32)
        self._best_two = np.zeros((0, 2), np.float32)  # the second best probability of each frame, and the best
        self._first = 0  # frame of the first row
        self.num_frames = 0

    def feed(self, probs: np.ndarray) -> None:
        """Take the probabilities of further frames, float32 [frames, classes]."""
        self._decoder.feed(probs)
        self._probs = np.concatenate([self._probs, probs])
        self._best_two = np.concatenate([self._best_two, np.partition(probs, -2, axis=1)[:, -2:]])
        self.num_frames += len(probs)

    def results(self, num_results: int = 1) -> list[Candidate]:
        return self._decoder.results(num_results)

    def drop_before(self, frame: int) -> None:
        """Forget the frames before one."""
        self._probs = self._probs[frame - self._first :].copy()
        self._best_two = self._best_two[frame - self._first :].copy()
        self._first = frame

    def evidence(self, labels: list[int], frames: list[int], *, until: int, num_characters: int) -> Evidence:
        """What there is for a word.

        Args:
            labels, frames: of the word, and the frame where each label begins.
            until: the frame where the next label begins, or the number of frames.
        """
        begin = frames[0]
        starts = np.array(frames) - begin
        until = max(until, frames[-1] + 1)
        rows = slice(begin - self._first, until - self._first)
        probs, best_two = self._probs[rows], self._best_two[rows]
        label_of = np.repeat(np.array(labels), np.diff(starts, append=until - begin))
        own = probs[np.arange(len(probs)), label_of]
        second, best = best_two.T
        other = np.where(own < best, best, second)
        margins = np.maximum.reduceat(np.log(np.maximum(own, SMALLEST) / np.maximum(other, SMALLEST)), starts)
        faint = own[starts[-1] + 1 :] < STILL_HEARD
        heard = int(faint.argmax()) if faint.any() else len(faint)
        return Evidence(
            min(frames[-1] + 1 + heard + LINGERS_FRAMES, until),
            float(margins.mean()),
            float(margins.min()),
            math.log(max(num_characters, 1)),
        )
