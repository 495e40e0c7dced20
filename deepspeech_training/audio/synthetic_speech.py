"""Text -> speech-like sound, without a voice, a model or the network: the smoke clip, tiny corpora, benchmark audio.

It stands before the way of the data: what it makes takes the place of recordings. A source and filter synthesiser in
numpy: a pulse train (a sum of harmonics) or noise, through eight resonances, of which three move. English spelling is
read letter by letter with some digraphs, so the result is not intelligible; but each letter has a spectrum of its own,
vowels have formants, fricatives hiss and stops have a closure and a burst, so that a small network can learn it.

Sources of the values: vowel formants are the averages for men of G. E. Peterson and H. L. Barney, "Control methods used
in a study of the vowels", JASA 24 (1952), table II; formants of the consonants follow D. H. Klatt, "Software for a
cascade/parallel formant synthesizer", JASA 67 (1980), table III. Durations, levels and noise bands are ours, set by
eye on spectrograms.
"""

import functools
import string
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

CHARACTERS = frozenset(string.ascii_lowercase + " '")
SMOKE_SENTENCE = "she had your dark suit in greasy wash water all year"  # TIMIT's sentence SA1, as in LDC93S1
SMOKE_CLIP = Path(__file__).resolve().parents[1] / "package_data" / "smoke.wav"

FRAMES_PER_SECOND = 200  # the tract and the levels move in steps of 5 ms, interpolated
MARGIN_MS = 90.0  # background noise alone before the first and after the last letter
PEAK = 0.5
BACKGROUND_PEAK = 0.0008  # 56 dB below the peak of the speech: no digital silence
HIGHER_FORMANTS_HZ = (3500.0, 4500.0, 5500.0, 6500.0, 7500.0)  # those of a neutral tract; they do not move
PIECE_S = 10.0  # longer audio is made of pieces, which bounds the memory

Formants = tuple[float, float, float]


@dataclass(frozen=True)
class Part:
    """A stretch of sound with one set of targets; neighbours are blended into each other.

    `voice` (pulses) and `breath` (noise) go through the formants; `hiss` is noise around `hiss_hz` that does not.
    """

    ms: float
    formants_hz: Formants
    voice: float = 0.0
    breath: float = 0.0
    hiss: float = 0.0
    hiss_hz: float = 4000.0
    hiss_width_hz: float = 1000.0


def _vowel(ms: float, *targets_hz: Formants) -> tuple[Part, ...]:
    return tuple(Part(ms / len(targets_hz), target, voice=1.0, breath=0.02) for target in targets_hz)


def _sonorant(ms: float, formants_hz: Formants, level: float) -> tuple[Part, ...]:
    return (Part(ms, formants_hz, voice=level, breath=0.01),)


def _fricative(ms: float, formants_hz: Formants, hiss: float, hz: float, width_hz: float, *, voice: float = 0.0):
    return (Part(ms, formants_hz, voice=voice, hiss=hiss, hiss_hz=hz, hiss_width_hz=width_hz),)


def _stop(formants_hz: Formants, burst: float, hz: float, width_hz: float, *, voice: float = 0.0) -> tuple[Part, ...]:
    """A closure, silent or with a low hum, then a burst, and breath where there is no hum."""
    burst_part = Part(12.0, formants_hz, voice=voice, hiss=burst, hiss_hz=hz, hiss_width_hz=width_hz)
    if voice:
        return (Part(45.0, formants_hz, voice=voice), burst_part)
    return (Part(42.0, formants_hz), burst_part, Part(20.0, formants_hz, breath=0.25))


HEED, HID, HEAD, HAD = (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410)
HOD, HAWED, HOOD, WHO = (730, 1090, 2440), (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240)
HUD, HEARD = (640, 1190, 2390), (490, 1350, 1690)
NEUTRAL = (500.0, 1500.0, 2500.0)

_S = _fricative(95, (320, 1390, 2530), 0.60, 6000, 1100)
_SH = _fricative(100, (300, 1840, 2750), 0.70, 3300, 700)
_K_TRACT, _W = (300, 1990, 2850), _sonorant(55, (290, 610, 2150), 0.55)

