"""Each augmentation of the training step against a plain reference in numpy, and alone against in a batch."""

import numpy as np
import pytest
from keras import ops

from deepspeech_training.augment.augmenter import StepDraws
from deepspeech_training.augment.catalogue import AUGMENTATIONS, DOMAINS, parse_augmentations
from deepspeech_training.augment.random import layer_keys, normal, uint32
from deepspeech_training.augment.spectrogram import IN_THE_STEP, StepAugmenter
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mel import mel_filterbank
from deepspeech_training.features.mfcc_keras import mel_bands, mfcc, warped_mel_filterbank

GEOMETRY = FeatureGeometry()
BINS = 257
FRAMES = np.array([60, 33, 47], np.int32)
EVERYTHING = [
    f"{name}[p=0.7{',domain=spectrogram' if len(AUGMENTATIONS[name].domains) > 1 else ''}]" for name in IN_THE_STEP
]


def draws_of(clips: int, *, clock: float = 0.5, needed: int = 5) -> StepDraws:
    keys = np.random.default_rng(0).bytes(16 * clips)
    return StepDraws.batch([StepDraws.of(keys[16 * k :], clock=clock, needed_frames=needed) for k in range(clips)])


def augmenter(*texts: str, draws: StepDraws | None = None) -> StepAugmenter:
    return StepAugmenter(parse_augmentations(texts), GEOMETRY, draws_of(len(FRAMES)) if draws is None else draws)


def spectrogram(depth: int = BINS) -> np.ndarray:
    """Smooth in time and frequency, positive; garbage past each clip's end."""
    generator = np.random.default_rng(1)
    rough = generator.uniform(0.5, 1.5, (len(FRAMES), FRAMES.max() + 8, depth + 8))
    smooth = np.cumsum(np.cumsum(rough, axis=1), axis=2)
    power = (smooth[:, 8:, 8:] - smooth[:, :-8, 8:] - smooth[:, 8:, :-8] + smooth[:, :-8, :-8]) / 64
    for row, frames in enumerate(FRAMES):
        power[row, frames:] = 1e6
    return power.astype(np.float32)


def apply(text: str, tensor: np.ndarray, domain: str = "spectrogram", **how):
    augmented, frames = augmenter(text, **how).apply(domain, tensor, FRAMES)
    return ops.convert_to_numpy(augmented), ops.convert_to_numpy(frames)


def test_the_table_has_what_works_in_the_step():
    in_the_step = {n for n, kind in AUGMENTATIONS.items() if {"spectrogram", "mel", "features"} & set(kind.domains)}
    assert set(IN_THE_STEP) == in_the_step


@pytest.mark.parametrize("pitch", [0.8, 1.0, 1.25])
def test_pitch_stretches_the_frequency_axis(pitch):
    power = spectrogram()
    moved, frames = apply(f"pitch[pitch={pitch}]", power)
    new_bins = int(np.floor(np.float32(BINS) * np.float32(pitch)))
    places = np.arange(BINS) * BINS / new_bins
    for row, count in enumerate(FRAMES):
        for frame in range(count):
            expected = np.interp(places, np.arange(BINS), power[row, frame]) * (np.arange(BINS) < new_bins)
            np.testing.assert_allclose(moved[row, frame], expected, rtol=1e-4)
    assert frames.tolist() == FRAMES.tolist()


@pytest.mark.parametrize("factor", [0.75, 1.0, 1.3])
def test_tempo_stretches_the_time_axis(factor):
    power = spectrogram()
    moved, frames = apply(f"tempo[factor={factor}]", power)
    assert frames.tolist() == np.floor(FRAMES / np.float32(factor)).astype(int).tolist()
    for row, (old, new) in enumerate(zip(FRAMES, frames, strict=True)):
        for place in range(0, BINS, 16):
            expected = np.interp(np.arange(new) * old / new, np.arange(old), power[row, :old, place])
            np.testing.assert_allclose(moved[row, :new, place], expected, rtol=1e-4)


def test_tempo_leaves_clips_alone_that_would_be_too_short_for_their_transcript():
    _, frames = apply("tempo[factor=1.5]", spectrogram(), draws=draws_of(3, needed=30))
    assert frames.tolist() == [40, 33, 31]


def test_tempo_keeps_to_the_longest_time_that_is_allowed():
    _, frames = apply("tempo[factor=0.5,max_time=1000]", spectrogram())
    assert frames.tolist() == [50, 50, 50]


