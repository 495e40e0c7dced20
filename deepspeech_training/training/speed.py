"""How fast a run is, and how long it will take."""

import time
from dataclasses import dataclass

from deepspeech_training.reporting.events import Estimated

STEPS_TO_TELL, SECONDS_TO_TELL = 5, 5.0


@dataclass
class Speed:
    """The speed of this process; the first step of an epoch, which may compile, is not counted.

    Amounts are in the unit of the task, such as seconds of audio.

    Args:
        whole_epoch: amount of an epoch.
        unit: for a person, of speeds: "audio-s/s".
        validation_seconds: of the last validation.
    """

    whole_epoch: float
    unit: str
    validation_seconds: float = 0.0
    _estimated: bool = False
    _steps: int = 0
    _epochs: int = 0
    _begin: tuple[float, float] | None = None  # time and amount after the first step
    _now: tuple[float, float] = (0.0, 0.0)

    def begin_epoch(self) -> None:
        """Amounts count from 0 again, and a validation lies between."""
        self._steps, self._begin = 0, None

    def note_step(self, amount: float) -> None:
        """Take in how much of the epoch is done after a step."""
        self._steps += 1
        self._now = time.perf_counter(), amount
        if self._begin is None:
            self._begin = self._now

    def now(self) -> float | None:
        """Amount a second; None while there are too few steps to tell."""
        if self._begin is None or self._steps < STEPS_TO_TELL:
            return None
        seconds, amount = (now - begin for now, begin in zip(self._now, self._begin, strict=True))
        return amount / seconds if seconds >= SECONDS_TO_TELL and amount > 0 else None

    def estimate_after_step(self, epochs_left: int) -> Estimated | None:
        """Once, after the first steps: by the amount that is left."""
        speed = self.now()
        if speed is None or self._estimated:
            return None
        self._estimated = True
        left = (self.whole_epoch * epochs_left - self._now[1]) / speed
        return Estimated(self.whole_epoch / speed, epochs_left, max(left, 0.0), False, speed=speed, unit=self.unit)

    def estimate_after_epoch(self, epochs_left: int, *, seconds: float, speed: float) -> Estimated | None:
        """Where an epoch is over before that: by what the second has taken, validation included.

        Args:
            epochs_left: without the one that is over.
            seconds, speed: of its training.
        """
        self._epochs += 1
        if self._estimated or self._epochs < 2 or epochs_left < 1:
            return None
        self._estimated = True
        seconds += self.validation_seconds
        return Estimated(seconds, epochs_left, seconds * epochs_left, True, speed=speed, unit=self.unit)
