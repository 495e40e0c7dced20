"""Any audio file to float32: the second step on the way of the data, after a Sample and before augmentation.

There is one way of reading audio, for the check, the importers, the training and the exported model alike. The length
of a file is that of what is read: a header is believed only where it agrees with the file, and otherwise what is there
is counted. A file whose end is missing is an error everywhere.

WAVs of 16 bits are read here; libsndfile (through soundfile) decodes other WAVs, FLAC, Ogg Vorbis, Opus, MP3 and more,
and ffmpeg and sox the rest where they are installed; libsoxr resamples. They and numpy are loaded by the first file
(0.1 s): an importer, whose workers do that, starts without them.
"""

import functools
import io
import mmap
import operator
import os
import stat
import struct
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol

from deepspeech_training.audio import containers, flac, mp3, ogg, programs, wav
from deepspeech_training.audio.errors import AudioError, cut
from deepspeech_training.audio.formats import HEADERLESS_SUFFIXES, kind_of, what_else
from deepspeech_training.audio.pieces import Pieces
from deepspeech_training.audio.quiet import quiet_decoder

if TYPE_CHECKING:
    import numpy as np
    import soundfile
    from numpy.typing import DTypeLike

__all__ = ["AudioError", "AudioFile", "AudioInfo", "num_samples_after_resampling", "read_audio", "read_audio_info"]

READER = 2  # changes where lengths or samples come out differently than before: caches go by it
MAX_DURATION_S = 24 * 3600  # a header that claims more is damaged
BLOCK_FRAMES = 1 << 20  # read at once: 65 s at 16 kHz
_MOST_READ_AT_ONCE = 1 << 24  # bytes
# Of codecs whose frames all have the same size, so that the length is known without decoding; bytes of a sample.
_SAMPLE_BYTES = {"PCM_S8": 1, "PCM_U8": 1, "PCM_16": 2, "PCM_24": 3, "PCM_32": 4, "FLOAT": 4, "DOUBLE": 8}
_SAMPLE_BYTES |= {"ULAW": 1, "ALAW": 1}
_LOUDEST = 10.0  # 20 dB above full scale: no codec and no resampler overshoots so far
_FAINTEST = 2.0**-14  # two steps of 16 bits
# Channels that have nothing in common lose power when they are mixed; those that lose ten times as much are inverted.
_CANCELS = 0.1
_FEWEST_FRAMES = 500  # to judge that by
_SILENCE = "it is digital silence: every sample is 0"


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


def read_audio_info(path: str) -> AudioInfo:
    """Find out length, rate and channels of an audio file, as cheaply as they can be known for sure.

    For most files that is by their headers and size. The frames of an MP3 are counted, without decoding them; codecs
    without a length are decoded, and so are files of floats, whose level may be wrong.

    Raises:
        AudioError: the file is missing, unreadable, cut, empty, claims to be longer than a day, or has a level that no
            recording has.
    """
    with AudioFile(path) as audio:
        return audio.look()


def read_audio(
    path: str,
    *,
    sample_rate: int,
    dtype: "DTypeLike" = "float32",
    check: Callable[[AudioInfo], None] = lambda info: None,
    tell: Callable[[str], None] = lambda note: None,
) -> "np.ndarray":
    """Decode an audio file, mix its channels into one and resample it.

    16-bit samples are scaled by 2 ** -15; nothing is normalised or clipped, so lossy formats and the resampler
    may overshoot -1..1 slightly. Channels that cancel each other when they are mixed are not: the loudest is taken.

    Args:
        path: of a file in one of the formats that `audio.formats` lists.
        sample_rate: wanted, in Hz.
        dtype: float32, or int16 for samples that are rounded and clipped as a model takes them.
        check: called with the length before anything is decoded; may raise AudioError.
        tell: called with what is odd about the sound and no error, as a sentence.
    Returns:
        `dtype` [samples], mono; `num_samples_after_resampling` of the length.
    Raises:
        AudioError: as for `read_audio_info`, and what shows only when decoding: damage, or too little memory.
    """
    with AudioFile(path) as audio:
        check(audio.info)
        return audio.read(sample_rate=sample_rate, dtype=dtype, tell=tell)


