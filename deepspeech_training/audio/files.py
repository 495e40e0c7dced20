"""Any audio file to float32: the second step on the way of the data, after a Sample and before augmentation.

libsndfile (through soundfile) decodes WAV, FLAC, Ogg Vorbis, Opus and MP3; libsoxr resamples. They and numpy are loaded
by the first file (0.1 s): an importer, whose workers do that, starts without them.
"""

import os
import stat
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import soundfile

MAX_DURATION_S = 24 * 3600  # a header that claims more is damaged
UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's SF_COUNT_MAX
# An MP3 without a Xing header has no length: libsndfile estimates it from the bit rate. An Ogg stream has its length
# in the last page, which a cut file lacks. Of the others the header is a promise that must be kept.
FORMATS_WITHOUT_A_PROMISED_LENGTH = ("MP3", "OGG")
# Programs that write a WAV into a pipe do not know its length and put a huge one (ffmpeg 0xFFFFFFFF, sox 0x7FFFF000).
STREAMED_WAV_BYTES = 0x7FFF0000


class AudioError(Exception):
    """A file that cannot be used as audio.

    Args:
        reason: what is wrong with it, without its path.
        code: `missing_file`, `unreadable` or `empty_audio`: the reason codes of `samples`.
    """

    def __init__(self, reason: str, *, code: str = "unreadable"):
        super().__init__(reason)
        self.reason = reason
        self.code = code


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """What the header says: frames are samples of one channel, at the rate of the file in Hz."""

    num_frames: int
    sample_rate: int
    channels: int


def read_audio_info(path: str) -> AudioInfo:
    """Read length, rate and channels from the header of an audio file.

    For MP3 the length may be an estimate: over the 678 clips of a Common Voice release it was 8 to 42 ms too long.
    That is good enough to sort and to check clips by; `read_audio` returns the true length, so whoever
    allocates by this one must cut or accept what comes. (Counting by decoding takes 7 times as long.)

    Raises:
        AudioError: the file is missing, unreadable, truncated, empty, or claims to be longer than a day.
    """
    with _open(path) as file:
        info = AudioInfo(file.frames, file.samplerate, file.channels)
        _check_header(path, info, file.format)
        return info


def read_audio(path: str, *, sample_rate: int, check: Callable[[AudioInfo], None] = lambda info: None) -> "np.ndarray":
    """Decode an audio file, mix its channels into one and resample it.

    16-bit samples are scaled by 2 ** -15; nothing is normalised or clipped, so lossy formats and the resampler
    may overshoot -1..1 slightly.

    Args:
        path: WAV, FLAC, Ogg Vorbis, Opus, MP3, or anything else that libsndfile reads.
        sample_rate: wanted, in Hz.
        check: called with what the header says, before anything is decoded; may raise AudioError.
    Returns:
        float32 [samples], mono; `num_samples_after_resampling` of the decoded length.
    Raises:
        AudioError: as for `read_audio_info`, and what shows only when decoding: damage, or values that are no numbers.
    """
    import numpy as np
    import soundfile

    with _open(path) as file:
        info = AudioInfo(file.frames, file.samplerate, file.channels)
        _check_header(path, info, file.format)
        check(info)
        promised = file.format not in FORMATS_WITHOUT_A_PROMISED_LENGTH
        try:
            frames = file.read(dtype="float32", always_2d=True)  # [frames, channels]
        except soundfile.LibsndfileError as error:
            raise AudioError(f"libsndfile cannot decode it: {error.error_string}") from error
    if len(frames) < info.num_frames and promised:
        raise _truncated(info.num_frames / info.sample_rate, len(frames) / info.sample_rate)
    if not len(frames):
        raise AudioError("it holds no audio", code="empty_audio")
    audio = frames[:, 0] if info.channels == 1 else frames.mean(axis=1, dtype=np.float32)
    if not np.isfinite(audio).all():
        raise AudioError("it has samples that are not finite numbers")
    if info.sample_rate != sample_rate:
        import soxr

        expected = num_samples_after_resampling(len(audio), info.sample_rate, sample_rate)
        audio = soxr.resample(audio, info.sample_rate, sample_rate, quality="HQ")
        if len(audio) != expected:  # no release of libsoxr is known to differ, yet none promises its rounding
            audio = np.pad(audio[:expected], (0, max(0, expected - len(audio))))
    return np.ascontiguousarray(audio, np.float32)


