"""Networks of words compute the same in Keras, in numpy, at once and step by step; the beam finds what is likeliest."""

import itertools

import numpy as np
import pytest

from deepspeech_training.data.spelling import LETTERS, Spelling
from deepspeech_training.decoding.sequence_beam import search
from deepspeech_training.models import network_of
from deepspeech_training.models.arrays import NumpyArrays
from deepspeech_training.models.lstm import Lstm
from deepspeech_training.models.transformer import Transformer
from deepspeech_training.runtime.pronouncer import Pronouncer

NETWORKS = [
    Transformer(7, 9, d_model=16, layers=2, heads=2),
    Transformer(7, 9, d_model=16, layers=1, heads=1),
    Lstm(7, 9, n_hidden=8),
]
LENGTHS = np.array([6, 4, 1], np.int32)


def words() -> tuple[np.ndarray, np.ndarray]:
    """Words of unequal length, and the symbols before each step of their answers."""
    generator = np.random.default_rng(0)
    given = generator.integers(1, 8, (3, 6)).astype(np.int32) * (np.arange(6) < LENGTHS[:, None])
    previous = generator.integers(1, 7, (3, 9)).astype(np.int32)
    previous[:, 0] = 0
    return given.astype(np.int32), previous


def weights_of(network) -> dict[str, np.ndarray]:
    weights = network.initial_weights(seed=1)
    assert {name: array.shape for name, array in weights.items()} == network.weight_shapes()
    weights["output/weights"] = 3 * weights["output/weights"]  # answers of several lengths
    return weights


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_keras_numpy_and_single_steps_agree_and_padding_changes_nothing(network):
    weights, (given, previous) = weights_of(network), words()
    computation = network.computation(weights, NumpyArrays())
    memory = computation.encode(given, LENGTHS)
    at_once = computation.logits(memory, previous)
    state, steps = computation.begin(3, 9), []
    for place in range(9):
        logits, state = computation.step(memory, state, previous[:, place], np.int32(place))
        steps.append(logits)
    np.testing.assert_allclose(np.stack(steps, axis=1), at_once, atol=1e-5)
    alone = computation.logits(computation.encode(given[1:2, :4], LENGTHS[1:2]), previous[1:2])
    np.testing.assert_allclose(alone, at_once[1:2], atol=1e-5)
    layers = network.build(weights=weights)
    in_keras, _ = layers({"given": given, "previous": previous}, LENGTHS)
    np.testing.assert_allclose(in_keras, at_once, atol=1e-5)
    assert network_of(network.describe()) == network


@pytest.mark.parametrize("network", NETWORKS, ids=lambda network: network.name)
def test_greedy_answers_of_a_compiled_loop_are_those_of_single_steps(network):
    import tensorflow as tf

    weights, (given, _) = weights_of(network), words()
    layers = network.build(weights=weights)
    shapes = [tf.TensorSpec([None, None], tf.int32), tf.TensorSpec([None], tf.int32)]
    compiled = tf.function(lambda g, n: layers.greedy(g, n, steps=2 * tf.shape(g)[1] + 8), input_signature=shapes)
    found = compiled(given, LENGTHS).numpy()
    assert found.shape == (3, 20)
    computation = network.computation(weights, NumpyArrays())
    memory, state = computation.encode(given, LENGTHS), computation.begin(3, 20)
    previous, ended = np.zeros(3, np.int32), np.zeros(3, bool)
    for place in range(20):
        logits, state = computation.step(memory, state, previous, np.int32(place))
        previous = np.where(ended, 0, logits.argmax(axis=-1)).astype(np.int32)
        ended |= previous == 0
        np.testing.assert_array_equal(found[:, place], previous)


