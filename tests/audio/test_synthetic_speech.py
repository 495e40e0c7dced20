"""The synthesiser: deterministic, of the right length, and different for different letters."""

import string
from pathlib import Path

import numpy as np
import pytest
import soundfile

from deepspeech_training.audio import synthetic_speech
from deepspeech_training.audio.synthetic_speech import (
    SMOKE_SENTENCE,
    SOUNDS,
    WORDS,
    smoke_clip,
    synthesize,
    synthesize_seconds,
)

SHIPPED_CLIP = Path(synthetic_speech.__file__).parents[1] / "package_data" / "smoke.wav"
LSB = 2**-15


def band_shape(clip: np.ndarray, *, num_bands: int = 24) -> np.ndarray:
    """The mean power in equal bands up to 8 kHz, in dB, without the level."""
    power = np.abs(np.fft.rfft(clip)) ** 2
    bands_db = 10 * np.log10([band.mean() for band in np.array_split(power, num_bands)])
    return bands_db - bands_db.mean()


def test_the_same_arguments_give_the_same_sound_and_another_seed_another_take():
    assert np.array_equal(synthesize("we know", seed=3), synthesize("we know", seed=3))
    first, second = synthesize("we know", seed=3), synthesize("we know", seed=4)
    assert first.shape == second.shape
    assert not np.allclose(first, second, atol=0.01)


def test_the_clip_is_float32_with_a_peak_of_a_half_and_no_digital_silence():
    clip = synthesize(SMOKE_SENTENCE)
    assert clip.dtype == np.float32
    assert clip.ndim == 1
    assert np.abs(clip).max() == pytest.approx(0.5, abs=0.01)
    loudest_of_10_ms = np.abs(clip[: len(clip) // 160 * 160]).reshape(-1, 160).max(axis=1)
    assert loudest_of_10_ms.min() > 4 * LSB


def test_the_speech_has_about_as_many_characters_a_second_as_a_person():
    for text in (SMOKE_SENTENCE, " ".join(WORDS)):
        assert 11 < len(text) / (len(synthesize(text)) / 16000) < 16


def test_the_rate_shortens_the_clip():
    margins = 2 * round(0.09 * 16000)
    slow, fast = synthesize("water all year"), synthesize("water all year", rate=2.0)
    assert len(fast) - margins == pytest.approx((len(slow) - margins) / 2, abs=2)


def test_every_letter_and_digraph_is_recognised_by_its_spectrum_in_other_takes():
    spelled = [spelling for spelling in SOUNDS if spelling != " "]
    assert set(string.ascii_lowercase) < set(spelled)

    def shapes(takes: range) -> np.ndarray:
        return np.array([np.mean([band_shape(synthesize(s, seed=take)) for take in takes], axis=0) for s in spelled])

    distances = ((shapes(range(4))[:, None] - shapes(range(4, 8))) ** 2).mean(axis=-1)
    taken_for = {spelled[row]: spelled[column] for row, column in enumerate(distances.argmin(axis=1))}
    assert {spelling: other for spelling, other in taken_for.items() if other != spelling} == {}


def test_a_vowel_has_its_energy_low_and_a_hiss_high():
    def share_above_3_khz(clip: np.ndarray) -> float:
        power = np.abs(np.fft.rfft(clip)) ** 2
        return power[np.fft.rfftfreq(len(clip), 1 / 16000) > 3000].sum() / power.sum()

    assert share_above_3_khz(synthesize("o")) < 0.05
    assert share_above_3_khz(synthesize("s")) > 0.9


def test_a_vowel_repeats_with_the_pitch():
    clip = synthesize("aaaaaa", pitch_hz=150.0)
    middle = clip[len(clip) // 2 - 800 : len(clip) // 2 + 800].astype(float)
    correlation = np.correlate(middle, middle, mode="full")[len(middle) :]
    period = 80 + correlation[79:200].argmax()
    assert 16000 / period == pytest.approx(150, rel=0.1)


def test_an_empty_text_and_a_space_are_background_noise():
    for text in ("", "  "):
        clip = synthesize(text)
        assert 0.1 < len(clip) / 16000 < 0.5
        assert 4 * LSB < np.abs(clip).max() < 0.001


@pytest.mark.parametrize("text", ["Hello", "3 cats", "café", "one\ntwo"])
def test_a_text_with_other_characters_is_refused(text):
    with pytest.raises(ValueError, match="cannot say"):
        synthesize(text)


@pytest.mark.parametrize("wrong", [{"rate": 0}, {"pitch_hz": 0}, {"sample_rate": 0}])
def test_a_number_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        synthesize("a", **wrong)


@pytest.mark.parametrize("sample_rate", [8000, 11025, 22050, 44100])
def test_other_sample_rates_give_the_same_duration(sample_rate):
    clip = synthesize("she had", sample_rate=sample_rate)
    assert len(clip) / sample_rate == pytest.approx(len(synthesize("she had")) / 16000, abs=0.001)
    assert np.isfinite(clip).all()


@pytest.mark.parametrize("seconds", [0.1, 0.37, 1.0, 10.01, 23.4567])
def test_synthesize_seconds_gives_exactly_so_many_samples_and_the_text(seconds):
    clip, text = synthesize_seconds(seconds, seed=1)
    assert len(clip) == round(seconds * 16000)
    assert clip.dtype == np.float32
    assert set(text.split()) <= set(WORDS)
    if seconds >= 10:
        assert 11 < len(text) / seconds < 17


def test_synthesize_seconds_says_other_words_for_another_seed():
    assert synthesize_seconds(3, seed=1)[1] == synthesize_seconds(3, seed=1)[1]
    assert synthesize_seconds(3, seed=1)[1] != synthesize_seconds(3, seed=2)[1]


def test_synthesize_seconds_refuses_a_time_too_short_for_a_word():
    with pytest.raises(ValueError, match=r"0\.1"):
        synthesize_seconds(0.05)


def test_the_shipped_clip_is_what_the_function_gives():
    shipped, sample_rate = soundfile.read(SHIPPED_CLIP, dtype="float32")
    info = soundfile.info(SHIPPED_CLIP)
    assert (sample_rate, info.channels, info.subtype) == (16000, 1, "PCM_16")
    assert SHIPPED_CLIP.stat().st_size < 110_000
    made = smoke_clip()
    assert len(shipped) == len(made)
    assert np.abs(shipped - made).max() < 1.6 * LSB  # rounding to 16 bits, and a last bit of another numpy
