"""The normalisation of the features, put into the first layer."""

import numpy as np

from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.models.deepspeech.reference import forward
from deepspeech_training.models.reference import stack_context

NETWORK = DeepSpeech(num_classes=4, n_hidden=6)


def weights_of(seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {
        name: generator.normal(scale=0.3, size=shape).astype(np.float32)
        for name, shape in NETWORK.weight_shapes().items()
    }


def normalisation_of(seed: int = 0) -> Normalisation:
    generator = np.random.default_rng(seed)
    return Normalisation(
        generator.normal(scale=20, size=26).astype(np.float32), generator.uniform(0.3, 15, 26).astype(np.float32)
    )


def test_folded_weights_compute_from_raw_features_what_the_others_compute_from_normalised_ones():
    weights, normalisation = weights_of(), normalisation_of()
    features = np.random.default_rng(1).normal(normalisation.mean, normalisation.deviation, (30, 26))
    raw = stack_context(features.astype(np.float32), n_context=9)
    expected, _ = forward(weights, (raw - normalisation.mean) / normalisation.deviation, NETWORK)
    found, _ = forward(NETWORK.fold(weights, normalisation), raw, NETWORK)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    # The context beyond the ends is raw zeros: with zeros after the normalisation the first and last frames differ.
    other = stack_context(((features - normalisation.mean) / normalisation.deviation).astype(np.float32), n_context=9)
    assert np.abs(forward(weights, other, NETWORK)[0] - expected)[:9].max() > 1e-2


def test_only_layer_1_is_folded_and_unfolding_undoes_it():
    weights, normalisation = weights_of(), normalisation_of()
    folded = NETWORK.fold(weights, normalisation)
    assert [name for name in weights if folded[name] is not weights[name]] == ["layer_1/weights", "layer_1/bias"]
    again = NETWORK.unfold(folded, normalisation)
    for name in weights:
        np.testing.assert_allclose(again[name], weights[name], rtol=1e-5, atol=1e-5)
        assert again[name].dtype == np.float32
