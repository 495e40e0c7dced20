"""Intervals against what is known of them exactly."""

import math

import numpy as np
import pytest

from deepspeech_training.registry.bootstrap import DRAWS, difference, interval, units_of


def test_the_interval_of_clips_of_one_word_is_that_of_the_binomial():
    """The errors of a draw of n clips, of which a share p is wrong, are Binomial(n, p)."""
    n, wrong = 80, 20
    found = interval(np.repeat([1, 0], [wrong, n - wrong]), np.ones(n, int), np.arange(n))
    below = np.cumsum([math.comb(n, k) * (wrong / n) ** k * (1 - wrong / n) ** (n - k) for k in range(n + 1)])
    low, high = (int(np.searchsorted(below, share)) / n for share in (0.025, 0.975))
    assert found.value == wrong / n
    assert (found.low, found.high) == pytest.approx((low, high), abs=1.01 / n)


def test_the_paired_difference_has_the_spread_of_its_discordant_clips():
    """Of n clips of one word, a share q is wrong in A only and r in B only: variance (q + r - (r - q)^2) / n."""
    n, only_a, only_b, both = 1000, 70, 50, 200
    a = np.repeat([1, 0, 1, 0], [only_a, only_b, both, n - only_a - only_b - both])
    b = np.repeat([0, 1, 1, 0], [only_a, only_b, both, n - only_a - only_b - both])
    found = difference(a, b, np.ones(n, int), np.arange(n))
    mean = (only_b - only_a) / n
    spread = math.sqrt(((only_a + only_b) / n - mean**2) / n)
    assert found.value == pytest.approx(mean)
    assert (found.low, found.high) == pytest.approx((mean - 1.96 * spread, mean + 1.96 * spread), abs=0.002)
    z = abs(mean) / spread
    assert found.p == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.1)
    assert not found.is_certain and found.better == pytest.approx(1 - found.p / 2, abs=0.01)
    # What both get wrong makes each rate less sure, and not the difference.
    assert found.high - found.low < interval(a, np.ones(n, int), np.arange(n)).high


def test_two_that_are_the_same_differ_by_nothing():
    errors, lengths = np.arange(50) % 3, np.full(50, 5)
    found = difference(errors, errors, lengths, np.arange(50))
    assert (found.value, found.low, found.high, found.p, found.better) == (0, 0, 0, 1, 0)
    assert not found.is_certain


def test_one_that_is_better_in_every_clip_is_surely_better():
    found = difference(np.full(50, 2), np.full(50, 1), np.full(50, 10), np.arange(50))
    assert found.value == found.low == found.high == pytest.approx(-0.1)
    assert found.p == pytest.approx(2 / (DRAWS + 1)) and found.is_certain


def test_of_few_clips_nothing_is_certain():
    assert not difference(np.full(9, 2), np.full(9, 1), np.full(9, 10), np.arange(9)).is_certain


def test_clips_are_weighted_by_their_words():
    found = interval(np.array([10, 0]), np.array([10, 90]), np.arange(2))
    assert (found.value, found.low, found.high) == (0.1, 0.0, 1.0)


def test_speakers_are_drawn_with_all_their_clips_where_there_are_enough():
    speakers = [f"s{number % 20}" for number in range(200)]
    units, drawn = units_of(speakers)
    assert drawn == "speakers" and len(set(units)) == 20
    wrong_together = (units < 5).astype(int)
    by_speaker = interval(wrong_together, np.ones(200, int), units)
    by_clip = interval(wrong_together, np.ones(200, int), np.arange(200))
    assert by_speaker.high - by_speaker.low > 2 * (by_clip.high - by_clip.low)
    assert units_of([*speakers[:-1], None])[1] == "clips" and units_of(["a", "b"] * 50)[1] == "clips"


def test_the_same_results_give_the_same_interval():
    errors, lengths = np.arange(30) % 4, np.full(30, 7)
    assert interval(errors, lengths, np.arange(30)) == interval(errors, lengths, np.arange(30))


def test_very_many_clips_are_drawn_in_blocks():
    count = 200_000
    found = interval(np.repeat([1, 0], count // 2), np.ones(count, int), np.arange(count))
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.5 / math.sqrt(count), rel=0.2)
