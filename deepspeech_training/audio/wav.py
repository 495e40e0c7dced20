"""Where the sound lies in a WAV (RIFF, RF64, BW64), and how long it is, whatever the size fields say.

The size of the data is wrong in many files: 0 or huge where a program wrote into a pipe, modulo 4 GB where a recording
became too long, that of the whole file, or of a recording that ended early. What is there is the truth: it is compared
with what the header promises, and where one cannot tell sound from something else, the file is refused.
"""

import os
import re
import struct
from dataclasses import dataclass
from typing import BinaryIO

from deepspeech_training.audio.errors import AudioError, cut
from deepspeech_training.audio.pieces import Piece

HEAD_BYTES = 4096  # read at once: nearly all headers are much shorter
PCM, FLOAT, ALAW, ULAW, MPEG, MP3, EXTENSIBLE = 1, 3, 6, 7, 0x50, 0x55, 0xFFFE  # wFormatTag
# Programs that write into a pipe do not know the size, and put a huge one (ffmpeg 0xFFFFFFFF, sox 0x7FFFF000).
_UNKNOWN_SIZES = (range(0x7FFF0000, 0x80000100), range(0xFFFF0000, 1 << 32))
_USUAL = struct.Struct("<4sI8sI16s4sI")  # a header of 44 bytes
_METADATA = (b"LIST", b"INFO", b"id3 ", b"ID3 ", b"bext", b"iXML", b"cue ", b"fact", b"smpl", b"JUNK", b"PAD ", b"FLLR")
_NAME = re.compile(rb"[!-~][ -~]{3}")
_TAGS = (b"TAG", b"ID3", b"APETAGEX")


