"""All that decides how a run continues, but for the arrays: it is in every checkpoint."""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deepspeech_training.tasks.base import Metrics
from deepspeech_training.training.evaluate import ValidationState
from deepspeech_training.training.schedule import ScheduleState


@dataclass
class RunState:
    """Everything but the arrays that decides how a run continues; JSON values only.

    Args:
        epoch: epochs that are done with; the one in hand counts from 0.
        step_in_epoch: batches done in it.
        step: batches done in the whole run.
        updates: changes of the weights (steps less those without a usable clip): Adam's t.
        learning_rate: now, before warm-up and cosine.
        forced_rate: the --learning_rate that --force_initialize_learning_rate has set already.
        schedule: best loss, patience.
        loss_sum, clips, samples_done, seconds, seconds_waited: of the current epoch.
        validation: how far it has come, None outside.
        offences: how often a clip made a step impossible.
        quarantine: clips left out for the rest of the run, with the reason.
        suspects: clips of the barren steps, with the reason: if a later step works they were at fault, not the
            weights.
        barren_steps: steps in a row without a usable clip.
        history: one entry per finished epoch.
        stopped: why training is finished, None while it is not.
        plan: fingerprint of the batches.
    """

    learning_rate: float
    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    updates: int = 0
    forced_rate: float | None = None
    schedule: ScheduleState = field(default_factory=ScheduleState)
    loss_sum: float = 0.0
    clips: int = 0
    samples_done: int = 0
    seconds: float = 0.0
    seconds_waited: float = 0.0
    validation: ValidationState | None = None
    offences: dict[str, int] = field(default_factory=dict)
    quarantine: dict[str, str] = field(default_factory=dict)
    suspects: dict[str, str] = field(default_factory=dict)
    barren_steps: int = 0
    history: list[dict[str, Any]] = field(default_factory=list)
    stopped: str | None = None
    plan: str = ""

    def begin_epoch(self) -> None:
        """Set everything that counts within an epoch to its start."""
        self.step_in_epoch, self.validation = 0, None
        self.loss_sum, self.clips, self.samples_done, self.seconds, self.seconds_waited = 0.0, 0, 0, 0.0, 0.0

    def as_json(self) -> dict[str, Any]:
        validation = None if self.validation is None else self.validation.as_json()
        return copy.deepcopy({**vars(self), "schedule": vars(self.schedule), "validation": validation})

    @classmethod
    def from_json(cls, values: Mapping[str, Any], metrics: Callable[..., Metrics]) -> "RunState":
        """What `as_json` gave; `metrics` is that of the task."""
        values = dict(values)
        values["schedule"] = ScheduleState(**values["schedule"])
        if values["validation"] is not None:
            values["validation"] = ValidationState.from_json(values["validation"], metrics)
        return cls(**values)
