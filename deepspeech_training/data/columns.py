"""Columns of numbers and texts in one file that is mapped into memory: ten million rows without as many objects.

    one line: its CRC-32, and in JSON what is said of the whole, and per column its kind, size and CRC-32
    the columns, one after the other; a text column is its bytes, and NAME.ends says where each text ends

What is read of it is read by the operating system when it is used, and need not stay in memory.
"""

import itertools
import json
import mmap
import os
import tempfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from deepspeech_training.atomic_file import write_atomically

FORMAT = "deepspeech_training columns 1"
TEXT = "text"
ROWS_AT_ONCE = 8192  # of a writer, before they go to the disk
CHUNK_BYTES = 1 << 22
HEAD_BYTES = 1 << 26
_ALIGNED = 64


class Columns:
    """Columns of a file, for reading.

    Args:
        file: open; it may be closed afterwards.
    Raises:
        ValueError: it is no such file, or is damaged.
    """

    def __init__(self, file: BinaryIO):
        self._descriptor = os.dup(file.fileno())
        file.seek(0)
        head = file.readline(HEAD_BYTES)
        checksum, _, body = head.partition(b" ")
        if zlib.crc32(body) != int(checksum, 16):
            raise ValueError("a wrong checksum of the first line")
        described = json.loads(body)
        if described["format"] != FORMAT:
            raise ValueError("another format")
        self.said: dict[str, Any] = described["said"]
        self._places: dict[str, tuple[str, int, int]] = {}
        start = _aligned(len(head))
        for name, kind, size, checksum in described["columns"]:
            if _checksum(self._pieces(start, size)) != checksum:
                raise ValueError(f"a wrong checksum of {name}")
            self._places[name] = (kind, start, size)
            start = _aligned(start + size)
        self._mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def __del__(self) -> None:
        with suppress(AttributeError):
            os.close(self._descriptor)

    def array(self, name: str) -> np.ndarray:
        """The numbers of a column; the place where each text ends, of a column of texts with `.ends`."""
        kind, start, size = self._places[name]
        dtype = np.dtype(kind)
        return np.frombuffer(self._mapped, dtype, size // dtype.itemsize, start)

    def text(self, name: str, row: int) -> bytes:
        """One text."""
        ends = self.array(f"{name}.ends")
        _, start, _ = self._places[name]
        return self._mapped[start + (int(ends[row - 1]) if row else 0) : start + int(ends[row])]

    def texts(self, name: str) -> Iterator[bytes]:
        """All texts in their order."""
        ends, (_, start, _) = self.array(f"{name}.ends"), self._places[name]
        for first in range(0, len(ends), ROWS_AT_ONCE):
            places = [int(ends[first - 1]) if first else 0, *ends[first : first + ROWS_AT_ONCE].tolist()]
            data = b"".join(self._pieces(start + places[0], places[-1] - places[0]))
            for begin, end in itertools.pairwise(places):
                yield data[begin - places[0] : end - places[0]]

    def chunks(self, name: str) -> Iterator[bytes]:
        """The bytes of all texts, read without mapping them, so that they do not count as memory of this process."""
        _, start, size = self._places[name]
        return self._pieces(start, size)

    def _pieces(self, start: int, size: int) -> Iterator[bytes]:
        end = start + size
        while start < end and (piece := os.pread(self._descriptor, min(CHUNK_BYTES, end - start), start)):
            start += len(piece)
            yield piece


class ColumnWriter:
    """Takes rows, and keeps but a few of them in memory.

    Args:
        kinds: a dtype or `TEXT` for each column.
    """

    def __init__(self, kinds: Mapping[str, str]):
        self._kinds = dict(kinds)
        self._waiting: list[Sequence[Any]] = []
        self._ends = {name: 0 for name, kind in kinds.items() if kind == TEXT}
        names = [column for name in kinds for column in ((name, f"{name}.ends") if name in self._ends else (name,))]
        self._files = {name: tempfile.TemporaryFile() for name in names}  # noqa: SIM115
        self._sizes = dict.fromkeys(names, 0)
        self._checksums = dict.fromkeys(names, 0)
        self.num_rows = 0

    def add(self, values: Sequence[Any]) -> None:
        """A row: a number, or the bytes of a text, for each column."""
        self._waiting.append(values)
        self.num_rows += 1
        if len(self._waiting) >= ROWS_AT_ONCE:
            self._flush()

    def _flush(self) -> None:
        columns = zip(*self._waiting, strict=True) if self._waiting else iter([()] * len(self._kinds))
        for (name, kind), values in zip(self._kinds.items(), columns, strict=True):
            if kind == TEXT:
                ends = self._ends[name] + np.cumsum([len(value) for value in values], dtype=np.int64)
                self._ends[name] = int(ends[-1]) if len(ends) else self._ends[name]
                self._write(f"{name}.ends", ends.astype("<u8").tobytes())
                self._write(name, b"".join(values))
            else:
                self._write(name, np.array(values, kind).tobytes())
        self._waiting.clear()

    def _write(self, name: str, data: bytes) -> None:
        self._files[name].write(data)
        self._sizes[name] += len(data)
        self._checksums[name] = zlib.crc32(data, self._checksums[name])

    def finish(self, said: Mapping[str, Any], path: Path | None) -> Columns:
        """Write the file, atomically, or with None as an unnamed temporary one, and open it.

        Raises:
            UserError: it cannot be written.
        """
        self._flush()
        if path is not None:
            write_atomically(path, self._whole(said))
            return open_columns(path)
        with tempfile.TemporaryFile() as file:
            for piece in self._whole(said):
                file.write(piece)
            file.flush()
            return Columns(file)

    def close(self) -> None:
        """Let go of its temporary files."""
        for file in self._files.values():
            file.close()

    def _whole(self, said: Mapping[str, Any]) -> Iterator[bytes]:
        kinds = {name: self._kinds.get(name, "<u8") for name in self._files}
        columns = [(name, kinds[name], self._sizes[name], self._checksums[name]) for name in self._files]
        body = json.dumps({"format": FORMAT, "said": said, "columns": columns}).encode("ascii") + b"\n"
        head = b"%08x %b" % (zlib.crc32(body), body)
        yield head + bytes(-len(head) % _ALIGNED)
        for name, file in self._files.items():
            file.seek(0)
            while piece := file.read(CHUNK_BYTES):
                yield piece
            yield bytes(-self._sizes[name] % _ALIGNED)


def open_columns(path: Path) -> Columns:
    """The columns of a file.

    Raises:
        ValueError: it is damaged, or no such file.
        OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        try:
            return Columns(file)
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError("another format") from error


def _aligned(size: int) -> int:
    return -(-size // _ALIGNED) * _ALIGNED


def _checksum(pieces: Iterator[bytes]) -> int:
    checksum = 0
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return checksum
