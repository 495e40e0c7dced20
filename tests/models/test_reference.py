import numpy as np
import pytest
from keras import ops
from models.small_models import golden_weights, random_weights

from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.models.deepspeech.reference import forward
from deepspeech_training.models.reference import softmax, stack_context

GOLDEN_NETWORK = DeepSpeech(29, 100)


def test_every_frame_has_its_neighbours_and_zeros_outside():
    features = np.arange(1, 7, dtype=np.float32).reshape(3, 2)
    stacked = stack_context(features, n_context=1)
    assert stacked.tolist() == [[[0, 0], [1, 2], [3, 4]], [[1, 2], [3, 4], [5, 6]], [[3, 4], [5, 6], [0, 0]]]


def test_the_probabilities_are_deepspeechs(test_data):
    golden = test_data / "golden"
    logits = GOLDEN_NETWORK.reference(golden_weights(golden), np.load(golden / "ldc93s1_mfcc.npy"))
    wanted = np.load(golden / "ldc93s1_nodrop_softmax.npy").reshape(logits.shape)
    assert np.max(np.abs(softmax(logits) - wanted)) < 1e-5


@pytest.mark.parametrize("layer_norm", [False, True])
def test_the_network_is_the_one_that_was_trained(layer_norm):
    network = DeepSpeech(5, 8, layer_norm=layer_norm, relu_clip=0.3)
    weights = random_weights(network)
    features = np.random.default_rng(1).standard_normal((12, 26)).astype(np.float32)
    wanted, _ = network.build(weights=weights)(features[None], np.array([12], np.int32))
    np.testing.assert_allclose(network.reference(weights, features), ops.convert_to_numpy(wanted)[0], atol=1e-4)


@pytest.mark.parametrize("piece", [1, 3, 16])
def test_a_stream_gives_what_the_whole_clip_gives(piece):
    network = DeepSpeech(5, 8)
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
