"""A file that is written piece by piece under a name beside its own, and renamed when it is whole."""

import os
from pathlib import Path
from typing import Self

from deepspeech_training.atomic_file import fsync_folder
from deepspeech_training.errors import UserError


class PartFile:
    """Opens the part; `_finish` puts it in its place. Use as a context manager: what is not finished is removed.

    Attributes:
        path: where the file is to be.
        size: bytes that were written.

    Raises:
        UserError: it cannot be written, or the disk is full.
    """

    remedy = ""  # a line for the message

    def __init__(self, path: Path):
        self.path, self.size = path, 0
        self._part = path.with_name(f".{path.name}.part")  # of one that was killed: overwritten
        try:
            self._file = open(self._part, "wb")  # noqa: SIM115
        except OSError as error:
            raise self._fault(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if not self._file.closed:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._fault(error) from error
        self.size += len(data)

    def _finish(self, begin: bytes = b"", *, at: int = 0, replaces: Path | None = None) -> None:
        """Put the file in its place.

        Args:
            begin: bytes that are known only now, written over those at `at`.
            replaces: a file that must be gone before.
        """
        try:
            with self._file:
                self._file.seek(at)
                self._file.write(begin)
                self._file.flush()
                os.fsync(self._file.fileno())
            if replaces is not None:
                replaces.unlink(missing_ok=True)
            os.replace(self._part, self.path)
            fsync_folder(self.path.parent)
        except OSError as error:
            raise self._fault(error) from error

    def _fault(self, error: OSError) -> UserError:
        return UserError(f"{self.path} cannot be written: {error.strerror}{self.remedy}")