SOUNDS: dict[str, tuple[Part, ...]] = {
    "a": _vowel(95, HAD),
    "e": _vowel(80, HEAD),
    "i": _vowel(75, HID),
    "o": _vowel(95, HOD),
    "u": _vowel(80, HUD),
    "y": _sonorant(60, (260, 2070, 3020), 0.7),
    "ee": _vowel(130, HEED),
    "ea": _vowel(130, HID, HEED),
    "oo": _vowel(130, WHO),
    "ui": _vowel(130, HOOD, WHO),
    "ou": _vowel(135, HOD, HOOD),
    "ow": _vowel(135, HAWED, WHO),
    "oa": _vowel(135, HAWED, HOOD),
    "ai": _vowel(135, HEAD, HEED),
    "ay": _vowel(135, HAD, HEED),
    "oi": _vowel(135, HAWED, HID),
    "oy": _vowel(135, HAWED, HEED),
    "au": _vowel(130, HAWED),
    "aw": _vowel(130, HAWED, HUD),
    "ar": _vowel(140, HOD, HEARD),
    "er": _vowel(130, HEAD, HEARD),
    "ir": _vowel(130, HEED, HEARD),
    "or": _vowel(140, HAWED, HEARD),
    "ur": _vowel(130, HUD, HEARD),
    "w": _W,
    "r": _sonorant(60, (310, 1060, 1380), 0.6),
    "l": _sonorant(65, (310, 1050, 2880), 0.6),
    "m": _sonorant(65, (250, 1270, 2130), 0.35),  # Klatt's F1 of 480 Hz is beside a nasal pole and zero; we have none
    "n": _sonorant(60, (250, 1540, 2470), 0.35),
    "ng": _sonorant(85, (250, 1990, 2850), 0.35),
    "h": (Part(55.0, NEUTRAL, breath=0.45),),
    "f": _fricative(80, (340, 1100, 2080), 0.20, 4500, 2500),
    "v": _fricative(60, (220, 1100, 2080), 0.10, 4500, 2500, voice=0.35),
    "th": _fricative(85, (320, 1290, 2540), 0.16, 6800, 1500),
    "s": _S,
    "z": _fricative(80, (240, 1390, 2530), 0.30, 6000, 1100, voice=0.30),
    "sh": _SH,
    "ch": (Part(45.0, (350, 1800, 2820)), replace(_SH[0], ms=65.0)),
    "j": (Part(40.0, (260, 1800, 2820), voice=0.2), replace(_SH[0], ms=50.0, hiss=0.4, voice=0.25)),
    "p": _stop((400, 1100, 2150), 0.5, 900, 500),
    "b": _stop((200, 1100, 2150), 0.3, 900, 500, voice=0.25),
    "t": _stop((400, 1600, 2600), 0.7, 4200, 1000),
    "d": _stop((200, 1600, 2600), 0.4, 4200, 1000, voice=0.25),
    "k": _stop(_K_TRACT, 0.7, 2400, 350),
    "c": _stop(_K_TRACT, 0.7, 1500, 300),  # a k too, but further back, so that it can be told from k
    "g": _stop((200, 1990, 2850), 0.5, 2000, 350, voice=0.25),
    "q": _stop(_K_TRACT, 0.7, 1100, 300) + _W,
    "x": (*_stop(_K_TRACT, 0.5, 2000, 350), replace(_S[0], ms=60.0)),
    "'": (Part(35.0, NEUTRAL, voice=0.15),),
    " ": (Part(65.0, NEUTRAL),),
}

# Short and common, with every letter among them; `synthesize_seconds` draws from these.
_WORDS = (
    "the of and to in is you that it he was for on are as with his they at be this have from or one had by word but "
    "not what all were we when your can said there use an each which she do how their if will up other about out "
    "many then them these so some her would make like him into time has look two more write go see number no way "
    "could people my than first water been call who oil its now find long down day did get come made may part over "
    "new sound take only little work know place year live me back give most very after thing our just name good "
    "quick jump lazy box zebra don't it's we'll quite exact fox judge"
)
WORDS = tuple(_WORDS.split())


