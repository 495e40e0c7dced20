"""One clip of a corpus -> 16-bit mono audio in the output folder: decoding, cutting, resampling, writing.

libsndfile and libsoxr do it in this process; what libsndfile does not know goes through `sox` where that is installed.
A file is there whole or not at all (written beside, renamed).
"""

import dataclasses
import functools
import io
import math
import os
import shutil
import struct
import tempfile
import wave
from pathlib import Path

import numpy as np
import soundfile
import soxr

from deepspeech_training.audio.files import (
    AudioError,
    AudioInfo,
    num_samples_after_resampling,
    read_audio,
    read_audio_info,
)
from deepspeech_training.audio.fingerprint import fingerprint
from deepspeech_training.audio.formats import SOX_TYPES
from deepspeech_training.importers.clip_jobs import ClipJob, ClipResult

MAX_CLIP_S = 3600  # of one clip: nobody trains on an hour in one piece, and a header that says so is damaged
MAX_DECODED_BYTES = 2 << 30  # of one clip as float32: an hour of stereo at 48 kHz is 1.4 GB
NOT_AUDIO = "not audio that libsndfile can read"


def decoder() -> str:
    """What decodes here: a clip that could not be decoded is tried again with another."""
    return f"libsndfile {soundfile.__libsndfile_version__}" + (", sox" if shutil.which("sox") else "")


def convert(job: ClipJob) -> ClipResult:
    """Decode, cut, resample and write one clip; whatever is wrong with the audio is in the result.

    Raises:
        OSError: the target cannot be written, which is no fault of the clip.
    """
    try:
        audio = read_clip(job)
    except AudioError as error:
        return ClipResult(job.key, code=error.code, reason=error.reason)
    except (MemoryError, soundfile.SoundFileError, ValueError) as error:
        return ClipResult(job.key, code="unreadable", reason=f"it cannot be decoded: {type(error).__name__}: {error}")
    np.rint(np.multiply(audio, 32768, out=audio), out=audio)  # exact for what was 16-bit before
    samples = np.clip(audio, -32768, 32767, out=audio).astype(np.int16)
    encoded = _encode(samples, job)
    _write(job.target, encoded.getbuffer(), job.parts_dir)
    peak = max(int(samples.max()), -int(samples.min())) / 32768
    power = int(np.square(samples, dtype=np.int32).sum(dtype=np.int64)) / len(samples) / 32768**2
    levels = (_db(peak), _db(math.sqrt(power)))
    return ClipResult(job.key, len(samples), encoded.tell(), *levels, fingerprint=fingerprint(samples))


def _db(level: float) -> float:
    return round(20 * math.log10(max(level, 1e-5)), 1)  # silence is -100 dB


