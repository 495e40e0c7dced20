"""Augmentations of waveforms, in numpy, in the loader's threads: the table WAVEFORM.

Each is a function of a waveform float32 [samples], -1..1, and of a `Draw`, and returns another waveform; it never
writes into the one that it was given. augmentations.py has their parameters.
"""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import soundfile
import soxr

from deepspeech_training.augment.catalogue import Augmentation, ValueRange
from deepspeech_training.augment.recordings import AudioSource

FULL_SCALE_DBFS = 3.0103  # of a peak of 1: DeepSpeech's unit, in which a sine of full scale has an RMS of 0 dBFS
LEVEL_BELOW_HZ = 50.0  # of noise with a slope: what is further down no feature sees
SMALLEST = 1e-16


@dataclass
class Draw:
    """What an augmentation draws from: the values of its parameters at the run's clock, and a generator of its own.

    Args:
        augmentation: which one.
        clock: 0..1 over the whole run.
        random: a function of (seed, epoch, clip, index of the augmentation).
        sample_rate: Hz, of the clips.
        source: recordings of its `source`, None if it has none.
    """

    augmentation: Augmentation
    clock: float
    random: np.random.Generator
    sample_rate: int
    source: AudioSource | None = None

    def value(self, name: str) -> float:
        """A value for a parameter; drawn again each time."""
        value = self.augmentation.values[name]
        return value.pick(self.clock, self.random.random()) if isinstance(value, ValueRange) else value

    def samples(self, name: str) -> int:
        """A value in ms as a number of samples."""
        return round(self.value(name) * self.sample_rate / 1000)

    def recording(self) -> np.ndarray:
        """One of the recordings of the source, float32 [samples]."""
        assert self.source is not None, "an augmentation that mixes in has a source"
        return self.source.read(self.place(len(self.source)))

    def place(self, room: int) -> int:
        """One of 0 .. room - 1, each as likely; 0 if there is no room."""
        return int(self.random.random() * room)


def peak_dbfs(audio: np.ndarray) -> float:
    return 20.0 * math.log10(max(SMALLEST, float(np.abs(audio).max(initial=0.0)))) + FULL_SCALE_DBFS


def with_peak(audio: np.ndarray, dbfs: float) -> np.ndarray:
    """The same audio scaled to a peak, clipped to -1..1; silence stays."""
    peak = float(np.abs(audio).max(initial=0.0))
    if peak < SMALLEST:
        return audio
    return np.clip(audio * np.float32(ratio_of(dbfs - FULL_SCALE_DBFS) / peak), -1.0, 1.0)


def ratio_of(db: float) -> float:
    """Amplitude ratio of a gain."""
    return 10.0 ** (db / 20.0)


def power(audio: np.ndarray) -> float:
    return float(np.mean(np.square(audio, dtype=np.float64))) if len(audio) else 0.0


# --- DeepSpeech's --------------------------------------------------------------------------------------------------


def overlay(audio: np.ndarray, draw: Draw) -> np.ndarray:
    mixed = np.zeros_like(audio)
    for _ in range(round(draw.value("layers"))):
        mixed += recordings(draw, len(audio))
    snr_db = draw.value("snr")
    if not mixed.any():
        return audio
    peak = peak_dbfs(audio)
    gain = ratio_of(peak - peak_dbfs(mixed) - snr_db)
    return with_peak(audio + mixed * np.float32(gain), peak)


def codec(audio: np.ndarray, draw: Draw) -> np.ndarray:
    bitrate, name = draw.value("bitrate"), draw.value("codec")
    rate = next((r for r in (8000, 12000, 16000, 24000, 48000) if r >= draw.sample_rate), 48000)
    resampled = soxr.resample(audio, draw.sample_rate, rate, quality="HQ")
    if name == "opus":
        # libsndfile's ogg_opus.c: level 0 is 256 kbit/s, 1 is 6 kbit/s, and linear between them.
        level = min(max(1.0 - (bitrate - 6000) / 250000, 0.0), 1.0)
        decoded = _through_file(resampled, rate, format="OGG", subtype="OPUS", compression_level=level)
    else:
        # mpeg_l3_encode.c: from the highest to the lowest rate of this sampling rate's version of MPEG
        low, high = (32000, 320000) if rate >= 32000 else (8000, 160000 if rate >= 16000 else 64000)
        level = min(max(1.0 - (bitrate - low) / (high - low), 0.0), 0.999)
        decoded = _through_file(
            resampled, rate, format="MP3", subtype="MPEG_LAYER_III", compression_level=level, bitrate_mode="CONSTANT"
        )
    return _fitted(soxr.resample(decoded, rate, draw.sample_rate, quality="HQ"), len(audio))


