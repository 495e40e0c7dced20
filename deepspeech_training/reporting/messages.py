"""Puts the events of a run into words: for the console, and for the messages of the session log."""

from collections.abc import Callable, Iterator
from typing import Any

from deepspeech_training.console import ERROR, INFO, WARN

Event = dict[str, Any]


def words(event: Event) -> list[tuple[int, str]]:
    """The lines that a person reads of an event, each with its level; none for what only programs read.

    >>> words({"event": "finished", "reason": "all 3 epochs are done"})
    [(1, 'Training is finished: all 3 epochs are done')]
    """
    kind = event["event"]
    if kind in LEVELS:
        return [(LEVELS[kind], event["message"])]
    if kind == "bad_clip":
        return [(WARN, _bad_clip(event))]
    return [(INFO, line) for line in WORDS[kind](event)] if kind in WORDS else []


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


def _start(event: Event) -> Iterator[str]:
    yield f"deepspeech_training {event['version']}, TensorFlow {event['tensorflow']}, Keras {event['keras']}"
    yield f"Device    {event['devices']}; {event['precision']}; {event['intra_op_threads']} threads per operation"
    yield from data_lines(event["sets"])
    yield (
        f"Batches   {event['batches_per_epoch']:,} per epoch, {event['batches']}; padding {event['padding_share']:.1%}"
    )
    yield (
        f"Network   {event['parameters']:,} weights, {_trained(event)}, n_hidden {event['n_hidden']}; checkpoint "
        f"{size(event['checkpoint_bytes'])}, export {size(event['export_bytes']['float32'])} in 32 bits, "
        f"{size(event['export_bytes']['int8'])} in 8 bits: the same for any amount of data"
    )
    yield f"Training  {event['plan']}"
    yield f"Saved in  {event['checkpoint_dir']}"


def _trained(event: Event) -> str:
    frozen = event.get("frozen")  # missing in logs of versions that did not say it
    if not frozen:
        return "all of them trained"
    return f"of which {frozen['parameters']:,} are frozen ({', '.join(frozen['layers'])})"


def data_lines(sets: list[dict[str, Any]]) -> Iterator[str]:
    """A line for each CSV: clips, hours, and its share of the hours to train and to validate on."""
    hours = sum(found["hours"] for found in sets if found["set"] in ("train", "dev"))
    for found in sets:
        share = f"{found['hours'] / hours:4.0%}" if found["set"] in ("train", "dev") and hours else "    "
        yield (
            f"Data      {found['set']:<8}{found['clips']:>8,} clips {found['hours']:9.3f} h {share} "
            f"{found['characters']:>10,} characters  {found['csv']}"
        )


def _resumed(event: Event) -> Iterator[str]:
    where = f"epoch {event['epoch'] + 1}, batch {event['step_in_epoch'] + 1}, step {event['step']:,}"
    yield f"Goes on from {event['checkpoint']}: {where}"


def _initialised(event: Event) -> Iterator[str]:
    yield f"Starts with {event['source']}"


def _estimate(event: Event) -> Iterator[str]:
    yield (
        f"Speed     {event['audio_seconds_per_second']:,.0f} s of audio a second: about "
        f"{duration(event['epoch_seconds'])} an epoch, {duration(event['left_seconds'])} for the "
        f"{event['epochs_left']:,} epochs left" + ("" if event["with_validation"] else ", validation not counted")
    )


def _epoch(event: Event) -> Iterator[str]:
    previous = event.get("previous") or {}
    train_loss = _loss(event["train_loss"], previous.get("train"))
    parts = [f"Epoch {event['epoch'] + 1:>3} of {event['epochs']}  train loss {train_loss}"]
    for kind in ("dev", "metrics"):
        for found in event[kind]:
            label = kind if len(event[kind]) == 1 else f"{kind} {found['name']}"
            loss = _loss(found["loss"], previous.get(found["name"]))
            rates = "" if found["loss"] is None else f" WER {found['wer']:.3f} CER {found['cer']:.3f}"
            parts.append(f"{label} loss {loss}{rates}")
    if event["best_epoch"] is not None:
        if event["best_epoch"] == event["epoch"]:
            parts.append(f"best so far, saved as {event['saved']}")
        else:
            by = event["best_by"]
            figure = f"{event['best_figures'][by]:{'.4f' if by == 'loss' else '.3f'}}"
            parts.append(f"best {'loss' if by == 'loss' else by.upper()} {figure} in epoch {event['best_epoch'] + 1}")
    if event["patience"]:
        parts.append(f"patience {event['epochs_without_improvement']}/{event['patience']}")
    parts.append(f"rate {event['learning_rate']:.3g}")
    parts.append(
        f"{duration(event['seconds'])}, {event['audio_seconds_per_second']:,.0f} audio-s/s, "
        f"waited for data {event['waited_share']:.0%}"
    )
    yield " | ".join(parts)


def _loss(loss: float | None, previous: float | None) -> str:
    """A loss with its change since the epoch before.

    >>> _loss(3.25, 3.5), _loss(3.25, None), _loss(None, 3.5)
    ('3.2500 (-0.2500)', '3.2500', 'not finite')
    """
    if loss is None:
        return "not finite"
    return f"{loss:.4f}" if previous is None else f"{loss:.4f} ({loss - previous:+.4f})"


def _bad_clip(event: Event) -> str:
    tail = "; it is left out for the rest of the run" if event["quarantined"] else ""
    return f"{event['sample']} ({event['path']}) {event['reason']}; left out of this step{tail}"


def _rate_reduced(event: Event) -> Iterator[str]:
    yield (
        f"No better dev loss for {event['epochs_without_improvement']} epochs: back to the best weights "
        f"(epoch {event['best_epoch'] + 1}), learning rate {event['learning_rate']:.3g}"
    )


def _finished(event: Event) -> Iterator[str]:
    yield f"Training is finished: {event['reason']}"


def _outcome(event: Event) -> Iterator[str]:
    if event["best_epoch"] is not None:
        best = event["best_figures"]
        yield (
            f"Best      epoch {event['best_epoch'] + 1}: dev loss {best['loss']:.4f} WER {best['wer']:.3f} "
            f"CER {best['cer']:.3f}; {event['best_file']}"
        )
    yield f"Last      epoch {event['epoch']}; {event['last_file']}"
    yield f"Log       {event['log']}" if event["log"] else f"Log       {event['events_log']}"
    yield from event["diagnosis"]
    yield f"Next      {event['next']}"


LEVELS = {"note": INFO, "warning": WARN, "error": ERROR}
WORDS: dict[str, Callable[[Event], Iterator[str]]] = {
    "start": _start,
    "resumed": _resumed,
    "initialised": _initialised,
    "estimate": _estimate,
    "epoch": _epoch,
    "rate_reduced": _rate_reduced,
    "finished": _finished,
    "outcome": _outcome,
}