def test_the_beam_finds_the_likeliest_answers_of_all_and_their_probabilities():
    chances = np.random.default_rng(3).dirichlet(np.ones(3), size=(2, 4, 3)).astype(np.float32)  # word, step, before

    def step(last, state, place):
        return np.log(chances[state["word"], min(place, 3), last]), state

    def chance(word: int, symbols) -> float:
        before = [0, *symbols]
        return float(
            np.prod([chances[word, p, b, s] for p, (b, s) in enumerate(zip(before, [*symbols, 0], strict=True))])
        )

    found = search(step, {"word": np.array([0, 1])}, [3, 3], width=40)
    for word in (0, 1):
        all_answers = [s for n in range(4) for s in itertools.product((1, 2), repeat=n)]
        expected = sorted(all_answers, key=lambda s: -chance(word, s))
        assert [written.symbols for written in found[word]] == expected
        for written in found[word]:
            assert np.exp(written.log_prob) == pytest.approx(chance(word, written.symbols), rel=1e-5)


def test_an_answer_that_never_ends_is_cut_off_and_what_is_together_changes_nothing():
    network = NETWORKS[0]
    weights = weights_of(network)
    weights["output/bias"][0] = -50.0  # the end is never likely
    letters = Spelling(LETTERS, tuple("abcdefg"))
    endless = Pronouncer.of(network, weights, letters, Spelling(LETTERS, tuple("uvwxyz")))
    assert all(len(answer.text) <= 2 * 2 + 8 for answer in endless.answers(["ab"], width=3, count=3)[0])
    pronouncer = Pronouncer.of(network, weights_of(network), letters, Spelling(LETTERS, tuple("uvwxyz")))
    several = pronouncer.answers(["ab", "", "gfedcba", "a?"], width=4, count=2)
    assert several[1] == [] and letters.strange("a?") == ("?",)
    assert [len(answers) for answers in several] == [2, 0, 2, 2]
    assert several[0][0].probability >= several[0][1].probability > 0
    alone = pronouncer.answers(["ab"], width=4, count=2)[0]
    assert [answer.text for answer in alone] == [answer.text for answer in several[0]]
    with pytest.raises(ValueError, match="201 symbols"):
        pronouncer.answers(["a" * 201])


def test_an_ensemble_answers_by_the_mean_of_the_probabilities():
    letters, symbols = Spelling(LETTERS, tuple("abcdefg")), Spelling(LETTERS, tuple("uvwxyz"))
    members = [Pronouncer.of(network, weights_of(network), letters, symbols) for network in NETWORKS[::2]]
    together, given = Pronouncer.together(members), [letters.numbers("ab"), letters.numbers("gfedc")]
    answers = together.search(given, width=3)
    for word, found in zip(given, answers, strict=True):
        for log_prob, written in found:
            total = 0.0
            for place in range(len(written) + 1):
                symbol = written[place] if place < len(written) else 0
                total += np.log(np.mean([probability(one, word, written[:place], symbol) for one in members]))
            assert log_prob == pytest.approx(total, abs=1e-4)
    twice = Pronouncer.together([members[0], members[0]]).answers(["ab", "gf"], count=3)
    alone = members[0].answers(["ab", "gf"], count=3)
    for one, other in zip(twice, alone, strict=True):
        assert [a.text for a in one] == [a.text for a in other]
        assert [a.probability for a in one] == pytest.approx([a.probability for a in other], rel=1e-5)
    others = Pronouncer.of(NETWORKS[0], weights_of(NETWORKS[0]), letters, Spelling(LETTERS, tuple("tuvwxy")))
    with pytest.raises(ValueError, match="other symbols"):
        Pronouncer.together([members[0], others])


def probability(pronouncer: Pronouncer, word, before, symbol: int) -> float:
    """Of a symbol after others, by the computation at once instead of step by step."""
    computation = pronouncer._computation
    memory = computation.encode(np.array([word], np.int32), np.array([len(word)], np.int32))
    logits = computation.logits(memory, np.array([[0, *before]], np.int32))[0, -1]
    return float(np.exp(logits[symbol] - logits.max()) / np.exp(logits - logits.max()).sum())
