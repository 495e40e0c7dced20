"""Sound as it comes, block by block: from a microphone, from a file at the pace of a clock, or raw from stdin."""

import os
import queue
import select
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from deepspeech_training.audio.files import AudioError, AudioFile
from deepspeech_training.audio.formats import kind_of
from deepspeech_training.errors import UserError

BLOCK_S = 0.1
MOST_BEHIND_S = 30.0  # of a microphone's sound that nobody takes
_LOOK_EVERY_S = 0.1  # whether it is to stop


@dataclass(frozen=True)
class Sound:
    """Interleaved int16 samples, little-endian.

    Args:
        name: where it comes from, for a person.
        blocks: some 0.1 s each; they end when the sound does.
    """

    name: str
    sample_rate: int
    channels: int
    blocks: Iterator[bytes]


def from_file(path: str, *, realtime: bool, stop: threading.Event) -> Sound:
    """A recording of any format.

    Args:
        realtime: no block comes before it would have been spoken.
        stop: ends it.
    Raises:
        UserError: the file cannot be used as audio.
    """
    try:
        with AudioFile(path) as file:
            sample_rate = file.info.sample_rate
            samples = file.read(sample_rate=sample_rate, dtype="int16")
    except AudioError as error:
        raise UserError(f"{path}: {error}") from error

    def blocks() -> Iterator[bytes]:
        size = round(BLOCK_S * sample_rate)
        begin = time.monotonic()
        for start in range(0, len(samples), size):
            if realtime:
                stop.wait(max(0.0, begin + (start + size) / sample_rate - time.monotonic()))
            if stop.is_set():
                return
            yield samples[start : start + size].tobytes()

    return Sound(path, sample_rate, 1, blocks())


def from_stdin(stdin: BinaryIO, *, sample_rate: int, channels: int, stop: threading.Event) -> Sound:
    """Raw int16 samples, as soon as they are there.

    Raises:
        UserError: stdin is a terminal.
    """
    if stdin.isatty():
        raise UserError(
            "stdin is a terminal, and has no sound\nAs in: arecord -t raw -f S16_LE -r 16000 | ... stream -"
        )
    size = round(BLOCK_S * sample_rate) * 2 * channels

    def blocks() -> Iterator[bytes]:
        is_first = True
        while not stop.is_set():
            if not select.select([stdin], [], [], _LOOK_EVERY_S)[0]:
                continue
            block = os.read(stdin.fileno(), size)
            if not block:
                return
            if is_first and (kind := kind_of(block)[0]):
                raise UserError(
                    f"stdin is {kind} and no raw samples\nGive the file's name; or what makes it a raw format: "
                    f"sox FILE -t raw -e signed -b 16 -r {sample_rate} -c {channels} -"
                )
            is_first = False
            yield block

    return Sound("stdin", sample_rate, channels, blocks())


@contextmanager
def microphone(device: str | None, *, stop: threading.Event) -> Iterator[Sound]:
    """What a microphone hears from now on, at its own rate.

    Args:
        device: its number, or a part of its name; None for the system's.
    Raises:
        UserError: there is none, or it cannot be opened; on the way: nobody takes the sound for 30 s, or it is gone.
    """
    sounddevice = _sounddevice()
    heard: queue.Queue[bytes] = queue.Queue(round(MOST_BEHIND_S / BLOCK_S))
    lost = threading.Event()

    def hear(data: Any, _frames: int, _time: Any, _status: Any) -> None:
        try:
            heard.put_nowait(bytes(data))
        except queue.Full:
            lost.set()

    def blocks() -> Iterator[bytes]:
        while not stop.is_set():
            if lost.is_set():
                raise UserError(
                    f"the last {MOST_BEHIND_S:g} s are not recognised yet: this machine is too slow for the model\n"
                    "Take a smaller model, or a narrower beam (--beam_width)."
                )
            try:
                yield heard.get(timeout=_LOOK_EVERY_S)
            except queue.Empty:
                if not stream.active:
                    raise UserError(f"the microphone {name!r} is gone") from None

    try:
        found = sounddevice.query_devices(_number_or_name(device), "input")
        name, sample_rate = str(found["name"]), round(found["default_samplerate"])
        stream = sounddevice.RawInputStream(
            samplerate=sample_rate,
            blocksize=round(BLOCK_S * sample_rate),
            device=found["index"],
            channels=1,
            dtype="int16",
            callback=hear,
        )
    except (sounddevice.PortAudioError, ValueError) as error:
        listed = "; ".join(microphones()) or "none"
        raise UserError(
            f"no microphone to listen to: {error}\nThere are: {listed} (--device NUMBER or NAME)"
        ) from error
    with stream:
        yield Sound(name, sample_rate, 1, blocks())


def microphones() -> list[str]:
    """Number and name of each.

    Raises:
        UserError: sounddevice cannot be used.
    """
    found = _sounddevice().query_devices()
    return [f"{device['index']} {device['name']}" for device in found if device["max_input_channels"] > 0]


def _sounddevice() -> Any:
    try:
        import sounddevice
    except ImportError:
        raise UserError(
            "a microphone needs the package sounddevice\nInstall it: pip install 'deepspeech_training[microphone]'"
        ) from None
    except OSError as error:  # PortAudio itself
        raise UserError(
            f"a microphone needs the library PortAudio ({error})\nIn Debian: apt install libportaudio2"
        ) from None
    return sounddevice


def _number_or_name(device: str | None) -> int | str | None:
    return int(device) if device is not None and device.isdigit() else device