MP3_DELAY = 576 + 529  # samples: of LAME's encoder and of the decoder; at low rates there is no header to tell it


def _through_file(audio: np.ndarray, rate: int, **how: object) -> np.ndarray:
    """Encode and decode in memory; the result is as long as `audio` and not delayed."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", samplerate=rate, channels=1, **how) as writer:
        writer.write(audio)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    if how["format"] == "MP3" and len(decoded) > len(audio):
        decoded = decoded[MP3_DELAY:]
    return _fitted(decoded, len(audio))


def _fitted(audio: np.ndarray, length: int) -> np.ndarray:
    """Cut, or filled up with zeros, to a length."""
    return audio[:length] if len(audio) >= length else np.pad(audio, (0, length - len(audio)))


def reverb(audio: np.ndarray, draw: Draw) -> np.ndarray:
    delay, loss = draw.value("delay"), ratio_of(-draw.value("decay"))
    total = audio.astype(np.float64)
    for prime in (17, 19, 23, 29, 31):  # primes, so that echoes of two combs seldom meet
        samples = max(16, math.floor(delay * prime / 17 * draw.sample_rate / 1000))
        rounds = -(-len(audio) // samples)
        rows = np.zeros((rounds, samples))  # [echo, sample]: feedback reaches from each row to the next
        rows.reshape(-1)[: len(audio)] = audio
        for row in range(1, rounds):
            rows[row] += loss * rows[row - 1]
        total += rows.reshape(-1)[: len(audio)]
    return with_peak(total, peak_dbfs(audio)).astype(np.float32)


def resample(audio: np.ndarray, draw: Draw) -> np.ndarray:
    rate = draw.value("rate")
    if rate >= draw.sample_rate:
        return audio
    lower = soxr.resample(audio, draw.sample_rate, rate, quality="HQ")
    return _fitted(soxr.resample(lower, rate, draw.sample_rate, quality="HQ"), len(audio))


def volume(audio: np.ndarray, draw: Draw) -> np.ndarray:
    return with_peak(audio, draw.value("dbfs"))


def time_mask(audio: np.ndarray, draw: Draw) -> np.ndarray:
    masked = audio.copy()
    for _ in range(round(draw.value("n"))):
        length = min(max(1, draw.samples("size")), len(audio) - 1)
        start = draw.place(len(audio) - length)
        masked[start : start + length] = 0.0
    return masked


def dropout(audio: np.ndarray, draw: Draw) -> np.ndarray:
    rate = draw.value("rate")
    return np.where(draw.random.random(len(audio), np.float32) < rate, np.float32(0), audio)


def add(audio: np.ndarray, draw: Draw) -> np.ndarray:
    deviation = np.float32(draw.value("stddev"))
    return audio + deviation * draw.random.standard_normal(len(audio), np.float32)


def multiply(audio: np.ndarray, draw: Draw) -> np.ndarray:
    deviation = np.float32(draw.value("stddev"))
    return audio * (1 + deviation * draw.random.standard_normal(len(audio), np.float32))


# --- new ones ------------------------------------------------------------------------------------------------------


def gain(audio: np.ndarray, draw: Draw) -> np.ndarray:
    louder = np.rint(audio * np.float32(32768 * ratio_of(draw.value("db"))))
    return np.clip(louder, -32768, 32767) * np.float32(2**-15)


def noise(audio: np.ndarray, draw: Draw) -> np.ndarray:
    snr_db = draw.value("snr")
    if draw.source is None:
        added = draw.random.standard_normal(len(audio), np.float32)
    else:
        added = recordings(draw, len(audio))
    added = tilted(added, draw)
    of_clip, of_noise = power(audio), power(added)
    if of_clip < SMALLEST or of_noise < SMALLEST:
        return audio
    return audio + added * np.float32(math.sqrt(of_clip / of_noise) * ratio_of(-snr_db))


def tilted(audio: np.ndarray, draw: Draw) -> np.ndarray:
    """The same with the `slope` in its spectrum; below 50 Hz it is level."""
    limits = draw.augmentation.values["slope"]
    if limits.low == limits.high == 0:
        return audio
    slope = draw.value("slope")
    length = 1 << (len(audio) - 1).bit_length()
    hz = np.fft.rfftfreq(length, 1 / draw.sample_rate)
    gains = (np.maximum(hz, LEVEL_BELOW_HZ) / LEVEL_BELOW_HZ) ** (slope / (20 * math.log10(2)))
    return np.fft.irfft(np.fft.rfft(audio, length) * gains, length)[: len(audio)].astype(np.float32)


def recordings(draw: Draw, length: int) -> np.ndarray:
    """So much audio of the source: from anywhere in one recording on, then others until it is enough."""
    filled = np.zeros(length, np.float32)
    done = 0
    while done < length:
        found = draw.recording()
        start = draw.place(len(found)) if done == 0 else 0
        part = found[start : start + length - done]
        filled[done : done + len(part)] = part
        done += len(part)
    return filled


def rir(audio: np.ndarray, draw: Draw) -> np.ndarray:
    response = draw.recording()
    response = response[np.argmax(np.abs(response)) :]  # from the direct sound on: the clip is not delayed
    length = 1 << (len(audio) + len(response) - 1).bit_length()
    echoed = np.fft.irfft(np.fft.rfft(audio, length) * np.fft.rfft(response, length), length)[: len(audio)]
    of_echo = power(echoed)
    if of_echo < SMALLEST:
        return audio
    return (echoed * math.sqrt(power(audio) / of_echo)).astype(np.float32)


def speed(audio: np.ndarray, draw: Draw) -> np.ndarray:
    # Whole hundredths: for a ratio of small numbers libsoxr is four times as fast as for another.
    return soxr.resample(audio, round(100 * draw.value("factor")), 100, quality="HQ")


def silence(audio: np.ndarray, draw: Draw) -> np.ndarray:
    before, after = draw.samples("before"), draw.samples("after")
    deviation = np.float32(ratio_of(draw.value("dbfs") - FULL_SCALE_DBFS))
    ends = deviation * draw.random.standard_normal(before + after, np.float32)
    return np.concatenate([ends[:before], audio, ends[before:]])


TELEPHONE_CODECS = {"mulaw": "ULAW", "alaw": "ALAW", "gsm": "GSM610"}
TELEPHONE_RATE = 8000


def telephone(audio: np.ndarray, draw: Draw) -> np.ndarray:
    low, high, name = draw.value("low"), draw.value("high"), draw.augmentation.values["codec"]
    if name == "any":
        name = list(TELEPHONE_CODECS)[draw.place(len(TELEPHONE_CODECS))]
    narrow = band_pass(
        soxr.resample(audio, draw.sample_rate, TELEPHONE_RATE, quality="HQ"), low, high, rate=TELEPHONE_RATE
    )
    decoded = _through_file(narrow, TELEPHONE_RATE, format="WAV", subtype=TELEPHONE_CODECS[name])
    return _fitted(soxr.resample(decoded, TELEPHONE_RATE, draw.sample_rate, quality="HQ"), len(audio))


def band_pass(audio: np.ndarray, low_hz: float, high_hz: float, *, rate: int, order: int = 8) -> np.ndarray:
    """Keep a band: Butterworth's magnitude, 3 dB less at both edges, without delay."""
    length = 1 << (2 * len(audio) - 1).bit_length()
    hz = np.fft.rfftfreq(length, 1 / rate)
    hz[0] = 1e-6
    response = 1 / np.sqrt((1 + (low_hz / hz) ** (2 * order)) * (1 + (hz / high_hz) ** (2 * order)))
    return np.fft.irfft(np.fft.rfft(audio, length) * response, length)[: len(audio)].astype(np.float32)


WAVEFORM: Mapping[str, Callable[[np.ndarray, Draw], np.ndarray]] = {
    "overlay": overlay,
    "codec": codec,
    "reverb": reverb,
    "resample": resample,
    "volume": volume,
    "time_mask": time_mask,
    "dropout": dropout,
    "add": add,
    "multiply": multiply,
    "gain": gain,
    "noise": noise,
    "rir": rir,
    "speed": speed,
    "silence": silence,
    "telephone": telephone,
}
