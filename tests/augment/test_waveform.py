"""Each augmentation of waveforms against a plain reference or a property that can be measured."""

import math

import numpy as np
import pytest
import soundfile

from deepspeech_training.audio.synthetic_speech import synthesize
from deepspeech_training.augment.catalogue import AUGMENTATIONS, parse_augmentations
from deepspeech_training.augment.recordings import AudioSource
from deepspeech_training.augment.waveform import FULL_SCALE_DBFS, WAVEFORM, Draw, band_pass, peak_dbfs

RATE = 16000


def apply(text: str, audio: np.ndarray, *, seed: int = 0, clock: float = 0.5) -> np.ndarray:
    """Apply one --augment; the clip cannot be written into."""
    (augmentation,) = parse_augmentations([text])
    path = augmentation.values.get("source")
    source = AudioSource(path, sample_rate=RATE) if path else None
    audio = audio.astype(np.float32)
    audio.flags.writeable = False
    draw = Draw(augmentation, clock, np.random.Generator(np.random.Philox(key=seed)), RATE, source)
    augmented = WAVEFORM[augmentation.name](audio, draw)
    assert augmented.dtype == np.float32 and augmented.ndim == 1 and np.isfinite(augmented).all()
    return augmented


def tone(hz: float, seconds: float = 1.0, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * RATE)) / RATE)


def amplitude_at(audio: np.ndarray, hz: float) -> float:
    """Amplitude of a tone in a second of audio, which has a whole number of its periods."""
    return 2 * abs(np.fft.rfft(audio[:RATE])[round(hz)]) / RATE


def pitch_of(audio: np.ndarray) -> float:
    """Frequency of the strongest tone, in Hz."""
    length = 1 << 20
    return float(np.argmax(np.abs(np.fft.rfft(audio * np.hanning(len(audio)), length))) * RATE / length)


def decibels(ratio: float) -> float:
    return 20 * math.log10(ratio)


def power(audio: np.ndarray) -> float:
    return float(np.mean(np.square(audio, dtype=np.float64)))


def lag(audio: np.ndarray, reference: np.ndarray) -> int:
    """By how many samples `audio` comes after `reference`."""
    length = 1 << (len(audio) + len(reference)).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(audio, length) * np.conj(np.fft.rfft(reference, length)), length)
    place = int(np.argmax(correlation))
    return place if place < length // 2 else place - length


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    return synthesize("she had your dark suit", seed=1, sample_rate=RATE).astype(np.float32)


@pytest.fixture
def recording(tmp_path):
    """A function that writes a waveform as a file in a folder and returns the folder."""

    def write(audio: np.ndarray, name: str = "a.wav") -> str:
        folder = tmp_path / "source"
        folder.mkdir(exist_ok=True)
        soundfile.write(folder / name, audio, RATE, subtype="FLOAT")
        return str(folder)

    return write


def test_the_table_has_what_works_on_waveforms():
    assert set(WAVEFORM) == {n for n, kind in AUGMENTATIONS.items() if {"sample", "signal"} & set(kind.domains)}


@pytest.mark.parametrize("snr", [-3, 0, 12.5])
def test_overlay_mixes_peaks_in_the_ratio_asked_for_and_keeps_the_clips_peak(recording, snr):
    clip = tone(440)
    mixed = apply(f"overlay[source={recording(tone(1000, amplitude=0.07, seconds=0.3))},snr={snr}]", clip)
    assert decibels(amplitude_at(mixed, 440) / amplitude_at(mixed, 1000)) == pytest.approx(snr, abs=0.1)
    assert peak_dbfs(mixed) == pytest.approx(peak_dbfs(clip), abs=1e-4)


def test_the_layers_of_an_overlay_are_recordings_at_once(recording):
    folder = recording(np.full(50000, 0.5))
    recording(np.full(300, 0.25), "b.wav")
    clip = np.zeros(4000)
    clip[0] = 0.5
    none = apply(f"overlay[source={folder},layers=0]", clip)
    np.testing.assert_array_equal(none, clip.astype(np.float32))
    levels = {round(len(np.unique(apply(f"overlay[source={folder},layers=3]", clip, seed=s)[1:]))) for s in range(5)}
    assert max(levels) > 2  # constants that begin and end at places of their own


@pytest.mark.parametrize("codec", ["opus", "mp3"])
def test_a_codec_loses_more_at_a_lower_bitrate_and_moves_nothing(speech, codec):
    lost = []
    for bitrate in (96000, 24000, 8000):
        decoded = apply(f"codec[codec={codec},bitrate={bitrate}]", speech)
        assert len(decoded) == len(speech) and abs(lag(decoded, speech)) <= 1
        lost.append(decibels(math.sqrt(power(speech) / power(decoded - speech))))
    assert lost[0] > lost[1] > lost[2] and lost[0] > 12