def num_samples_after_resampling(num_frames: int, source_rate: int, target_rate: int) -> int:
    """The length of what `read_audio` returns: rounded to the nearest, halves up, as libsoxr does.

    >>> num_samples_after_resampling(128985, 44100, 16000)
    46797
    """
    return (2 * num_frames * target_rate + source_rate) // (2 * source_rate)


class AudioFile:
    """An audio file, open; use it as a context manager. Long ones are read in blocks.

    Raises:
        AudioError: as for `read_audio_info`, but for levels.
    """

    def __init__(self, path: str):
        self._resources = ExitStack()
        try:
            self._parts = _open_parts(path, self._resources)
            self.info = _info(self._parts)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "AudioFile":
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def close(self) -> None:
        self._resources.close()

    def look(self) -> AudioInfo:
        """What a glance shows of the sound; files of floats are decoded.

        Raises:
            AudioError: the level of a file of floats is none of a recording.
        """
        first, info = self._parts[0], self.info
        note = ""
        if first.has_floats:
            levels = self._measure(info.num_frames)
            levels.check(may_be_faint=False)
            note = levels.note()
        elif isinstance(first, _Pcm16):
            note = first.glance() if len(self._parts) == 1 else ""
        elif info.channels > 1 and self._measure(min(info.num_frames, info.sample_rate)).cancel:
            note = self._measure(info.num_frames).note()
        return AudioInfo(info.num_frames, info.sample_rate, info.channels, note)

    def _measure(self, num_frames: int) -> "_Levels":
        levels = _Levels(self.info.channels, in_bounds=False)
        for block in self._blocks(0, num_frames):
            levels.add(block, _mixed(block))
        return levels

    def read(
        self,
        *,
        sample_rate: int,
        start: int = 0,
        stop: int | None = None,
        dtype: "DTypeLike" = "float32",
        tell: Callable[[str], None] = lambda note: None,
    ) -> "np.ndarray":
        """The frames from `start` to `stop`, mixed and resampled: see `read_audio`.

        Raises:
            AudioError: the frames are not there, are damaged, or need more memory than there is.
        """
        stop = self.info.num_frames if stop is None else stop
        levels = _Levels(self.info.channels, in_bounds=isinstance(self._parts[0], _Pcm16))
        try:
            audio = self._read(sample_rate, start, stop, dtype, levels, channel=None)
            levels.check(may_be_faint=not self._parts[0].has_floats)
            if note := levels.note():
                tell(note)
            if levels.cancel:
                audio = self._read(sample_rate, start, stop, dtype, None, channel=levels.loudest)
        except MemoryError as error:
            hours = (stop - start) / self.info.sample_rate / 3600
            raise AudioError(f"there is too little memory to read its {hours:.2f} hours") from error
        return audio

    def _read(
        self, sample_rate: int, start: int, stop: int, dtype: "DTypeLike", levels: "_Levels | None", channel: int | None
    ) -> "np.ndarray":
        import numpy as np

        info = self.info
        expected = num_samples_after_resampling(stop - start, info.sample_rate, sample_rate)
        resample = _resampler(
            info.sample_rate, sample_rate, in_one=len(self._parts) == 1 and stop - start <= BLOCK_FRAMES
        )
        audio = None
        at, filled = start, 0
        for block in self._blocks(start, stop):
            at += len(block)
            mono = _mixed(block) if channel is None else np.ascontiguousarray(block[:, channel])
            if levels is not None:
                levels.add(block, mono)
                levels.check()
            mono = resample(mono, at == stop)
            if dtype != "float32":
                mono = np.clip(np.rint(mono * np.float32(32768)), -32768, 32767).astype(dtype)
            if audio is None and len(mono) == expected:
                audio = mono
                filled = expected
                continue
            if audio is None:
                audio = np.empty(expected, dtype)
            # No release of libsoxr is known to return another number of samples, yet none promises its rounding.
            mono = mono[: expected - filled]
            audio[filled : filled + len(mono)] = mono
            filled += len(mono)
        if at < stop or audio is None:
            raise cut(at / info.sample_rate, info.num_frames / info.sample_rate)
        audio[filled:] = 0
        return audio

    def _blocks(self, start: int, stop: int) -> "Iterator[np.ndarray]":
        """float32 [frames, channels], one after the other; they end early where the file does."""
        for part in self._parts:
            at, end = max(start, 0), min(stop, part.num_frames)
            while at < end:
                block = part.read(at, min(BLOCK_FRAMES, end - at))
                if not len(block):
                    return
                yield block
                at += len(block)
            start, stop = start - part.num_frames, stop - part.num_frames


