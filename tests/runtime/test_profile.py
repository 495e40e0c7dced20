"""Levels, figures and the drift between two times: of signals and histograms whose values are known."""

import numpy as np
import pytest

from deepspeech_training.audio.loudness import Loudness, Signal
from deepspeech_training.runtime.events import Final, Word
from deepspeech_training.runtime.figures import Figures
from deepspeech_training.runtime.profile import Profile, band, drift

RATE = 16000


def measured(audio: np.ndarray, piece: int) -> Signal:
    loudness = Loudness(RATE)
    for start in range(0, len(audio), piece):
        loudness.add(audio[start : start + piece])
    return loudness.measured()


def final(text: str, *, start_s: float = 0.5, word_s: float = 0.5) -> Final:
    words = tuple(
        Word(word, start_s + place * word_s, start_s + (place + 1) * word_s, 0.9)
        for place, word in enumerate(text.split())
    )
    return Final(text, words, (), 0.9 if words else 0.0, 0.0, 3.0, 0, "endpoint")


@pytest.fixture
def half_silent() -> np.ndarray:
    """5 s of noise of 10 steps (-70 dBFS) and 5 s of a tone of amplitude 3277 (-23 dBFS): int16."""
    noise = np.random.default_rng(1).normal(0, 10, 5 * RATE)
    tone = 3276.7 * np.sin(2 * np.pi * 300 * np.arange(5 * RATE) / RATE)
    return np.concatenate([noise, tone]).astype(np.int16)


def test_level_and_noise_are_those_of_the_loud_and_the_quiet_frames(half_silent):
    signal = measured(half_silent, 480)
    assert signal.seconds == 10
    assert signal.level_dbfs == pytest.approx(-23, abs=1) and signal.noise_dbfs == pytest.approx(-70.5, abs=1.5)
    assert signal.clipped == 0


@pytest.mark.parametrize("piece", [1, 333, 7 * RATE, 20 * RATE])
def test_the_level_is_the_same_wherever_the_audio_is_cut(half_silent, piece):
    audio = half_silent[4 * RATE : 6 * RATE] if piece == 1 else half_silent
    assert measured(audio, piece) == measured(audio, 480)


def test_clipped_samples_are_counted_and_a_few_samples_or_silence_have_a_level_too():
    audio = np.zeros(RATE, np.int16)
    audio[:160], audio[160:240] = 32767, -32768
    assert measured(audio, 480).clipped == pytest.approx(240 / RATE)
    assert measured(np.zeros(RATE, np.int16), 480).level_dbfs == -100
    assert measured(np.full(7, 3277, np.int16), 7).level_dbfs == -20


def test_an_utterance_without_words_is_empty_and_has_no_confidence():
    figures = Figures.of(final(""), Signal(1.0, -60.0, -62.0, 0.0), lambda word: True)
    assert figures.is_empty and figures.unknown_words == 0
    assert not {"seconds", "confidence", "characters_per_second"} & set(figures.values)
    assert figures.values["snr_db"] == 2


def test_words_are_timed_and_looked_for_in_the_vocabulary():
    figures = Figures.of(final("one two xyz"), Signal(3.0, -20.0, -60.0, 0.0), {"one", "two"}.__contains__)
    assert figures.values["characters_per_second"] == pytest.approx(11 / 1.5)
    assert (figures.num_words, figures.unknown_words) == (3, 1)
    assert Figures.of(final("one"), Signal(3.0, -20.0, -60.0, 0.0), None).unknown_words is None


def test_draws_of_one_distribution_do_not_drift_however_small_they_are():
    generator = np.random.default_rng(0)
    for num_reference, num_served in ((100, 100), (400, 500)):
        found = [
            drift(generator.multinomial(num_reference, [1 / 8] * 8), generator.multinomial(num_served, [1 / 8] * 8))
            for _ in range(300)
        ]
        assert np.mean([band(index) == "none" for index in found]) > 0.85
        assert np.mean([band(index) == "large" for index in found]) < 0.02


def test_a_profile_is_the_same_read_from_a_card_and_other_bounds_are_left_out():
    signal = Signal(2.5, -22.0, -61.0, 0.0)
    profile = Profile.of([Figures.of(final(text), signal, None).places() for text in ("a bc", "", "de")])
    values = profile.as_json()
    read = Profile.from_json(values)
    assert read.utterances == 3 and read.as_json() == values
    assert read.middle("empty") == pytest.approx(1 / 3) and read.middle("unknown_words") is None
    assert 0.25 <= read.middle("seconds") <= 1 and -25 <= read.middle("level_dbfs") <= -20
    values["statistics"]["level_dbfs"]["bounds"][0] = -71
    values["statistics"]["of another program"] = {"counts": [1]}
    read = Profile.from_json(values)
    assert sum(read.counts("level_dbfs")) == 0 and sum(read.counts("seconds")) == 2
    with pytest.raises(ValueError, match="negative"):
        Profile.from_json({"utterances": 1, "statistics": {"empty": {"counts": [-1, 2]}}})
