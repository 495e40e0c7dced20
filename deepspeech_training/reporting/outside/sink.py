"""A sink that hands events to a process of its own, so that no server, however slow, holds up a training."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deepspeech_training.reporting.events import (
    Ended,
    EpochDone,
    Event,
    Exported,
    Finished,
    Initialised,
    Outcome,
    RateReduced,
    SetTested,
    Started,
)
from deepspeech_training.reporting.outside.run_file import RunFile

SENT = (Started, Initialised, EpochDone, RateReduced, Finished, Outcome, SetTested, Exported, Ended)
MOST_WAITING = 1000  # events that the process has not taken yet
WAIT_S = 15.0  # at the end of a call, for what is still on its way
INTERRUPTED_WAIT_S = 5.0  # Docker kills a container 10 s after it has told it to stop
PACKAGE = Path(__file__).resolve().parents[2]


class Outside:
    """Starts the process of a receiver, and gives it the events that concern it.

    It never raises, and takes no longer than a put into a queue. What goes wrong is told once, as a warning.

    Args:
        receiver: a key of `process.MODULES`.
        name: what a person calls it, in the warning.
        settings: of the receiver; they may be secret, and go through its stdin.
        warn: says a line.
        run_file: keeps what the receiver wants a resumed run to know; what it has kept is in the settings.
        wait_s: how long an end waits for what is still on its way.
    """

    def __init__(
        self,
        receiver: str,
        name: str,
        settings: Mapping[str, Any],
        *,
        warn: Callable[[str], None],
        run_file: RunFile | None = None,
        wait_s: float = WAIT_S,
    ):
        self._name, self._warn, self._run_file, self._wait_s = name, warn, run_file, wait_s
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_WAITING)
        self._fault, self._has_warned, self._is_over = "", False, False
        kept = {} if run_file is None else {"kept": run_file.get(receiver)}
        self._process = self._started()
        if self._process is None:
            return
        self._put(json.dumps({"receiver": receiver, "settings": {**settings, **kept}}))
        writer = threading.Thread(target=self._write, args=(self._process,), name=f"to {name}", daemon=True)
        self._reader = threading.Thread(
            target=self._read, args=(self._process, receiver), name=f"from {name}", daemon=True
        )
        writer.start()
        self._reader.start()

    def take(self, event: Event) -> None:
        if isinstance(event, SENT) and not self._is_over:
            self._put(json.dumps(event.as_json()))
            if isinstance(event, Ended):
                self._finish(INTERRUPTED_WAIT_S if event.status == "interrupted" else self._wait_s)
        if self._fault and not self._has_warned:
            self._has_warned = True
            self._warn(f"{self._name}: {self._fault}\nThe training itself is not concerned.")

    def close(self) -> None:
        if not self._is_over:
            self._finish(self._wait_s)

    def _started(self) -> subprocess.Popen[str] | None:
        paths = [str(PACKAGE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        try:
            return subprocess.Popen(
                [sys.executable, "-m", f"{__package__}.process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,  # libraries write URLs with tokens there
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), "CUDA_VISIBLE_DEVICES": ""},
                encoding="utf-8",
                start_new_session=True,  # Ctrl-C in a terminal is for us alone
            )
        except OSError as error:
            self._fault = f"its process cannot be started: {error.strerror or error}"
            return None

    def _put(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._fault = self._fault or "it takes the figures too slowly, and some are left out"

    def _write(self, process: "subprocess.Popen[str]") -> None:
        assert process.stdin is not None
        with contextlib.suppress(OSError, ValueError):  # it has ended, of which its exit code tells
            while (line := self._lines.get()) is not None:
                process.stdin.write(line + "\n")
                process.stdin.flush()
        with contextlib.suppress(OSError, ValueError):
            process.stdin.close()

    def _read(self, process: "subprocess.Popen[str]", receiver: str) -> None:
        """What the receiver says: lines of JSON with "fault" or "keep"; of libraries that print it may have others."""
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                try:
                    said = json.loads(line)
                    fault, keep = said.get("fault", ""), said.get("keep")
                except (ValueError, AttributeError):
                    continue
                self._fault = self._fault or fault
                if keep is not None and self._run_file is not None:
                    self._run_file.set(receiver, keep)

    def _finish(self, wait_s: float) -> None:
        """Wait for the process to send what it has, and end it if it takes longer."""
        self._is_over = True
        process = self._process
        if process is None:
            return
        self._put_end()
        try:
            code = process.wait(wait_s)
            if code:
                self._fault = self._fault or f"its process has ended with exit code {code}"
        except subprocess.TimeoutExpired:
            with contextlib.suppress(OSError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            self._fault = self._fault or f"no answer within {wait_s:g} s, so that the last of it may not have arrived"
        self._reader.join(1.0)  # a grandchild may hold the pipe open

    def _put_end(self) -> None:
        """None ends the writer; where it is stuck, the process is killed after the wait."""
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(None)
