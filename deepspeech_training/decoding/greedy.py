"""Best-path decoding: the likeliest class of each frame, repeats merged, blanks dropped (Graves et al. 2006, 3.2)."""

import numpy as np

from deepspeech_training.decoding.candidate import Candidate


def greedy_labels(log_probs: np.ndarray, *, blank: int) -> np.ndarray:
    """Decode one clip.

    Args:
        log_probs: float [frames, classes].
        blank: the class that stands for no label.
    Returns:
        int64 [labels].

    >>> probs = np.eye(3)[[0, 0, 2, 0, 1, 2]]  # a a - a b -
    >>> greedy_labels(probs, blank=2)
    array([0, 0, 1])
    """
    best = np.argmax(log_probs, axis=-1)
    changed = np.ones(len(best), bool)
    changed[1:] = best[1:] != best[:-1]
    labels: np.ndarray = best[changed & (best != blank)]
    return labels


class GreedyStream:
    """The same, frame by frame: what was decoded stays, so that a frame costs the same however many came before.

    `labels` and `frames` (where each label's run begins) grow with the text; `confidence` is the sum of the log
    probabilities of the best path, 0 or less: no probability of the text, and longer clips have lower ones.

    >>> stream = GreedyStream(blank=2)
    >>> stream.feed(np.eye(3)[[0, 0, 2, 0]] + 1e-9)  # a a - a
    >>> stream.feed(np.eye(3)[[0, 1]] + 1e-9)  # a b
    >>> stream.labels, stream.frames
    ([0, 0, 1], [0, 3, 5])
    """

    def __init__(self, *, blank: int):
        self.labels: list[int] = []
        self.frames: list[int] = []
        self.confidence = 0.0
        self._blank = self._last = blank
        self._num_frames = 0

    @property
    def settled(self) -> int:
        """How many labels, with their frames, all further results begin with: all of them."""
        return len(self.labels)

    @property
    def agreed(self) -> int:
        """How many labels all further results begin with."""
        return len(self.labels)

    def feed(self, probs: np.ndarray) -> None:
        """Decode further frames; `probs` float [frames, classes], probabilities (not their logarithms)."""
        best = np.argmax(probs, axis=-1)
        likeliest = np.maximum(np.max(probs, axis=-1), np.finfo(np.float32).tiny)
        self.confidence += float(np.sum(np.log(likeliest, dtype=np.float64)))
        for frame, label in enumerate(best.tolist(), start=self._num_frames):
            if label not in (self._last, self._blank):
                self.labels.append(label)
                self.frames.append(frame)
            self._last = label
        self._num_frames += len(best)

    def results(self, num_results: int = 1) -> list[Candidate]:
        """The one candidate that greedy decoding has."""
        return [Candidate(list(self.labels), list(self.frames), self.confidence)][:num_results]
