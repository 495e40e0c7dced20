from itertools import groupby

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_training.decoding import DECODERS
from deepspeech_training.decoding.greedy import greedy_labels


def path(classes, num_classes=4) -> np.ndarray:
    return np.log(np.eye(num_classes, dtype=np.float32)[list(classes)] + 0.01)


@given(st.lists(st.integers(0, 3), max_size=30))
def test_repeats_are_merged_and_then_blanks_dropped(classes):
    expected = [label for label, _ in groupby(classes) if label != 3]
    assert greedy_labels(path(classes).reshape(-1, 4), blank=3).tolist() == expected


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_silence_and_nothing_decode_to_nothing(decode):
    assert list(decode(path([3, 3, 3]), blank=3)) == []
    assert list(decode(path([]).reshape(0, 4), blank=3)) == []


@pytest.mark.parametrize("decode", DECODERS.values(), ids=DECODERS)
def test_a_repeated_letter_needs_a_blank_between(decode):
    assert list(decode(path([0, 0, 1, 1]), blank=3)) == [0, 1]
    assert list(decode(path([0, 3, 0]), blank=3)) == [0, 0]