@dataclass(frozen=True, slots=True)
class WavFormat:
    """The chunk "fmt "; `tag` is that of the subformat where it is extensible."""

    chunk: bytes
    tag: int
    channels: int
    sample_rate: int
    bytes_per_s: int
    block_bytes: int
    bits: int

    @property
    def frame_bytes(self) -> int:
        """Of one sample of every channel; 0 for codecs with blocks of many samples."""
        if self.tag in (PCM, FLOAT):
            return self.channels * ((self.bits + 7) // 8)
        return self.channels if self.tag in (ALAW, ULAW) else 0

    @property
    def is_pcm_16(self) -> bool:
        return self.tag == PCM and self.bits == 16

    def seconds(self, num_bytes: int) -> float:
        per_s = self.sample_rate * self.frame_bytes or self.bytes_per_s
        return num_bytes / per_s if per_s else 0.0


@dataclass(frozen=True, slots=True)
class WavSound:
    """The bytes of the sound of one recording; `is_plain` where the header's sizes are right."""

    format: WavFormat
    start: int
    num_bytes: int
    fact: bytes | None
    is_plain: bool

    @property
    def num_frames(self) -> int:
        """0 for codecs with blocks."""
        return self.num_bytes // self.format.frame_bytes if self.format.frame_bytes else 0

    def pieces(self) -> list[Piece]:
        """The sound under a header with the right sizes."""
        chunks = [(b"fmt ", self.format.chunk)] + ([(b"fact", self.fact)] if self.fact else [])
        inner = b"".join(struct.pack("<4sI", name, len(body)) + body + b"\0" * (len(body) % 2) for name, body in chunks)
        size = 4 + len(inner) + 8 + self.num_bytes
        if size <= 0xFFFFFF00:
            header = (
                struct.pack("<4sI4s", b"RIFF", size, b"WAVE") + inner + struct.pack("<4sI", b"data", self.num_bytes)
            )
        else:
            sizes = struct.pack("<4sIQQQI", b"ds64", 28, size + 36, self.num_bytes, self.num_frames, 0)
            header = struct.pack("<4sI4s", b"RF64", 0xFFFFFFFF, b"WAVE") + sizes + inner
            header += struct.pack("<4sI", b"data", 0xFFFFFFFF)
        return [header, (self.start, self.start + self.num_bytes)]


class _Reader:
    """A file with its first bytes at hand."""

    def __init__(self, file: BinaryIO, head: bytes):
        self._file, self._head = file, head
        self.size = os.fstat(file.fileno()).st_size

    def bytes_at(self, at: int, length: int) -> bytes:
        if at + length <= len(self._head):
            return self._head[at : at + length]
        self._file.seek(at)
        return self._file.read(length)


def sounds(file: BinaryIO, head: bytes) -> list[WavSound]:
    """The recordings of a WAV: more than one where files were joined.

    Args:
        file: open.
        head: its first HEAD_BYTES, or all of it.
    Raises:
        AudioError: it is cut, or its header is damaged or contradicts itself or the file.
    """
    reader, found, at = _Reader(file, head), list[WavSound](), 0
    if len(head) >= _USUAL.size:
        magic, _, kind, size, chunk, name, num_bytes = _USUAL.unpack_from(head)
        usual = (magic, kind, size, name) == (b"RIFF", b"WAVEfmt ", 16, b"data")
        if usual and num_bytes == reader.size - _USUAL.size:
            return [WavSound(_format(chunk), _USUAL.size, num_bytes, None, True)]
    while True:
        sound, end = _sound(reader, at)
        found.append(sound)
        if end >= reader.size or reader.bytes_at(end, 4) not in (b"RIFF", b"RF64"):
            return found
        at = end


def _sound(reader: _Reader, start: int) -> tuple[WavSound, int]:
    """The recording whose header begins at `start`, and where what belongs to it ends."""
    magic, riff_size, kind = struct.unpack("<4sI4s", reader.bytes_at(start, 12).ljust(12, b"\0"))
    if magic == b"RIFX" or kind != b"WAVE":
        raise AudioError(f"its header begins with {magic!r} and {kind!r}: no WAV that can be read")
    wav_format, fact, data, sizes_64 = None, None, None, None
    at = start + 12
    while at + 8 <= reader.size and (wav_format is None or data is None):
        name, size = struct.unpack("<4sI", reader.bytes_at(at, 8))
        if not _is_name(name):
            raise AudioError(f"its header is damaged: byte {at:,} begins no chunk")
        if name == b"fmt ":
            wav_format = _format(reader.bytes_at(at + 8, min(size, 1024)))
        elif name == b"fact" and size <= 1024:
            fact = reader.bytes_at(at + 8, size)
        elif name == b"ds64":
            sizes_64 = struct.unpack("<QQ", reader.bytes_at(at + 8, 16).ljust(16, b"\0"))
        elif name == b"data":
            if size == 0xFFFFFFFF and sizes_64:
                size = sizes_64[1]
            data = (at + 8, size)
        at += 8 + size
        if size % 2 and not _is_name(reader.bytes_at(at + 1, 4)) and _is_name(reader.bytes_at(at, 4)):
            continue  # the padding byte was forgotten
        at += size % 2
    if data is None:
        raise AudioError("its header is damaged: no data chunk" + (" before its end" if at > reader.size else ""))
    if wav_format is None:
        raise AudioError("its header is damaged: no format chunk")
    if sizes_64 and magic != b"RIFF":
        riff_size = sizes_64[0]
    return _measured(reader, start, riff_size, wav_format, fact, *data)


def _format(chunk: bytes) -> WavFormat:
    if len(chunk) < 14:
        raise AudioError("its header is damaged: the format chunk is too short")
    tag, channels, rate, bytes_per_s, block, bits = struct.unpack_from("<HHIIHH", chunk.ljust(16, b"\0"))
    if tag == EXTENSIBLE and len(chunk) >= 26:
        (tag,) = struct.unpack_from("<H", chunk, 24)
    if not rate or not channels:
        raise AudioError(f"its header says {rate} Hz and {channels} channels")
    found = WavFormat(chunk, tag, channels, rate, bytes_per_s, block, bits)
    if found.frame_bytes and found.frame_bytes != block:
        raise AudioError(f"its header contradicts itself: {channels} x {bits} bits, and {block} bytes for all of them")
    return found


def _measured(
    reader: _Reader, start: int, riff_size: int, wav_format: WavFormat, fact: bytes | None, at: int, promised: int
) -> tuple[WavSound, int]:
    """Compare the size of the data chunk with what is there."""
    present = reader.size - at
    if promised > present:
        unknown = any(promised in sizes for sizes in _UNKNOWN_SIZES)
        # Some recorders count the header too, up to the size of the whole file: such a clip is complete.
        is_all_there = promised <= reader.size and riff_size + 8 == reader.size - start
        if not (unknown or is_all_there):
            raise cut(wav_format.seconds(present), wav_format.seconds(promised))
        return WavSound(wav_format, at, max(present, 0), fact, False), reader.size
    frame = wav_format.frame_bytes or 1
    if promised % frame and present % frame == 0 and present - promised < frame:
        promised = present  # what looks like a padding byte completes the last sample
    end = at + promised
    if _what_follows(reader, end, promised % 2) or promised == present:
        return WavSound(wav_format, at, promised, fact, True), end + promised % 2
    following = reader.bytes_at(end, 4)
    if following in (b"RIFF", b"RF64") and promised:
        return WavSound(wav_format, at, promised, fact, False), end
    if promised == 0:
        return WavSound(wav_format, at, present, fact, False), reader.size  # the program that wrote it was in a pipe
    if present > 0xFFFFFFFF:  # the size is modulo 4 GB
        whole = promised + ((present - promised) >> 32 << 32)
        if whole == present or _what_follows(reader, at + whole, whole % 2):
            return WavSound(wav_format, at, whole, fact, False), reader.size
    raise AudioError(
        f"its header ends the sound after {wav_format.seconds(promised):.2f} s, but {present - promised:,} bytes "
        f"({wav_format.seconds(present - promised):.2f} s) follow that are nothing else: its size field is wrong"
    )


def _what_follows(reader: _Reader, end: int, padding: int) -> bool:
    """Whether after the sound there is nothing, or chunks, or something else that is no sound."""
    return any(_is_no_sound(reader, at) for at in ((end + padding, end) if padding else (end,)))


def _is_no_sound(reader: _Reader, at: int) -> bool:
    if at >= reader.size:
        return True
    rest = reader.bytes_at(at, min(reader.size - at, HEAD_BYTES))
    if rest.startswith(_TAGS):
        return True
    if len(rest) < HEAD_BYTES and not rest.strip(b"\0\r\n\t "):
        return True
    while at + 8 <= reader.size:
        name, size = struct.unpack("<4sI", reader.bytes_at(at, 8))
        if name in (b"RIFF", b"RF64"):
            return True
        if name == b"data" or not _is_name(name):
            return False
        at += 8 + size
        if at > reader.size + 1:
            return name in _METADATA  # a cut list of names, after sound that is whole
        at += size % 2
    return not reader.bytes_at(at, max(0, reader.size - at)).strip(b"\0\r\n\t ")


def _is_name(name: bytes) -> bool:
    return _NAME.fullmatch(name) is not None
