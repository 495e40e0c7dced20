"""An upload, whatever it is -> float32: any file that somebody else sends, decoded in a process of its own.

Files of a person's own disk are read by `audio.files` alone; here the same reader works behind limits of memory, time
and length, so that a file that is made to harm costs its sender an error and nobody else anything. What the bytes are
decides how they are read; names and types that were sent with them do not.
"""

import json
import math
import mmap
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

import deepspeech_training
from deepspeech_training.audio import wav
from deepspeech_training.audio.errors import AudioError, TooLong
from deepspeech_training.audio.files import AudioFile
from deepspeech_training.audio.formats import kind_of
from deepspeech_training.errors import UserError

_SUGGESTION = "Send WAV, FLAC, MP3, Ogg, Opus, WebM, M4A or AMR."
_MAIN = "deepspeech_training.audio.decoding_process"
_READ_HERE_BYTES = 1 << 24  # 9 minutes at 16 kHz
_LOOK_S = 0.25  # how often is looked whether anybody still waits
_ROOT = Path(deepspeech_training.__file__).parents[1]


class MediaError(UserError):
    """A file that cannot be used as audio; the message says what was found in it and what would do.

    Args:
        message: without a path.
        code: `empty_audio`, `too_long`, `unreadable`; `decoding_limits` where what a file may cost did not suffice;
            `no_room` where this machine's disk is full, which is no fault of the file.
    """

    def __init__(self, message: str, code: str):
        super().__init__(message)
        self.code = code


@dataclass(frozen=True)
class MediaLimits:
    """How much a file may cost.

    Args:
        seconds: of audio.
        memory_mb: address space of the process that decodes it.
        disk_mb: of its samples, as they are decoded, in a temporary file.
        timeout_s: until it is decoded.
    """

    seconds: float = 4 * 3600
    memory_mb: int = 1024
    disk_mb: int = 4096  # 6 hours of 48 kHz in stereo
    timeout_s: float = 300


def decode(
    source: bytes | Path,
    *,
    name: str = "",
    limits: MediaLimits | None = None,
    sample_rate: int | None = None,
    given_up: threading.Event | None = None,
) -> tuple[np.ndarray, int]:
    """Decode a file of any format, its channels mixed into one.

    Args:
        source: the file, or what is in it.
        name: what its sender calls it, for the message.
        limits: None for the defaults.
        sample_rate: wanted, in Hz; None for that of the file.
        given_up: is set when nobody waits for it any longer: the process that decodes is ended.
    Returns:
        float32 [samples], mono, -1..1, and its rate in Hz. What is long lies in an unnamed file, not in memory.
    Raises:
        MediaError: it is no audio, empty, cut, damaged or too long, or to decode it takes too much time or memory.
    """
    limits = limits or MediaLimits()
    with ExitStack() as resources:
        file = resources.enter_context(source.open("rb") if isinstance(source, Path) else _temporary(source))
        if _needs_no_decoder(file):
            return _read_here(file, limits, sample_rate, name)
        decoded = resources.enter_context(_temporary())
        found = _run(file, decoded, limits, sample_rate, given_up or threading.Event())
        if "fault" in found:
            raise _error(found["fault"], found["code"], name)
        if not os.fstat(decoded.fileno()).st_size:
            raise _error("it holds no audio", "empty_audio", name)
        return np.frombuffer(mmap.mmap(decoded.fileno(), 0, access=mmap.ACCESS_READ), np.float32), found["sample_rate"]


def _temporary(content: bytes = b"") -> BinaryIO:
    """A file without a name."""
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115
        file.write(content)
        file.flush()
    except OSError as error:
        raise MediaError(f"There is no room for the file: {error.strerror}.", "no_room") from error
    return file


def _needs_no_decoder(file: BinaryIO) -> bool:
    """Whether it is a WAV of 16 bits and of moderate length: a process would take much longer than to read it."""
    if os.fstat(file.fileno()).st_size > _READ_HERE_BYTES:
        return False
    file.seek(0)
    head = file.read(wav.HEAD_BYTES)
    try:
        return kind_of(head)[0] == "WAV" and all(sound.format.is_pcm_16 for sound in wav.sounds(file, head))
    except AudioError:
        return False
    finally:
        file.seek(0)


def _read_here(file: BinaryIO, limits: MediaLimits, sample_rate: int | None, name: str) -> tuple[np.ndarray, int]:
    try:
        with AudioFile(f"/proc/self/fd/{file.fileno()}", most_s=limits.seconds) as audio:
            rate = sample_rate or audio.info.sample_rate
            return audio.read(sample_rate=rate), rate
    except TooLong as error:
        raise _error(error.reason, "too_long", name) from error
    except AudioError as error:
        raise _error(error.reason, error.code, name) from error


def _error(fault: str, code: str, name: str) -> MediaError:
    called = f" ({name[:100]!r})" if name else ""
    return MediaError(f"The file{called} cannot be used as audio: {fault.rstrip('.')}. {_SUGGESTION}", code)


def _run(
    file: BinaryIO, decoded: BinaryIO, limits: MediaLimits, sample_rate: int | None, given_up: threading.Event
) -> dict[str, Any]:
    """What the process says of the file, or why it could not."""
    settings = {
        "target": decoded.fileno(),
        "most_s": limits.seconds,
        "memory_mb": limits.memory_mb,
        "disk_mb": limits.disk_mb,
        "timeout_s": math.ceil(limits.timeout_s),
        "sample_rate": sample_rate,
    }
    with subprocess.Popen(
        [sys.executable, "-P", "-m", _MAIN, json.dumps(settings)],
        stdin=file,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        pass_fds=[decoded.fileno()],
        env=_environment(),
        start_new_session=True,  # so that the programs that it starts end with it
    ) as process:
        try:
            said = _said(process, limits.timeout_s, given_up)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        if said is None:
            os.killpg(process.pid, signal.SIGKILL)
            return _too_slow(limits)
    if process.returncode == 0:
        return json.loads(said)
    if process.returncode in (-signal.SIGXCPU, -signal.SIGALRM):
        return _too_slow(limits)
    fault = f"its decoder crashed on it; it is damaged, or needs more than {limits.memory_mb:,} MB of memory"
    return {"fault": fault, "code": "decoding_limits"}


def _said(process: subprocess.Popen[bytes], timeout_s: float, given_up: threading.Event) -> bytes | None:
    """What a process has written when it has ended; None if that takes too long, or nobody waits for it."""
    deadline = time.monotonic() + timeout_s
    while not given_up.is_set():
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            break
        with suppress(subprocess.TimeoutExpired):
            return process.communicate(timeout=min(left_s, _LOOK_S))[0]
    return None


def _too_slow(limits: MediaLimits) -> dict[str, Any]:
    return {"fault": f"to decode it takes longer than {limits.timeout_s:g} s", "code": "decoding_limits"}


def _environment() -> dict[str, str]:
    """Nothing of the service's secrets; OpenBLAS otherwise takes address space for each core."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    paths = [str(_ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths), "OPENBLAS_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
