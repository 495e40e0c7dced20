"""How sure a word is, and where it ends: from what the network said of each class in the frames of the word."""

import numpy as np

from deepspeech_training.decoding.candidate import Candidate
from deepspeech_training.runtime.model import TextDecoder

SMALLEST = np.float32(1e-10)


class Posteriors:
    """A decoder that is fed, and the probabilities of the frames whose words are not made yet."""

    def __init__(self, decoder: TextDecoder, *, num_classes: int):
        self._decoder = decoder
        self._probs = np.zeros((0, num_classes), np.float32)
        self._first = 0  # frame of the first row
        self.num_frames = 0

    def feed(self, probs: np.ndarray) -> None:
        """Take the probabilities of further frames, float32 [frames, classes]."""
        self._decoder.feed(probs)
        self._probs = np.concatenate([self._probs, probs])
        self.num_frames += len(probs)

    def results(self, num_results: int = 1) -> list[Candidate]:
        return self._decoder.results(num_results)

    def drop_before(self, frame: int) -> None:
        self._probs = self._probs[frame - self._first :].copy()
        self._first = frame

    def judge(self, labels: list[int], frames: list[int], before: int, space: int | None) -> tuple[int, float]:
        """Where a word ends, and how likely it is right.

        Args:
            labels, frames: of the word, and where each label begins.
            before: the frame where the next label begins.
        Returns:
            the frame after the word's last one, and a probability.
        """
        rows = self._probs[np.asarray(frames) - self._first, labels]
        confidence = float(np.exp(np.log(np.maximum(rows, SMALLEST)).mean()))
        tail = self._probs[frames[-1] - self._first : max(before, frames[-1] + 1) - self._first]
        others = tail[:, -1] if space is None else np.maximum(tail[:, -1], tail[:, space])
        ended = np.flatnonzero(tail[1:, labels[-1]] < others[1:])
        return frames[-1] + 1 + (int(ended[0]) if len(ended) else len(tail) - 1), confidence
