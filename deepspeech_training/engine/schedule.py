"""When to stop and when to lower the learning rate: a function of the dev losses of the whole run, resumes included.

The rules are DeepSpeech's (train.py): an epoch without improvement is one whose dev loss is above best - es_min_delta;
the best checkpoint is that of the lowest loss, however small the difference.
"""

from dataclasses import dataclass

from deepspeech_training.config import Config


@dataclass
class ScheduleState:
    """What the schedule remembers from epoch to epoch; part of the checkpoint.

    Args:
        best_loss: lowest dev loss so far; None before the first.
        best_epoch: the epoch (from 0) of it.
        epochs_without_improvement: in a row, up to now.
    """

    best_loss: float | None = None
    best_epoch: int | None = None
    epochs_without_improvement: int = 0


@dataclass(frozen=True)
class Decision:
    """What to do after an epoch."""

    is_best: bool = False
    reduce_rate: bool = False
    stop: bool = False


def after_epoch(state: ScheduleState, dev_loss: float, epoch: int, config: Config) -> Decision:
    """Take in an epoch's dev loss; changes `state` and says what to do.

    Args:
        state: from the epochs before.
        dev_loss: mean over all dev clips.
        epoch: from 0.
        config: its groups early_stop and plateau.

    >>> state, config = ScheduleState(), Config()
    >>> [after_epoch(state, loss, epoch, config).is_best for epoch, loss in enumerate([9.0, 8.0, 8.5, 7.99])]
    [True, True, False, True]
    >>> state.epochs_without_improvement, state.best_epoch
    (2, 3)
    """
    best = state.best_loss if state.best_loss is not None else float("inf")
    if dev_loss > best - config.early_stop.es_min_delta:
        state.epochs_without_improvement += 1
    else:
        state.epochs_without_improvement = 0
    is_best = dev_loss < best
    if is_best:
        state.best_loss, state.best_epoch = dev_loss, epoch
    return Decision(
        is_best=is_best,
        reduce_rate=config.plateau.reduce_lr_on_plateau
        and state.epochs_without_improvement > 0
        and state.epochs_without_improvement % config.plateau.plateau_epochs == 0,
        stop=wants_stop(state, epoch + 1, config),
    )


def wants_stop(state: ScheduleState, epochs_done: int, config: Config) -> bool:
    """Whether early stopping, as configured now, ends the run after `epochs_done` epochs."""
    return (
        config.early_stop.early_stop
        and epochs_done >= config.early_stop.min_epochs
        and state.epochs_without_improvement >= config.early_stop.es_epochs
    )