def test_warp_is_bilinear_at_places_that_are_shifted_by_bicubic_fields():
    power = spectrogram()
    draws = draws_of(3)
    warped, _ = apply("warp[nt=2,nf=3,wt=0.6,wf=0.4]", power, draws=draws)
    keys = draws.keys
    keys = layer_keys(keys, 1)

    def cubic(distance: float) -> float:
        d, a = abs(distance), -0.75
        if d <= 1:
            return (a + 2) * d**3 - (a + 3) * d**2 + 1
        return a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a if d < 2 else 0.0

    row, count = 1, int(FRAMES[1])
    shifts = []
    for first, share, size, points in ((1 << 12, 0.6, count, 2), (1 << 13, 0.4, BINS, 3)):
        places = ops.cast(ops.arange(6), "uint32") + uint32(first)
        grid = ops.convert_to_numpy(normal(keys[row], places)).reshape(2, 3) * share * size / (2 * (points + 1))
        along_t = np.array([[cubic(t * 4 / count - i) for i in (1, 2)] for t in range(count)])
        along_f = np.array([[cubic(f * 5 / BINS - j) for j in (1, 2, 3)] for f in range(BINS)])
        shifts.append(along_t @ grid @ along_f.T)
    assert max(np.abs(s).max() for s in shifts) > 1
    for t in range(0, count, 4):
        for f in range(0, BINS, 9):
            at_t, at_f = np.clip(t - shifts[0][t, f], 0, count - 1), np.clip(f - shifts[1][t, f], 0, BINS - 1)
            t0, f0 = min(int(at_t), count - 2), min(int(at_f), BINS - 2)
            above, right = at_t - t0, at_f - f0
            corner = power[row, t0 : t0 + 2, f0 : f0 + 2]
            expected = np.array([1 - above, above]) @ corner @ np.array([1 - right, right])
            assert warped[row, t, f] == pytest.approx(expected, rel=2e-3)


def runs_of_zeros(kept: np.ndarray) -> list[int]:
    edges = np.flatnonzero(np.diff(np.concatenate([[1], kept.astype(int), [1]])))
    return (edges[1::2] - edges[::2]).tolist()


def test_frequency_masks_are_whole_bands():
    masked, _ = apply("frequency_mask[n=2,size=6]", spectrogram())
    for clip in masked:
        assert (clip == 0).all(axis=0).sum() == (clip == 0).any(axis=0).sum()
        runs = runs_of_zeros((clip != 0).any(axis=0))
        assert sum(runs) == 12 or (len(runs) == 1 and 6 <= runs[0] < 12)


@pytest.mark.parametrize(("domain", "depth"), [("spectrogram", BINS), ("features", 26)])
def test_time_masks_are_whole_frames_within_the_clip(domain, depth):
    masked, _ = apply(f"time_mask[n=1,size=100,domain={domain}]", spectrogram(depth), domain)
    for clip, count in zip(masked, FRAMES, strict=True):
        assert runs_of_zeros((clip[:count] != 0).any(axis=1)) == [5]
        assert (clip[count:] != 0).all()


@pytest.mark.parametrize(("domain", "depth"), [("spectrogram", BINS), ("features", 26)])
def test_masks_leave_the_mean_of_the_clips_frames_where_that_is_asked_for(domain, depth):
    before = spectrogram(depth)
    masked, _ = apply(f"time_mask[n=1,size=100,fill=mean,domain={domain}]", before, domain)
    for clip, other, count in zip(before, masked, FRAMES, strict=True):
        changed = (clip != other).any(axis=1)
        assert changed.sum() == 5 and not changed[count:].any()
        mean = clip[:count].mean(axis=0) if domain == "features" else np.exp(np.log(clip[:count]).mean(axis=0))
        np.testing.assert_allclose(other[changed], np.tile(mean, (5, 1)), rtol=1e-4)


def test_the_number_of_masks_follows_the_clock():
    for clock, count in ((0.0, 1), (1.0, 4)):
        draws = draws_of(3, clock=clock)
        masked, _ = apply("frequency_mask[n=1:4,size=1]", spectrogram(), draws=draws)
        zeros = [(clip == 0).all(axis=0).sum() for clip in masked]
        assert max(zeros) == count and min(zeros) >= count - 1


@pytest.mark.parametrize(("domain", "depth"), [("spectrogram", BINS), ("features", 26)])
def test_dropout_add_and_multiply_have_the_share_and_the_deviations_asked_for(domain, depth):
    ones = np.full((3, 60, depth), 2.0, np.float32)
    dropped, _ = apply(f"dropout[rate=0.2,domain={domain}]", ones, domain)
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert np.mean(dropped == 0) == pytest.approx(0.2, abs=0.02)
    added, _ = apply(f"add[stddev=0.5,domain={domain}]", ones, domain)
    multiplied, _ = apply(f"multiply[stddev=0.5,domain={domain}]", ones, domain)
    assert (added.mean(), added.std()) == pytest.approx((2.0, 0.5), rel=0.04)
    assert (multiplied.mean(), multiplied.std()) == pytest.approx((2.0, 1.0), rel=0.04)
    assert np.corrcoef(added[0].ravel(), added[1].ravel())[0, 1] == pytest.approx(0, abs=0.06)


