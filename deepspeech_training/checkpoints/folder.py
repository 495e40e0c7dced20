"""Which checkpoint files a folder has, which one is loaded, which are kept.

train-000001234.json, .safetensors   the last ones, by step; --max_to_keep of them
best-000001200.json, .safetensors    the one with the lowest dev loss
events.jsonl, validation.json, rejected.csv, flags.txt, data_check/   written by others
.lock                                held while a run trains here
"""

import contextlib
import fcntl
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.checkpoints.describe import Checkpoint, TrainedModel, read_checkpoint, read_description
from deepspeech_training.checkpoints.file import DamagedCheckpoint, read_state, write_arrays, write_state
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError

LOCK_TRIES, LOCK_WAIT_S = 3, 0.05
Arrays = Callable[[], dict[str, np.ndarray]]  # weights and moments, when they are asked for
_NAME = re.compile(r"(train|best)-(\d+)\.json")
_WEIGHTS_NAME = re.compile(r"(train|best)-\d+(-\d+)?\.safetensors")


def best_name(step: int) -> str:
    """The name of the files of a best checkpoint, without .json and .safetensors."""
    return f"best-{step:09}"


def state_files(folder: Path, kind: str) -> list[Path]:
    """State files of a kind ("train" or "best") in a folder, the newest first."""
    found = []
    for path in folder.glob(f"{kind}-*.json"):
        match = _NAME.fullmatch(path.name)
        if match:
            found.append((int(match.group(2)), path))
    return [path for _, path in sorted(found, reverse=True)]


def best_or_last(folder: Path) -> Path | None:
    """The state file of a folder's best checkpoint, without one of its last; None where there is neither."""
    return next(iter(state_files(folder, "best") + state_files(folder, "train")), None)


def _take(lock: IO[str]) -> None:
    """Take a lock; whoever looks whether it is held (reporting/sessions.py, app/runs.py) has it for some microseconds.

    Raises:
        BlockingIOError: another process has it, and keeps it.
    """
    for _ in range(LOCK_TRIES - 1):
        with contextlib.suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        time.sleep(LOCK_WAIT_S)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)