def num_samples_after_resampling(num_frames: int, source_rate: int, target_rate: int) -> int:
    """The length of what `read_audio` returns: rounded to the nearest, halves up, as libsoxr does.

    >>> num_samples_after_resampling(128985, 44100, 16000)
    46797
    """
    return (2 * num_frames * target_rate + source_rate) // (2 * source_rate)


def _open(path: str) -> "soundfile.SoundFile":
    import soundfile

    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):  # to open a named pipe would wait for ever
            raise AudioError("it is not a regular file")
        if not status.st_size:
            raise AudioError("the file has 0 bytes", code="empty_audio")
        return soundfile.SoundFile(path)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise AudioError("the file does not exist", code="missing_file") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        raise AudioError(f"cannot open it: {getattr(error, 'strerror', None) or error}") from error
    except TypeError as error:  # what soundfile says of *.raw
        raise AudioError("raw samples without a header") from error
    except soundfile.LibsndfileError as error:
        raise AudioError(_why_not_opened(path, error.error_string)) from error


def _why_not_opened(path: str, libsndfile_says: str) -> str:
    try:
        with open(path, "rb") as file:
            start = file.read(64)
    except OSError as error:  # libsndfile says "System error." of all of these
        return f"cannot open it: {error.strerror}"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer, not the audio (fetch that with `git lfs pull`)"
    if "SF_INFO struct incomplete" in libsndfile_says:
        return "its header lacks the sample rate (0 Hz) or the number of channels"
    return f"not audio that libsndfile can read: {libsndfile_says}"


def _check_header(path: str, info: AudioInfo, file_format: str) -> None:
    if info.sample_rate <= 0 or info.channels <= 0:
        raise AudioError(f"its header says {info.sample_rate} Hz and {info.channels} channels")
    if file_format in ("WAV", "WAVEX"):
        _check_wav_length(path, info)
    if info.num_frames <= 0:
        raise AudioError("it holds no audio", code="empty_audio")
    if info.num_frames == UNKNOWN_FRAMES:
        raise AudioError("its header does not know its length (a FLAC written into a pipe): convert it into a file")
    if info.num_frames > MAX_DURATION_S * info.sample_rate:
        raise AudioError(f"its header claims {info.num_frames / info.sample_rate / 3600:,.0f} hours")


def _check_wav_length(path: str, info: AudioInfo) -> None:
    """Compare the length of the RIFF data chunk with the file: libsndfile silently shortens a truncated clip."""
    with open(path, "rb") as file:
        file_bytes = os.fstat(file.fileno()).st_size
        if file.read(4) != b"RIFF":
            return
        file.seek(12)
        while len(chunk := file.read(8)) == 8:
            name, promised = struct.unpack("<4sI", chunk)
            if name == b"data":
                break
            file.seek(promised + promised % 2, os.SEEK_CUR)
        else:
            return
        present = file_bytes - file.tell()
    # Some recorders write the size of the whole file here; such a clip is complete.
    if present > 0 and file_bytes < promised < STREAMED_WAV_BYTES:
        duration_s = info.num_frames / info.sample_rate
        raise _truncated(duration_s * promised / present, duration_s)
    if promised == 0 and present > 0:
        raise AudioError(
            f"its header says that it holds no audio, though {present:,} bytes follow: the recorder did not finish it",
            code="empty_audio",
        )


def _truncated(promised_s: float, present_s: float) -> AudioError:
    return AudioError(f"it is truncated: the header promises {promised_s:.2f} s, the file holds {present_s:.2f} s")
