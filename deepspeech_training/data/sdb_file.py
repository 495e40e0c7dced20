"""Writes a sample database as DeepSpeech's `build_sdb.py` does: whole, or not at all. `audio.sdb` has its layout."""

import json
import os
from pathlib import Path

from deepspeech_training.atomic_file import fsync_folder
from deepspeech_training.audio.sdb import MAGIC, MIME_TEXT, SPEECH, TRANSCRIPT, U32, U64
from deepspeech_training.errors import UserError


class SdbFile:
    """A database that is being written, under a name beside its own until `close`. Use as a context manager.

    Args:
        audio: the MIME type of its clips.
        labelled: with transcripts.
    Raises:
        UserError: it cannot be written, or the disk is full.
    """

    def __init__(self, path: Path, audio: str, *, labelled: bool = True):
        self.path, self.size = path, 0
        self._labelled = labelled
        self._part = path.with_name(f".{path.name}.part")  # of one that was killed: overwritten
        self._offsets: list[int] = []
        columns = [{"content": SPEECH, "mime-type": audio}]
        columns += [{"content": TRANSCRIPT, "mime-type": MIME_TEXT}] if labelled else []
        schema = json.dumps({"schema": columns}).encode()
        try:
            self._file = open(self._part, "wb")  # noqa: SIM115
        except OSError as error:
            raise UserError(f"{path} cannot be written: {error.strerror}") from error
        self._write(MAGIC + U64.pack(len(schema)) + schema)
        self._samples_at = self.size
        self._write(bytes(2 * U64.size))  # their size and number, which `close` knows

    def __enter__(self) -> "SdbFile":
        return self

    def __exit__(self, *error: object) -> None:
        if not self._file.closed:
            self._file.close()
            self._part.unlink(missing_ok=True)

    def __len__(self) -> int:
        return len(self._offsets)

    def add(self, audio: bytes, transcript: str) -> None:
        columns = [audio, transcript.encode("utf-8", "surrogateescape")] if self._labelled else [audio]
        entry = b"".join(U32.pack(len(column)) + column for column in columns)
        self._offsets.append(self.size)
        self._write(U32.pack(len(entry)) + entry)

    def close(self) -> None:
        """Write the index, and put the file in its place."""
        num_samples, index = len(self._offsets), self.size
        self._write(U64.pack(U64.size * (num_samples + 1)) + U64.pack(num_samples))
        self._write(b"".join(map(U64.pack, self._offsets)))
        try:
            with self._file:
                self._file.seek(self._samples_at)
                self._file.write(U64.pack(index - self._samples_at - U64.size) + U64.pack(num_samples))
                self._file.flush()
                os.fsync(self._file.fileno())
            os.replace(self._part, self.path)
            fsync_folder(self.path.parent)
        except OSError as error:
            raise self._fault(error) from error

    def _write(self, data: bytes) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise self._fault(error) from error
        self.size += len(data)

    def _fault(self, error: OSError) -> UserError:
        return UserError(f"{self.path} cannot be written: {error.strerror}")
