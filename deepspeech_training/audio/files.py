"""Any audio file to float32: the second step on the way of the data, after a Sample and before augmentation.

There is one way of reading audio, for the check, the importers, the training and the exported model alike. The length
of a file is that of what is read: a header is believed only where it agrees with the file, and otherwise what is there
is counted. A file whose end is missing is an error everywhere.

WAVs of 16 bits are read here; libsndfile (through soundfile) decodes other WAVs, FLAC, Ogg Vorbis, Opus, MP3 and more,
and ffmpeg and sox the rest where they are installed; libsoxr resamples. They and numpy are loaded by the first file
(0.1 s): an importer, whose workers do that, starts without them.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from deepspeech_training.audio import parts
from deepspeech_training.audio.errors import AudioError, TooLong, cut
from deepspeech_training.audio.levels import Levels, mixed
from deepspeech_training.audio.opening import open_parts
from deepspeech_training.audio.parts import AudioInfo, Part, Pcm16

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import DTypeLike

__all__ = ["AudioError", "AudioFile", "AudioInfo", "num_samples_after_resampling", "read_audio", "read_audio_info"]

T = TypeVar("T")
READER = 2  # changes where lengths or samples come out differently than before: caches go by it
MAX_DURATION_S = 24 * 3600  # a header that claims more is damaged


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

    Args:
        path: of the file.
        most_s: seconds; a longer one is an error.
    Raises:
        AudioError: as for `read_audio_info`, but for levels.
    """

    def __init__(self, path: str, *, most_s: float = MAX_DURATION_S):
        self._resources = ExitStack()
        try:
            self._parts = open_parts(path, self._resources, most_s=most_s)
            self.info = _info(self._parts)
            if self.info.duration_s > most_s:
                raise TooLong(most_s, self.info.duration_s)
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
        elif isinstance(first, Pcm16):
            note = first.glance() if len(self._parts) == 1 else ""
        elif info.channels > 1 and self._measure(min(info.num_frames, info.sample_rate)).cancel:
            note = self._measure(info.num_frames).note()
        return AudioInfo(info.num_frames, info.sample_rate, info.channels, note)

    def _measure(self, num_frames: int) -> Levels:
        levels = Levels(self.info.channels, in_bounds=False)
        for block in self._blocks(0, num_frames):
            levels.add(block, mixed(block))
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
        length = num_samples_after_resampling(stop - start, self.info.sample_rate, sample_rate)
        try:
            return self._twice_if_need_be(
                lambda levels, channel: _joined(
                    self._mono(sample_rate, start, stop, dtype, levels, channel), length, dtype
                ),
                start,
                stop,
                tell,
            )
        except MemoryError as error:
            hours = (stop - start) / self.info.sample_rate / 3600
            raise AudioError(f"there is too little memory to read its {hours:.2f} hours") from error

    def copy_to(
        self,
        file: BinaryIO,
        *,
        sample_rate: int,
        dtype: "DTypeLike" = "float32",
        tell: Callable[[str], None] = lambda note: None,
    ) -> None:
        """Write what `read` returns into an empty file, block by block, however long it is.

        Raises:
            AudioError: as for `read`.
        """

        def copy(levels: Levels | None, channel: int | None) -> None:
            file.seek(0)
            for mono in self._mono(sample_rate, 0, self.info.num_frames, dtype, levels, channel):
                file.write(mono.data)

        self._twice_if_need_be(copy, 0, self.info.num_frames, tell)

    def _twice_if_need_be(
        self, read: Callable[[Levels | None, int | None], T], start: int, stop: int, tell: Callable[[str], None]
    ) -> T:
        """Read all channels mixed; and again the loudest alone, where that shows that they cancel."""
        levels = Levels(self.info.channels, in_bounds=isinstance(self._parts[0], Pcm16))
        found = read(levels, None)
        levels.check(may_be_faint=not self._parts[0].has_floats or stop - start < self.info.num_frames)
        if note := levels.note():
            tell(note)
        return read(None, levels.loudest) if levels.cancel else found

    def _mono(
        self, sample_rate: int, start: int, stop: int, dtype: "DTypeLike", levels: Levels | None, channel: int | None
    ) -> "Iterator[np.ndarray]":
        """`dtype` [samples], one block after the other; in all as many as `num_samples_after_resampling` says."""
        import numpy as np

        info = self.info
        left = num_samples_after_resampling(stop - start, info.sample_rate, sample_rate)
        resample = _resampler(
            info.sample_rate, sample_rate, in_one=len(self._parts) == 1 and stop - start <= parts.BLOCK_FRAMES
        )
        at = start
        for block in self._blocks(start, stop):
            at += len(block)
            mono = mixed(block) if channel is None else np.ascontiguousarray(block[:, channel])
            if levels is not None:
                levels.add(block, mono)
                levels.check()
            mono = resample(mono, at == stop)
            if dtype != "float32":
                mono = np.clip(np.rint(mono * np.float32(32768)), -32768, 32767).astype(dtype)
            # No release of libsoxr is known to return another number of samples, yet none promises its rounding.
            mono = mono[:left]
            left -= len(mono)
            yield mono
        if at < stop or at == start:
            raise cut(at / info.sample_rate, info.num_frames / info.sample_rate)
        if left:
            yield np.zeros(left, dtype)

    def _blocks(self, start: int, stop: int) -> "Iterator[np.ndarray]":
        """float32 [frames, channels], one after the other; they end early where the file does."""
        for part in self._parts:
            at, end = max(start, 0), min(stop, part.num_frames)
            while at < end:
                block = part.read(at, min(parts.BLOCK_FRAMES, end - at))
                if not len(block):
                    return
                yield block
                at += len(block)
            start, stop = start - part.num_frames, stop - part.num_frames


def _joined(blocks: "Iterator[np.ndarray]", length: int, dtype: "DTypeLike") -> "np.ndarray":
    import numpy as np

    audio, filled = None, 0
    for block in blocks:
        if len(block) == length:  # the only one
            return block
        if audio is None:
            audio = np.empty(length, dtype)
        audio[filled : filled + len(block)] = block
        filled += len(block)
    return np.zeros(0, dtype) if audio is None else audio


def _resampler(source_rate: int, target_rate: int, *, in_one: bool) -> "Callable[[np.ndarray, bool], np.ndarray]":
    """A function of a block and whether it is the last one; `in_one`: it is the only one, which is quicker."""
    if source_rate == target_rate:
        return lambda block, is_last: block
    import soxr

    if in_one:
        return lambda block, is_last: soxr.resample(block, source_rate, target_rate, quality="HQ")
    stream = soxr.ResampleStream(source_rate, target_rate, 1, dtype="float32", quality="HQ")
    return lambda block, is_last: stream.resample_chunk(block, last=is_last)


def _info(parts: list[Part]) -> AudioInfo:
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
