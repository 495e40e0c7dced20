"""Session logs that are asked for again and again: each is read once, and again when it has changed."""

from dataclasses import replace
from pathlib import Path

from deepspeech_training.errors import UserError
from deepspeech_training.reporting.sessions import Session, read_session


class SessionFiles:
    """Keeps what it has read, without the lines that were said, which would fill the memory."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[tuple[int, int], Session | None]] = {}

    def get(self, path: Path) -> Session | None:
        """A session; None for a log that is gone, damaged, or of another version."""
        try:
            stat = path.stat()
        except OSError:
            self._read.pop(path, None)
            return None
        version = (stat.st_mtime_ns, stat.st_size)
        known = self._read.get(path)
        if known is None or known[0] != version:
            known = self._read[path] = (version, _without_lines(path))
        return known[1]


def _without_lines(path: Path) -> Session | None:
    try:
        return replace(read_session(path), lines=())
    except UserError:
        return None
