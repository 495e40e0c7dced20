"""Audio files made by hand, whose headers can say whatever a test wants."""

import io
import struct

import numpy as np
import soundfile

# How samples are packed, by the name that soundfile has for it: wFormatTag, bits, and a function of values in -1..1.
ENCODINGS = {
    "PCM_U8": (1, 8, lambda x: (x * 120 + 128).astype(np.uint8).tobytes()),
    "PCM_16": (1, 16, lambda x: (x * 32000).astype("<i2").tobytes()),
    "PCM_24": (1, 24, lambda x: (x * 8e6).astype("<i4").view(np.uint8).reshape(-1, 4)[:, :3].tobytes()),
    "PCM_32": (1, 32, lambda x: (x * 2e9).astype("<i4").tobytes()),
    "FLOAT": (3, 32, lambda x: x.astype("<f4").tobytes()),
    "DOUBLE": (3, 64, lambda x: x.astype("<f8").tobytes()),
    "ALAW": (6, 8, lambda x: (np.abs(x) * 200 + 1).astype(np.uint8).tobytes()),
    "ULAW": (7, 8, lambda x: (np.abs(x) * 200 + 1).astype(np.uint8).tobytes()),
}


def noise(num_frames: int, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Values in -0.9..0.9, none of them near 0: float64 [frames * channels]."""
    values = np.random.default_rng(seed).uniform(0.05, 0.9, num_frames * channels)
    return values * np.where(np.arange(len(values)) % 3, 1, -1)


def tone(seconds: float, rate: int = 16000) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * 220 * np.arange(round(seconds * rate)) / rate)


def chunk(name: bytes, body: bytes, *, size: int | None = None, padded: bool = True) -> bytes:
    """A chunk of a WAV; `size` is what its header says, if that is not the truth."""
    header = struct.pack("<4sI", name, len(body) if size is None else size)
    return header + body + (b"\0" if padded and len(body) % 2 else b"")


def wav(
    num_frames: int,
    *,
    encoding: str = "PCM_16",
    channels: int = 1,
    rate: int = 16000,
    before: bytes = b"",
    after: bytes = b"",
    data_size: int | None = None,
    riff_size: int | None = None,
    extensible: bool = False,
) -> bytes:
    """A WAV of noise; `before` and `after` are chunks around the sound, the sizes what the header says of them."""
    tag, bits, pack = ENCODINGS[encoding]
    block = channels * bits // 8
    format_chunk = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, channels, rate, rate * block, block, bits)
    if extensible:
        guid = struct.pack("<H", tag) + bytes.fromhex("000000001000800000aa00389b71")
        format_chunk += struct.pack("<HHI", 22, bits, 0) + guid
    body = chunk(b"fmt ", format_chunk) + before + chunk(b"data", pack(noise(num_frames, channels)), size=data_size)
    body += after
    return struct.pack("<4sI4s", b"RIFF", 4 + len(body) if riff_size is None else riff_size, b"WAVE") + body


def encoded(audio: np.ndarray, rate: int = 16000, **how) -> bytes:
    """The bytes of a file that soundfile writes."""
    file = io.BytesIO()
    soundfile.write(file, audio, rate, **how)
    return file.getvalue()


def mp3(seconds: float, rate: int = 16000, **how) -> bytes:
    return encoded(tone(seconds, rate), rate, format="MP3", **how)


def mp3_frames(data: bytes) -> list[bytes]:
    """The frames of an MP3 without tags, of MPEG-2, layer III."""
    frames, at = [], 0
    bit_rates = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
    while at < len(data):
        rate = (22050, 24000, 16000)[data[at + 2] >> 2 & 3]
        length = 72 * bit_rates[data[at + 2] >> 4] * 1000 // rate + (data[at + 2] >> 1 & 1)
        frames.append(data[at : at + length])
        at += length
    return frames


def without_xing(data: bytes) -> bytes:
    return b"".join(frame for frame in mp3_frames(data) if b"Xing" not in frame[:40] and b"Info" not in frame[:40])


def id3(num_bytes: int) -> bytes:
    """An ID3 tag in front of a file, with a picture's worth of bytes."""
    size = bytes(num_bytes >> shift & 0x7F for shift in (21, 14, 7, 0))
    return b"ID3\x04\0\0" + size + b"\xff\xfb\x90\0" * (num_bytes // 4) + bytes(num_bytes % 4)


def ogg_pages(data: bytes) -> list[bytes]:
    pages, at = [], 0
    while at < len(data):
        num_segments = data[at + 26]
        length = 27 + num_segments + sum(data[at + 27 : at + 27 + num_segments])
        pages.append(data[at : at + length])
        at += length
    return pages
