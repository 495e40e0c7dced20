"""What is wrong with a take, told at once: its level, its ends, its noise, and its length for that text.

All is measured on frames of 20 ms: how loud the speech is, how loud what is between it, and where it begins and ends.
"""

import io
import math
import wave
from dataclasses import dataclass

import numpy as np

MOST_S = 60.0
RATES = range(8000, 192001)
MOST_BYTES = 44 + int(MOST_S * 192000 * 2)  # at the highest rate
FRAME_S = 0.02
SILENCE_DBFS = -120.0
FAINT = 4  # of 32768: a few steps are what converters make of silence
CLIPPED = 32700  # of 32767: converters and browsers stop a little before the end
CLIPPED_RUN = 3  # samples in a row that no voice makes
CLIPPED_RUNS = 3
QUIET_DBFS = -45.0  # the speech; from a microphone that is near it has some -25
LEAST_SNR_DB = 12.0
ABOVE_NOISE_DB = 9.0  # where speech begins
EDGE_S = 0.04
LEAST_SPEECH_S = 0.1
LEAST_CHANGE_DB = 6.0  # between loud and soft moments: what never changes is no voice
MOST_CHARACTERS_PER_S = 30.0  # people read 15 in a second; twice that is not all of the text

REMARKS = {
    "silent": "The microphone gave nothing but silence. Is the right one chosen, and is it switched on?",
    "no_speech": "No voice was heard. Speak after the red light is on, nearer to the microphone.",
    "short": "That was too short for this text. Was all of it said?",
    "loud": "Too loud: the sound is cut at its peaks. Go back from the microphone, or turn it down.",
    "quiet": "Very quiet. Come nearer to the microphone, or turn it up.",
    "begin_cut": "The beginning may be cut off. Press Record, and then speak.",
    "end_cut": "The end may be cut off. Wait a moment before you press Stop.",
    "noisy": "There is much noise. Is a fan or a window near?",
}
UNUSABLE = frozenset({"silent", "no_speech", "short"})  # nothing can be learned of it


class SoundError(Exception):
    """It is no take: a sentence."""


@dataclass(frozen=True)
class Measured:
    """A take in figures.

    Args:
        peak_dbfs, speech_dbfs, noise_dbfs: the highest sample, the mean level of the speech, and what is between it.
        remarks: keys of REMARKS, the worst first.
    """

    seconds: float
    sample_rate: int
    peak_dbfs: float
    speech_dbfs: float
    noise_dbfs: float
    remarks: tuple[str, ...]


def read_take(content: bytes) -> tuple[np.ndarray, int]:
    """A WAV as the page makes it, PCM of 16 bits, mono -> int16 [samples], Hz.

    Raises:
        SoundError: it is something else, or too long.
    """
    try:
        with wave.open(io.BytesIO(content)) as file:
            rate, length = file.getframerate(), file.getnframes()
            if (file.getnchannels(), file.getsampwidth()) != (1, 2) or rate not in RATES:
                raise SoundError("a take is a WAV with one channel of 16 bits")
            if length > MOST_S * rate:
                raise SoundError(f"a take may have {MOST_S:g} s, this one has {length / rate:.0f} s: say it in parts")
            samples = np.frombuffer(file.readframes(length), "<i2")
    except (wave.Error, EOFError) as error:
        raise SoundError(f"it is no WAV: {error or 'it ends too early'}") from error
    if len(samples) != length or not length:
        raise SoundError("the WAV is cut, or there is no sound in it")
    return samples, rate


def measure(samples: np.ndarray, sample_rate: int, text: str) -> Measured:
    """Measure a take of a text: int16 [samples]."""
    seconds = len(samples) / sample_rate
    size = round(FRAME_S * sample_rate)
    frames = samples[: len(samples) // size * size].reshape(-1, size).astype(np.float64) / 32768
    peak = int(np.abs(samples.astype(np.int32)).max())
    if len(frames) == 0 or peak <= FAINT:
        return Measured(seconds, sample_rate, _db(peak / 32768), SILENCE_DBFS, SILENCE_DBFS, ("silent",))
    powers = np.mean(frames**2, axis=1)
    noise, loud = (_db(np.sqrt(np.percentile(powers, share))) for share in (10, 95))
    # A voice is louder than what is between it. Where nothing is between it, all that is nearly as loud is the voice.
    threshold = min(max(noise + ABOVE_NOISE_DB, loud - 25), loud - 6)
    is_speech = _steady(np.sqrt(powers) > 10 ** (threshold / 20))
    has_voice = is_speech.sum() * FRAME_S >= LEAST_SPEECH_S and loud - noise >= LEAST_CHANGE_DB
    speech = _db(np.sqrt(powers[is_speech].mean())) if is_speech.any() else loud
    edge = round(EDGE_S / FRAME_S)
    begin_cut, end_cut = bool(is_speech[:edge].all()), bool(is_speech[-edge:].all())
    found = {
        "no_speech": not has_voice,
        "short": has_voice and len(text) / seconds > MOST_CHARACTERS_PER_S,
        "loud": _clipped(samples),
        "quiet": has_voice and speech < QUIET_DBFS,
        "begin_cut": has_voice and begin_cut,
        "end_cut": has_voice and end_cut,
        # Where speech fills the take, there is no moment to measure the noise in.
        "noisy": has_voice and not (begin_cut and end_cut) and speech - noise < LEAST_SNR_DB,
    }
    remarks = tuple(name for name, is_so in found.items() if is_so)
    return Measured(seconds, sample_rate, _db(peak / 32768), speech, noise, remarks)


def _db(amplitude: float) -> float:
    """An amplitude in dBFS.

    >>> _db(0.1), _db(0)
    (-20.0, -120.0)
    """
    return 20 * math.log10(amplitude) if amplitude > 1e-6 else SILENCE_DBFS


def _steady(is_loud: np.ndarray) -> np.ndarray:
    """Without single frames, which are clicks: bool [frames]."""
    padded = np.pad(is_loud, 1)
    return is_loud & (padded[:-2] | padded[2:])


def _clipped(samples: np.ndarray) -> bool:
    """Whether several runs of samples stand at the end of what 16 bits hold."""
    at_end = np.abs(samples.astype(np.int32)) >= CLIPPED
    edges = np.flatnonzero(np.diff(np.pad(at_end.astype(np.int8), 1)))
    return int((edges[1::2] - edges[::2] >= CLIPPED_RUN).sum()) >= CLIPPED_RUNS
