"""Puts the events of a run into words: for the console, and for the messages of the session log."""

from collections.abc import Iterator, Sequence

from deepspeech_training.console import INFO, WARN
from deepspeech_training.reporting.events import (
    BadClip,
    EpochDone,
    Estimated,
    Event,
    Finished,
    Initialised,
    Message,
    Outcome,
    RateReduced,
    Resumed,
    SetSummary,
    Started,
)
from deepspeech_training.reporting.figures import LOSS, figures_text


def words(event: Event) -> list[tuple[int, str]]:
    """The lines that a person reads of an event, each with its level; none for what only programs read.

    >>> words(Finished("all 3 epochs are done", step=9))
    [(1, 'Training is finished: all 3 epochs are done')]
    """
    match event:
        case Message():
            return [(event.level, event.message)]
        case BadClip():
            return [(WARN, _bad_clip(event))]
        case Started():
            lines = list(_started(event))
        case Initialised():
            lines = [f"Starts with {event.source}"]
        case Resumed():
            lines = [_resumed(event)]
        case Estimated():
            lines = [_estimated(event)]
        case EpochDone():
            lines = [_epoch_done(event)]
        case RateReduced():
            lines = [_rate_reduced(event)]
        case Finished():
            lines = [f"Training is finished: {event.reason}"]
        case Outcome():
            lines = list(_outcome(event))
        case _:
            lines = []
    return [(INFO, line) for line in lines]


def duration(seconds: float) -> str:
    """A length of time as a person says it.

    >>> duration(42.4), duration(135), duration(7322), duration(0.31)
    ('42 s', '2:15 min', '2:02 h', '0.3 s')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{int(seconds) // 60}:{int(seconds) % 60:02} min"
    return f"{int(seconds) // 3600}:{int(seconds) % 3600 // 60:02} h"


def size(num_bytes: float) -> str:
    """A number of bytes as a person says it.

    >>> size(512), size(47_200_000)
    ('512 B', '47.2 MB')
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if num_bytes >= factor:
            return f"{num_bytes / factor:.1f} {unit}"
    return f"{num_bytes:.0f} B"


def _started(event: Started) -> Iterator[str]:
    versions = {"deepspeech_training": event.version, **event.versions}
    yield ", ".join(f"{name} {version}" for name, version in versions.items())
    yield f"Device    {event.devices}; {event.precision}; {event.intra_op_threads} threads per operation"
    yield from data_lines(event.sets)
    yield f"Batches   {event.batches_per_epoch:,} per epoch, {event.batches}; padding {event.padding_share:.1%}"
    trained = "all of them trained"
    if event.frozen is not None:
        trained = f"of which {event.frozen.parameters:,} are frozen ({', '.join(event.frozen.layers)})"
    sizes = ", ".join(f"{name} {value}" for name, value in event.size.items())
    export = ""
    if event.export_bytes:
        export = (
            f", export {size(event.export_bytes['float32'])} in 32 bits, {size(event.export_bytes['int8'])} in 8 bits"
        )
    yield (
        f"Network   {event.parameters:,} weights, {trained}, {sizes}; checkpoint "
        f"{size(event.checkpoint_bytes)}{export}: the same for any amount of data"
    )
    yield f"Training  {event.plan}"
    yield f"Saved in  {event.checkpoint_dir}"


def data_lines(sets: Sequence[SetSummary]) -> Iterator[str]:
    """A line for each CSV: how much it has, and its share of the hours to train and to validate on."""
    hours = sum(found.hours or 0.0 for found in sets if found.set in ("train", "dev"))
    for found in sets:
        share = "    "
        if found.hours is not None and found.set in ("train", "dev") and hours:
            share = f"{found.hours / hours:4.0%}"
        yield f"Data      {found.set:<8}{found.amount} {share} {found.characters:>10,} characters  {found.csv}"


def _resumed(event: Resumed) -> str:
    where = f"epoch {event.epoch + 1}, batch {event.step_in_epoch + 1}, step {event.step:,}"
    return f"Resumes from {event.checkpoint}: {where}"


def _estimated(event: Estimated) -> str:
    return (
        f"Speed     {event.speed:,.0f} {event.unit}: about "
        f"{duration(event.epoch_seconds)} an epoch, {duration(event.left_seconds)} for the "
        f"{event.epochs_left:,} epochs left" + ("" if event.with_validation else ", validation not counted")
    )


def _epoch_done(event: EpochDone) -> str:
    found, previous = event.figures, event.previous or {}
    train_loss = _loss(found.train_loss, previous.get("train"))
    parts = [f"Epoch {found.epoch + 1:>3} of {event.epochs}  train loss {train_loss}"]
    for kind, sets in (("dev", found.dev), ("metrics", found.metrics)):
        for one in sets:
            label = kind if len(sets) == 1 else f"{kind} {one.name}"
            rates = "" if one.loss is None else f" {figures_text(one.values, event.judged_by)}"
            parts.append(f"{label} loss {_loss(one.loss, previous.get(one.name))}{rates}")
    if found.best_epoch is not None and found.best_figures is not None:
        if found.best_epoch == found.epoch:
            parts.append(f"best so far, saved as {event.saved}")
        else:
            by = next((figure for figure in (LOSS, *event.judged_by) if figure.name == found.best_by), None)
            value = f" {by.label} {by.text(found.best_figures[by.name])}" if by else ""
            parts.append(f"best{value} in epoch {found.best_epoch + 1}")
    if found.patience:
        parts.append(f"patience {found.epochs_without_improvement}/{found.patience}")
    parts.append(f"rate {found.learning_rate:.3g}")
    parts.append(
        f"{duration(found.seconds)}, {found.speed:,.0f} {found.unit}, waited for data {found.waited_share:.0%}"
    )
    return " | ".join(parts)


def _loss(loss: float | None, previous: float | None) -> str:
    """A loss with its change since the epoch before.

    >>> _loss(3.25, 3.5), _loss(3.25, None), _loss(None, 3.5)
    ('3.2500 (-0.2500)', '3.2500', 'not finite')
    """
    if loss is None:
        return "not finite"
    return f"{loss:.4f}" if previous is None else f"{loss:.4f} ({loss - previous:+.4f})"


def _bad_clip(event: BadClip) -> str:
    tail = "; it is left out for the rest of the run" if event.quarantined else ""
    return f"{event.sample} ({event.path}) {event.reason}; left out of this step{tail}"


def _rate_reduced(event: RateReduced) -> str:
    return (
        f"No better dev loss for {event.epochs_without_improvement} epochs: back to the best weights "
        f"(epoch {event.best_epoch + 1}), learning rate {event.learning_rate:.3g}"
    )


def _outcome(event: Outcome) -> Iterator[str]:
    if event.best_epoch is not None and event.best_figures is not None:
        best = figures_text(event.best_figures, (LOSS, *event.judged_by))
        yield f"Best      epoch {event.best_epoch + 1}: dev {best}; {event.best_file}"
    yield f"Last      epoch {event.epoch}; {event.last_file}"
    yield f"Log       {event.log or event.events_log}"
    yield from event.diagnosis
    yield f"Next      {event.next}"
