"""The folder that outlives a container: where the app finds data and models, and keeps what it makes of them."""

import fcntl
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deepspeech_training.data.walk import names_below
from deepspeech_training.errors import UserError

FLAGFILE, CONFIG_FILE = "train.flags", "config.yaml"
LOCK_FILE = ".app.lock"


@dataclass(frozen=True)
class Volume:
    """Its folders; none of them has to be there."""

    root: Path

    @property
    def corpora(self) -> Path:
        return self.root / "corpora"

    @property
    def checkpoints(self) -> Path:
        return self.root / "checkpoints"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def models(self) -> Path:
        return self.root / "models"

    @property
    def studio(self) -> Path:
        return self.root / "studio"

    @property
    def listening(self) -> Path:
        return self.root / "listening"

    def signature(self) -> str:
        """Changes when a person changes data or flags: names, sizes and times of all that may be trained on."""
        digest = hashlib.sha256()
        files = [self.root / FLAGFILE, self.root / CONFIG_FILE]
        if self.corpora.is_dir():
            files += [self.corpora / name for name in names_below(self.corpora, hidden=False, faults=[])]
        for path in files:
            try:
                stat = path.stat()
            except OSError:
                continue
            digest.update(f"{path}\0{stat.st_size}\0{stat.st_mtime_ns}\n".encode(errors="surrogateescape"))
        return digest.hexdigest()


class VolumeLock:
    """Of several apps on one volume, one trains.

    The file is handed to the processes that train: it stays locked until the last of them has ended, even where the
    app that started them was killed.
    """

    def __init__(self, volume: Volume):
        self._path = volume.root / LOCK_FILE
        self._file: IO[str] | None = None

    def take(self) -> bool:
        """Whether this app may train.

        Raises:
            UserError: the volume cannot be written.
        """
        if self._file is not None:
            return True
        try:
            file = open(self._path, "a")  # noqa: SIM115 - open for as long as it is locked
        except OSError as error:
            raise UserError(
                f"{self._path.parent}: nothing can be written there ({error.strerror}), so nothing can be trained\n"
                "Mount the volume for writing, owned by the user of the container; a model alone can be read only."
            ) from error
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            file.close()
            return False
        self._file = file
        return True

    def fileno(self) -> int:
        assert self._file is not None, "it is locked"
        return self._file.fileno()

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
