"""The frames of MP3 files (MPEG-1, 2 and 2.5 audio, layers I to III: ISO/IEC 11172-3 and 13818-3), counted one by one.

No header of an MP3 can be trusted. Without a Xing header decoders guess the length from the first frame's bit rate;
with one they stop where it says, also in files that were joined. So libsndfile is given each recording of a file alone,
under a Xing header that is right, or with a size from which it guesses enough.
"""

import functools
import mmap
import struct
from dataclasses import dataclass, field
from typing import BinaryIO

from deepspeech_training.audio.errors import AudioError, cut
from deepspeech_training.audio.pieces import Pieces

# Bit rates in kbit/s by (MPEG-1, layer), and sample rates in Hz by the two bits of the version.
_BIT_RATES = {
    (True, 1): (0, 32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (0, 32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (0, 32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_FRAMES_FLAG, _BYTES_FLAG = 1, 2  # of a Xing header: which fields it has


@dataclass(frozen=True, slots=True)
class Frame:
    """What the first four bytes of a frame say."""

    num_bytes: int
    num_samples: int
    sample_rate: int
    kind: tuple[int, int, int, bool]  # version, layer, rate and whether it is mono: the same in all frames of a stream
    side_bytes: int  # between the header and where a Xing header stands

    @property
    def channels(self) -> int:
        return 1 if self.kind[3] else 2


@dataclass
class Stream:
    """One recording of a file: what libsndfile is to read of it.

    Args:
        first: its first frame.
        xing: the frame with the header, if there is one; it has no sound.
    """

    first: Frame
    xing: bytes | None = None
    xing_at: int = 0
    promised: int | None = None
    promised_bytes: int | None = None
    num_frames: int = 0
    num_bytes: int = 0
    largest_bytes: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def seconds(self, num_frames: int) -> float:
        return num_frames * self.first.num_samples / self.first.sample_rate

    def add(self, start: int, end: int, num_frames: int, largest_bytes: int) -> None:
        self.ranges.append((start, end))
        self.num_bytes += end - start
        self.num_frames += num_frames
        self.largest_bytes = max(self.largest_bytes, largest_bytes)

    def take_xing(self, frame: bytes) -> None:
        self.xing, self.xing_at = frame, 4 + self.first.side_bytes
        (flags,) = struct.unpack_from(">I", frame.ljust(self.xing_at + 16, b"\0"), self.xing_at + 4)
        if flags & _FRAMES_FLAG and len(frame) >= self.xing_at + 16:
            self.promised, num_bytes = struct.unpack_from(">II", frame, self.xing_at + 8)
            self.promised_bytes = num_bytes if flags & _BYTES_FLAG else None

    def check(self) -> None:
        """Raises: AudioError: it has fewer frames than its Xing header says."""
        if self.promised is None:
            return
        # Some encoders count the header's own frame.
        missing = self.promised - self.num_frames
        if missing > 1 or (missing == 1 and (self.promised_bytes or 0) > self.num_bytes + len(self.xing or b"")):
            raise cut(self.seconds(self.num_frames), self.seconds(self.promised))

    def pieces(self, file: BinaryIO) -> Pieces:
        """What libsndfile is to read, from the open file."""
        if self.xing is None or self.promised is None:
            return Pieces(file, self.ranges, claimed_bytes=self.num_bytes + self.num_frames * self.largest_bytes)
        frame = bytearray(self.xing)
        struct.pack_into(">I", frame, self.xing_at + 8, self.num_frames)
        if self.promised_bytes is not None:
            struct.pack_into(">I", frame, self.xing_at + 12, min(len(frame) + self.num_bytes, 0xFFFFFFFF))
        return Pieces(file, [bytes(frame), *self.ranges])

    def is_plain(self, file_bytes: int) -> bool:
        """Whether libsndfile finds all its frames in the file as it is."""
        if self.xing is not None and self.promised is not None:
            return len(self.ranges) == 1 and self.promised == self.num_frames
        return len(self.ranges) == 1 and file_bytes >= self.num_frames * self.largest_bytes

    @property
    def num_samples(self) -> int | None:
        """Of a channel; None where the Xing header tells what encoder and decoder add, which libsndfile leaves out."""
        return None if self.xing is not None and self.promised is not None else self.num_frames * self.first.num_samples


def streams(data: mmap.mmap | bytes, start: int = 0, end: int | None = None) -> list[Stream]:
    """Walk over all frames between `start` and `end`, past tags.

    Returns:
        The recordings of the file, in their order: more than one where files were joined.
    Raises:
        AudioError: it is cut, or has bytes that are neither frames nor tags.
    """
    end = len(data) if end is None else end
    xing_frames = _xing_frames(data, start, end)
    found: list[Stream] = []
    at, zeros = start, 0  # zeros: that were passed over since the last frame
    while at + 4 <= end:
        frame = _frame(data[at : at + 4])
        stream = found[-1] if found else None
        if frame is None:
            after = after_tag(data, at, end)
            if after is None:
                break
            zeros += after - at if stream and data[at] == 0 else 0
            at = after
            continue
        if zeros:
            raise AudioError(f"it is damaged: {zeros:,} bytes before byte {at:,} are zero")
        if at + frame.num_bytes > end:
            raise _cut(stream, f"its last frame has {end - at} of {frame.num_bytes} bytes")
        if stream is None or at in xing_frames or stream.first.kind != frame.kind:
            stream = Stream(frame)
            found.append(stream)
        if at in xing_frames:
            stream.take_xing(data[at : at + frame.num_bytes])
            at += frame.num_bytes
            continue
        begin = at
        at, num_frames, largest_bytes = _run(data, at, end, frame.kind, xing_frames)
        stream.add(begin, at, num_frames, largest_bytes)
    if data[at : min(end, at + (1 << 20))].strip(b"\0\r\n\t "):
        if not found:
            raise AudioError("it has no MPEG audio frame: it is damaged, or of another format than its name says")
        if end - at < 4:
            raise _cut(found[-1], f"its last frame has {end - at} bytes")
        raise AudioError(
            f"it is damaged: {end - at:,} bytes from byte {at:,} on are neither frames nor a tag "
            "(`ffmpeg -i FILE -c copy NEW.mp3` leaves them out)"
        )
    found = [stream for stream in found if stream.num_frames or stream.promised]
    for stream in found:
        stream.check()
    return found


def _cut(stream: Stream | None, sign: str) -> AudioError:
    if stream is None:
        return cut(0.0, sign=sign)
    present_s = stream.seconds(stream.num_frames)
    return cut(present_s, stream.seconds(stream.promised) if stream.promised else None, sign=sign)


def _run(
    data: mmap.mmap | bytes, at: int, end: int, kind: tuple[int, int, int, bool], xing_frames: set[int]
) -> tuple[int, int, int]:
    """Where the frames of a kind end that follow one another from `at` on, how many there are, and the largest size."""
    num_frames, lengths = 0, dict[bytes, int]()
    while at not in xing_frames:
        header = data[at : at + 4]
        length = lengths.get(header, 0)
        if not length:
            frame = _frame(header) if at + 4 <= end else None
            if frame is None or frame.kind != kind:
                break
            length = lengths[header] = frame.num_bytes
        if at + length > end:
            break
        num_frames += 1
        at += length
    return at, num_frames, max(lengths.values())


def _xing_frames(data: mmap.mmap | bytes, start: int, end: int) -> set[int]:
    """Where the frames begin that have a Xing header instead of sound."""
    found = set()
    for word in (b"Xing", b"Info"):
        mark = data.find(word, start, end)
        while mark >= 0:
            for side in (9, 17, 32):
                at = mark - 4 - side
                frame = _frame(data[at : at + 4]) if at >= start else None
                if frame and frame.side_bytes == side and frame.kind[1] == 3:
                    found.add(at)
            mark = data.find(word, mark + 1, end)
    return found


@functools.lru_cache(1024)  # the frames of a file have much the same headers
def _frame(header: bytes) -> Frame | None:
    """The frame with these first four bytes; None if it is none."""
    (bits,) = struct.unpack(">I", header)
    version, layer = bits >> 19 & 3, 4 - (bits >> 17 & 3)
    bit_rate, rate, padding, mono = bits >> 12 & 15, bits >> 10 & 3, bits >> 9 & 1, bits >> 6 & 3 == 3
    if bits >> 21 != 0x7FF or version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return None
    first = version == 3  # MPEG-1
    hz = _SAMPLE_RATES[version][rate]
    bits_per_s = _BIT_RATES[first, layer][bit_rate] * 1000
    if layer == 1:
        return Frame((12 * bits_per_s // hz + padding) * 4, 384, hz, (version, layer, rate, mono), 0)
    samples = 576 if layer == 3 and not first else 1152
    side = (17 if mono else 32) if first else (9 if mono else 17)
    return Frame(samples // 8 * bits_per_s // hz + padding, samples, hz, (version, layer, rate, mono), side)


def after_tag(data: mmap.mmap | bytes, at: int, end: int) -> int | None:
    """The end of the tag, or of the zeros, that begins here; None if nothing of the kind does."""
    start = data[at : min(at + 32, end)]
    if start[:3] == b"ID3" and len(start) >= 10:
        size = start[6] << 21 | start[7] << 14 | start[8] << 7 | start[9]
        return at + 10 + size + (10 if start[5] & 0x10 else 0)
    if start[:3] == b"TAG":
        return at + (227 if start[3:4] == b"+" else 128)
    if start[:8] == b"APETAGEX":
        size, _, flags = struct.unpack_from("<III", start, 12)
        return at + 32 + size if flags & 1 << 29 else at + 32
    if start[:11] == b"LYRICSBEGIN":
        found = data.find(b"LYRICS200", at, end)
        return found + 9 if found >= 0 else None
    if start[:1] == b"\0":
        while at < end and not (block := data[at : min(at + 4096, end)].lstrip(b"\0")):
            at += 4096
        return min(end, at + 4096) - len(block) if at < end else end
    return None
