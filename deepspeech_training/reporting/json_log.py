"""events.jsonl beside the checkpoints: the events of a run, one JSON object a line."""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from deepspeech_training.errors import UserError
from deepspeech_training.reporting.events import Event, StepDone

STEP_LINES_EVERY_S = 2.0  # a line for every step would make the log larger than the checkpoints


class JsonLines:
    """Appends events to the log; of steps, one each two seconds.

    Raises:
        UserError: it cannot be written.
    """

    def __init__(self, path: Path):
        self.path = path
        with write_errors(path):
            self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - open for as long as the run
        self._last_step_line = 0.0

    def take(self, event: Event) -> None:
        if isinstance(event, StepDone):
            if 0 <= event.time - self._last_step_line < STEP_LINES_EVERY_S:  # a clock may be set back
                return
            self._last_step_line = event.time
        with write_errors(self.path):
            self._file.write(json.dumps(event.as_json(), ensure_ascii=False) + "\n")
            self._file.flush()

    def length(self) -> int:
        """Bytes written so far: a checkpoint remembers it."""
        return os.path.getsize(self.path)

    def cut_back(self, length: int) -> None:
        """Forget what was logged after the checkpoint from which a run resumes."""
        if 0 <= length < os.path.getsize(self.path):
            self._file.truncate(length)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # what a full disk did not take has been told by `take`
            self._file.close()


@contextlib.contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Name the file where the disk does not take what is written to it."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror or error}") from error