def test_the_equalizer_gives_every_octave_a_gain_of_its_own_and_is_linear_between_them():
    flat = np.ones((3, 60, BINS), np.float32)
    changed, frames = apply("equalizer[db=2~10]", flat)
    assert frames.tolist() == FRAMES.tolist()
    gains = 10 * np.log10(changed)
    np.testing.assert_allclose(gains, gains[:, :1].repeat(60, axis=1))  # the same in every frame
    octaves = 62.5 * 2.0 ** np.arange(8)
    bins = np.round(octaves / 31.25).astype(int)
    at_octaves = gains[:, 0, bins]
    assert at_octaves.min() >= -8 - 1e-3 and at_octaves.max() <= 12 + 1e-3
    assert np.unique(np.round(at_octaves, 3)).size == at_octaves.size
    hz = np.arange(1, BINS) * 31.25
    for row in range(3):
        expected = np.interp(np.log2(hz), np.log2(octaves), at_octaves[row])
        np.testing.assert_allclose(gains[row, 0, 1:], expected, atol=1e-3)
        assert gains[row, 0, 0] == pytest.approx(at_octaves[row, 0], abs=1e-3)


def test_the_slope_of_the_equalizer_turns_about_1_khz_and_its_low_ends_at_125_hz():
    flat = np.ones((3, 60, BINS), np.float32)
    hz = np.arange(1, BINS) * 31.25
    tilted, _ = apply("equalizer[db=0,slope=3]", flat)
    expected = 3 * np.log2(np.maximum(hz, 62.5) / 1000)
    np.testing.assert_allclose(10 * np.log10(tilted[0, 0, 1:]), expected, atol=1e-3)
    cut, _ = apply("equalizer[db=0,low=-20]", flat)
    expected = -20 * np.interp(np.log2(hz), np.log2([62.5, 125]), [1, 0])
    np.testing.assert_allclose(10 * np.log10(cut[0, 0, 1:]), expected, atol=1e-3)
    drawn, _ = apply("equalizer[db=0,slope=0~3,low=0~20]", flat)
    gains = 10 * np.log10(drawn[:, 0])
    slopes = gains[:, 256] / 3  # 8 kHz
    assert np.unique(np.round(slopes, 3)).size == 3 and np.abs(slopes).max() <= 3
    lows = gains[:, 2] + 4 * slopes
    assert np.unique(np.round(lows, 3)).size == 3 and np.abs(lows).max() <= 20 + 1e-3


def test_the_equalizer_draws_evenly_from_its_range():
    power = np.ones((2000, 1, BINS), np.float32)
    step = StepAugmenter(parse_augmentations(["equalizer[db=0~6]"]), GEOMETRY, draws_of(2000))
    changed, _ = step.apply("spectrogram", power, np.ones(2000, np.int32))
    gains = 10 * np.log10(ops.convert_to_numpy(changed)[:, 0, [2, 32, 256]])
    np.testing.assert_allclose(np.quantile(gains, [0.1, 0.5, 0.9], axis=0).T, [[-4.8, 0, 4.8]] * 3, atol=0.5)
    assert np.abs(np.corrcoef(gains.T) - np.eye(3)).max() < 0.08


def test_the_warped_bank_without_a_warp_is_the_bank():
    hz = np.linspace(0, 8000, BINS, dtype=np.float32)[None]
    bank = ops.convert_to_numpy(warped_mel_filterbank(hz, sample_rate=16000))[0]
    np.testing.assert_allclose(bank, mel_filterbank(BINS, sample_rate=16000), atol=2e-5)


@pytest.mark.parametrize("factor", [0.88, 1.12])
def test_the_vocal_tract_warp_moves_frequencies_as_jaitly_and_hinton_have_it(factor):
    hz = np.linspace(0, 8000, BINS, dtype=np.float32)[None].repeat(3, axis=0)
    warped, _ = apply(f"vtlp[factor={factor}]", hz, "mel")
    edge = 4800 * min(factor, 1) / factor
    expected = [
        f * factor if f <= edge else 8000 - (8000 - 4800 * min(factor, 1)) / (8000 - edge) * (8000 - f) for f in hz[0]
    ]
    np.testing.assert_allclose(warped[0], expected, rtol=1e-4, atol=1e-2)
    assert warped[0, -1] == pytest.approx(8000) and (np.diff(warped[0]) > 0).all()