def test_reverb_is_five_feedback_combs():
    clip = np.random.default_rng(0).normal(size=4000) * 0.1
    total = clip.copy()
    for prime in (17, 19, 23, 29, 31):
        delay = math.floor(20 * prime / 17 * RATE / 1000)
        comb = clip.copy()
        for place in range(delay, len(clip)):
            comb[place] += 10 ** (-6 / 20) * comb[place - delay]
        total += comb
    expected = total * np.abs(clip).max() / np.abs(total).max()
    np.testing.assert_allclose(apply("reverb[delay=20,decay=6]", clip), expected, atol=1e-6)


@pytest.mark.parametrize(("delay_ms", "decay_db"), [(20, 6), (30, 3)])
def test_reverb_dies_away_at_the_rate_of_its_longest_comb(delay_ms, decay_db):
    impulse = np.zeros(3 * RATE)
    impulse[0] = 0.9
    energy = np.cumsum(apply(f"reverb[delay={delay_ms},decay={decay_db}]", impulse)[::-1].astype(np.float64) ** 2)[::-1]
    first, last = (np.argmax(energy < energy[0] * 10 ** (db / 10)) / RATE for db in (-25, -55))  # Schroeder's integral
    t60_s = 60 / decay_db * delay_ms * 31 / 17 / 1000
    assert (last - first) * 2 == pytest.approx(t60_s, rel=0.1)


def test_resample_takes_away_what_is_above_half_of_the_rate_and_nothing_below():
    clip = tone(1000) + tone(3400) + tone(4600)
    lower = apply("resample[rate=8000]", clip)
    assert len(lower) == len(clip) and lag(lower, clip.astype(np.float32)) == 0
    assert [decibels(amplitude_at(lower, hz) / 0.5) for hz in (1000, 3400)] == pytest.approx([0, 0], abs=0.1)
    assert decibels(amplitude_at(lower, 4600) / 0.5) < -60
    np.testing.assert_array_equal(apply("resample[rate=48000]", clip), clip.astype(np.float32))


@pytest.mark.parametrize(("dbfs", "peak"), [(3.0103, 1.0), (-10, 10 ** ((-10 - FULL_SCALE_DBFS) / 20)), (20, 1.0)])
def test_volume_sets_the_peak_and_clips(dbfs, peak):
    louder = apply(f"volume[dbfs={dbfs}]", tone(440, amplitude=0.02))
    assert np.abs(louder).max() == pytest.approx(peak, rel=1e-5)
    assert not apply("volume", np.zeros(100)).any()


@pytest.mark.parametrize("db", [-25, -6, 10])
def test_gain_changes_the_level_and_rounds_to_16_bit(db):
    clip = tone(440, amplitude=0.3)
    louder = apply(f"gain[db={db}]", clip)
    np.testing.assert_allclose(louder, clip * 10 ** (db / 20), atol=2**-16 + 1e-7)
    np.testing.assert_array_equal(louder * 32768, np.rint(louder * 32768))
    clipped = apply("gain[db=20]", clip)
    assert (clipped.min(), clipped.max()) == (-1.0, 32767 / 32768)


@pytest.mark.parametrize("snr", [-5, 10, 50])
@pytest.mark.parametrize("from_recordings", [False, True])
def test_noise_has_the_ratio_of_powers_asked_for(speech, recording, snr, from_recordings):
    hiss = np.random.default_rng(3).normal(size=9000) * 0.01
    source = f",source={recording(hiss)}" if from_recordings else ""
    noise = apply(f"noise[snr={snr}{source}]", speech).astype(np.float64) - speech
    assert decibels(math.sqrt(power(speech) / power(noise))) == pytest.approx(snr, abs=0.1)
    assert not apply(f"noise[snr={snr}{source}]", np.zeros(1000)).any()


