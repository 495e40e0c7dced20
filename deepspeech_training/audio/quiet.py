"""Keeps what the MP3 decoder writes to stderr away: it complains of frames that are right, without a file's name."""

import ctypes
import functools
import os
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

_NOTES = (b"Note: ", b"Warning: ", b"[src/libmpg123/")  # how its lines begin


class _HeldBack:
    """A stream of C's library that replaces its `stderr`, for as long as anybody decodes.

    Python's own stderr is not concerned, nor what is written past the C library. What other libraries write meanwhile
    is passed on as soon as the decoder that was at work is done.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._library = ctypes.CDLL(None)
        self._stderr = ctypes.c_void_p.in_dll(self._library, "stderr")
        self._file = os.memfd_create("stderr")
        self._library.fdopen.restype = ctypes.c_void_p
        self._stream = self._library.fdopen(os.dup(self._file), b"a")
        self._library.setlinebuf(ctypes.c_void_p(self._stream))

    @contextmanager
    def use(self) -> Iterator[None]:
        with self._lock:
            if not self._users:
                self._before = self._stderr.value
                self._stderr.value = self._stream
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                if not self._users:
                    self._stderr.value = self._before
                self._pass_on()

    def _pass_on(self) -> None:
        self._library.fflush(ctypes.c_void_p(self._stream))
        size = os.fstat(self._file).st_size
        if not size:
            return
        lines = os.pread(self._file, size, 0).splitlines(keepends=True)
        os.ftruncate(self._file, 0)
        wanted = b"".join(line for line in lines if not line.startswith(_NOTES) and line.strip())
        if wanted:
            os.write(2, wanted)


@functools.cache
def _held_back() -> _HeldBack | None:
    try:
        return _HeldBack()
    except (AttributeError, OSError, ValueError):  # not Linux, or not glibc: the notes appear
        return None


def quiet_decoder() -> AbstractContextManager[None]:
    """While it lasts the MP3 decoder's notes are held back; for many threads."""
    held_back = _held_back()
    return held_back.use() if held_back else nullcontext()
