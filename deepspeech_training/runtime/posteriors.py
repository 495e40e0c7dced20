"""What the network said of each class in the frames of an utterance, kept until the words of those frames are made."""

import math

import numpy as np

from deepspeech_training.decoding.candidate import Candidate
from deepspeech_training.runtime.confidence import Evidence
from deepspeech_training.runtime.stream import TextDecoder

SMALLEST = np.float32(1e-6)  # of a probability: what is below it is noise of 8-bit weights
STILL_HEARD = 0.05  # a character lasts while it is as likely as this
LINGERS_FRAMES = 2  # its sound lasts after its peak is over: 40 ms in the median


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
