"""What the headers of AIFF, 8SVX, CAF, Wave64, AU, SPHERE and VOC promise; libsndfile just reads what is there."""

import os
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from deepspeech_training.audio.errors import AudioError

_PIPED = 0x7FFF0000  # and above: the program that wrote it into a pipe did not know the size
_MOST_PADDING = 4096
# Where the chunks begin, how the header of each is packed, how much of that its size counts, and its padding.
_CHUNKED = {"IFF": (12, ">4sI", 0, 2), "CAF": (8, ">4sq", 0, 1), "Wave64": (40, "<4s12xQ", 24, 8)}


@dataclass(frozen=True, slots=True)
class Promise:
    """Bytes of sound: by the header (None: it does not know), and how many there are from their start to the end of the
    file; `surplus` of these come after the sound and are nothing that is known.
    """

    promised: int | None
    present: int
    surplus: int = 0


def promise(kind: str, file: BinaryIO) -> Promise | None:
    """What the header of a file promises; None where nothing is known of its kind.

    Args:
        kind: as `formats.kind_of` says.
    Raises:
        AudioError: the header is damaged, or has no sound.
    """
    size = os.fstat(file.fileno()).st_size
    try:
        if kind in _CHUNKED:
            return _of_chunks(file, size, *_CHUNKED[kind])
        reader = {"AU": _au, "NIST SPHERE": _sphere, "VOC": _voc}.get(kind)
        return reader(file, size) if reader else None
    except (struct.error, ValueError) as error:
        raise AudioError(f"its {kind} header is damaged or cut (truncated)") from error


def _read(file: BinaryIO, at: int, form: str) -> tuple:
    file.seek(at)
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _of_chunks(file: BinaryIO, size: int, at: int, form: str, counted: int, align: int) -> Promise:
    found, end = None, at
    header = struct.calcsize(form)
    while at + header <= size:
        name, length = _read(file, at, form)
        start, length = at + header, length - counted
        if not name.isalnum() and not all(0x20 <= byte < 0x7F for byte in name):
            break
        if name in (b"SSND", b"BODY", b"data"):
            if found:
                raise AudioError("it has two pieces of sound, which is not read")
            if name == b"SSND":
                (offset,) = _read(file, start, ">I")
                start, length = start + 8 + offset, length - 8 - offset
            if name == b"data" and align == 1:  # CAF: a count of edits comes first
                start, length = start + 4, length - 4
            unknown = length < 0 or (length >= _PIPED and header == 8)
            found = Promise(None if unknown else length, size - start)
            if unknown or length >= found.present:
                return found
            at = start + length
        else:
            at = start + max(length, 0)
        at = end = (at + align - 1) // align * align
    if found is None:
        raise ValueError
    return Promise(found.promised, found.present, _surplus(file, end, size))


def _surplus(file: BinaryIO, at: int, size: int) -> int:
    """How many bytes there are from `at` on; none if they are padding."""
    file.seek(min(at, size))
    rest = file.read(_MOST_PADDING)
    return 0 if len(rest) < _MOST_PADDING and not rest.strip(b"\0") else size - at


def _au(file: BinaryIO, size: int) -> Promise:
    start, length = _read(file, 4, ">II")
    if length >= _PIPED:
        return Promise(None, size - start)
    return Promise(length, size - start, _surplus(file, start + length, size))


def _sphere(file: BinaryIO, size: int) -> Promise:
    file.seek(0)
    start = int(file.read(16)[8:])
    file.seek(0)
    fields = dict(re.findall(rb"^(\w+) -i (\d+)", file.read(min(start, 1 << 16)), re.MULTILINE))
    if b"sample_count" not in fields or b"sample_n_bytes" not in fields:
        return Promise(None, size - start)
    count, num_bytes, channels = (
        int(fields.get(name, 1)) for name in (b"sample_count", b"sample_n_bytes", b"channel_count")
    )
    length = count * num_bytes * channels
    return Promise(length, size - start, _surplus(file, start + length, size))


def _voc(file: BinaryIO, size: int) -> Promise:
    (at,) = _read(file, 20, "<H")
    while True:
        kind, low, high = _read(file, at, "<BHB")
        length = low | high << 16
        if kind in (1, 9):  # a block of sound, after what it says of it
            described = 2 if kind == 1 else 12
            return Promise(length - described, size - at - 4 - described)
        if kind == 0:
            raise ValueError
        at += 4 + length
