"""The length of FLAC files (RFC 9639) by their last frame, which the header may not know or not tell rightly."""

import functools
import os
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from deepspeech_training.audio.errors import AudioError, cut
from deepspeech_training.audio.pieces import Piece

if TYPE_CHECKING:
    import numpy as np

_TAIL_BYTES = 1 << 17  # more than two frames of any usual stream
_ROW = 256
_MARK = re.compile(rb"\xff[\xf8\xf9]")  # how frames begin
_BLOCK_SIZES = (0, 192, 576, 1152, 2304, 4608, -1, -2, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)


@dataclass(frozen=True, slots=True)
class FlacLayout:
    """Where the stream lies in the file, and how long it is.

    Args:
        start: of the mark "fLaC"; what precedes it is a tag.
        length_at: where the length stands in the header, with rate and channels.
        num_frames: samples of a channel that are there.
        is_plain: the file is the stream, and its header has its length.
    """

    start: int
    end: int
    length_at: int
    num_frames: int
    sample_rate: int
    channels: int
    is_plain: bool

    def pieces(self, file: BinaryIO) -> list[Piece]:
        """The stream under a header with the right length."""
        file.seek(self.length_at)
        (number,) = struct.unpack(">Q", file.read(8))
        right = struct.pack(">Q", number >> 36 << 36 | self.num_frames)
        return [(self.start, self.length_at), right, (self.length_at + 8, self.end)]


def layout(file: BinaryIO, start: int) -> FlacLayout:
    """Find the last frame of the stream that begins at `start`.

    Raises:
        AudioError: the stream is cut or damaged.
    """
    size = os.fstat(file.fileno()).st_size
    file.seek(start)
    head = file.read(42)
    if len(head) < 42 or head[4] & 0x7F or head[:4] != b"fLaC":
        raise AudioError("its header is damaged: no STREAMINFO block")
    block_size, largest_frame = struct.unpack_from(">HxxxI", head, 10)
    (packed,) = struct.unpack_from(">Q", head, 18)
    rate, promised = packed >> 44, packed & (1 << 36) - 1
    promised_s = promised / rate if promised and rate else None
    at, is_last = start + 4, False
    while not is_last:
        file.seek(at)
        block = file.read(4)
        if len(block) < 4:
            raise cut(0.0, promised_s, sign="its header has no end")
        is_last, at = bool(block[0] & 0x80), at + 4 + int.from_bytes(block[1:])
    end = _without_tag(file, at, size)
    if at >= end and not promised:
        raise AudioError("it holds no audio", code="empty_audio")
    if not rate:
        raise AudioError("its header says 0 Hz")
    present, is_whole = _last_frame(file, at, end, largest_frame >> 8 or _TAIL_BYTES, block_size)
    if not is_whole:
        present, is_whole = _last_frame(file, at, end, _TAIL_BYTES, block_size)
    if not is_whole or present < promised:
        raise cut(present / rate, promised_s, sign="its last frame is not whole")
    if _begins_anew(file, at, end, block_size, present):
        raise AudioError("it is several FLAC recordings in one file: decode them one by one, and join them as WAV")
    is_plain = (start, end, promised) == (0, size, present)
    return FlacLayout(start, end, start + 18, present, rate, (packed >> 41 & 7) + 1, is_plain)


def _without_tag(file: BinaryIO, start: int, size: int) -> int:
    """Where the stream ends: before an ID3 tag of the old kind, if there is one."""
    file.seek(max(start, size - 128))
    return size - 128 if file.read(3) == b"TAG" else size


def _last_frame(file: BinaryIO, start: int, end: int, num_bytes: int, block_size: int) -> tuple[int, bool]:
    """How many samples there are up to the end of the last frame, and whether that is whole; else up to its start.

    It is looked for in the last bytes, `num_bytes` of them.
    """
    start = max(start, end - num_bytes)
    file.seek(start)
    tail = file.read(max(0, end - start))
    present = 0
    for at in reversed([match.start() for match in _MARK.finditer(tail)]):
        found = _frame_header(tail[at : at + 16], block_size)
        if found is None:
            continue
        first, num_samples = found
        if _is_whole(tail[at:]):
            return first + num_samples, True
        present = max(present, first)
    return present, False