def test_white_noise_is_white(speech):
    noise = apply("noise[snr=10]", speech) - speech
    bands = np.abs(np.fft.rfft(noise[: len(noise) // 8 * 8])) ** 2
    shares = [part.mean() / bands.mean() for part in np.array_split(bands, 8)]
    assert shares == pytest.approx([1] * 8, abs=0.1)


@pytest.mark.parametrize("from_recordings", [False, True])
@pytest.mark.parametrize("slope", [-6, -3, 4])
def test_noise_with_a_slope_falls_by_so_much_each_octave(recording, slope, from_recordings):
    speech = np.random.default_rng(8).normal(size=8 * RATE) * 0.1
    hiss = np.random.default_rng(3).normal(size=8 * RATE) * 0.01
    source = f",source={recording(hiss)}" if from_recordings else ""
    noise = apply(f"noise[snr=10,slope={slope}{source}]", speech).astype(np.float64) - speech.astype(np.float32)
    assert decibels(math.sqrt(power(speech) / power(noise))) == pytest.approx(10, abs=0.1)
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    density = [spectrum[round(8 * hz * 0.9) : round(8 * hz * 1.1)].mean() for hz in (125, 500, 2000, 6000)]
    falls = 10 * np.diff(np.log10(density)) / np.log2([4, 4, 3])
    assert falls == pytest.approx([slope] * 3, abs=0.4)


def test_a_room_is_a_convolution_from_the_direct_sound_on_that_keeps_the_power(speech, recording):
    response = np.concatenate([np.zeros(40), [1.0], np.random.default_rng(1).normal(size=800) * 0.05])
    expected = np.convolve(speech.astype(np.float64), response[40:])[: len(speech)]
    expected *= math.sqrt(power(speech) / power(expected))
    np.testing.assert_allclose(apply(f"rir[source={recording(response)}]", speech), expected, atol=1e-5)


def test_a_room_without_echoes_changes_nothing(speech, recording):
    np.testing.assert_allclose(apply(f"rir[source={recording(np.eye(1, 500)[0])}]", speech), speech, atol=1e-6)


def test_a_room_gives_its_reverberation_time_to_the_clip(recording):
    t60_s = 0.4
    seconds = np.arange(round(0.8 * RATE)) / RATE
    response = np.random.default_rng(2).normal(size=len(seconds)) * 10 ** (-3 * seconds / t60_s)
    response[0] = 5
    impulse = np.zeros(RATE)
    impulse[0] = 0.9
    echo = apply(f"rir[source={recording(response)}]", impulse)
    energy = np.cumsum(echo[::-1].astype(np.float64) ** 2)[::-1]
    first, last = (np.argmax(energy < energy[0] * 10 ** (db / 10)) / RATE for db in (-15, -45))
    assert (last - first) * 2 == pytest.approx(t60_s, rel=0.05)


@pytest.mark.parametrize("factor", [0.85, 1, 1.2])
def test_speed_changes_length_and_pitch_by_its_factor(factor):
    faster = apply(f"speed[factor={factor}]", tone(440))
    assert len(faster) == pytest.approx(RATE / factor, abs=1)
    assert pitch_of(faster) == pytest.approx(440 * factor, rel=1e-3)


def test_silence_lies_at_both_ends_and_has_the_level_asked_for():
    clip = tone(440)
    longer = apply("silence[before=500,after=250,dbfs=-40]", clip)
    np.testing.assert_array_equal(longer[8000:24000], clip.astype(np.float32))
    assert len(longer) == 8000 + 16000 + 4000
    for end in (longer[:8000], longer[24000:]):
        assert 10 * math.log10(2 * power(end)) == pytest.approx(-40, abs=0.3)


def test_a_band_loses_3_db_at_its_edges_nothing_within_and_much_outside():
    impulse = np.zeros(8000)
    impulse[4000] = 1
    response = np.abs(np.fft.rfft(band_pass(impulse, 300, 3400, rate=8000)))
    assert [decibels(response[hz]) for hz in (300, 3400)] == pytest.approx([-3, -3], abs=0.1)
    assert [decibels(response[hz]) for hz in (400, 1000, 2500, 3000)] == pytest.approx([0] * 4, abs=0.6)
    assert max(decibels(response[hz]) for hz in (50, 100, 150)) < -45


@pytest.mark.parametrize("codec", ["mulaw", "alaw", "gsm"])
def test_a_telephone_keeps_the_band_and_delays_nothing(speech, codec):
    phoned = apply(f"telephone[codec={codec}]", speech)
    assert len(phoned) == len(speech) and abs(lag(phoned, speech)) <= 1
    spectrum = np.abs(np.fft.rfft(phoned)) ** 2
    hz = np.fft.rfftfreq(len(phoned), 1 / RATE)
    assert spectrum[hz > 4050].sum() < 1e-4 * spectrum.sum()
    assert not np.array_equal(phoned, speech)


def test_any_telephone_takes_each_codec_now_and_then(speech):
    fixed = {c: apply(f"telephone[codec={c}]", speech[:4000]).tobytes() for c in ("mulaw", "alaw", "gsm")}
    assert {apply("telephone", speech[:4000], seed=s).tobytes() for s in range(20)} == set(fixed.values())


def test_time_masks_are_stretches_of_zeros():
    masked = apply("time_mask[domain=signal,n=2,size=50]", np.ones(RATE), seed=4)
    edges = np.flatnonzero(np.diff(np.concatenate([[1], masked, [1]])))
    assert (edges[1::2] - edges[::2]).tolist() == [800, 800]
    assert set(masked) == {0.0, 1.0}


def test_dropout_add_and_multiply_have_the_share_and_the_deviations_asked_for():
    clip = np.full(200000, 0.5)
    assert np.mean(apply("dropout[domain=signal,rate=0.05]", clip) == 0) == pytest.approx(0.05, rel=0.05)
    added = apply("add[domain=signal,stddev=0.1]", clip)
    assert (added.mean(), added.std()) == pytest.approx((0.5, 0.1), rel=0.01)
    multiplied = apply("multiply[domain=signal,stddev=0.2]", clip)
    assert (multiplied.mean(), multiplied.std()) == pytest.approx((0.5, 0.1), rel=0.01)