def _resampler(source_rate: int, target_rate: int, *, in_one: bool) -> "Callable[[np.ndarray, bool], np.ndarray]":
    """A function of a block and whether it is the last one; `in_one`: it is the only one, which is quicker."""
    if source_rate == target_rate:
        return lambda block, is_last: block
    import soxr

    if in_one:
        return lambda block, is_last: soxr.resample(block, source_rate, target_rate, quality="HQ")
    stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality="HQ")
    return lambda block, is_last: stream.resample_chunk(block, last=is_last)


def _mixed(block: "np.ndarray") -> "np.ndarray":
    import numpy as np

    return block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)


class _Levels:
    """How loud a recording is, before and after its channels are mixed."""

    def __init__(self, channels: int, *, in_bounds: bool):
        import numpy as np

        self._in_bounds = in_bounds  # then the peak is 0 or 1: whether there is any sound
        self._peak = 0.0
        self._num_frames = 0  # of several channels
        self._mixed_power = 0.0
        self._powers = np.zeros(channels)

    def add(self, block: "np.ndarray", mixed: "np.ndarray") -> None:
        import numpy as np

        if self._in_bounds:
            self._peak = max(self._peak, float(block.any()))
        elif np.isfinite(self._peak):
            peak = max(float(block.max()), -float(block.min()))
            self._peak = max(self._peak, peak) if np.isfinite(peak) else peak
        if block.shape[1] > 1:
            self._num_frames += len(block)
            self._powers += np.einsum("ij,ij->j", block, block)
            self._mixed_power += float(np.vdot(mixed, mixed))

    def check(self, *, may_be_faint: bool = True) -> None:
        """Raises: AudioError: no recording has such levels."""
        if not self._peak < float("inf"):
            raise AudioError("it has samples that are not finite numbers")
        if self._peak > _LOUDEST:
            raise AudioError(
                f"its samples reach {self._peak:,.6g}, where 1 is full scale: "
                "divide them by 32768, if they are 16-bit samples written as floats, and write it again"
            )
        if not may_be_faint and 0 < self._peak <= _FAINTEST:
            raise AudioError(
                f"its samples reach {self._peak:.2g} at most, where 1 is full scale, and 16 bits leave nothing of it: "
                "multiply them by 32768, if they were divided by it twice, and write it again"
            )

    @property
    def cancel(self) -> bool:
        """Whether mixing the channels leaves next to nothing of them."""
        unlike = float(self._powers.sum()) / len(self._powers) ** 2
        return self._num_frames >= _FEWEST_FRAMES and self._mixed_power < _CANCELS * unlike

    @property
    def loudest(self) -> int:
        return int(self._powers.argmax())

    def note(self) -> str:
        if self._peak == 0:
            return _SILENCE
        if self.cancel:
            return f"its {len(self._powers)} channels cancel each other: channel {self.loudest + 1} is taken alone"
        return ""


class _Part(Protocol):
    """One recording of a file, which has more than one if files were joined."""

    num_frames: int
    sample_rate: int
    channels: int
    has_floats: bool

    def read(self, start: int, count: int) -> "np.ndarray":
        """float32 [frames, channels]: `count` frames from `start` on, or fewer at the end."""


class _Pcm16:
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

    def _levels(self, start: int, stop: int) -> _Levels:
        levels = _Levels(self.channels, in_bounds=True)
        for at in range(start, stop, BLOCK_FRAMES):
            block = self.read(at, min(BLOCK_FRAMES, stop - at))
            if len(block):
                levels.add(block, _mixed(block))
        return levels


class _Sndfile:
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

    def count(self) -> None:
        """Decode all of it to know its length."""
        count = 0
        while len(block := self.read(count, BLOCK_FRAMES)):
            count += len(block)
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
        """A SoundFile that does not seek to where it is after each read, which makes an MP3's decoder begin anew."""

        def seekable(self) -> bool:
            return False

        def can_seek(self) -> bool:
            return super().seekable()

    return SequentialFile


