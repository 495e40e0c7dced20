"""One stream of events feeds all that a person or a program sees of a run.

An event is a dict with "event" (its kind), "time" (seconds since 1970) and fields of its own. Sinks take every event
and show or keep what concerns them: the console, the JSON-lines log beside the checkpoints, TensorBoard's summaries.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from deepspeech_training.console import Console, Progress
from deepspeech_training.errors import UserError

STEP_LINES_EVERY_S = 2.0  # a line for every step would make the log larger than the checkpoints


class Sink(Protocol):
    def take(self, event: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class Events:
    """Hands each event to every sink."""

    def __init__(self, sinks: Sequence[Sink]):
        self._sinks = list(sinks)

    def emit(self, kind: str, **fields: Any) -> None:
        event = {"event": kind, "time": round(time.time(), 3), **fields}
        for sink in self._sinks:
            sink.take(event)

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()


class JsonLines:
    """The log beside the checkpoints, one JSON object a line; of steps, one each two seconds."""

    def __init__(self, path: Path):
        self.path = path
        with _user_errors(path):
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - open for as long as the run
        self._last_step_line = 0.0

    def take(self, event: dict[str, Any]) -> None:
        if event["event"] == "step":
            if 0 <= event["time"] - self._last_step_line < STEP_LINES_EVERY_S:  # a clock may be set back
                return
            self._last_step_line = event["time"]
        with _user_errors(self.path):
            self._file.write(json.dumps(event, ensure_ascii=False) + "\n")
            self._file.flush()

    def length(self) -> int:
        """Bytes written so far: a checkpoint remembers it."""
        return os.path.getsize(self.path)

    def cut_back(self, length: int) -> None:
        """Forget what was logged after the checkpoint that a run goes on from."""
        if 0 <= length < os.path.getsize(self.path):
            self._file.truncate(length)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what a full disk did not take has been told by `take`
            self._file.close()


class TensorBoard:
    """Scalars in `--summary_dir`, by the writer of the package tensorboard.

    Args:
        folder: `--summary_dir`.
        resumed_step: summaries of later steps, of a run that was killed, are hidden.
    Raises:
        UserError: the package is not installed.
    """

    def __init__(self, folder: Path, *, resumed_step: int):
        try:
            from tensorboard.compat.proto import event_pb2, summary_pb2
            from tensorboard.summary.writer.event_file_writer import EventFileWriter
        except ImportError as error:
            raise UserError(
                "--summary_dir needs TensorBoard's writer, which is not installed\n"
                "Install it (pip install tensorboard), or leave --summary_dir out: events.jsonl has the same figures."
            ) from error
        self._event, self._summary = event_pb2.Event, summary_pb2.Summary
        self._folder = folder
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        with _user_errors(folder):
            self._writer = EventFileWriter(str(folder))
            self._writer.add_event(self._event(wall_time=time.time(), step=resumed_step + 1, session_log=start))

    def take(self, event: dict[str, Any]) -> None:
        scalars = {}
        if event["event"] == "step":
            scalars = {"step/loss": event["loss"], "step/grad_norm": event["grad_norm"]}
        elif event["event"] == "epoch":
            scalars = {
                "epoch/train_loss": event["train_loss"],
                "epoch/learning_rate": event["learning_rate"],
                "epoch/audio_seconds_per_second": event["audio_seconds_per_second"],
            }
            for found in event["dev"] + event["metrics"]:
                scalars |= {f"{found['name']}/{key}": found[key] for key in ("loss", "wer", "cer")}
        values = [
            self._summary.Value(tag=tag, simple_value=value) for tag, value in scalars.items() if value is not None
        ]
        if values:
            summary = self._summary(value=values)
            with _user_errors(self._folder):
                self._writer.add_event(self._event(wall_time=event["time"], step=event["step"], summary=summary))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.close()


@contextlib.contextmanager
def _user_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error


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


class ConsoleSink:
    """Puts events into words and bars."""

    def __init__(self, console: Console):
        self._console = console
        self._progress: Progress | None = None
        self._context = None

    def take(self, event: dict[str, Any]) -> None:
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)

    def close(self) -> None:
        self._end_progress()

    def _begin_progress(self, what: str, total: int, start: int, unit: str) -> None:
        self._end_progress()
        self._context = self._console.progress(what, total=total, unit=unit, start=start)
        self._progress = self._context.__enter__()

    def _end_progress(self) -> None:
        if self._context is not None:
            self._context.__exit__(None, None, None)
            self._context = self._progress = None

    def _on_start(self, event) -> None:
        say = self._console.info
        say(f"deepspeech_training {event['version']}, TensorFlow {event['tensorflow']}, Keras {event['keras']}")
        say(f"Device    {event['devices']}; {event['precision']}; {event['intra_op_threads']} threads per operation")
        for line in event["sets"]:
            say(f"Data      {line}")
        if event.get("padding_share") is not None:
            say(
                f"Batches   {event['batches_per_epoch']:,} per epoch, {event['batches']}; "
                f"padding {event['padding_share']:.1%}"
            )
        say(f"Network   {event['parameters']:,} parameters, n_hidden {event['n_hidden']}")
        say(f"Saved in  {event['checkpoint_dir']}")

    def _on_resumed(self, event) -> None:
        where = f"epoch {event['epoch'] + 1}, batch {event['step_in_epoch'] + 1}, step {event['step']:,}"
        self._console.info(f"Goes on from {event['checkpoint']}: {where}")

    def _on_initialised(self, event) -> None:
        self._console.info(f"Starts with {event['source']}")

    def _on_note(self, event) -> None:
        self._console.info(event["message"])

    def _on_warning(self, event) -> None:
        self._console.warn(event["message"])

    def _on_epoch_begin(self, event) -> None:
        what = f"Epoch {event['epoch'] + 1} of {event['epochs']}"
        self._begin_progress(what, event["batches"], event["step_in_epoch"], "batches")

    def _on_step(self, event) -> None:
        if self._progress is not None:
            note = f"loss {event['loss']:.3f}, {event['audio_seconds_per_second']:,.0f} audio-s/s"
            self._progress.update(note=note)

    def _on_validation_begin(self, event) -> None:
        self._begin_progress(event["what"], event["batches"], event["done"], "batches")

    def _on_validation_step(self, event) -> None:
        if self._progress is not None:
            self._progress.update()

    def _on_epoch(self, event) -> None:
        self._end_progress()
        train_loss = "not finite" if event["train_loss"] is None else f"{event['train_loss']:.4f}"
        parts = [f"Epoch {event['epoch'] + 1:>3}  train loss {train_loss}"]
        for kind in ("dev", "metrics"):
            for found in event[kind]:
                label = kind if len(event[kind]) == 1 else f"{kind} {found['name']}"
                parts.append(
                    f"{label} loss {found['loss']:.4f} WER {found['wer']:.3f} CER {found['cer']:.3f}"
                    if found["loss"] is not None
                    else f"{label} loss not finite"
                )
        if event["best_epoch"] is not None:
            if event["best_epoch"] == event["epoch"]:
                parts.append("best so far, saved")
            else:
                by = event["best_by"]
                label, figure = ("loss", "{:.4f}") if by == "loss" else (by.upper(), "{:.3f}")
                parts.append(
                    f"best {label} {figure.format(event['best_figures'][by])} in epoch {event['best_epoch'] + 1}"
                )
            if event["patience"] and event["epochs_without_improvement"]:
                parts.append(f"patience {event['epochs_without_improvement']}/{event['patience']}")
        parts.append(f"rate {event['learning_rate']:.3g}")
        parts.append(
            f"{duration(event['seconds'])}, {event['audio_seconds_per_second']:,.0f} audio-s/s, "
            f"waited for data {event['waited_share']:.0%}"
        )
        self._console.info(" | ".join(parts))

    def _on_bad_clip(self, event) -> None:
        tail = "; it is left out for the rest of the run" if event["quarantined"] else ""
        self._console.warn(f"{event['sample']} ({event['path']}) {event['reason']}; left out of this step{tail}")

    def _on_rate_reduced(self, event) -> None:
        self._console.info(
            f"No better dev loss for {event['epochs_without_improvement']} epochs: back to the best weights "
            f"(epoch {event['best_epoch'] + 1}), learning rate {event['learning_rate']:.3g}"
        )

    def _on_finished(self, event) -> None:
        self._end_progress()
        self._console.info(f"Training is finished: {event['reason']}")
