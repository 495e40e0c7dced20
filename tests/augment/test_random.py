import numpy as np
import pytest
from keras import ops

from deepspeech_training.augment.random import hashed_bits, layer_keys, normal, uint32, uniform

KEYS = np.array([0, 1, 2**32 - 1], np.uint32)[:, None]
PLACES = np.arange(1 << 16, dtype=np.uint32)[None, :]


def lowbias32(value: int) -> int:
    """The finaliser in plain Python."""
    value = ((value ^ (value >> 16)) * 0x7FEB352D) & 0xFFFFFFFF
    value = ((value ^ (value >> 15)) * 0x846CA68B) & 0xFFFFFFFF
    return value ^ (value >> 16)


def test_the_bits_are_those_of_the_hash():
    found = ops.convert_to_numpy(hashed_bits(KEYS, PLACES[:, :50]))
    for row, key in enumerate(KEYS[:, 0].tolist()):
        expected = [lowbias32((place * 0x9E3779B1 + key) & 0xFFFFFFFF) for place in range(50)]
        assert found[row].tolist() == expected


def test_uniform_is_uniform_and_normal_is_normal_and_neither_repeats_itself():
    one = ops.convert_to_numpy(uniform(layer_keys(KEYS, 3), PLACES))
    assert one.min() >= 0 and one.max() < 1
    assert one.mean(axis=1) == pytest.approx([0.5] * 3, abs=0.005)
    assert one.var(axis=1) == pytest.approx([1 / 12] * 3, rel=0.02)
    bell = ops.convert_to_numpy(normal(layer_keys(KEYS, 3), PLACES)).astype(np.float64)
    assert np.isfinite(bell).all()
    assert bell.mean(axis=1) == pytest.approx([0] * 3, abs=0.015)
    assert bell.std(axis=1) == pytest.approx([1] * 3, rel=0.01)
    assert np.mean(np.abs(bell) < 1) == pytest.approx(0.6827, abs=0.005)
    together = np.corrcoef(np.concatenate([one, bell, ops.convert_to_numpy(uniform(layer_keys(KEYS, 4), PLACES))]))
    assert np.abs(together - np.eye(9)).max() < 0.02
    neighbours = np.corrcoef(one[0, :-1], one[0, 1:])[0, 1]
    assert abs(neighbours) < 0.02


def test_constants_wrap_around():
    assert int(uint32(2**32 + 5)) == 5
