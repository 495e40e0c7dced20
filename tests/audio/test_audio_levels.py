"""Sound that is there by its length, and yet cannot be heard, or only as noise."""

import numpy as np
import pytest
import soundfile
from recordings import encoded, tone

from deepspeech_training.audio.cache import AudioCache
from deepspeech_training.audio.files import AudioError, read_audio, read_audio_info


@pytest.fixture
def write(tmp_path):
    def write(audio, subtype="PCM_16", end="wav", rate=16000) -> str:
        path = tmp_path / f"a.{end}"
        soundfile.write(path, audio, rate, subtype)
        return str(path)

    return write


def notes_of(path) -> list[str]:
    """What the reading tells; the check must tell the same."""
    notes: list[str] = []
    read_audio(path, sample_rate=16000, tell=notes.append)
    return notes


@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
@pytest.mark.parametrize(
    ("factor", "reason"), [(32768, "reach 13,1"), (2.0**-15, "reach 1.2e-05 at most"), (np.inf, "not finite numbers")]
)
def test_floats_of_another_scale_are_refused_with_their_peak(write, subtype, factor, reason):
    path = write((factor * (tone(1.0) + 1e-3)).astype("float64"), subtype)
    for read in (read_audio_info, lambda path: read_audio(path, sample_rate=16000)):
        with pytest.raises(AudioError, match=reason):
            read(path)


@pytest.mark.parametrize("factor", [0.01, 1.0, 2.5, 6.0])
def test_floats_that_are_quiet_or_a_little_too_loud_are_taken(write, factor):
    path = write(factor * tone(1.0), "FLOAT")
    assert read_audio_info(path).note == "" and notes_of(path) == []
    np.testing.assert_allclose(read_audio(path, sample_rate=16000), factor * tone(1.0), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("subtype", "end"), [("PCM_16", "wav"), ("PCM_24", "wav"), ("FLOAT", "wav"), ("PCM_16", "flac")]
)
@pytest.mark.parametrize("second", [-1.0, -0.7])
def test_of_channels_that_cancel_the_loudest_is_taken_and_it_is_said(write, subtype, end, second):
    left = tone(2.0)
    path = write(np.stack([second * left, left], axis=1), subtype, end)
    assert "cancel each other: channel" in read_audio_info(path).note
    assert notes_of(path) == [read_audio_info(path).note]
    heard = read_audio(path, sample_rate=16000)
    assert np.corrcoef(heard, left)[0, 1] ** 2 > 0.999 and 0.39 < np.abs(heard).max() < 0.41


@pytest.mark.parametrize(
    "channels",
    [
        [tone(1.0), np.random.default_rng(1).normal(0, 0.1, 16000)],
        [tone(1.0), np.zeros(16000)],
        [tone(1.0), 0.2 * tone(1.0)],
        [tone(1.0), -0.3 * tone(1.0)],
        [tone(1.0), *[np.zeros(16000)] * 7],
        [np.zeros(16000), np.zeros(16000)],
    ],
)
def test_other_channels_are_averaged(write, channels):
    path = write(np.stack(channels, axis=1))
    assert "cancel" not in read_audio_info(path).note
    heard = read_audio(path, sample_rate=16000)
    np.testing.assert_allclose(heard, np.mean(channels, axis=0), atol=1e-4)


@pytest.mark.parametrize("seconds", [0.05, 1.0, 100.0])
@pytest.mark.parametrize("channels", [1, 2])
def test_digital_silence_is_named(write, seconds, channels):
    path = write(np.zeros((round(16000 * seconds), channels)))
    assert "digital silence" in read_audio_info(path).note
    assert notes_of(path) == ["it is digital silence: every sample is 0"]


def test_silence_at_the_start_is_no_digital_silence(write):
    audio = np.zeros(50_000)
    audio[33_333] = 0.5
    path = write(audio)
    assert read_audio_info(path).note == "" and notes_of(path) == []


def test_16_bit_samples_are_those_that_floats_would_be_rounded_to(write):
    path = write(np.random.default_rng(3).normal(0, 0.8, (50_000, 2)), "FLOAT", rate=44100)
    as_floats = read_audio(path, sample_rate=16000)
    whole = read_audio(path, sample_rate=16000, dtype="int16")
    assert whole.dtype == np.int16 and np.abs(as_floats).max() > 1
    np.testing.assert_array_equal(whole, np.clip(np.rint(as_floats * 32768), -32768, 32767))


def test_the_cache_passes_on_what_is_odd(tmp_path):
    path = tmp_path / "a.flac"
    path.write_bytes(encoded(np.stack([tone(1.0), -tone(1.0)], axis=1), format="FLAC"))
    told: list[str] = []
    cache = AudioCache(tmp_path / "cache", sample_rate=16000, max_bytes=10**9, warn=told.append)
    first, again = cache.read(str(path)), cache.read(str(path))
    np.testing.assert_array_equal(first, again)
    assert len(told) == 1 and "a.flac: its 2 channels cancel" in told[0]
    cache.close()