def _begins_anew(file: BinaryIO, start: int, end: int, block_size: int, num_samples: int) -> bool:
    """Whether a frame in the middle of the stream counts from 0 again, since another stream was appended to it."""
    if end - start <= 1 << 16:
        file.seek(start)
        return b"fLaC" in file.read(end - start)
    file.seek(start + 11 * (end - start) // 20)  # a little after the half, where a second stream has just begun
    middle = file.read(1 << 14)
    for match in _MARK.finditer(middle):
        found = _frame_header(middle[match.start() : match.start() + 16], block_size)
        if found is not None:
            file.seek(start)
            return found[0] < 0.4 * num_samples and b"fLaC" in file.read(end - start)
    return False


def _frame_header(data: bytes, block_size: int) -> tuple[int, int] | None:
    """The number of a frame's first sample and how many it has; None if there is no frame.

    Frames tell either the number of that sample, or their own: then all but the last have `block_size` samples.
    """
    if len(data) < 6 or data[3] & 1 or data[2] & 0x0F == 0x0F or data[2] >> 4 == 0:
        return None
    length = 1
    if data[4] & 0x80:  # coded as UTF-8 codes its characters, with up to 7 bytes
        length = 8 - (data[4] ^ 0xFF).bit_length()
        if length < 2:
            return None
    coded = data[4 : 4 + length]
    number = coded[0] & (0x7F >> length if length > 1 else 0x7F)
    for byte in coded[1:]:
        if byte & 0xC0 != 0x80:
            return None
        number = number << 6 | byte & 0x3F
    at = 4 + length
    num_samples = _BLOCK_SIZES[data[2] >> 4]
    if num_samples < 0:
        num_samples, at = int.from_bytes(data[at : at - num_samples]) + 1, at - num_samples
    rate = data[2] & 0x0F
    at += 1 if rate == 12 else 2 if rate in (13, 14) else 0
    if at >= len(data) or _crc8(data[:at]) != data[at]:
        return None
    return (number if data[1] & 1 else number * block_size), num_samples


@functools.cache
def _crc8_table() -> bytes:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte << 1 ^ (0x107 if byte & 0x80 else 0)  # x^8 + x^2 + x + 1
        table.append(byte)
    return bytes(table)


def _crc8(data: bytes) -> int:
    table, crc = _crc8_table(), 0
    for byte in data:
        crc = table[crc ^ byte]
    return crc


def _is_whole(frame: bytes) -> bool:
    """Whether the CRC-16 in its last two bytes is right: then the frame, as a polynomial, is a multiple of the CRC's.

    Byte by byte Python would need a millisecond. So numpy reduces all rows of 256 bytes at once, and these follow.
    """
    import numpy as np

    powers = _times_powers()
    rows = np.frombuffer(frame.rjust(-(-len(frame) // _ROW) * _ROW, b"\0"), np.uint8).reshape(-1, _ROW)
    reduced = np.bitwise_xor.reduce(powers[np.arange(_ROW - 1, -1, -1), rows], axis=1)
    high, low = powers[_ROW + 1].tolist(), powers[_ROW].tolist()
    remainder = 0
    for row in reduced.tolist():
        remainder = high[remainder >> 8] ^ low[remainder & 0xFF] ^ row
    return remainder == 0


@functools.cache
def _times_powers() -> "np.ndarray":
    """[exponent, byte]: what the byte times x^(8 * exponent) leaves, modulo x^16 + x^15 + x^2 + 1."""
    import numpy as np

    table = np.empty((_ROW + 2, 256), np.uint16)
    table[0] = np.arange(256)
    beyond = np.zeros(256, np.uint16)  # of the high byte, once it has moved to the bits 16 to 23
    for byte in range(256):
        value = byte << 16
        for bit in range(23, 15, -1):
            if value >> bit & 1:
                value ^= 0x18005 << (bit - 16)
        beyond[byte] = value
    for exponent in range(_ROW + 1):
        table[exponent + 1] = (table[exponent] << 8) ^ beyond[table[exponent] >> 8]
    return table
