"""The figures of a run for TensorBoard."""

import contextlib
import time
from collections.abc import Mapping
from pathlib import Path

from deepspeech_training.errors import UserError
from deepspeech_training.reporting.events import EpochDone, Event, GpusRead, StepDone
from deepspeech_training.reporting.json_log import write_errors
from deepspeech_training.reporting.scalars import of_epoch


class TensorBoard:
    """Scalars in `--summary_dir`, by the writer of the package tensorboard.

    Args:
        folder: `--summary_dir`.
        resumed_step: summaries of later steps, of a run that was killed, are hidden.
    Raises:
        UserError: the package is not installed, or the folder cannot be written.
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
        with write_errors(folder):
            self._writer = EventFileWriter(str(folder))
            self._writer.add_event(self._event(wall_time=time.time(), step=resumed_step + 1, session_log=start))

    def take(self, event: Event) -> None:
        match event:
            case StepDone():
                self._write(event.time, event.step, {"step/loss": event.loss, "step/grad_norm": event.grad_norm})
            case EpochDone():
                self._write(event.time, event.figures.step, of_epoch(event))
            case GpusRead():
                self._write(event.time, event.step, _of_gpus(event))

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._writer.close()

    def _write(self, wall_time: float, step: int, scalars: Mapping[str, float | None] | Mapping[str, float]) -> None:
        known = {tag: value for tag, value in scalars.items() if value is not None}
        if known:
            summary = self._summary(value=[self._summary.Value(tag=t, simple_value=v) for t, v in known.items()])
            with write_errors(self._folder):
                self._writer.add_event(self._event(wall_time=wall_time, step=step, summary=summary))


def _of_gpus(event: GpusRead) -> dict[str, float | None]:
    scalars: dict[str, float | None] = {}
    for gpu in event.gpus:
        scalars |= {
            f"gpu/{gpu.index}/busy": gpu.busy,
            f"gpu/{gpu.index}/memory_used": gpu.memory_used,
            f"gpu/{gpu.index}/temperature_c": gpu.temperature_c,
        }
    return scalars
