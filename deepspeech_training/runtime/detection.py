"""Probabilities of frames -> commands in a stream: what is judged together, where a command is, what a threshold costs.

A frame's score of a class is the probability that the model gives to the last `clip_seconds` as a clip of their own:
the mean of the logarithms of the frames' probabilities, normalised. That is also what training compares with the label.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepspeech_training.errors import UserError

LEAST = 1e-30  # of a probability, so that its logarithm is finite
THRESHOLDS = tuple(float(1 - 10**-power) for power in np.linspace(0.2, 8, 157))  # 0.37 to 1 - 1e-8
HOLD_OFF_S = 0.5
SETTLE_S = 0.3


@dataclass(frozen=True)
class Detection:
    """A command that was heard; `time_s` is where its score was the highest, from the start of the stream."""

    label: str
    time_s: float
    score: float


@dataclass(frozen=True)
class Rule:
    """When a command counts as heard.

    Args:
        threshold: of the score.
        hold_off_s: after a command, nothing is heard for so long.
    """

    threshold: float = 0.9
    hold_off_s: float = HOLD_OFF_S


def judged(log_probs: np.ndarray) -> np.ndarray:
    """Log probabilities of frames [frames, classes] -> probabilities [classes] of all of them as one clip."""
    return _normalised(log_probs.mean(axis=0, keepdims=True))[0]


def logarithms(probabilities: np.ndarray) -> np.ndarray:
    """float64, finite."""
    found: np.ndarray = np.log(np.maximum(probabilities.astype(np.float64), LEAST))
    return found


def _normalised(logits: np.ndarray) -> np.ndarray:
    exponentials: np.ndarray = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: np.ndarray = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return shares


class Scores:
    """Scores of a stream, as its frames come: the means over the last `window` frames, or over all as yet.

    The same wherever the frames are cut.
    """

    def __init__(self, window: int, num_classes: int):
        self._window = window
        self._before = np.zeros((0, num_classes))  # log probabilities of the last `window` - 1 frames

    def __call__(self, probabilities: np.ndarray) -> np.ndarray:
        """Probabilities of further frames float32 [frames, classes] -> their scores float64 [frames, classes]."""
        known = np.concatenate([self._before, logarithms(probabilities)])
        first = len(self._before)
        means = np.stack(
            [known[max(end - self._window, 0) : end].mean(axis=0) for end in range(first + 1, len(known) + 1)]
        )
        self._before = known[-(self._window - 1) :] if self._window > 1 else known[:0]
        return _normalised(means)


class Detector:
    """Scores -> detections, as they come.

    Where a score reaches the threshold a command has begun; which one it is, is said by the highest score of the next
    SETTLE_S, since the beginning of a word may be that of another. It is not heard again before its score has fallen,
    and nothing is before `hold_off_s` are over.

    Args:
        labels: of the classes.
        commands: those among them that count.
        frame_s: from one frame to the next.
        first_frame: before it, too little has been heard to judge.
    """

    def __init__(
        self, labels: Sequence[str], commands: Sequence[str], rule: Rule, *, frame_s: float, first_frame: int = 0
    ):
        self._labels, self._rule, self._frame_s, self._first = tuple(labels), rule, frame_s, first_frame
        self._is_command = np.array([label in commands for label in labels])
        self._settling = max(round(SETTLE_S / frame_s), 1)  # frames
        self._frame = 0  # of the stream, the next one
        self._above = -1  # the class that the last frame had above the threshold; -1: none
        self._free = 0.0  # from when on a command can be heard, in seconds
        self._begun: tuple[int, Detection] | None = None  # the frame at which it is decided, and the best up to now

    def __call__(self, scores: np.ndarray) -> list[Detection]:
        """Those that are decided in further frames, float64 [frames, classes]."""
        found: list[Detection] = []
        if not len(scores):
            return found
        best = np.where(self._is_command, scores, -1.0).argmax(axis=1)
        values = scores[np.arange(len(scores)), best]
        numbers = np.arange(self._frame, self._frame + len(scores))
        above = np.where((values >= self._rule.threshold) & (numbers >= self._first), best, -1)
        before = np.concatenate([[self._above], above[:-1]])
        begins = np.flatnonzero((above != -1) & (above != before))
        place = 0
        while place < len(scores):
            if self._begun is None:
                begins = begins[begins >= place]
                free = begins[numbers[begins] * self._frame_s >= self._free]
                if not len(free):
                    break
                place = int(free[0])
                self._begun = int(numbers[place]) + self._settling, self._at(best, values, numbers, place)
            decided, one = self._begun
            end = min(decided - self._frame, len(scores))
            if end > place:
                highest = place + int(values[place:end].argmax())
                if values[highest] > one.score:
                    one = self._at(best, values, numbers, highest)
                self._begun = decided, one
                place = end
            if decided <= self._frame + place:
                found += self.finish()
        self._above, self._frame = int(above[-1]), self._frame + len(scores)
        return found

    def finish(self) -> list[Detection]:
        """What has begun and is not decided, as it is."""
        if self._begun is None:
            return []
        (decided, one), self._begun = self._begun, None
        self._free = decided * self._frame_s + self._rule.hold_off_s
        return [one]

    def _at(self, best: np.ndarray, values: np.ndarray, numbers: np.ndarray, place: int) -> Detection:
        time_s = round(float(numbers[place] * self._frame_s), 3)
        return Detection(self._labels[best[place]], time_s, float(values[place]))


@dataclass(frozen=True)
class Point:
    """What one threshold costs."""

    threshold: float
    misses: float
    false_alarms_per_hour: float


@dataclass(frozen=True)
class Curve:
    """Misses against false alarms.

    Args:
        points: by rising threshold.
        clips: commands that misses are counted on.
        hours: of other speech that false alarms are counted on.
    """

    points: tuple[Point, ...]
    clips: int
    hours: float

    def chosen(self, false_alarms_per_hour: float) -> Point:
        """The point with the fewest misses among those with no more false alarms.

        Raises:
            UserError: there is none.
        """
        allowed = [point for point in self.points if point.false_alarms_per_hour <= false_alarms_per_hour]
        if not allowed:
            least = self.points[-1].false_alarms_per_hour
            raise UserError(
                f"--false_alarms_per_hour {false_alarms_per_hour:g}: even the highest threshold has {least:.2g}\n"
                "Train with more other words (_unknown_), or allow more."
            )
        return min(allowed, key=lambda point: (point.misses, point.threshold))

    @classmethod
    def of_json(cls, values: Mapping[str, Any]) -> "Curve":
        """From the `detection` of a parity.json.

        Raises:
            KeyError, TypeError, ValueError: it is none.
        """
        points = tuple(
            Point(float(point["threshold"]), float(point["misses"]), float(point["false_alarms_per_hour"]))
            for point in values["points"]
        )
        return cls(points, int(values["clips"]), float(values["hours"]))

    def at(self, threshold: float) -> Point:
        """What the threshold costs that is nearest to this one."""
        return min(self.points, key=lambda point: abs(point.threshold - threshold))

    def sentence(self, threshold: float) -> str:
        """The same in words."""
        point = self.at(threshold)
        return (
            f"Threshold {point.threshold:.8g}: {point.false_alarms_per_hour:.2g} false alarms an hour of other speech "
            f"({self.hours:.2f} h), {point.misses:.1%} of {self.clips:,} commands missed"
        )

    def lines(self) -> list[str]:
        """A table of it: the points where false alarms change by half or more."""
        lines = ["threshold     misses   false alarms an hour"]
        last = np.inf
        for point in self.points:
            if last > 0 and point.false_alarms_per_hour <= last / 2:
                last = point.false_alarms_per_hour
                lines.append(f"{point.threshold:11.8f} {point.misses:8.1%} {last:22.2f}")
        return lines


def curve_of(
    commands: Sequence[tuple[str, np.ndarray]],
    speech: Sequence[np.ndarray],
    labels: Sequence[str],
    *,
    wanted: Sequence[str],
    frame_s: float,
    first_frame: int,
    hold_off_s: float = HOLD_OFF_S,
    thresholds: Sequence[float] = THRESHOLDS,
) -> Curve:
    """Count misses and false alarms at each threshold, the lowest first.

    Args:
        commands: label and scores [frames, classes] of each clip that says one.
        speech: scores of recordings that have none.
        labels: of the classes.
        wanted: those among them that are commands.
    """
    hours = sum(map(len, speech)) * frame_s / 3600
    points = []
    for threshold in thresholds:
        rule = Rule(threshold, hold_off_s)

        def heard(scores: np.ndarray, rule: Rule = rule) -> list[str]:
            detector = Detector(labels, wanted, rule, frame_s=frame_s, first_frame=first_frame)
            return [found.label for found in (*detector(scores), *detector.finish())]

        missed = sum(label not in heard(scores) for label, scores in commands)
        alarms = sum(len(heard(scores)) for scores in speech)
        points.append(Point(threshold, missed / max(len(commands), 1), alarms / max(hours, 1e-9)))
    return Curve(tuple(points), len(commands), hours)
