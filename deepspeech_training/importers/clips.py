"""One clip of a corpus -> 16-bit mono audio in the output folder: decoding, cutting, resampling, writing.

A file is there whole or not at all (written beside, renamed).
"""

import atexit
import io
import math
import os
import wave
from pathlib import Path

import numpy as np
import soundfile

from deepspeech_training.audio import programs
from deepspeech_training.audio.files import READER, AudioError, AudioFile, AudioInfo, read_audio
from deepspeech_training.audio.fingerprint import fingerprint
from deepspeech_training.importers.clip_jobs import ClipJob, ClipResult

MAX_CLIP_S = 3600  # of one clip: nobody trains on an hour in one piece, and a header that says so is damaged


def decoder() -> str:
    """What decodes here: a clip that could not be decoded is tried again with another."""
    return ", ".join([f"reader {READER}", f"libsndfile {soundfile.__libsndfile_version__}", *programs.installed()])


def convert(job: ClipJob) -> ClipResult:
    """Decode, cut, resample and write one clip; whatever is wrong with the audio is in the result.

    Raises:
        OSError: the target cannot be written, which is no fault of the clip.
    """
    try:
        samples, note = read_clip(job)
    except AudioError as error:
        return ClipResult(job.key, code=error.code, reason=error.reason)
    except (MemoryError, soundfile.SoundFileError, ValueError) as error:
        return ClipResult(job.key, code="unreadable", reason=f"it cannot be decoded: {type(error).__name__}: {error}")
    encoded = _encode(samples, job)
    _write(job.target, encoded.getbuffer(), job.parts_dir)
    peak = max(int(samples.max()), -int(samples.min())) / 32768
    power = int(np.square(samples, dtype=np.int32).sum(dtype=np.int64)) / len(samples) / 32768**2
    levels = (_db(peak), _db(math.sqrt(power)))
    return ClipResult(job.key, len(samples), encoded.tell(), *levels, fingerprint=fingerprint(samples), note=note)


def _db(level: float) -> float:
    return round(20 * math.log10(max(level, 1e-5)), 1)  # silence is -100 dB


def _encode(samples: np.ndarray, job: ClipJob) -> io.BytesIO:
    encoded = io.BytesIO()
    if job.audio_format == "wav":  # the same bytes as libsndfile's, which takes five times as long
        with wave.open(encoded, "wb") as writer:
            writer.setnchannels(1)
            writer.setsampwidth(2)
            writer.setframerate(job.sample_rate)
            writer.writeframes(samples.astype("<i2", copy=False).data)
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


def read_clip(job: ClipJob) -> tuple[np.ndarray, str]:
    """The samples of a clip as int16 [samples] at the rate of the job, and what is odd about them, or "".

    Raises:
        AudioError: as for `audio.read_audio`; the clip is longer than an hour, or shorter than the corpus promises; or
            it has no sound.
    """
    notes: list[str] = []
    if job.start_s is None:
        samples = read_audio(
            job.source, sample_rate=job.sample_rate, dtype="int16", check=_check_length, tell=notes.append
        )
        present_s = len(samples) / job.sample_rate
        # Releases round, and count the silence that an encoder adds at both ends, up to some 50 ms.
        if job.expected_s is not None and present_s < 0.9 * job.expected_s - 0.2:
            raise AudioError(
                f"it is cut (truncated): the corpus promises {job.expected_s:.2f} s, the file holds {present_s:.2f} s"
            )
    else:
        audio = _last_recording.open(job.source)
        start, end = _segment(job, audio.info)
        samples = audio.read(sample_rate=job.sample_rate, start=start, stop=end, dtype="int16", tell=notes.append)
    if not samples.any():
        raise AudioError("it is digital silence: every sample is 0", code="empty_audio")
    return samples, ", ".join(notes)


def _check_length(info: AudioInfo) -> None:
    if info.duration_s > MAX_CLIP_S:
        raise AudioError(
            f"its header claims {info.duration_s / 3600:,.1f} hours for one clip; at most one hour is taken"
        )


def _segment(job: ClipJob, info: AudioInfo) -> tuple[int, int]:
    """First frame of a segment of a long recording, and the one after its last."""
    assert job.start_s is not None and job.end_s is not None
    start, end = (round(second * info.sample_rate) for second in (job.start_s, job.end_s))
    if not 0 <= start < end:
        raise AudioError(f"its segment from {job.start_s:.2f} to {job.end_s:.2f} s is none", code="bad_row")
    if end - start > MAX_CLIP_S * info.sample_rate:
        raise AudioError("its segment is longer than an hour", code="bad_row")
    # Some transcripts end a little after the recording.
    if end > info.num_frames + info.sample_rate // 2:
        raise AudioError(
            f"its segment ends at {job.end_s:.2f} s, the recording at {info.duration_s:.2f} s", code="bad_row"
        )
    if start >= info.num_frames:
        raise AudioError("its segment holds no audio", code="empty_audio")
    return start, min(end, info.num_frames)


class _LastRecording:
    """The recording that was opened last: segments of one follow one another, and to open it may be to decode it."""

    def __init__(self) -> None:
        self._key: tuple[str, int, int] | None = None
        self._audio: AudioFile | None = None

    def open(self, path: str) -> AudioFile:
        try:
            status = os.stat(path)
            key = (path, status.st_mtime_ns, status.st_size)
        except OSError:
            key = None
        if self._audio is None or key != self._key or key is None:
            self.close()
            self._audio, self._key = AudioFile(path), key
        return self._audio

    def close(self) -> None:
        if self._audio is not None:
            self._audio.close()
            self._audio = None


_last_recording = _LastRecording()
atexit.register(_last_recording.close)
