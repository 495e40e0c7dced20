"""Stretches of a file as one file: what of a recording is sound, under a header that is right."""

import io
import os
from collections.abc import Sequence
from typing import BinaryIO

TAG_BYTES = 128
Piece = bytes | tuple[int, int]  # bytes as they are, or the place in the file: from, to


class Pieces(io.RawIOBase):
    """Bytes and stretches of a file one after the other; libsndfile reads it as if it were a file.

    Args:
        file: open; others may read it too.
        pieces: in their order.
        claimed_bytes: what it says that its size is, if that is more than there is to read. Of the rest only the last
            128 bytes can be read, as zeros: decoders look for a tag there, and fail if there is nothing.
    """

    def __init__(self, file: BinaryIO, pieces: Sequence[Piece], *, claimed_bytes: int = 0):
        self._file, self._pieces = file, [piece for piece in pieces if _length(piece)]
        self._starts = [0]
        for piece in self._pieces:
            self._starts.append(self._starts[-1] + _length(piece))
        self._size = max(self._starts[-1], claimed_bytes)
        self._at = self._piece = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        self._piece = 0
        return self._at

    def readinto(self, buffer) -> int:
        """Fill the whole buffer unless the end is reached: libsndfile takes less for the end."""
        view = memoryview(buffer).cast("B")
        done = 0
        while done < len(view) and self._at < self._starts[-1]:
            while self._starts[self._piece + 1] <= self._at:
                self._piece += 1
            piece, start = self._pieces[self._piece], self._at - self._starts[self._piece]
            length = min(len(view) - done, _length(piece) - start)
            if isinstance(piece, bytes):
                view[done : done + length] = piece[start : start + length]
            else:
                self._file.seek(piece[0] + start)
                data = self._file.read(length)
                length = len(data)
                if not length:  # the file has become shorter meanwhile
                    break
                view[done : done + length] = data
            done += length
            self._at += length
        if not done and self._size - TAG_BYTES <= self._at < self._size:
            done = min(len(view), self._size - self._at)
            view[:done] = bytes(done)
            self._at += done
        return done


def _length(piece: Piece) -> int:
    return len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
