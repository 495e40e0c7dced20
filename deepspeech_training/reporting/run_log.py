"""events.jsonl of a run, followed while it grows: how far the training is, and what it has said."""

import contextlib
import json
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from deepspeech_training.reporting.events import EpochDone, Event, Outcome, SetTested, Started, StepDone, read_event
from deepspeech_training.reporting.figures import SPEECH_TO_TEXT, Figure
from deepspeech_training.reporting.messages import words

LINES_KEPT = 100
LEVELS = ("debug", "info", "warning", "error")
BLOCK_BYTES = 1 << 20
BYTES_COMPARED = 256  # of what was read last: a log that a resume has cut back may have grown beyond it again
# What is computed with.
NUMBERS = {
    "epoch_begin": ("time", "epoch", "epochs", "batches", "step_in_epoch", "step"),
    "step": ("step",),
    "estimate": ("left_seconds", "epochs_left"),
    "validation_begin": ("done",),
}
# Kinds of which the last one is kept as it is.
LAST_OF = ("start", "data", "epoch_begin", "step", "estimate", "validation_begin", "finished", "outcome", "gpu")


class RunLog:
    """What a run's log says up to now. A log that was cut back by a resume is read again. Any thread may read it."""

    def __init__(self, path: Path):
        self._path, self._reading = path, threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._offset, self._rest, self._end = 0, b"", b""
        self._last: dict[str, dict[str, Any]] = {}
        self._epochs: dict[int, dict[str, Any]] = {}
        self._lines: deque[dict[str, Any]] = deque(maxlen=LINES_KEPT)
        self._validated = 0
        self._judged_by: Sequence[Figure] = SPEECH_TO_TEXT

    def read(self) -> None:
        """Take in what has been added."""
        with self._reading:
            self._read_on()

    def _read_on(self) -> None:
        try:
            with open(self._path, "rb") as file:
                file.seek(0, 2)
                size = file.tell()
                file.seek(max(0, self._offset - len(self._end)))
                if size < self._offset or file.read(len(self._end)) != self._end:
                    self._forget()
                file.seek(self._offset)
                while block := file.read(BLOCK_BYTES):
                    self._offset += len(block)
                    self._end = (self._end + block)[-BYTES_COMPARED:]
                    *lines, self._rest = (self._rest + block).split(b"\n")
                    for line in lines:
                        self._take(line)
        except OSError:
            return  # there is none yet

    def _take(self, line: bytes) -> None:
        try:
            values = json.loads(line, parse_constant=lambda name: None)  # NaN is no JSON, and who asks gets JSON
            event = read_event(values)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return  # of another version, or damaged
        kind = values["event"]
        if not all(isinstance(values.get(name), int | float) for name in NUMBERS.get(kind, ())):
            return  # damaged
        if kind in LAST_OF:
            self._last[kind] = {name: value for name, value in values.items() if name != "event"}
        if kind == "start":
            self._last.pop("finished", None)
            self._last.pop("outcome", None)
        if kind in ("epoch_begin", "epoch"):
            self._last.pop("validation_begin", None)
        if kind == "validation_begin":
            self._validated = values["done"]
        elif kind == "validation_step":
            self._validated += 1
        if isinstance(event, EpochDone):
            self._epochs[event.figures.epoch] = {"time": event.time, **event.figures.as_json()}
        if isinstance(event, Started):
            self._judged_by = event.judged_by
        elif isinstance(event, EpochDone | SetTested | Outcome):
            event = replace(event, judged_by=self._judged_by)  # which the start alone has written
        if not isinstance(event, StepDone):
            with contextlib.suppress(TypeError, ValueError):  # without a number that the sentence needs
                self._keep_lines(event)

    def _keep_lines(self, event: Event) -> None:
        for level, text in words(event):
            self._lines.append({"time": event.time, "level": LEVELS[level], "text": text})

    @property
    def begun_at(self) -> float:
        """When an epoch has begun for the last time, seconds since 1970: all was checked then. 0: never."""
        return float(self._last.get("epoch_begin", {}).get("time", 0))

    @property
    def device(self) -> str:
        """What is computed on, in words; empty before it is known."""
        return str(self._last.get("start", {}).get("devices", ""))

    def progress(self) -> dict[str, Any]:
        """Epoch (from 1), share done (0 to 1), seconds left, and the best figures; None where it is not known yet."""
        begun, step = self._last.get("epoch_begin"), self._last.get("step", {})
        if begun is None:
            return {"epoch": None, "epochs": None, "share_done": None, "left_s": None, "best": self._best()}
        in_epoch = begun["step_in_epoch"] + max(0, step.get("step", begun["step"]) - begun["step"])
        share_of_epoch = min(1.0, in_epoch / max(1, begun["batches"]))
        share = min(1.0, (begun["epoch"] + share_of_epoch) / max(1, begun["epochs"]))
        estimate = self._last.get("estimate")
        left = None
        if estimate is not None and begun["epochs"]:
            per_epoch = estimate["left_seconds"] / max(1, estimate["epochs_left"])
            left = round(per_epoch * begun["epochs"] * (1 - share), 1)
        if "finished" in self._last:
            share, left = 1.0, 0.0
        return {
            "epoch": begun["epoch"] + 1,
            "epochs": begun["epochs"],
            "share_done": round(share, 4),
            "left_s": left,
            "best": self._best(),
        }

    def _best(self) -> dict[str, Any] | None:
        """The figures of the best epoch, which counts from 1."""
        epochs = self._epochs  # another thread may begin a new one
        last: Mapping[str, Any] = epochs[max(epochs)] if epochs else {}
        epoch = last.get("best_epoch")
        if epoch is None:
            return None
        return {"epoch": epoch + 1, "by": last["best_by"], **(last.get("best_figures") or {})}

    def as_json(self) -> dict[str, Any]:
        """All that a page shows of the run."""
        validation, epochs = self._last.get("validation_begin"), self._epochs
        return {
            **self.progress(),
            "started": self._last.get("start"),
            "data": self._last.get("data"),
            "step": self._last.get("step"),
            "validation": validation and {**validation, "done": self._validated},
            "gpus": self._last.get("gpu"),
            "history": [epochs[number] for number in sorted(epochs)],
            "finished": self._last.get("finished"),
            "outcome": self._last.get("outcome"),
        }

    def lines(self) -> list[dict[str, Any]]:
        """The last sentences, each with its time and level."""
        return list(self._lines)
