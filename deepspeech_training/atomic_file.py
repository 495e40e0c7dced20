"""Files that are there whole or not at all: written beside, fsynced, renamed. Devices and pipes are written through."""

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from deepspeech_training.errors import UserError

LONGEST_NAME = 255  # bytes of a file name, on all common file systems


def write_atomically(path: Path, chunks: Iterable[bytes]) -> str:
    """Write bytes to `path` so that either all of them are there or the old file still is; returns their SHA-256.

    A link stays a link: what it points to is written. A device or a pipe takes the bytes; it is never replaced.

    Raises:
        UserError: the disk is full or the folder cannot be written; nothing was changed.
    """
    digest = hashlib.sha256()

    def fill(file: BinaryIO) -> None:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
        file.flush()

    try:
        if _is_written_through(path):
            with open(path, "ab") as file:  # /dev/stdout may be a file that has something already
                fill(file)
            return digest.hexdigest()
        target = Path(os.path.realpath(path))
        beside = _name_beside(target)
        try:
            with open(beside, "xb") as file:
                fill(file)
                os.fsync(file.fileno())
                with contextlib.suppress(OSError):  # there is no old file, or it has another owner
                    os.chmod(beside, stat.S_IMODE(target.stat().st_mode))
            os.replace(beside, target)
        except BaseException:
            with contextlib.suppress(OSError):
                beside.unlink()
            raise
        fsync_folder(target.parent)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise UserError(
                f"{path}: no space left on the disk for this file; what was saved before is untouched\n"
                "Free some space, or lower --max_to_keep; then run the same command again."
            ) from error
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    return digest.hexdigest()


def check_writable(path: Path) -> None:
    """Find out before the work whether `write_atomically` could write its result to `path`.

    Raises:
        UserError: its folder is missing or cannot be written, or it is a folder itself.
    """
    if _is_written_through(path):
        if not os.access(path, os.W_OK):
            raise UserError(f"{path} cannot be written: Permission denied")
        return
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise UserError(f"{path}: is a folder; name a file in it")
    if not target.parent.is_dir():
        raise UserError(f"{path} cannot be written: there is no folder {target.parent}\nMake it, or name another file.")
    beside = _name_beside(target)
    try:
        beside.touch(exist_ok=False)
    except OSError as error:
        raise UserError(f"{path} cannot be written: {error.strerror}") from error
    beside.unlink()


def _is_written_through(path: Path) -> bool:
    """Whether `path` is a device, a pipe or a descriptor of this process, whose place nothing may take."""
    if os.path.abspath(path).startswith(("/dev/", "/proc/")):
        return True
    with contextlib.suppress(OSError):
        mode = os.stat(path).st_mode
        return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))
    return False


def _name_beside(path: Path) -> Path:
    # Not the process id alone: in containers that share a volume every process may have the same.
    ending = f".{os.getpid()}-{os.urandom(4).hex()}.part"
    name = os.fsencode(path.name)[: LONGEST_NAME - 1 - len(ending)]
    return path.with_name(f".{name.decode(errors='ignore')}{ending}")


def fsync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, such as one that was renamed."""
    with contextlib.suppress(OSError):  # some mounts (SMB, FUSE) cannot; the file itself is on the disk already
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
