import math

import numpy as np
import pytest
from keras import ops

from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mel import NUM_MEL_FILTERS, dct_matrix, mel_filterbank
from deepspeech_training.features.mfcc_keras import mfcc

GEOMETRIES = {
    "16 kHz": FeatureGeometry(),
    "8 kHz": FeatureGeometry(sample_rate=8000),
    "a window of 400 samples": FeatureGeometry(win_len_ms=25, win_step_ms=10),
    "a step that is longer than the window": FeatureGeometry(win_len_ms=20, win_step_ms=30, n_mfcc=13),
}


def mel(hz: float) -> float:
    return 1127.0 * math.log(1.0 + hz / 700.0)


def reference_mfcc(audio, geometry: FeatureGeometry) -> np.ndarray:
    """spectrogram.cc, mfcc_mel_filterbank.cc and mfcc_dct.cc of TensorFlow, loop by loop in float64."""
    window, step, rate = geometry.window_samples, geometry.step_samples, geometry.sample_rate
    fft_length = 1
    while fft_length < window:
        fft_length *= 2
    num_bins, channels = fft_length // 2 + 1, 40
    low, high = mel(20.0), mel(rate / 2)
    centers = [low + (high - low) / (channels + 1) * (i + 1) for i in range(channels + 1)]
    hz_per_bin = 0.5 * rate / (num_bins - 1)
    start_index, end_index = int(1.5 + 20.0 / hz_per_bin), int(rate / 2 / hz_per_bin)
    band_mapper, weights, channel = [-2] * num_bins, [0.0] * num_bins, 0
    for i in range(num_bins):
        if start_index <= i <= end_index:
            while channel < channels and centers[channel] < mel(i * hz_per_bin):
                channel += 1
            band_mapper[i] = channel - 1
            c = channel - 1
            below = low if c < 0 else centers[c]
            weights[i] = (centers[c + 1] - mel(i * hz_per_bin)) / (centers[c + 1] - below)
    rows = []
    for start in range(0, len(audio) - window + 1, step):
        hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
        spectrum = np.abs(np.fft.rfft(audio[start : start + window].astype(np.float64) * hann, fft_length)) ** 2
        bands = [0.0] * channels
        for i in range(start_index, end_index + 1):
            value, c = math.sqrt(spectrum[i]), band_mapper[i]
            if c >= 0:
                bands[c] += value * weights[i]
            if c + 1 < channels:
                bands[c + 1] += value * (1.0 - weights[i])
        logs = [math.log(max(band, 1e-12)) for band in bands]
        rows.append(
            [
                math.sqrt(2 / channels)
                * sum(math.cos(k * math.pi / channels * (n + 0.5)) * logs[n] for n in range(channels))
                for k in range(geometry.n_mfcc)
            ]
        )
    return np.array(rows).reshape(-1, geometry.n_mfcc)


def noisy(num_samples, seed=0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    tone = np.sin(2 * np.pi * 0.03 * np.arange(num_samples))
    return (0.3 * tone + 0.05 * generator.standard_normal(num_samples)).astype(np.float32)


def batch_of(clips, *, extra=0, fill=0.0):
    lengths = np.array([len(c) for c in clips], np.int32)
    audio = np.full((len(clips), lengths.max() + extra), fill, np.float32)
    for row, clip in enumerate(clips):
        audio[row, : len(clip)] = clip
    return audio, lengths


def compute(audio, lengths, geometry):
    features, num_frames = mfcc(audio, lengths, geometry)
    return ops.convert_to_numpy(features), ops.convert_to_numpy(num_frames)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_the_features_are_those_of_tensorflows_operators(geometry):
    audio = noisy(geometry.sample_rate // 4)
    features, num_frames = compute(*batch_of([audio]), geometry)
    expected = reference_mfcc(audio, geometry)
    assert features.shape == (1, *expected.shape) and num_frames.tolist() == [len(expected)]
    np.testing.assert_allclose(features[0], expected, atol=2e-4)


def test_silence_has_the_features_of_the_floor():
    features, _ = compute(*batch_of([np.zeros(1000, np.float32)]), FeatureGeometry())
    expected = np.zeros(26)
    expected[0] = math.log(1e-12) * math.sqrt(2 / 40) * 40
    np.testing.assert_allclose(features[0], np.tile(expected, (2, 1)), atol=1e-3)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_frames_are_counted_as_everywhere_else(geometry):
    window, step = geometry.window_samples, geometry.step_samples
    lengths = [1, window - 1, window, window + step - 1, window + step, window + 7 * step + 1]
    _, num_frames = compute(*batch_of([noisy(n) for n in lengths]), geometry)
    assert num_frames.tolist() == [geometry.num_frames(n) for n in lengths] == [0, 0, 1, 1, 2, 8]


@pytest.mark.parametrize("fill", [0.0, 0.7])
def test_neither_other_clips_nor_padding_change_a_clip_and_past_its_end_is_zero(fill):
    clips = [noisy(n, seed=n) for n in (3000, 511, 8000, 512)]
    together, num_frames = compute(*batch_of(clips, extra=1234, fill=fill), FeatureGeometry())
    assert together.shape == (4, FeatureGeometry().num_frames(8000), 26)
    for row, clip in enumerate(clips):
        alone, _ = compute(*batch_of([clip]), FeatureGeometry())
        frames = num_frames[row]
        np.testing.assert_allclose(together[row, :frames], alone[0, :frames], rtol=1e-5, atol=1e-5)
        assert not together[row, frames:].any()


def test_a_clip_shorter_than_a_window_has_no_frame_and_breaks_nothing():
    features, num_frames = compute(*batch_of([noisy(5)]), FeatureGeometry())
    assert features.shape == (1, 1, 26) and num_frames.tolist() == [0] and not features.any()


def test_every_bin_between_the_outer_filters_is_shared_by_two_bands():
    weights = mel_filterbank(257, sample_rate=16000)
    assert weights.shape == (257, NUM_MEL_FILTERS) and (weights >= 0).all()
    assert not weights[0].any()  # the constant part of the signal
    np.testing.assert_allclose(weights[5:230].sum(axis=1), 1.0, atol=1e-6)
    assert (np.count_nonzero(weights, axis=0) > 0).all()


def test_the_dct_is_orthogonal():
    matrix = dct_matrix(NUM_MEL_FILTERS).astype(np.float64)
    matrix[:, 0] /= np.sqrt(2)
    np.testing.assert_allclose(matrix.T @ matrix, np.eye(NUM_MEL_FILTERS), atol=1e-6)