def synthesize(
    text: str, *, sample_rate: int = 16000, seed: int = 0, pitch_hz: float = 120.0, rate: float = 1.0
) -> np.ndarray:
    """Say `text`: the same sound for the same arguments, about 14 characters a second.

    Args:
        text: of a-z, the space and the apostrophe; an empty one gives a short stretch of background noise.
        sample_rate: in Hz; below 16,000 the hissing sounds lose most of their spectrum, as they do in life.
        seed: another take: other timing, size of the vocal tract, jitter and noise.
        pitch_hz: about the average of the voice; it falls through the sentence.
        rate: 2.0 takes half the time.
    Returns:
        float32 [samples], peak about 0.5, with light background noise throughout.
    Raises:
        ValueError: `text` has other characters, or a number makes no sense.

    >>> clip = synthesize("she had")
    >>> clip.dtype, 0.4 < len(clip) / 16000 < 1.0, 0.45 < float(abs(clip).max()) < 0.55
    (dtype('float32'), True, True)
    """
    if rate <= 0:
        raise ValueError(f"rate is {rate}; it must be above 0")
    parts, margin_s = _parts(text), MARGIN_MS / 1000
    num_samples = round((_natural_s(parts) / rate + 2 * margin_s) * sample_rate)
    return _render(parts, num_samples, sample_rate, _generator(seed), pitch_hz, margin_s)


def synthesize_seconds(seconds: float, seed: int = 0, *, sample_rate: int = 16000) -> tuple[np.ndarray, str]:
    """Random words for exactly so long.

    Args:
        seconds: the duration; rounded to whole samples.
        seed: other words, another pitch, another take.
        sample_rate: in Hz.
    Returns:
        float32 [round(seconds * sample_rate)], and the text that was said, of one word or more.
    Raises:
        ValueError: `seconds` is less than 0.1.

    >>> clip, text = synthesize_seconds(1.5, seed=7)
    >>> len(clip), len(text.split()) >= 2
    (24000, True)
    """
    if seconds < 0.1:
        raise ValueError(f"seconds is {seconds}; a word needs 0.1 at the least")
    num_pieces = max(1, round(seconds / PIECE_S))
    ends = np.linspace(0, round(seconds * sample_rate), num_pieces + 1).round().astype(int)
    generator = _generator(seed)
    pitch_hz = 95.0 + 120.0 * generator.random()
    clips, texts = [], []
    for num_samples in np.diff(ends):
        piece_s = num_samples / sample_rate
        margin_s = min(MARGIN_MS / 1000, piece_s / 10)
        text = _words_for(piece_s - 2 * margin_s, generator)
        clips.append(_render(_parts(text), int(num_samples), sample_rate, generator, pitch_hz, margin_s))
        texts.append(text)
    return np.concatenate(clips), " ".join(texts)


def smoke_clip() -> np.ndarray:
    """The shipped clip package_data/smoke.wav, synthesised again: SMOKE_SENTENCE as float32 [samples] at 16 kHz."""
    return synthesize(SMOKE_SENTENCE, seed=1993, pitch_hz=130.0, rate=1.25)


def _generator(seed: int) -> np.random.Generator:
    # Only .random() is drawn from it: its stream has been the same in all numpy releases, unlike the distributions.
    return np.random.Generator(np.random.PCG64(seed))


def _parts(text: str) -> list[Part]:
    unknown = sorted(set(text) - CHARACTERS)
    if unknown:
        raise ValueError(f"cannot say {' '.join(map(repr, unknown))}; a text has a-z, the space and the apostrophe")
    parts: list[Part] = []
    position = 0
    while position < len(text):
        spelled = text[position : position + 2]
        if spelled not in SOUNDS:
            spelled = text[position]
        parts += SOUNDS[spelled]
        position += len(spelled)
    return parts


