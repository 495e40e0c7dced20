"""What a person hears about a take."""

import numpy as np
import pytest
from studio.takes import RATE, spoken, wav

from deepspeech_training.studio.corpus import as_wav
from deepspeech_training.studio.sound import REMARKS, SoundError, measure, read_take

TEXT = "turn on the light"


def remarks(samples, text=TEXT):
    return measure(np.asarray(samples).round().clip(-32768, 32767).astype(np.int16), RATE, text).remarks


def noise(dbfs: float, length: int) -> np.ndarray:
    return np.random.default_rng(5).normal(0, 32768 * 10 ** (dbfs / 20), length)


def test_nothing_is_said_of_a_good_take_and_its_figures_are_right():
    found = measure(spoken(), RATE, TEXT)
    assert found.remarks == ()
    assert found.peak_dbfs == pytest.approx(-6, abs=0.5)
    assert found.noise_dbfs == pytest.approx(-70, abs=2) and -25 < found.speech_dbfs < -8


@pytest.mark.parametrize(
    ("remark", "samples"),
    [
        ("silent", np.zeros(RATE)),
        ("silent", np.ones(RATE)),
        ("no_speech", noise(-60, 2 * RATE)),
        ("loud", spoken() * 6.0),
        ("quiet", spoken() / 60),
        ("begin_cut", spoken()[13 * RATE // 20 :]),
        ("end_cut", spoken()[: -13 * RATE // 20]),
        ("noisy", spoken() / 2 + noise(-33, len(spoken()))),
    ],
)
def test_what_is_wrong_is_said_in_one_remark(remark, samples):
    assert remarks(samples) == (remark,)
    assert REMARKS[remark].endswith((".", "?"))


def test_a_click_is_no_speech_and_a_take_too_short_for_its_text_is_told():
    click = noise(-70, RATE)
    click[RATE // 2 : RATE // 2 + 160] = 9000
    assert remarks(click) == ("no_speech",)
    assert remarks(spoken("on"), text="turn on the light in the kitchen and in the hall") == ("short",)


@pytest.mark.parametrize("rate", [8000, 44100, 48000])
def test_any_rate_of_a_device_is_measured_alike(rate):
    at = np.arange(round(len(spoken()) * rate / RATE)) * RATE / rate
    samples = np.interp(at, np.arange(len(spoken())), spoken().astype(float)).astype(np.int16)
    assert measure(samples, rate, TEXT).remarks == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no WAV"),
        (b"RIFF", "no WAV"),
        (b"\x1aE\xdf\xa3" * 100, "no WAV"),
        (as_wav(np.zeros(0, np.int16), RATE), "no sound"),
        (wav()[:-1000], "cut"),
        (as_wav(np.zeros(61 * RATE, np.int16), RATE), "may have 60 s"),
        (as_wav(np.zeros(100, np.int16), 500), "one channel"),
    ],
)
def test_what_is_no_take_is_refused_with_a_sentence(content, said):
    with pytest.raises(SoundError, match=said):
        read_take(content)
