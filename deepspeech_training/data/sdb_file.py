"""Writes a sample database as DeepSpeech's `build_sdb.py` does: whole, or not at all. `audio.sdb` has its layout."""

import json
from pathlib import Path

from deepspeech_training.audio.sdb import MAGIC, MIME_TEXT, SPEECH, TRANSCRIPT, U32, U64
from deepspeech_training.data.part_file import PartFile


class SdbFile(PartFile):
    """A database that is being written, under a name beside its own until `close`. Use as a context manager.

    Args:
        audio: the MIME type of its clips.
        labelled: with transcripts.
    Raises:
        UserError: it cannot be written, or the disk is full.
    """

    def __init__(self, path: Path, audio: str, *, labelled: bool = True):
        super().__init__(path)
        self._labelled = labelled
        self._offsets: list[int] = []
        columns = [{"content": SPEECH, "mime-type": audio}]
        columns += [{"content": TRANSCRIPT, "mime-type": MIME_TEXT}] if labelled else []
        schema = json.dumps({"schema": columns}).encode()
        self._write(MAGIC + U64.pack(len(schema)) + schema)
        self._samples_at = self.size
        self._write(bytes(2 * U64.size))  # their size and number, which `close` knows

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
        self._finish(U64.pack(index - self._samples_at - U64.size) + U64.pack(num_samples), at=self._samples_at)