def _natural_s(parts: list[Part]) -> float:
    return sum(part.ms for part in parts) / 1000


@functools.cache
def _word_s(word: str) -> float:
    return _natural_s(_parts(word + " "))


def _words_for(duration_s: float, generator: np.random.Generator) -> str:
    """As many random words as fit into the time; at least one."""
    words: list[str] = []
    left_s = duration_s
    while True:
        word = WORDS[int(generator.random() * len(WORDS))]
        left_s -= _word_s(word)
        if left_s < 0:
            return " ".join(words or [min(WORDS, key=_word_s)])
        words.append(word)


def _render(
    parts: list[Part],
    num_samples: int,
    sample_rate: int,
    generator: np.random.Generator,
    pitch_hz: float,
    margin_s: float,
) -> np.ndarray:
    """Fill exactly `num_samples` with the parts, stretched evenly, and a margin on either side."""
    if sample_rate < 4000 or pitch_hz <= 0:
        raise ValueError(f"sample_rate is {sample_rate}, pitch_hz is {pitch_hz}; 4000 and above 0 are the least")
    hop = round(sample_rate / FRAMES_PER_SECOND)
    num_frames = -(-num_samples // hop) + 1  # one more, to interpolate towards
    speech = np.zeros(num_samples)
    if parts:
        tract_hz, levels = _tracks(parts, num_frames, hop / sample_rate, num_samples / sample_rate, margin_s, generator)
        speech += _voice(tract_hz, levels[:, 0], hop, sample_rate, pitch_hz, generator)[:num_samples]
        speech += _noise(tract_hz, levels[:, 1:], hop, sample_rate, generator)[:num_samples]
        speech *= PEAK / max(np.abs(speech).max(), 1e-9)  # 1e-9: a text of spaces alone is silent
    background = (2 * generator.random(num_samples) - 1) * BACKGROUND_PEAK
    return (speech + background).astype(np.float32)


def _tracks(
    parts: list[Part],
    num_frames: int,
    frame_s: float,
    duration_s: float,
    margin_s: float,
    generator: np.random.Generator,
) -> tuple[np.ndarray, np.ndarray]:
    """Targets of the parts -> smooth tracks.

    Returns:
        Formants in Hz [frames, 3], and [frames, 5]: voice, breath, hiss, hiss_hz, hiss_width_hz.
    """
    silence = Part(0.0, NEUTRAL)
    natural_ms = np.array([part.ms for part in parts])
    spoken_ms = natural_ms * (0.9 + 0.2 * generator.random(len(parts)))  # nobody speaks like a clock
    spoken_s = (duration_s - 2 * margin_s) * spoken_ms / spoken_ms.sum()
    ends_s = np.cumsum(np.concatenate([[margin_s], spoken_s]))
    which = np.searchsorted(ends_s, frame_s * np.arange(num_frames), side="right")
    parts = [silence, *parts, silence]
    formants = np.array([part.formants_hz for part in parts], float)[which]
    levels = np.array([(p.voice, p.breath, p.hiss, p.hiss_hz, p.hiss_width_hz) for p in parts])[which]
    tract_scale = 0.97 + 0.06 * generator.random()
    levels[:, :3] = _smooth(levels[:, :3], num_taps=3)
    return tract_scale * _smooth(formants, num_taps=11), levels  # 11 frames: formants glide for some 50 ms


def _smooth(track: np.ndarray, *, num_taps: int) -> np.ndarray:
    """[frames, columns] -> the same shape, each a weighted mean of its neighbours."""
    taps = np.hanning(num_taps + 2)[1:-1]
    taps /= taps.sum()
    padded = np.pad(track, ((num_taps // 2, num_taps // 2), (0, 0)), mode="edge")
    return sum(tap * padded[at : at + len(track)] for at, tap in enumerate(taps))


def _resonances(tract_hz: np.ndarray, hz: np.ndarray) -> np.ndarray:
    """The complex gain of the vocal tract: formants [frames, 3] at the frequencies [frames or 1, bins]."""
    gain = np.ones((len(tract_hz), hz.shape[1]), complex)
    higher = np.broadcast_to(HIGHER_FORMANTS_HZ, (len(tract_hz), len(HIGHER_FORMANTS_HZ)))
    for formant_hz in np.concatenate([tract_hz, higher], axis=1).T[:, :, None]:
        bandwidth_hz = 50 + 0.05 * formant_hz
        gain *= formant_hz**2 / (formant_hz**2 - hz**2 + 1j * bandwidth_hz * hz)
    return gain


def _voice(
    tract_hz: np.ndarray,
    level: np.ndarray,
    hop: int,
    sample_rate: int,
    pitch_hz: float,
    generator: np.random.Generator,
) -> np.ndarray:
    """The voiced part, [(frames - 1) * hop]: harmonics of a falling, jittering pitch, weighted by the tract."""
    num_frames = len(level)
    time_s = np.arange(num_frames) * hop / sample_rate
    jitter = _smooth(generator.random((num_frames, 1)) - 0.5, num_taps=5)[:, 0]
    melody = np.linspace(1.15, 0.85, num_frames) * (1 + 0.04 * np.sin(2 * np.pi * 1.7 * time_s))
    f0_hz = pitch_hz * melody * (1 + 0.06 * jitter)
    shimmer = 1 + 0.3 * _smooth(generator.random((num_frames, 1)) - 0.5, num_taps=3)[:, 0]

    highest_hz = min(0.47 * sample_rate, 7500.0)
    orders = np.arange(1, max(1, int(highest_hz / f0_hz.min())) + 1)
    harmonic_hz = f0_hz[:, None] * orders
    # 1/order: -12 dB an octave of the glottal pulse, +6 dB of the radiation at the lips (Klatt 1980)
    gain = _resonances(tract_hz, harmonic_hz) / orders * (level * shimmer)[:, None]
    gain[harmonic_hz > highest_hz] = 0

    ramp = np.arange(hop) / hop
    step_hz = f0_hz[:-1, None] + ramp * np.diff(f0_hz)[:, None]
    turn = np.exp(2j * np.pi / sample_rate * np.cumsum(step_hz.ravel())).reshape(step_hz.shape)
    voiced = np.flatnonzero((level[:-1] > 0) | (level[1:] > 0))
    turn, first, change = turn[voiced], gain[voiced], np.diff(gain, axis=0)[voiced]
    total, rotation = np.zeros(turn.shape), np.ones_like(turn)
    for column in range(len(orders)):
        rotation = rotation * turn  # e ** (i * order * phase), without a cosine for each harmonic
        total += ((first[:, column, None] + ramp * change[:, column, None]) * rotation).real
    wave = np.zeros(step_hz.shape)
    wave[voiced] = total
    return wave.ravel()


def _noise(
    tract_hz: np.ndarray, levels: np.ndarray, hop: int, sample_rate: int, generator: np.random.Generator
) -> np.ndarray:
    """Breath and hiss, [frames * hop]: each frame is steady noise of its own spectrum, faded into the next."""
    breath, hiss, centre_hz, width_hz = levels.T[:, :, None]
    length = 1 << (2 * hop - 1).bit_length()  # at least the two hops that a frame lasts
    hz = np.fft.rfftfreq(length, 1 / sample_rate)[None, :]
    gain = breath * np.abs(_resonances(tract_hz, hz)) + hiss * np.exp(-0.5 * ((hz - centre_hz) / width_hz) ** 2)
    white = np.sqrt(3) * (2 * generator.random((len(breath), length)) - 1)  # of power 1
    window = np.sin(np.pi * (np.arange(2 * hop) + 0.5) / (2 * hop))  # squares add up to 1: the power stays
    frames = np.fft.irfft(np.fft.rfft(white) * gain, length)[:, : 2 * hop] * window
    wave = frames[:, hop:].copy()  # frame i is centred on sample i * hop
    wave[:-1] += frames[1:, :hop]
    return wave.ravel()
