"""What a training keeps on disk: its checkpoints, and the list of the samples that it leaves out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deepspeech_training.checkpoints.folder import Checkpoint, CheckpointFolder
from deepspeech_training.data.sample import Rejection, write_rejections
from deepspeech_training.reporting.json_log import JsonLines
from deepspeech_training.reporting.validated import ValidatedClips
from deepspeech_training.training.state import RunState


@dataclass
class Saver:
    """Writes the checkpoints of one run; of several workers the first does, and the others only keep the time.

    Args:
        folder: where they go; locked.
        description: what each says besides the state of the run: the task, the flags, devices ...
        log: events.jsonl, whose length is remembered in each; None where nothing is written.
        max_to_keep: of the last ones.
        every_s: within an epoch, --checkpoint_secs.
        rejected: rows that the check of the data has left out.
        how_to_resume: for a person, what resumes from the last checkpoint.
    """

    folder: CheckpointFolder
    description: Mapping[str, Any]
    log: JsonLines | None
    max_to_keep: int
    every_s: float
    rejected: Sequence[Rejection] = ()
    how_to_resume: str = ""
    _last_save: float = field(default_factory=time.monotonic)

    def save(self, state: RunState, arrays: Callable[[], dict[str, np.ndarray]]) -> None:
        """Save as the last checkpoint."""
        if self.writes:
            self.folder.save(state.step, self._json(state), arrays, max_to_keep=self.max_to_keep)
        self._last_save = time.monotonic()

    def save_best(self, state: RunState, arrays: Callable[[], dict[str, np.ndarray]]) -> None:
        if self.writes:
            self.folder.save_best(state.step, self._json(state), arrays)

    def load_best(self) -> Checkpoint | None:
        """The best checkpoint, to resume from: the next last one has other weights than those that were saved last.

        None too in a worker that does not write: the first gives it the arrays.
        """
        if not self.writes:
            return None
        best = self.folder.load("best")
        self.folder.forget_weights()
        return best

    @property
    def writes(self) -> bool:
        return self.log is not None

    @property
    def is_due(self) -> bool:
        return self.seconds_since >= self.every_s

    @property
    def seconds_since(self) -> float:
        """Since the last save, or the start."""
        return time.monotonic() - self._last_save

    def save_rejections(self, quarantined: Sequence[Rejection]) -> None:
        """Write rejected.csv: what the check of the data has left out, and these."""
        if self.writes:
            write_rejections(self.folder.folder / "rejected.csv", [*self.rejected, *quarantined])

    def save_validated(self, clips: ValidatedClips, epoch: int) -> None:
        """Write validation.json."""
        if self.writes:
            clips.write(self.folder.folder, epoch)

    def _json(self, state: RunState) -> dict[str, Any]:
        assert self.log is not None, "it writes"
        return {
            **self.description,
            "saved_at": round(time.time(), 3),
            "run": state.as_json(),
            "log_length": self.log.length(),
        }
