"""Files that are there whole or not at all: written beside, fsynced, renamed."""

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from deepspeech_training.errors import UserError


def write_atomically(path: Path, chunks: Iterable[bytes]) -> str:
    """Write bytes to `path` so that either all of them are there or the old file still is; returns their SHA-256.

    Raises:
        UserError: the disk is full or the folder cannot be written; nothing was changed.
    """
    # Not the process id alone: in containers that share a volume every process may have the same.
    beside = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(4).hex()}.part")
    digest = hashlib.sha256()
    try:
        with open(beside, "xb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        _fsync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"{path}: no space left on the disk for this file; what was saved before is untouched\n"
                "Free some space, or lower --max_to_keep; then the same command goes on."
            ) from error
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    return digest.hexdigest()


def _fsync_folder(folder: Path) -> None:
    with contextlib.suppress(OSError):  # some mounts (SMB, FUSE) cannot; the file itself is on the disk already
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