def _open_parts(path: str, resources: ExitStack) -> list[_Part]:
    file, head = _open_file(path, resources)
    kind, demuxer = kind_of(head)
    start = 0
    if kind == "MP3" and head[:3] == b"ID3":
        start, kind, demuxer = _behind_id3(file)
    suffix = os.path.splitext(path)[1].lower()
    if kind == "WAV" and not start:
        return _wav_parts(path, file, head, resources)
    if suffix in HEADERLESS_SUFFIXES.split():
        raise AudioError("raw samples without a header: nothing tells their rate and kind (convert it to WAV)")
    if not kind and suffix in (".mp1", ".mp2", ".mp3") and not what_else(head):
        kind = "MP3"
    buffered = resources.enter_context(io.BufferedReader(file))
    try:
        if kind == "FLAC":
            found = flac.layout(buffered, start)
            source = path if found.is_plain else Pieces(buffered, found.pieces(buffered))
            info = AudioInfo(found.num_frames, found.sample_rate, found.channels)
            return [_Sndfile(source, resources, info=info)]
        if kind == "MP3":
            with _content(file) as data:
                streams = mp3.streams(data)
                is_plain = len(streams) == 1 and streams[0].is_plain(len(data))
            return [_mp3_part(path if is_plain else stream.pieces(buffered), stream, resources) for stream in streams]
        if kind == "Ogg":
            with _content(file) as data:
                links = ogg.links(data)
            if len(links) == 1:
                return [_Sndfile(path, resources)]
            return [_Sndfile(Pieces(buffered, [link]), resources) for link in links]
        return [_in_container(path, kind, buffered, resources)]
    except _sndfile_error() as error:
        if not kind and (named := what_else(head)):
            raise AudioError(f"not audio but {named}") from error
        decoded = programs.decode(path, kind, demuxer, resources) if kind not in ("FLAC", "MP3") else None
        if decoded is None:
            raise AudioError(_not_audio(error.error_string)) from error
    return _decoded_parts(*decoded)


def _mp3_part(source: str | Pieces, stream: mp3.Stream, resources: ExitStack) -> _Part:
    known = stream.num_samples
    info = None if known is None else AudioInfo(known, stream.first.sample_rate, stream.first.channels)
    return _Sndfile(source, resources, info=info, quiet=True)


