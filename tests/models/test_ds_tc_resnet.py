"""The network of spoken commands: training and reference are one network, which looks back alone."""

import numpy as np
import pytest
import tensorflow as tf

from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models import network_of
from deepspeech_training.models.ds_tc_resnet import DsTcResNet

NETWORK = DsTcResNet(num_classes=5, filters=12)
EXACT = 1e-5


@pytest.fixture(autouse=True)
def on_the_cpu():
    with tf.device("/CPU:0"):
        yield


def weights_of(network: DsTcResNet = NETWORK, seed: int = 1) -> dict[str, np.ndarray]:
    """As drawn, but that biases and normalisations do something, so that what is left out would show."""
    generator = np.random.default_rng(seed)
    return {
        name: array + generator.normal(size=array.shape, scale=0.2 if array.ndim == 1 else 0.0).astype(np.float32)
        for name, array in network.initial_weights(seed=seed).items()
    }


def noise(frames: int, seed: int = 0) -> np.ndarray:
    return (3 * np.random.default_rng(seed).standard_normal((frames, NETWORK.n_features))).astype(np.float32)


def test_a_clip_in_a_padded_batch_has_the_logits_of_the_reference():
    weights, clips = weights_of(), [noise(frames, frames) for frames in (1, 30, 140)]
    features = np.zeros((len(clips), 140, NETWORK.n_features), np.float32)
    for row, clip in enumerate(clips):
        features[row, : len(clip)] = clip
    lengths = np.array([len(clip) for clip in clips], np.int32)
    logits, said = NETWORK.build(weights=weights)(features, lengths)
    assert np.array(said).tolist() == lengths.tolist()
    for row, clip in enumerate(clips):
        np.testing.assert_allclose(np.array(logits)[row, : len(clip)], NETWORK.reference(weights, clip), atol=EXACT)


def test_normalised_features_are_folded_into_the_first_filter_and_unfolded_again():
    weights, clip = weights_of(), noise(60)
    generator = np.random.default_rng(2)
    normalisation = Normalisation(
        generator.normal(size=NETWORK.n_features).astype(np.float32),
        generator.uniform(0.5, 2, NETWORK.n_features).astype(np.float32),
    )
    trained, _ = NETWORK.build(weights=weights, normalisation=normalisation)(clip[None], np.array([len(clip)]))
    folded = NETWORK.fold(weights, normalisation)
    np.testing.assert_allclose(np.array(trained)[0], NETWORK.reference(folded, clip), atol=1e-4)
    for name, array in NETWORK.unfold(folded, normalisation).items():
        np.testing.assert_allclose(array, weights[name], atol=EXACT, err_msg=name)


def test_what_comes_later_changes_nothing_and_what_came_long_ago_neither():
    weights, clip = weights_of(), noise(200)
    whole = NETWORK.reference(weights, clip)
    reach = sum(block.reach for block in NETWORK.blocks)
    np.testing.assert_allclose(NETWORK.reference(weights, clip[:150]), whole[:150], atol=EXACT)
    changed = NETWORK.reference(weights, np.concatenate([clip[:10] + 5, clip[10:]]))
    assert not np.allclose(changed[10 + reach - 1], whole[10 + reach - 1], atol=EXACT)
    np.testing.assert_allclose(changed[10 + reach :], whole[10 + reach :], atol=EXACT)


def test_a_checkpoint_describes_it_whole():
    assert network_of(NETWORK.describe()) == NETWORK
    assert NETWORK.groups == ("block_1", "block_2", "block_3", "block_4", "block_5", "block_6", "output")
    assert 70_000 < DsTcResNet(num_classes=12).num_parameters < 78_000
