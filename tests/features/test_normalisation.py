import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_training.errors import UserError
from deepspeech_training.features.normalisation import Normalisation


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


def test_a_checkpoints_arrays_have_it_or_not():
    normalisation = Normalisation(np.arange(3, dtype=np.float32), np.ones(3, np.float32))
    found = Normalisation.from_arrays({"layer_1/bias": np.zeros(3), **normalisation.as_arrays()})
    np.testing.assert_array_equal(found.mean, normalisation.mean)
    np.testing.assert_array_equal(found.deviation, normalisation.deviation)
    assert Normalisation.from_arrays({"layer_1/bias": np.zeros(3)}) is None
