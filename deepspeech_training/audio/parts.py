"""The recordings of an open file: samples of 16 bits as they are, and what libsndfile decodes."""

import functools
import operator
import struct
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from deepspeech_training.audio import wav
from deepspeech_training.audio.errors import AudioError, TooLong
from deepspeech_training.audio.levels import Levels, mixed
from deepspeech_training.audio.pieces import Pieces
from deepspeech_training.audio.quiet import quiet_decoder

if TYPE_CHECKING:
    import numpy as np
    import soundfile

BLOCK_FRAMES = 1 << 20  # read at once: 65 s at 16 kHz


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """Frames (samples of one channel), the rate of the file in Hz, and its channels.

    `note` is what is odd about the sound, as far as a glance shows; "" is nothing.
    """

    num_frames: int
    sample_rate: int
    channels: int
    note: str = ""

    @property
    def duration_s(self) -> float:
        return self.num_frames / self.sample_rate


class Part(Protocol):
    """One recording of a file, which has more than one if files were joined."""

    num_frames: int
    sample_rate: int
    channels: int
    has_floats: bool

    def read(self, start: int, count: int) -> "np.ndarray":
        """float32 [frames, channels]: `count` frames from `start` on, or fewer at the end."""


class Pcm16:
    """Samples of 16 bits in a WAV: no decoder is needed."""

    has_floats = False
    _PROBES = 8  # places where silence is looked for before all of a file is read
    _MOST_LOOKED_AT = 1 << 28  # bytes

    def __init__(self, file: BinaryIO, sound: wav.WavSound, head: bytes):
        self._file, self._start = file, sound.start
        self._head = head[sound.start : sound.start + sound.num_bytes]  # as much of the sound as was read already
        self.num_frames, self.sample_rate, self.channels = (
            sound.num_frames,
            sound.format.sample_rate,
            sound.format.channels,
        )

    def read(self, start: int, count: int) -> "np.ndarray":
        import numpy as np

        whole = np.frombuffer(self._bytes(start, count), "<i2").reshape(-1, self.channels)
        return whole * np.float32(2**-15)  # numpy multiplies int16 and float32 as float32

    def _bytes(self, start: int, count: int) -> bytes:
        frame = 2 * self.channels
        self._file.seek(self._start + start * frame)
        data = self._file.read(count * frame)
        while len(data) < count * frame and (more := self._file.read(count * frame - len(data))):
            data += more
        return data[: len(data) // frame * frame]

    def glance(self) -> str:
        """A note on silence and on channels that cancel, if the first samples make one suspect it."""
        if self._head and not any(self._head):
            step = self.num_frames // self._PROBES
            suspect = not any(any(self._bytes(probe * step, 1024)) for probe in range(1, self._PROBES))
        else:
            suspect = self.channels > 1 and self._starts_inverted()
        if suspect and 2 * self.channels * self.num_frames <= self._MOST_LOOKED_AT:
            return self._levels(0, self.num_frames).note()
        return ""

    def _starts_inverted(self) -> bool:
        num_samples = len(self._head) // 2
        if self.channels == 2:  # without numpy, for most: that the first samples differ little from their opposites
            samples = struct.unpack_from(f"<{min(num_samples, 128) // 2 * 2}h", self._head)
            left, right = samples[::2], samples[1::2]
            if 2 * sum(map(abs, map(operator.add, left, right))) > sum(map(abs, left)):
                return False
        return self._levels(0, num_samples // self.channels).cancel

    def _levels(self, start: int, stop: int) -> Levels:
        levels = Levels(self.channels, in_bounds=True)
        for at in range(start, stop, BLOCK_FRAMES):
            block = self.read(at, min(BLOCK_FRAMES, stop - at))
            if len(block):
                levels.add(block, mixed(block))
        return levels


class Sndfile:
    """What libsndfile decodes.

    Args:
        source: the path, or the pieces of a file that are to be read.
        resources: closes it.
        info: what is known of it beforehand: it is opened only when it is read.
        quiet: keep the notes of the MP3 decoder away, which libsndfile also asks about what it does not know.
    """

    has_floats = False
    subtype = ""

    def __init__(
        self, source: str | Pieces, resources: ExitStack, *, info: AudioInfo | None = None, quiet: bool = False
    ):
        self._source, self._resources = source, resources
        self._quiet = quiet_decoder if quiet else nullcontext
        self._opened: soundfile.SoundFile | None = None
        if info is None:
            file = self._file()
            info = AudioInfo(file.frames, file.samplerate, file.channels)
            self.subtype = file.subtype
            self.has_floats = file.subtype in ("FLOAT", "DOUBLE")
        self.num_frames, self.sample_rate, self.channels = info.num_frames, info.sample_rate, info.channels

    def _file(self) -> "soundfile.SoundFile":
        if self._opened is None:
            if isinstance(self._source, Pieces):
                self._source.seek(0)
            with self._quiet():
                self._opened = self._resources.enter_context(_sequential_file()(self._source))
            self._at = 0
        return self._opened

    def count(self, most_s: float) -> None:
        """Decode all of it to know its length.

        Raises:
            TooLong: it is longer than `most_s` seconds.
        """
        count = 0
        while len(block := self.read(count, BLOCK_FRAMES)):
            count += len(block)
            if count > most_s * self.sample_rate:
                raise TooLong(most_s)
        self.num_frames = count

    def read(self, start: int, count: int) -> "np.ndarray":
        import soundfile

        try:
            with self._quiet():
                self._go_to(start)
                block = self._file().read(count, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(f"it is damaged or cut: libsndfile cannot decode it: {error.error_string}") from error
        self._at += len(block)
        return block

    def _go_to(self, start: int) -> None:
        if start == self._file_at():
            return
        if self._file().can_seek():
            self._file().seek(start)
            self._at = start
            return
        if start < self._at:
            self._opened = None
        while (left := start - self._file_at()) > 0:
            skipped = len(self._file().read(min(BLOCK_FRAMES, left), dtype="float32", always_2d=True))
            if not skipped:
                break
            self._at += skipped

    def _file_at(self) -> int:
        self._file()
        return self._at


@functools.cache
def _sequential_file() -> "type[soundfile.SoundFile]":
    import soundfile

    class SequentialFile(soundfile.SoundFile):
        """A SoundFile that does not seek to where it is after each read, which makes an MP3's decoder start over."""

        def seekable(self) -> bool:
            return False

        def can_seek(self) -> bool:
            return super().seekable()

    return SequentialFile