def _encode(samples: np.ndarray, job: ClipJob) -> io.BytesIO:
    encoded = io.BytesIO()
    if job.audio_format == "wav":  # the same bytes as libsndfile's, which takes five times as long
        with wave.open(encoded, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(job.sample_rate)
            writer.writeframes(samples.astype("<i2", copy=False))
    else:
        soundfile.write(encoded, samples, job.sample_rate, format="FLAC", subtype="PCM_16")
    return encoded


def _write(target: str, content, parts_dir: str) -> None:
    """Write elsewhere and rename. Without fsync: the ledger knows the size, and a cut file is made again."""
    part = os.path.join(parts_dir, f"{os.getpid()}-{os.urandom(4).hex()}")
    try:
        with open(part, "wb") as file:
            file.write(content)
        os.replace(part, target)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def read_clip(job: ClipJob) -> np.ndarray:
    """The samples of a clip as float32 [samples] at the rate of the job.

    Raises:
        AudioError: as for `audio.read_audio`; the clip is longer than an hour; or shorter than the corpus promises.
    """
    try:
        return _read_known(job)
    except AudioError as error:
        if NOT_AUDIO not in error.reason or shutil.which("sox") is None:
            raise
        with tempfile.TemporaryDirectory(prefix="sox-") as folder:
            converted = os.path.join(folder, "converted.wav")
            _through_sox(job.source, converted, error)
            return _read_known(dataclasses.replace(job, source=converted))


def _read_known(job: ClipJob) -> np.ndarray:
    if job.start_s is not None:
        return _read_part(job, read_audio_info(job.source))

    def check(info: AudioInfo) -> None:
        file_s = info.num_frames / info.sample_rate
        if file_s > MAX_CLIP_S:
            raise AudioError(f"its header claims {file_s / 3600:,.1f} hours for one clip; at most one hour is taken")
        if info.num_frames * info.channels * 4 > MAX_DECODED_BYTES:
            raise AudioError(f"{info.channels} channels of {file_s:,.0f} s are too much for one clip")
        if job.source.lower().endswith(".mp3") and (fault := mp3_fault(job.source)):
            raise AudioError(fault)

    audio = read_audio(job.source, sample_rate=job.sample_rate, check=check)
    present_s = len(audio) / job.sample_rate
    # Releases round, and count the silence that an encoder adds at both ends, up to some 50 ms.
    if job.expected_s is not None and present_s < 0.9 * job.expected_s - 0.2:
        raise AudioError(
            f"it is truncated: the corpus promises {job.expected_s:.2f} s, the file holds {present_s:.2f} s"
        )
    return audio


def _read_part(job: ClipJob, info: AudioInfo) -> np.ndarray:
    """A segment of a long recording, without decoding the rest of it."""
    start, end = (round(second * info.sample_rate) for second in (job.start_s, job.end_s))
    if not 0 <= start < end:
        raise AudioError(f"its segment from {job.start_s:.2f} to {job.end_s:.2f} s is none", code="bad_row")
    if end - start > MAX_CLIP_S * info.sample_rate:
        raise AudioError("its segment is longer than an hour", code="bad_row")
    # Some transcripts end a little after the recording.
    if end > info.num_frames + info.sample_rate // 2:
        raise AudioError(
            f"its segment ends at {job.end_s:.2f} s, the recording at {info.num_frames / info.sample_rate:.2f} s",
            code="bad_row",
        )
    with soundfile.SoundFile(job.source) as file:
        file.seek(min(start, info.num_frames))
        frames = file.read(end - start, dtype="float32", always_2d=True)
    if not len(frames):
        raise AudioError("its segment holds no audio", code="empty_audio")
    audio = frames.mean(axis=1, dtype=np.float32)
    if not np.isfinite(audio).all():
        raise AudioError("it has samples that are not finite numbers")
    if info.sample_rate != job.sample_rate:
        expected = num_samples_after_resampling(len(audio), info.sample_rate, job.sample_rate)
        audio = soxr.resample(audio, info.sample_rate, job.sample_rate, quality="HQ")
        audio = np.pad(audio[:expected], (0, max(0, expected - len(audio))))
    return audio


def _through_sox(source: str, target: str, why_not: AudioError) -> None:
    """Let the installed sox decode a format that libsndfile does not know, by the name of the file.

    The type is given, since sox takes some files for lists of others, or names for commands.
    """
    file_type = SOX_TYPES.get(os.path.splitext(source)[1].lower())
    if file_type is None:
        raise why_not
    try:
        from sox.core import sox
    except ImportError:
        raise why_not from None
    status, _, _ = sox(["-D", "-V0", "-t", file_type, os.path.abspath(source), "-b", "16", "-c", "1", target])
    if status or not os.path.isfile(target):
        raise why_not


# MPEG audio frame headers, ISO/IEC 11172-3 2.4.1.3 and 13818-3: bit rates in kbit/s of layer III, and rates in Hz.
_MP3_BIT_RATES = {
    3: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    2: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MP3_SAMPLE_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


def mp3_fault(path: str) -> str | None:
    """Why an MP3 is not whole: its last frame is cut, or it has fewer frames than its Xing header says.

    Decoders stay silent about both. A file without such a header that ends after a frame looks like a whole one.
    """
    with open(path, "rb") as file:
        data = file.read()
    at = 0
    if data[:3] == b"ID3" and len(data) >= 10:
        size = data[6:10]
        at = 10 + (size[0] << 21 | size[1] << 14 | size[2] << 7 | size[3])
    promised, frames = None, 0
    while at + 4 <= len(data):
        length = _mp3_frame_bytes(data[at : at + 4])
        if length is None:
            break  # a tag at the end, or nothing that this walk knows: the decoder is the judge
        if at + length > len(data):
            return f"it is truncated: its last frame has {len(data) - at} of {length} bytes"
        if not frames:
            promised = _xing_frames(data[at : at + length])
        frames, at = frames + 1, at + length
    if promised is not None and frames and frames < promised:  # the frame of the header itself does not count
        return f"it is truncated: its header promises {promised} frames, the file holds {frames - 1}"
    return None


@functools.lru_cache(1024)  # the frames of a file have much the same headers
def _mp3_frame_bytes(start: bytes) -> int | None:
    """The length of the layer III frame with these first four bytes; None if it is none."""
    (header,) = struct.unpack(">I", start)
    version, layer = header >> 19 & 3, header >> 17 & 3
    bit_rate, rate = header >> 12 & 15, header >> 10 & 3
    if header >> 21 != 0x7FF or version == 1 or layer != 1 or bit_rate in (0, 15) or rate == 3:
        return None
    kbits = _MP3_BIT_RATES[3 if version == 3 else 2][bit_rate]
    samples = 144 if version == 3 else 72
    return samples * kbits * 1000 // _MP3_SAMPLE_RATES[version][rate] + (header >> 9 & 1)


def _xing_frames(frame: bytes) -> int | None:
    for mark in (b"Xing", b"Info"):
        found = frame.find(mark, 0, 64)
        if found >= 0 and len(frame) >= found + 12 and frame[found + 7] & 1:
            return struct.unpack_from(">I", frame, found + 8)[0]
    return None
