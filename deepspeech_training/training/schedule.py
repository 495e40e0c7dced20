"""When to stop, and the learning rate of each step.

Stopping and plateaus are a function of the dev losses of the whole run, resumes included. The rules are DeepSpeech's
(train.py): an epoch without improvement is one whose dev loss is above best - es_min_delta. Which checkpoint is the
best is decided by --best_by, however small the difference. Warm-up and the cosine of --lr_schedule are a function of
how much of --epochs is done, and a factor on the rate that plateaus lower.
"""

import math
from dataclasses import dataclass

from deepspeech_training.config import Config


@dataclass
class ScheduleState:
    """What the schedule remembers from epoch to epoch; part of the checkpoint.

    Args:
        best_loss: lowest dev loss so far; None before the first.
        best_epoch: the epoch (from 0) of the best checkpoint.
        best_figures: dev loss, WER and CER of that epoch.
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


def after_epoch(state: ScheduleState, figures: dict[str, float], epoch: int, config: Config) -> Decision:
    """Take in an epoch's figures on the dev sets; changes `state` and says what to do.

    Args:
        state: from the epochs before.
        figures: "loss", the mean over all dev clips, "wer" and "cer" over all of them.
        epoch: from 0.
        config: its groups early_stop, plateau and checkpoint.

    >>> state, config = ScheduleState(), Config()
    >>> figures = [{"loss": loss, "wer": 1.0, "cer": cer} for loss, cer in [(9, 1), (8, 1), (8.5, 0.7), (7.99, 0.8)]]
    >>> [after_epoch(state, found, epoch, config).is_best for epoch, found in enumerate(figures)]
    [True, True, True, False]
    >>> state.epochs_without_improvement, state.best_epoch, state.best_loss
    (2, 2, 7.99)
    """
    dev_loss = figures["loss"]
    best = state.best_loss if state.best_loss is not None else float("inf")
    if dev_loss > best - config.early_stop.es_min_delta:
        state.epochs_without_improvement += 1
    else:
        state.epochs_without_improvement = 0
    state.best_loss = min(best, dev_loss)
    is_best = state.best_figures is None or _score(figures, config) < _score(state.best_figures, config)
    if is_best:
        state.best_figures, state.best_epoch = dict(figures), epoch
    return Decision(
        is_best=is_best,
        reduce_rate=config.reduces_rate_on_plateau
        and state.epochs_without_improvement > 0
        and state.epochs_without_improvement % config.plateau.plateau_epochs == 0,
        stop=wants_stop(state, epoch + 1, config),
    )


def _score(figures: dict[str, float], config: Config) -> tuple[float, float]:
    """What makes an epoch the best: --best_by, and where that is equal (all blank in the first epochs) the loss."""
    return figures[config.checkpoint.best_by], figures["loss"]


def wants_stop(state: ScheduleState, epochs_done: int, config: Config) -> bool:
    """Whether early stopping, as configured now, ends the run after `epochs_done` epochs."""
    return (
        config.early_stop.early_stop
        and epochs_done >= config.early_stop.min_epochs
        and state.epochs_without_improvement >= config.early_stop.es_epochs
    )


def rate_factor(epochs_done: float, config: Config) -> float:
    """What the learning rate is multiplied with: a line up in the warm-up, then 1 or half a cosine down to 0.

    Args:
        epochs_done: with fractions, at the middle of the step in hand.
        config: its groups optimizer and training.

    The cosine without restarts of Loshchilov & Hutter 2017 (arXiv:1608.03983):

    >>> from deepspeech_training.config import parse_flags
    >>> cosine = parse_flags(["--epochs=30", "--lr_schedule=cosine", "--warmup_epochs=2"]).config
    >>> [round(rate_factor(epochs, cosine), 3) for epochs in (0.5, 2, 9, 16, 23, 30, 31)]
    [0.25, 1.0, 0.854, 0.5, 0.146, 0.0, 0.0]
    """
    warmup, epochs = config.optimizer.warmup_epochs, config.training.epochs
    if epochs_done < warmup:
        return epochs_done / warmup
    if config.optimizer.lr_schedule != "cosine":
        return 1.0
    done = min((epochs_done - warmup) / max(epochs - warmup, 1e-9), 1.0)
    return 0.5 * (1.0 + math.cos(math.pi * done))
