"""What a run that resumes has to know of its receivers, in `outside.json` beside its checkpoints."""

import contextlib
import json
import threading
from pathlib import Path
from typing import Any

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.errors import UserError

NAME = "outside.json"
_LOCK = threading.Lock()  # each receiver has a thread that writes


class RunFile:
    """Values by key, such as the id of the run at a tracker. A file that cannot be read or written is as none."""

    def __init__(self, folder: Path):
        self._path = folder / NAME

    def get(self, key: str) -> Any:
        return self._values().get(key)

    def set(self, key: str, value: Any) -> None:
        with _LOCK, contextlib.suppress(OSError, UserError):
            write_atomically(self._path, [(json.dumps({**self._values(), key: value}) + "\n").encode()])

    def forget(self) -> None:
        """Another run begins in the folder."""
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _values(self) -> dict[str, Any]:
        try:
            values = json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return values if isinstance(values, dict) else {}
