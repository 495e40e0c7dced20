"""The files below a folder, for every command that looks through one."""

import os
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

from deepspeech_training.errors import UserError


def names_below(
    root: str | Path,
    wanted: Callable[[str], bool] = lambda name: True,
    *,
    depth: int | None = None,
    hidden: bool = True,
    faults: list[str] | None = None,
) -> Iterator[str]:
    """Names of files relative to a folder, with slashes, sorted folder by folder; what is linked comes after the rest.

    Each real folder counts once, however many links lead to it, and one that the root is in never. Of the folder in
    hand only the names that count are in memory: there may be a million others.

    Args:
        wanted: tells by its name whether a file counts. One whose link is broken does too, so that it can be named.
        depth: of the folders that are looked into: 0 is the root alone, None has no end.
        hidden: files and folders whose names begin with a dot count too.
        faults: gets a line for each folder below the root that cannot be read.
    Raises:
        UserError: the root cannot be read, or, without `faults`, another folder.
    """
    real = Path(root).resolve()
    seen = {_identity(folder) for folder in (real, *real.parents)}
    links: deque[tuple[str, int | None]] = deque()

    def walk(folder: str, depth: int | None) -> Iterator[str]:
        deeper = None if depth is None else depth - 1
        found = []
        try:
            with os.scandir(f"{root}/{folder}") as entries:
                for entry in entries:
                    full = f"{folder}{entry.name}"
                    if not hidden and entry.name.startswith("."):
                        continue
                    if _is_folder(entry):
                        if depth != 0:
                            found.append((full, "link" if entry.is_symlink() else "folder"))
                    elif depth in (None, 0) and wanted(full):
                        found.append((full, "file"))
        except OSError as error:
            fault = f"{root}/{folder}".rstrip("/") + f": the folder cannot be read: {error.strerror}"
            if not folder or faults is None:
                raise UserError(fault) from error
            faults.append(fault)
        for full, kind in sorted(found):
            if kind == "file":
                yield full
            elif kind == "link":
                links.append((full, deeper))
            elif is_new(full):
                yield from walk(f"{full}/", deeper)

    def is_new(folder: str) -> bool:
        identity = _identity(f"{root}/{folder}")
        is_known = identity in seen
        seen.add(identity)
        return not is_known

    yield from walk("", depth)
    while links:
        link, left = links.popleft()
        if is_new(link):
            yield from walk(f"{link}/", left)


def _is_folder(entry: os.DirEntry) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _identity(folder: str | Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino
