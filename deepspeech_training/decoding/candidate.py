"""What every decoder answers with."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Candidate:
    """A text: its labels, the frame where each begins, and the sum of log scores, which is no probability."""

    labels: list[int]
    frames: list[int]
    confidence: float
