"""When to stop, and the learning rate of each step.

Stopping and plateaus are a function of the dev losses of the whole run, resumes included. The rules are DeepSpeech's
(train.py): an epoch without improvement is one whose dev loss is above best - es_min_delta. Which checkpoint is the
best is decided by --best_by, however small the difference. Warm-up and the cosine of --lr_schedule are a function of
how much of --epochs is done, and a factor on the rate that plateaus lower.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from deepspeech_training.config.groups import EarlyStopFlags, OptimizerFlags, PlateauFlags
from deepspeech_training.errors import FlagError
from deepspeech_training.reporting.figures import LOSS, Figure
from deepspeech_training.tasks.base import Task


@dataclass
class ScheduleState:
    """What the schedule remembers from epoch to epoch; part of the checkpoint.

    Args:
        best_loss: lowest dev loss so far; None before the first.
        best_epoch: the epoch (from 0) of the best checkpoint.
        best_figures: dev loss and figures of the task of that epoch.
        epochs_without_improvement: in a row, up to now, of the loss.
    """

    best_loss: float | None = None
    best_epoch: int | None = None
    best_figures: dict[str, float] | None = None
    epochs_without_improvement: int = 0


@dataclass(frozen=True)
class Decision:
    """What to do after an epoch."""

    is_best: bool = False
    reduce_rate: bool = False
    stop: bool = False


def figure_to_judge_by(best_by: str, task: Task) -> Figure:
    """The figure of --best_by; for "" the task's own.

    Raises:
        FlagError: the task has no such figure.
    """
    figures = {figure.name: figure for figure in (*task.figures, LOSS)}
    if best_by and best_by not in figures:
        raise FlagError(f"--best_by {best_by}: must be one of {', '.join(figures)}, for --task {task.name}")
    return figures[best_by or task.best_by]


@dataclass(frozen=True)
class Schedule:
    """The rules of a run.

    Args:
        epochs: --epochs.
        best_by: the figure that makes a checkpoint the best.
        early_stop, plateau, optimizer: the flags.
        reduces_rate: on a plateau.

    >>> schedule, state = Schedule(best_by=Figure("cer", "CER", "lower")), ScheduleState()
    >>> figures = [{"loss": loss, "cer": cer} for loss, cer in [(9, 1), (8, 1), (8.5, 0.7), (7.99, 0.8)]]
    >>> [schedule.after_epoch(state, found, epoch).is_best for epoch, found in enumerate(figures)]
    [True, True, True, False]
    >>> state.epochs_without_improvement, state.best_epoch, state.best_loss
    (2, 2, 7.99)
    """

    epochs: int = 75
    best_by: Figure = LOSS
    early_stop: EarlyStopFlags = field(default_factory=EarlyStopFlags)
    plateau: PlateauFlags = field(default_factory=PlateauFlags)
    optimizer: OptimizerFlags = field(default_factory=OptimizerFlags)
    reduces_rate: bool = False

    def after_epoch(self, state: ScheduleState, figures: Mapping[str, float], epoch: int) -> Decision:
        """Take in an epoch's figures on the dev sets; changes `state` and says what to do.

        Args:
            state: from the epochs before.
            figures: "loss", the mean over all dev samples, and the task's, over all of them.
            epoch: from 0.
        """
        dev_loss = figures["loss"]
        best = state.best_loss if state.best_loss is not None else float("inf")
        if dev_loss > best - self.early_stop.es_min_delta:
            state.epochs_without_improvement += 1
        else:
            state.epochs_without_improvement = 0
        state.best_loss = min(best, dev_loss)
        is_best = state.best_figures is None or self._rank(figures) < self._rank(state.best_figures)
        if is_best:
            state.best_figures, state.best_epoch = dict(figures), epoch
        return Decision(
            is_best=is_best,
            reduce_rate=self.reduces_rate
            and state.epochs_without_improvement > 0
            and state.epochs_without_improvement % self.plateau.plateau_epochs == 0,
            stop=self.stops(state, epoch + 1),
        )

    def _rank(self, figures: Mapping[str, float]) -> tuple[float, float]:
        """By what an epoch is the best, and where that is equal (nothing written in the first epochs) by the loss."""
        return self.best_by.rank(figures[self.best_by.name]), figures["loss"]

    def stops(self, state: ScheduleState, epochs_done: int) -> bool:
        """Whether early stopping, as configured now, ends the run after `epochs_done` epochs."""
        return (
            self.early_stop.early_stop
            and epochs_done >= self.early_stop.min_epochs
            and state.epochs_without_improvement >= self.early_stop.es_epochs
        )

    def rate_factor(self, epochs_done: float) -> float:
        """What the learning rate is multiplied with: a line up in the warm-up, then 1 or half a cosine down to 0.

        Args:
            epochs_done: with fractions, at the middle of the current step.

        The cosine without restarts of Loshchilov & Hutter 2017 (arXiv:1608.03983):

        >>> cosine = Schedule(epochs=30, optimizer=OptimizerFlags(lr_schedule="cosine", warmup_epochs=2))
        >>> [round(cosine.rate_factor(epochs), 3) for epochs in (0.5, 2, 9, 16, 23, 30, 31)]
        [0.25, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
        """
        warmup = self.optimizer.warmup_epochs
        if epochs_done < warmup:
            return epochs_done / warmup
        if self.optimizer.lr_schedule != "cosine":
            return 1.0
        done = min((epochs_done - warmup) / max(self.epochs - warmup, 1e-9), 1.0)
        return 0.5 * (1.0 + math.cos(math.pi * done))
