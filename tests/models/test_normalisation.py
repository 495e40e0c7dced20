import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_training.errors import UserError
from deepspeech_training.models.deepspeech.geometry import NetworkGeometry
from deepspeech_training.models.deepspeech.normalisation import FOLDED_WEIGHTS, Normalisation
from deepspeech_training.models.deepspeech.reference import forward, stack_context

NETWORK = NetworkGeometry(num_classes=4, n_hidden=6)


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


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8).filter(any), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_figures_of_parts_are_those_of_all_frames_together(lengths, seed):
    generator = np.random.default_rng(seed)
    frames = [generator.normal(-300, 5, (length, 26)).astype(np.float32) for length in lengths]
    together = np.concatenate(frames).astype(np.float64)
    found = Normalisation.of(frames)
    np.testing.assert_allclose(found.mean, together.mean(0), rtol=1e-6)
    np.testing.assert_allclose(found.deviation, np.maximum(together.std(0), 1e-2), rtol=1e-5)


def test_nothing_to_measure_is_a_users_fault():
    with pytest.raises(UserError, match="none of the training clips"):
        Normalisation.of([np.zeros((0, 26))])


def test_folded_weights_compute_from_raw_features_what_the_others_compute_from_normalised_ones():
    weights, normalisation = weights_of(), normalisation_of()
    features = np.random.default_rng(1).normal(normalisation.mean, normalisation.deviation, (30, 26))
    raw = stack_context(features.astype(np.float32), n_context=9)
    expected, _ = forward(weights, (raw - normalisation.mean) / normalisation.deviation, NETWORK)
    found, _ = forward(normalisation.fold(weights), raw, NETWORK)
    np.testing.assert_allclose(found, expected, atol=2e-5)
    # The context beyond the ends is raw zeros: with zeros after the normalisation the first and last frames differ.
    other = stack_context(((features - normalisation.mean) / normalisation.deviation).astype(np.float32), n_context=9)
    assert np.abs(forward(weights, other, NETWORK)[0] - expected)[:9].max() > 1e-2


def test_only_layer_1_is_folded_and_unfolding_undoes_it():
    weights, normalisation = weights_of(), normalisation_of()
    folded = normalisation.fold(weights)
    assert [name for name in weights if folded[name] is not weights[name]] == list(FOLDED_WEIGHTS)
    again = normalisation.unfold(folded)
    for name in weights:
        np.testing.assert_allclose(again[name], weights[name], rtol=1e-5, atol=1e-5)
        assert again[name].dtype == np.float32


def test_a_checkpoints_arrays_have_it_or_not():
    normalisation = normalisation_of()
    found = Normalisation.from_arrays({"layer_1/bias": np.zeros(3), **normalisation.as_arrays()})
    np.testing.assert_array_equal(found.mean, normalisation.mean)
    np.testing.assert_array_equal(found.deviation, normalisation.deviation)
    assert Normalisation.from_arrays({"layer_1/bias": np.zeros(3)}) is None
