import numpy as np
import pytest
from keras import ops
from models.small_models import golden_weights, random_weights

from deepspeech_training.audio.files import read_audio
from deepspeech_training.features import mfcc_keras as training_features
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.deepspeech.geometry import NetworkGeometry
from deepspeech_training.models.deepspeech.network import DeepSpeech
from deepspeech_training.models.deepspeech.reference import (
    client_features,
    client_windows,
    forward,
    mfcc,
    softmax,
    stack_context,
)

GOLDEN_NETWORK = NetworkGeometry(29, 100)


def noise(num_samples, seed=0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(num_samples)).astype(np.float32)


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_the_features_are_those_of_training(rate):
    geometry = FeatureGeometry(sample_rate=rate, win_len_ms=40, win_step_ms=20)
    audio = noise(rate // 2)
    wanted, num_frames = training_features.mfcc(audio[None], np.array([len(audio)], np.int32), geometry)
    found = mfcc(audio, geometry)
    assert len(found) == int(num_frames[0]) and found.dtype == np.float32
    np.testing.assert_allclose(found, ops.convert_to_numpy(wanted)[0], atol=2e-4)
    assert len(mfcc(audio[: geometry.window_samples - 1], geometry)) == 0


def test_the_clients_see_one_frame_more_filled_up_with_zeros(test_data):
    geometry = FeatureGeometry()
    audio = read_audio(str(test_data / "ldc93s1/LDC93S1.wav"), sample_rate=16000)
    found = client_features(audio, geometry)
    np.testing.assert_allclose(found, np.load(test_data / "golden/tflite_client_mfcc.npy"), atol=1e-4)
    np.testing.assert_array_equal(found[:-1], mfcc(audio, geometry))
    for length in (0, 1, 511, 512, 513, 831, 832):
        windows = client_windows(noise(length), geometry)
        assert windows.shape == (geometry.num_frames(length) + 1, 512)
        assert len(client_features(noise(length), geometry)) == len(windows)


def test_every_frame_has_its_neighbours_and_zeros_outside():
    features = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    stacked = stack_context(features, n_context=1)
    assert stacked.tolist() == [[[0, 0], [1, 2], [3, 4]], [[1, 2], [3, 4], [5, 6]], [[3, 4], [5, 6], [0, 0]]]


def test_the_probabilities_are_the_ancestors(test_data):
    golden = test_data / "golden"
    windows = stack_context(np.load(golden / "ldc93s1_mfcc.npy"), n_context=9)
    logits, _ = forward(golden_weights(golden), windows, GOLDEN_NETWORK)
    wanted = np.load(golden / "ldc93s1_nodrop_softmax.npy").reshape(logits.shape)
    assert np.max(np.abs(softmax(logits) - wanted)) < 1e-5


@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_network_is_the_one_that_was_trained(layer_norm):
    network = NetworkGeometry(5, 8, layer_norm=layer_norm, relu_clip=0.3)
    weights = random_weights(network)
    features = np.random.default_rng(1).standard_normal((12, 26)).astype(np.float32)
    logits, _ = forward(weights, stack_context(features, n_context=9), network)
    wanted = DeepSpeech(network, weights=weights)(features[None], np.array([12], np.int32))
    np.testing.assert_allclose(logits, ops.convert_to_numpy(wanted)[:, 0], atol=1e-4)


@pytest.mark.parametrize("piece", [1, 3, 16])
def test_a_stream_gives_what_the_whole_clip_gives(piece):
    network = NetworkGeometry(5, 8)
    weights = random_weights(network)
    features = np.random.default_rng(1).standard_normal((35, 26)).astype(np.float32)
    windows = stack_context(features, n_context=9)
    whole, end = forward(weights, windows, network)
    parts, state = [], None
    for start in range(0, len(windows), piece):
        logits, state = forward(weights, windows[start : start + piece], network, state)
        parts.append(logits)
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)
    np.testing.assert_allclose(state, end, atol=1e-5)