def _open_file(path: str, resources: ExitStack) -> tuple[io.FileIO, bytes]:
    """The file, and its first bytes."""
    try:
        # To open a named pipe would wait for ever.
        file = resources.enter_context(io.FileIO(path, "rb", opener=_without_waiting))
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise AudioError("it is not a regular file")
        if not status.st_size:
            raise AudioError("the file has 0 bytes", code="empty_audio")
        return file, file.read(wav.HEAD_BYTES)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AudioError("the file does not exist", code="missing_file") from error
    except IsADirectoryError as error:
        raise AudioError("it is not a regular file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise AudioError(f"cannot open it: {getattr(error, 'strerror', None) or error}") from error


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _sndfile_error() -> type[Exception]:
    import soundfile

    return soundfile.LibsndfileError


def _not_audio(libsndfile_says: str) -> str:
    if "SF_INFO struct incomplete" in libsndfile_says:
        return "its header lacks the sample rate (0 Hz) or the number of channels"
    return f"not audio that libsndfile can read: {libsndfile_says or 'unknown format'}"


def _behind_id3(file: io.FileIO) -> tuple[int, str, str]:
    """Where what follows an ID3 tag begins, and what it is: FLAC has such tags too, by mistake."""
    at = 0
    while True:
        file.seek(at)
        head = file.read(wav.HEAD_BYTES)
        after = mp3.after_tag(head, 0, len(head)) if head[:3] == b"ID3" else None
        if after is None:
            break
        at += after
    kind, demuxer = kind_of(head)
    return (at, kind, demuxer) if kind in ("FLAC", "AAC") else (0, "MP3", "mp3")


@contextmanager
def _content(file: io.FileIO) -> Iterator[bytes | mmap.mmap]:
    """All of a file; of a long one only what is looked at is in memory."""
    if os.fstat(file.fileno()).st_size <= _MOST_READ_AT_ONCE:
        file.seek(0)
        yield file.readall()
    else:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            yield mapped


def _wav_parts(path: str, file: io.FileIO, head: bytes, resources: ExitStack) -> list[_Part]:
    sounds = wav.sounds(file, head)
    parts: list[_Part] = []
    for sound in sounds:
        if sound.format.is_pcm_16:
            parts.append(_Pcm16(file, sound, head))
        elif sound.format.tag in (wav.MPEG, wav.MP3):
            with _content(file) as data:
                streams = mp3.streams(data, sound.start, sound.start + sound.num_bytes)
            parts += [_mp3_part(stream.pieces(file), stream, resources) for stream in streams]
        elif sound.num_bytes:
            is_whole_file = sound.is_plain and len(sounds) == 1
            parts.append(_other_wav(path if is_whole_file else Pieces(file, sound.pieces()), sound, file, resources))
    return parts


def _other_wav(source: str | Pieces, sound: wav.WavSound, file: io.FileIO, resources: ExitStack) -> _Part:
    """WAVs of other kinds: libsndfile reads the file, or what of it is sound if it does not find that in the file."""
    fault = ""
    for tried in (source, Pieces(file, sound.pieces())):
        try:
            part = _Sndfile(tried, resources)
        except _sndfile_error() as error:
            fault = _not_audio(error.error_string)
            continue
        if not sound.format.frame_bytes:
            part.count()
            return part
        if part.num_frames == sound.num_frames:
            return part
        fault = f"libsndfile finds {part.num_frames:,} samples in it, where there are {sound.num_frames:,}"
    raise AudioError(fault)


def _in_container(path: str, kind: str, file: BinaryIO, resources: ExitStack) -> _Part:
    promise = containers.promise(kind, file)
    is_cut = promise is not None and promise.promised is not None and promise.promised > promise.present
    try:
        part = _Sndfile(path, resources, quiet=not kind)
    except _sndfile_error():
        if is_cut:
            raise AudioError(
                f"it is cut (truncated): its header promises {promise.promised:,} bytes of sound, "
                f"the file holds {promise.present:,}"
            ) from None
        raise
    if part.subtype not in _SAMPLE_BYTES:
        part.count()
    present_s = part.num_frames / part.sample_rate
    if is_cut:
        raise cut(present_s, present_s * promise.promised / max(promise.present, 1))
    if promise is None:
        return part
    if promise.surplus:
        raise AudioError(
            f"its header ends the sound after {present_s:.2f} s, but {promise.surplus:,} bytes follow that are nothing "
            "else: its size field is wrong"
        )
    if kind != "VOC" and part.subtype in _SAMPLE_BYTES:
        num_bytes = promise.present if promise.promised is None else promise.promised
        num_frames = num_bytes // (_SAMPLE_BYTES[part.subtype] * part.channels)
        if num_frames != part.num_frames:
            raise AudioError(
                f"its header contradicts itself: {part.num_frames:,} samples, of which {num_frames:,} are there"
            )
    return part


def _decoded_parts(decoded: BinaryIO, promised_s: float | None) -> list[_Part]:
    """The WAV that a program made of a file."""
    head = decoded.read(wav.HEAD_BYTES)
    parts = [_Pcm16(decoded, sound, head) for sound in wav.sounds(decoded, head)]
    present_s = sum(part.num_frames / part.sample_rate for part in parts)
    # Codecs add some silence at both ends, and leave it away again; headers are rounded.
    if promised_s is not None and present_s < 0.95 * promised_s - 0.2:
        raise cut(present_s, promised_s)
    return parts


def _info(parts: list[_Part]) -> AudioInfo:
    num_frames = sum(part.num_frames for part in parts)
    if not parts or num_frames <= 0:
        raise AudioError("it holds no audio", code="empty_audio")
    sample_rate, channels = parts[0].sample_rate, parts[0].channels
    if sample_rate <= 0 or channels <= 0:
        raise AudioError(f"its header says {sample_rate} Hz and {channels} channels")
    if any((part.sample_rate, part.channels) != (sample_rate, channels) for part in parts):
        rates = ", ".join(dict.fromkeys(f"{part.sample_rate} Hz with {part.channels} channels" for part in parts))
        raise AudioError(f"it is several recordings in one file that do not fit together: {rates}")
    if num_frames > MAX_DURATION_S * sample_rate:
        raise AudioError(f"its header claims {num_frames / sample_rate / 3600:,.0f} hours")
    return AudioInfo(num_frames, sample_rate, channels)
