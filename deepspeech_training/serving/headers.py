"""What a stream is whose client does not say what it sends, by its first bytes: a WAV, samples, or compressed."""

import re
import struct
from dataclasses import dataclass

from deepspeech_training.audio.formats import kind_of
from deepspeech_training.serving.errors import ServingError

LONGEST_HEADER = 65536
# Those that samples do not look like by chance; quiet ones do look like MPEG frames.
COMPRESSED = ("FLAC", "Ogg", "MP4", "WebM or Matroska", "AMR", "Windows Media")
PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE  # wFormatTag
DTYPES = {(PCM, 16): "int16", (FLOAT, 32): "float32"}


@dataclass(frozen=True)
class WavHeader:
    """How the samples are that begin `size` bytes after the start."""

    dtype: str
    channels: int
    sample_rate: int
    size: int


def read_header(head: bytes) -> WavHeader | None:
    """The header that a stream begins with; None if it needs more bytes to be read.

    Raises:
        ServingError: bad_audio; what follows is not raw samples of a kind that a stream may have.
    """
    if len(head) < 12:
        return None
    if not re.match(rb"RIFF....WAVE", head, re.DOTALL):
        kind, _ = kind_of(head)
        if kind in COMPRESSED or head.startswith(b"ID3"):
            raise _refused(f"this is {kind or 'MP3'}")
        return WavHeader("int16", 0, 0, 0)
    at, found = 12, None
    while at + 8 <= len(head):
        name, length = struct.unpack_from("<4sI", head, at)
        if name == b"data" and found is not None:
            return WavHeader(*found, at + 8)
        if name == b"fmt " and at + 24 <= len(head):
            found = _format(head[at + 8 : at + 8 + length])
        at += 8 + length + length % 2
        if at > LONGEST_HEADER:
            raise _refused("this is a WAV without samples near its start")
    return None


def _format(chunk: bytes) -> tuple[str, int, int]:
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunk.ljust(16, b"\0"))
    if tag == EXTENSIBLE and len(chunk) >= 26:
        (tag,) = struct.unpack_from("<H", chunk, 24)
    if (tag, bits) not in DTYPES:
        raise _refused(f"this is a WAV of format {tag} with {bits} bits")
    return DTYPES[tag, bits], channels, rate


def _refused(what: str) -> ServingError:
    return ServingError(f"DATA-0000: {what}; send 16-bit samples, as such or in a WAV (encoding=linear16)", "bad_audio")