class CheckpointFolder:
    """The checkpoints of one run in one folder."""

    def __init__(self, folder: Path, console: Console):
        self.folder = folder
        self._console = console
        self._lock: IO[str] | None = None
        self._weights_on_disk: tuple[int, str, str] | None = None  # step, file name, checksum

    def lock(self) -> None:
        """Make the folder, and keep every other process from training in it, until `unlock` or the end of this one.

        An flock, not a file with a process id: in a container every process has the same id, and a kill leaves none.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = self._lock = open(self.folder / ".lock", "a+")  # noqa: SIM115 - open for as long as it is locked
        except OSError as error:
            raise UserError(
                f"{self.folder}: checkpoints cannot be saved there ({error.strerror})\n"
                "Name a folder that can be written with --checkpoint_dir."
            ) from error
        try:
            _take(lock)
        except BlockingIOError as error:
            raise UserError(
                f"{self.folder}: another process is training in this folder\n"
                "Wait for it, stop it, or name another folder with --checkpoint_dir."
            ) from error
        except OSError as error:  # a network file system without locks
            self._console.warn(
                f"{self.folder}: cannot be locked ({error.strerror}); see to it that nothing else trains there"
            )
        for pattern in (".*.part", "data_check/.*.part", "logs/.*.part"):  # of a process that was killed while it saved
            for leftover in self.folder.glob(pattern):
                leftover.unlink(missing_ok=True)

    def unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()

    def state_files(self, kind: str) -> list[Path]:
        return state_files(self.folder, kind)

    def has(self, kind: str) -> bool:
        return bool(self.state_files(kind))

    def read_description(self, kind: str) -> tuple[Path, TrainedModel] | None:
        """What the newest readable checkpoint of a kind says: quick, without its arrays."""
        for path in self.state_files(kind):
            try:
                return path, read_description(path)
            except DamagedCheckpoint:
                continue  # `load` names it
        return None

    def load(self, kind: str) -> Checkpoint | None:
        """Load the newest usable checkpoint of a kind ("train" or "best"); each damaged one is named and skipped.

        Returns:
            None where there is none at all.
        Raises:
            UserError: there are some, and all are damaged.
        """
        paths = self.state_files(kind)
        for path in paths:
            try:
                return read_checkpoint(path)
            except DamagedCheckpoint as error:
                self._console.warn(f"Damaged checkpoint: {error}\nThe one before it is used, if there is one.")
        if paths:
            other = "best" if kind == "train" else "last"
            instead = f"use the {other} one (--load_train {other}, --load_evaluate {other}), "
            raise UserError(
                f"{self.folder}: all {len(paths)} checkpoints ({kind}-*) are damaged\n"
                f"Restore one from a backup, {instead if self.has('best' if kind == 'train' else 'train') else ''}"
                "or start over with --load_train init."
            )
        return None

    def save(self, step: int, state: dict[str, Any], arrays: Arrays, *, max_to_keep: int) -> Path:
        """Save the last state.

        Args:
            step: names the files.
            state: JSON values.
            arrays: a function that gives weights and moments; called only if they have to be written.
            max_to_keep: older ones are removed after this one is safe.
        """
        weights_file, checksum = self._weights(step, arrays)
        path = self.folder / f"train-{step:09}.json"
        write_state(path, {**state, "weights_file": weights_file, "weights_sha256": checksum})
        others = [other for other in self.state_files("train") if other != path]  # a damaged one may be of a later step
        for old in others[max_to_keep - 1 :]:
            old.unlink(missing_ok=True)
        self._remove_unused_weights()
        return path

    def save_best(self, step: int, state: dict[str, Any], arrays: Arrays) -> Path:
        """Save the best state. Call it before `save` of the same step, which then writes no weights.

        A run killed between the two resumes from the last state before, comes here again, and saves the same.
        """
        weights_file, checksum = self._weights(step, arrays)
        name = best_name(step)
        self._link_or_copy(self.folder / weights_file, self.folder / f"{name}.safetensors")
        path = self.folder / f"{name}.json"
        write_state(path, {**state, "weights_file": f"{name}.safetensors", "weights_sha256": checksum})
        for old in self.state_files("best"):
            if old != path:
                old.unlink(missing_ok=True)
        return path

    def _weights(self, step: int, arrays: Arrays) -> tuple[str, str]:
        """Write the weights of a step, once; returns file name and checksum. A file in use is never overwritten."""
        if self._weights_on_disk is None or self._weights_on_disk[0] != step:
            name, number = f"train-{step:09}.safetensors", 1
            while (self.folder / name).exists():
                number += 1
                name = f"train-{step:09}-{number}.safetensors"
            self._weights_on_disk = (step, name, write_arrays(self.folder / name, arrays()))
        return self._weights_on_disk[1:]

    def _remove_unused_weights(self) -> None:
        """Remove weights that no state file names: of removed checkpoints, or of a save that was killed."""
        used = set()
        for path in self.state_files("train") + self.state_files("best"):
            try:
                used.add(read_state(path)["weights_file"])
            except DamagedCheckpoint:
                used.add(path.with_suffix(".safetensors").name)
        for path in self.folder.glob("*.safetensors"):
            if path.name not in used and _WEIGHTS_NAME.fullmatch(path.name):
                path.unlink(missing_ok=True)

    @staticmethod
    def _link_or_copy(source: Path, target: Path) -> None:
        """Give a file a second name without a second copy, where the file system can."""
        beside = target.with_name(f".{target.name}.{os.getpid()}.part")
        beside.unlink(missing_ok=True)
        try:
            os.link(source, beside)
            os.replace(beside, target)
        except OSError:
            with open(source, "rb") as file:
                write_atomically(target, iter(lambda: file.read(1 << 24), b""))
        finally:
            beside.unlink(missing_ok=True)

    def forget_weights(self) -> None:
        """The weights in memory are no longer those of the step saved last (after going back to the best)."""
        self._weights_on_disk = None

    def set_aside(self, *, later_than: int = -1) -> Path | None:
        """Move checkpoints of later steps, and what was recorded of them, into a folder "replaced-N": nothing is lost.

        Args:
            later_than: a step; -1 moves all, the best included.
        """
        moving = [path for path in self.state_files("train") if int(path.stem.split("-")[1]) > later_than]
        if later_than < 0:
            moving += self.state_files("best")
        if not moving:
            return None
        number = 1
        while (self.folder / f"replaced-{number}").exists():
            number += 1
        target = self.folder / f"replaced-{number}"
        target.mkdir()
        for path in moving:
            weights = path.with_suffix(".safetensors")
            with contextlib.suppress(DamagedCheckpoint):
                weights = self.folder / Path(read_state(path)["weights_file"]).name
            for file in (weights, path):  # weights without a state file would be cleared away by the next save
                if file.exists():
                    os.replace(file, target / file.name)
        for record in (self.folder / "events.jsonl", self.folder / "validation.json"):
            if record.exists():
                shutil.copy2(record, target / record.name)
                if later_than < 0:
                    record.unlink()
        return target
