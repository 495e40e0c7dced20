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

from deepspeech_training.console import DEBUG, ERROR, INFO, WARN, Console, Progress
from deepspeech_training.errors import UserError
from deepspeech_training.reporting.messages import words

STEP_LINES_EVERY_S = 2.0  # a line for every step would make the log larger than the checkpoints


class Sink(Protocol):
    def take(self, event: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class Events:
    """Hands each event to every sink."""

    def __init__(self, sinks: Sequence[Sink]):
        self._sinks = list(sinks)

    def add(self, sink: Sink) -> None:
        """One more sink, after the others; it may emit events of its own while it takes one."""
        self._sinks.append(sink)

    def emit(self, kind: str, **fields: Any) -> None:
        event = {"event": kind, "time": round(time.time(), 3), **fields}
        for sink in self._sinks:
            sink.take(event)

    @contextlib.contextmanager
    def also_to(self, *sinks: Sink) -> Iterator[None]:
        """Give these sinks the events of a block too, and close them at its end."""
        before = list(self._sinks)
        self._sinks += sinks
        try:
            yield
        finally:
            self._sinks = before
            for sink in sinks:
                sink.close()
            self.emit("training_over")

    def close(self) -> None:
        """Close every sink; nothing may be emitted after it."""
        while self._sinks:
            self._sinks.pop().close()


class EventConsole(Console):
    """A console whose lines are events, so that every sink has them; progress is shown on a real console."""

    def __init__(self, console: Console, events: Events):
        super().__init__(level=console.level, stream=console.stream)
        self.shows_bar = console.shows_bar
        self._events, self._console = events, console

    def say(self, level: int, message: str) -> None:
        if level == DEBUG:
            self._console.debug(message)
        else:
            self._events.emit({INFO: "note", WARN: "warning", ERROR: "error"}[level], message=message)

    def progress(self, what: str, *, total: int, unit: str, start: int = 0):
        return self._console.progress(what, total=total, unit=unit, start=start)


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
        elif event["event"] == "gpu":
            for gpu in event["gpus"]:
                scalars |= {f"gpu/{gpu['index']}/{key}": gpu[key] for key in ("busy", "memory_used", "temperature_c")}
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


class ConsoleSink:
    """Shows events as lines and bars.

    Args:
        console: where they go.
        log_steps: where no bar is drawn, a line after each so many steps; 0 for none but the console's own.
    """

    def __init__(self, console: Console, *, log_steps: int = 0):
        self._console, self._log_steps = console, log_steps
        self._progress: Progress | None = None
        self._context = None

    def take(self, event: dict[str, Any]) -> None:
        handler = getattr(self, f"_on_{event['event']}", None)
        if handler is not None:
            handler(event)
        for level, message in words(event):
            self._console.say(level, message)

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

    def _on_epoch_begin(self, event) -> None:
        what = f"Epoch {event['epoch'] + 1} of {event['epochs']}"
        self._begin_progress(what, event["batches"], event["step_in_epoch"], "batches")

    def _on_step(self, event) -> None:
        if self._progress is not None:
            note = f"loss {event['loss']:.3f}, {event['audio_seconds_per_second']:,.0f} audio-s/s"
            self._progress.update(note=note)
            if self._log_steps and not self._console.shows_bar and event["step"] % self._log_steps == 0:
                self._console.info(f"Step {event['step']:,}: {note}")

    def _on_validation_begin(self, event) -> None:
        self._begin_progress(event["what"], event["batches"], event["done"], "batches")

    def _on_validation_step(self, event) -> None:
        if self._progress is not None:
            self._progress.update()

    def _on_epoch(self, event) -> None:
        self._end_progress()

    def _on_training_over(self, event) -> None:
        self._end_progress()

    def _on_finished(self, event) -> None:
        self._end_progress()
