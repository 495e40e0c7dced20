"""Audio as a client sends it -> int16 mono at the model's rate; where it is cut makes no difference."""

import numpy as np
import soxr

from deepspeech_training.runtime.stream import to_int16

LOWEST_RATE, HIGHEST_RATE = 4000, 192_000
MOST_CHANNELS = 8
DTYPES = ("int16", "float32")


class Intake:
    """Interleaved samples, as bytes or arrays of any length -> int16 samples, mono, at another rate.

    Bytes that are no whole frame of all channels wait for the others. int16 mono at the model's rate passes unchanged;
    else the channels are averaged, and soxr resamples without seams, which delays the audio by up to 70 ms.

    Raises:
        ValueError: a rate, a number of channels or a type that cannot be.
    """

    def __init__(self, *, sample_rate: int, channels: int, dtype: str, model_rate: int):
        if not LOWEST_RATE <= sample_rate <= HIGHEST_RATE:
            raise ValueError(f"a sample rate of {sample_rate} Hz: it must be from {LOWEST_RATE} to {HIGHEST_RATE}")
        if not 1 <= channels <= MOST_CHANNELS:
            raise ValueError(f"{channels} channels: it must be from 1 to {MOST_CHANNELS}")
        if dtype not in DTYPES:
            raise ValueError(f"samples of type {dtype!r}: it must be {' or '.join(DTYPES)}")
        self.sample_rate = sample_rate
        self.num_frames = 0  # taken so far, at `sample_rate`
        self._channels, self._dtype = channels, np.dtype(dtype).newbyteorder("<")
        self._frame_bytes = channels * self._dtype.itemsize
        self._rest = b""
        resamples = sample_rate != model_rate
        self._resampler = soxr.ResampleStream(sample_rate, model_rate, 1, dtype="float32") if resamples else None

    def feed(self, audio: bytes | bytearray | memoryview | np.ndarray) -> np.ndarray:
        """Take further samples, little-endian bytes or an array [samples] or [frames, channels] of the type.

        Returns:
            int16 [samples] at the model's rate, those that are ready.
        Raises:
            ValueError: an array of another type or shape, or samples that are not finite numbers.
        """
        return self._converted(self._whole_frames(audio), last=False)

    def flush(self) -> np.ndarray:
        """The samples that still wait for those after them; bytes that are no whole frame are dropped."""
        self._rest = b""
        left = self._converted(np.zeros((0, self._channels), self._dtype), last=True)
        if self._resampler is not None:
            self._resampler.clear()
        return left

    def _whole_frames(self, audio: bytes | bytearray | memoryview | np.ndarray) -> np.ndarray:
        """[frames, channels]"""
        if isinstance(audio, np.ndarray):
            if audio.dtype != self._dtype:
                raise ValueError(f"the audio is {audio.dtype}, this session takes {self._dtype.name}")
            if audio.ndim > 2 or (audio.ndim == 2 and audio.shape[1] != self._channels):
                raise ValueError(f"the audio has the shape {audio.shape}, not [frames, {self._channels}]")
            if not self._rest and not audio.size % self._channels:
                return audio.reshape(-1, self._channels)
            audio = audio.tobytes()
        data = self._rest + audio if self._rest else audio
        used = len(data) // self._frame_bytes * self._frame_bytes
        self._rest = bytes(data[used:])
        return np.frombuffer(data, self._dtype, used // self._dtype.itemsize).reshape(-1, self._channels)

    def _converted(self, frames: np.ndarray, *, last: bool) -> np.ndarray:
        if frames.dtype.kind == "f" and not np.isfinite(frames).all():
            raise ValueError("the audio has samples that are not finite numbers")
        self.num_frames += len(frames)
        if frames.dtype == np.int16:
            if self._channels == 1 and self._resampler is None:
                return frames[:, 0]
            scaled = frames / np.float32(32768)
        else:
            scaled = np.clip(frames, -1, 1)  # what is louder cannot be told in int16
        mono = scaled[:, 0] if self._channels == 1 else scaled.mean(axis=1, dtype=np.float32)
        if self._resampler is not None:
            mono = self._resampler.resample_chunk(np.ascontiguousarray(mono), last=last)
        return to_int16(mono)