@pytest.mark.parametrize(("factor", "hz"), [(0.9, 2000), (1.1, 2000), (1.1, 900)])
def test_a_tone_lies_in_the_bands_where_the_warped_tone_would(factor, hz):
    def bands_of(tone_hz: float, *texts: str) -> np.ndarray:
        audio = np.sin(2 * np.pi * tone_hz * np.arange(16000) / 16000).astype(np.float32)[None]
        step = StepAugmenter(parse_augmentations(texts), GEOMETRY, draws_of(1)) if texts else None
        bands, _ = mel_bands(audio, np.array([16000], np.int32), GEOMETRY, augmenter=step)
        return ops.convert_to_numpy(bands)[0].mean(axis=0)

    def centre(bands: np.ndarray) -> float:
        return float((bands**2 * np.arange(40)).sum() / (bands**2).sum())

    assert centre(bands_of(hz, f"vtlp[factor={factor}]")) == pytest.approx(centre(bands_of(hz * factor)), abs=0.15)
    assert abs(centre(bands_of(hz)) - centre(bands_of(hz * factor))) > 0.5


def clips(seconds=(1.2, 0.7, 0.95)):
    generator = np.random.default_rng(3)
    lengths = np.array([round(16000 * s) for s in seconds], np.int32)
    audio = np.zeros((len(lengths), lengths.max()), np.float32)
    for row, length in enumerate(lengths):
        audio[row, :length] = 0.1 * generator.standard_normal(length)
    return audio, lengths


def features_of(texts, audio, lengths, draws):
    step = StepAugmenter(parse_augmentations(texts), GEOMETRY, draws)
    features, frames = mfcc(audio, lengths, GEOMETRY, augmenter=step)
    return ops.convert_to_numpy(features), ops.convert_to_numpy(frames)


def test_what_a_clip_gets_does_not_depend_on_the_others_of_its_batch():
    audio, lengths = clips()
    draws = draws_of(3)
    texts = [*EVERYTHING, "add[stddev=1]", "tempo[factor=1~0.3]"]
    together, frames = features_of(texts, audio, lengths, draws)
    for row, length in enumerate(lengths):
        alone_draws = StepDraws(*(values[row : row + 1] for values in draws))
        alone, count = features_of(texts, audio[row : row + 1, :length], lengths[row : row + 1], alone_draws)
        assert count[0] == frames[row]
        np.testing.assert_allclose(together[row, : count[0]], alone[0, : count[0]], atol=2e-3)
        assert not together[row, count[0] :].any()
    assert np.isfinite(together).all()


def test_the_same_draws_give_the_same_bits_and_other_draws_others():
    audio, lengths = clips()
    one, again = (features_of(EVERYTHING, audio, lengths, draws_of(3))[0] for _ in range(2))
    np.testing.assert_array_equal(one, again)
    other = draws_of(3)._replace(keys=draws_of(3).keys + np.uint32(1))
    assert not np.array_equal(features_of(EVERYTHING, audio, lengths, other)[0][:, :20], one[:, :20])


@pytest.mark.parametrize("name", [name for name in IN_THE_STEP if name != "vtlp"])
def test_a_clip_that_is_left_alone_is_not_changed_by_a_bit(name):
    audio, lengths = clips()
    plain, frames = (ops.convert_to_numpy(t) for t in mfcc(audio, lengths, GEOMETRY))
    for domain in set(AUGMENTATIONS[name].domains) & {"spectrogram", "features"}:
        text = f"{name}[p=0{f',domain={domain}' if len(AUGMENTATIONS[name].domains) > 1 else ''}]"
        features, count = features_of([text], audio, lengths, draws_of(3))
        np.testing.assert_array_equal(features, plain)
        assert count.tolist() == frames.tolist()


def test_about_as_many_clips_are_augmented_as_p_says():
    draws = draws_of(2000)
    tensor = np.ones((2000, 1, 26), np.float32)
    step = StepAugmenter(parse_augmentations(["add[p=0.3,stddev=1]"]), GEOMETRY, draws)
    augmented, _ = step.apply("features", tensor, np.ones(2000, np.int32))
    assert np.mean(ops.convert_to_numpy(augmented)[:, 0, 0] != 1) == pytest.approx(0.3, abs=0.03)


def test_the_domains_are_those_that_the_features_apply():
    assert DOMAINS[2:] == ("spectrogram", "mel", "features")
