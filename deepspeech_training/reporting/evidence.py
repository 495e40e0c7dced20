"""What is known of a model, and what the rules of the diagnosis ask of it.

The thresholds are rules of thumb, each a constant below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

from deepspeech_training.reporting.figures import SPEECH_TO_TEXT, Figure
from deepspeech_training.reporting.history import Epoch

RISE_OF_OVERFITTING = 0.10  # dev loss above its lowest, over the last epochs
EPOCHS_OF_OVERFITTING = 3  # since the lowest dev loss: fewer may be chance
STILL_FALLING = 0.02  # of the loss, per epoch: then more epochs are worth their time
STARTED_TO_LEARN = 0.25  # of the first epoch's loss: below it, a falling train loss alone says little
FLAT = 0.01  # a loss that falls by less than this per epoch
EMPTY = 0.9995  # share of the error rate of a model that writes nothing
FEW_UPDATES = 300  # a DeepSpeech network writes its first characters after some hundreds of updates
FEW_EPOCHS = 10  # of a run that early stopping ended
DEAF = 1e-3  # largest difference of a log probability between speech and silence
DEAD_LAYER = 0.99  # share of units that never answer


@dataclass(frozen=True)
class Answers:
    """How a network answers to a clip of speech and to silence.

    Args:
        blank_share: frames of the speech where the blank is the likeliest.
        text: what it writes for the speech.
        difference: the largest difference of a log probability between speech and silence, at the same frame.
        dead: of the layers with units that can be 0, the share of those that are in every frame of both.
        saturated: of each layer, the share of answers at their limit; of those without `dead`, of gates at 0 or 1.
        is_synthetic: the clip is the synthetic one of this package, not one of the model's own kind.
    """

    blank_share: float
    text: str
    difference: float
    dead: Mapping[str, float] = field(default_factory=dict)
    saturated: Mapping[str, float] = field(default_factory=dict)
    is_synthetic: bool = True


@dataclass(frozen=True)
class Rise:
    """A dev loss that has risen since its lowest, by `share` of that, while the train loss fell."""

    lowest: Epoch
    last: Epoch
    share: float

    def __str__(self) -> str:
        return (
            f"dev loss {self.lowest.dev_loss:.3g} in epoch {self.lowest.number}, {self.last.dev_loss:.3g} in epoch "
            f"{self.last.number} ({self.share:+.0%}), while the train loss fell from {self.lowest.train_loss:.3g} to "
            f"{self.last.train_loss:.3g}"
        )


@dataclass(frozen=True)
class Evidence:
    """What is known of a model; everything but `not_finite` may be unknown.

    Args:
        not_finite: weights that are NaN or infinite.
        epoch: how many epochs the weights have seen; None where nothing is known of the training.
        epochs: --epochs.
        stopped: why the run ended, None if it has not.
        is_best: the weights are those of the best checkpoint.
        history: every epoch of the run that is known, later ones than `epoch` too.
        updates: of the weights.
        early_stop: --early_stop was on.
        answers: see there; None if the network was not run.
        average_of: the checkpoints whose mean the weights are; all but `not_finite` and `answers` is of the last one.
        judged_by: the figures of the task.
        size_flag: what makes the network larger or smaller.
    """

    not_finite: int = 0
    epoch: int | None = None
    epochs: int | None = None
    stopped: str | None = None
    is_best: bool = False
    history: Sequence[Epoch] = ()
    updates: int | None = None
    early_stop: bool = False
    answers: Answers | None = None
    average_of: Sequence[str] = ()
    judged_by: Sequence[Figure] = SPEECH_TO_TEXT
    size_flag: str = "n_hidden"

    # --- where the weights stand in their run ---

    @cached_property
    def here(self) -> Epoch | None:
        """The epoch whose end the weights are of."""
        return next((epoch for epoch in self.history if epoch.number == self.epoch), None)

    @cached_property
    def last_epoch(self) -> int:
        """The last epoch that is known of the run."""
        return max([self.epoch or 0, *(epoch.number for epoch in self.history)])

    @property
    def all_epochs(self) -> int:
        return self.epochs or self.last_epoch

    @property
    def place(self) -> str:
        return f"epoch {self.epoch}" + (f" of {self.epochs}" if self.epochs else "")

    def is_unfinished(self) -> bool:
        return self.epoch is not None and self.stopped is None and self.last_epoch < (self.epochs or 0)

    def has_few_updates(self) -> bool:
        return self.updates is not None and self.updates < FEW_UPDATES

    def learnt_long_enough(self) -> bool:
        return (self.updates or 0) >= FEW_UPDATES and (self.epoch or 0) >= FEW_EPOCHS

    def stopped_too_soon(self) -> bool:
        too_soon = self.epoch is not None and self.last_epoch < min(self.all_epochs, FEW_EPOCHS)
        return self.early_stop and too_soon and bool(self.signs)

    # --- its answer to a clip ---

    def is_deaf(self) -> bool:
        return self.answers is not None and self.answers.difference < DEAF

    def answers_nothing(self) -> bool:
        """Where no more is known than its answer."""
        return self.epoch is None and self.answers is not None and self.answers.blank_share == 1.0

    # --- its loss ---

    @cached_property
    def losses(self) -> list[float]:
        """Of the dev sets; without any, of the training."""
        dev = [epoch.dev_loss for epoch in self.history if epoch.dev_loss is not None]
        return dev or [epoch.train_loss for epoch in self.history if epoch.train_loss is not None]

    @property
    def has_dev(self) -> bool:
        return any(epoch.dev_loss is not None for epoch in self.history)

    @cached_property
    def fall(self) -> float | None:
        """How fast the loss falls at the end of the run."""
        return fall_per_epoch(self.losses)

    def still_falls(self) -> bool:
        return self.fall is not None and self.fall >= STILL_FALLING

    def is_flat(self) -> bool:
        return (self.fall or 0.0) < FLAT

    def is_settled(self) -> bool:
        return self.fall is not None and not self.still_falls() and self.here is not None and not self.is_poor()

    @cached_property
    def rise(self) -> Rise | None:
        """The one that shows overfitting."""
        measured = [(epoch.dev_loss, epoch) for epoch in self.history if epoch.dev_loss is not None]
        lowest_loss, lowest = min(measured, key=lambda entry: entry[0], default=(0.0, Epoch(0)))
        since = [(loss, epoch) for loss, epoch in measured if epoch.number > lowest.number]
        if self.epoch is None or len(since) < EPOCHS_OF_OVERFITTING or lowest_loss <= 0:
            return None
        later = sum(loss for loss, _ in since[-EPOCHS_OF_OVERFITTING:]) / EPOCHS_OF_OVERFITTING
        share, last = later / lowest_loss - 1, since[-1][1]
        if share < RISE_OF_OVERFITTING or lowest.train_loss is None or last.train_loss is None:
            return None
        return Rise(lowest, last, share) if last.train_loss < lowest.train_loss else None

    @property
    def lowest_epoch(self) -> int | None:
        """The one since whose end the dev loss rises."""
        return None if self.rise is None else self.rise.lowest.number

    def was_kept_in_time(self) -> bool:
        """The weights are of an epoch before the rise, and good."""
        if self.rise is None or self.rise.lowest.dev_loss is None or self.here is None or self.here.dev_loss is None:
            return False
        near = self.here.dev_loss <= self.rise.lowest.dev_loss * (1 + RISE_OF_OVERFITTING)
        return self.is_best and near and not self.is_poor()

    # --- its figures ---

    @cached_property
    def figure(self) -> Figure | None:
        """The one that tells whether a model is of use; a task need not have one."""
        return next((figure for figure in self.judged_by if figure.poor is not None), None)

    def value(self, figure: Figure | None) -> float | None:
        return None if self.here is None or figure is None else self.here.values.get(figure.name)

    def is_poor(self) -> bool:
        value = self.value(self.figure)
        return self.figure is not None and value is not None and not self.figure.is_better(value, self.figure.poor)

    def writes_nothing(self) -> bool:
        """All rates are those of empty texts; above that, something is written that is wrong."""
        value = self.value(self.figure)
        if self.figure is None or self.figure.empty is None or value is None or value > self.figure.empty:
            return False
        rates = [(self.value(figure), figure.empty) for figure in self.judged_by if figure.empty is not None]
        return all(rate is not None and rate >= EMPTY * empty for rate, empty in rates)

    @property
    def empty_rate(self) -> str:
        return "" if self.figure is None else f"{self.figure.label} {self.figure.empty:g}"

    def has_much_to_learn(self) -> bool:
        """A loss near 0 may fall by half in every epoch without a better model."""
        value = self.value(self.figure)
        if self.figure is None or self.figure.good is None or value is None:
            return self.losses[-1] > STARTED_TO_LEARN * max(self.losses)
        return self.figure.is_better(self.figure.good, value)

    @cached_property
    def signs(self) -> list[str]:
        """What tells that it has learnt too little."""
        signs = []
        if self.writes_nothing():
            signs.append(f"it still writes nothing ({self.empty_rate}), as every network does in its first epochs")
        elif self.figure is not None and self.is_poor():
            rate = f"{self.figure.label} {self.figure.text(self.value(self.figure), digits=2)}"
            signs.append(f"{rate}: too many of the {self.figure.unit} are wrong")
        if self.still_falls():
            signs.append(f"the {'dev' if self.has_dev else 'train'} loss still falls, by {self.fall:.0%} per epoch")
        if self.has_few_updates():
            signs.append(f"{self.updates:,} updates of the weights are few")
        return signs


def fall_per_epoch(values: Sequence[float]) -> float | None:
    """By which share a loss falls in an epoch, from the means of the last epochs and those before them.

    >>> fall_per_epoch([8.0, 4.0]), fall_per_epoch([5.0]), fall_per_epoch([4.0] * 6)
    (0.5, None, 0.0)
    """
    count = min(3, len(values) // 2)
    if count == 0:
        return None
    last, before = sum(values[-count:]) / count, sum(values[-2 * count : -count]) / count
    return 1 - max(last / before, 0.0) ** (1 / count) if before > 0 else 0.0
