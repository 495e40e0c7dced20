import numpy as np
import pytest
import tensorflow as tf

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.augment.augmenter import Augmenter
from deepspeech_training.augment.catalogue import parse_augmentations
from deepspeech_training.data.loader import make_batch
from deepspeech_training.data.plan import clip_keys
from deepspeech_training.data.speech_sample import SpeechSample
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_numpy import Mfcc
from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.models.leading_blanks import leading_blanks
from deepspeech_training.tasks.speech_to_text import SpeechToText
from deepspeech_training.tasks.speech_to_text.objective import SpeechObjective
from deepspeech_training.training.backends import BACKENDS
from deepspeech_training.training.backends.base import UpdateRules

ALPHABET = Alphabet(("a", "b", " "))
DROPOUT = {"dropout_rates": dict.fromkeys(("layer_1", "layer_2", "layer_3", "layer_5"), 0.3)}
TASK = SpeechToText(ALPHABET, FeatureGeometry(), DeepSpeech(num_classes=4, n_hidden=8))
WEIGHTS = TASK.network.initial_weights(seed=3)
LIBRARY = BACKENDS["tensorflow"]
RULES = UpdateRules()


@pytest.fixture(autouse=True)
def on_the_cpu():
    """Last digits are compared: a GPU, where there is one, has its own (TF32)."""
    with tf.device("/CPU:0"):
        yield


def batch_of(*rows):
    """Clips of these numbers: each has its own length, audio and labels; a negative one has a NaN in its audio."""
    samples, examples = [], []
    for row in rows:
        generator = np.random.default_rng(abs(row))
        audio = generator.normal(size=3000 + 700 * abs(row), scale=0.1).astype(np.float32)
        if row < 0:
            audio[1500] = np.nan
        labels = generator.integers(0, 3, size=1 + abs(row) % 3).astype(np.int32)
        examples.append({"audio": audio, "labels": labels})
        samples.append(SpeechSample(f"t.csv:{row}", "", 0, "", tuple(labels), len(audio), None, row, "t.csv"))
    return make_batch(TASK.spec, samples, examples)


def evaluated(backend, *rows):
    losses, answers = backend.evaluate_step(batch_of(*rows))
    return losses, answers["log_probs"], answers["lengths"]


def step(backend, batch, *, number=0, **options):
    keys = clip_keys(batch.samples, seed=1, step=number)
    return backend.train_step(batch, keys, **({"learning_rate": 1e-3, "updates": number} | options))


@pytest.fixture(scope="module")
def shared():
    """A backend without dropout for tests that set the weights themselves."""
    return LIBRARY.backend(TASK, WEIGHTS)


@pytest.fixture
def backend(shared):
    shared.set_state(WEIGHTS)
    return shared


@pytest.fixture(scope="module")
def dropping():
    return LIBRARY.backend(TASK, WEIGHTS, training_options=DROPOUT, rules=UpdateRules(max_grad_norm=0.5))


def assert_same_bits(one, other):
    assert one.keys() == other.keys()
    assert all(one[name].tobytes() == other[name].tobytes() for name in one)


def test_one_trace_serves_all_shapes(backend):
    for rows in ([1], [2, 3], [4, 1, 9], [7]):
        step(backend, batch_of(*rows))
    assert backend.traces() == 1


def test_one_trace_serves_all_that_augmentations_draw():
    texts = ["tempo[factor=1~0.3]", "pitch", "warp[nt=2]", "vtlp", "frequency_mask[n=1:3]", "add[p=0.5,stddev=1]"]
    augmenter = Augmenter(parse_augmentations(texts), TASK.feature_geometry, seed=1)
    task = SpeechToText(ALPHABET, TASK.feature_geometry, TASK.network, augmenter=augmenter)
    backend = LIBRARY.backend(task, WEIGHTS)
    losses = []
    for epoch, rows in enumerate(([1], [2, 3], [4, 1, 9], [4, 1, 9])):
        batch = batch_of(*rows)
        examples = [
            task.augment(one, batch.example(k), epoch=epoch, clock=epoch / 4) for k, one in enumerate(batch.samples)
        ]
        losses.append(step(backend, make_batch(task.spec, batch.samples, examples), apply=False)[0])
    assert backend.traces() == 1 and all(np.isfinite(found).all() for found in losses)
    assert not np.array_equal(losses[2], losses[3])  # another epoch draws again


def test_the_gradients_are_the_slopes_of_the_loss(backend):
    batch = batch_of(1, 2, 3)
    # Biases of 0 put some units exactly on the corner of the ReLU, where a slope is no gradient.
    rng = np.random.default_rng(0)
    weights = {n: w + rng.normal(scale=0.01, size=w.shape).astype(np.float32) for n, w in WEIGHTS.items()}
    backend.set_state(weights)
    gradients = backend.gradients(batch)
    assert gradients.keys() == WEIGHTS.keys()

    def slope(direction, size=2e-3) -> float:
        means = []
        for sign in (1, -1):
            backend.set_state({n: w + np.float32(sign * size) * direction.get(n, 0) for n, w in weights.items()})
            means.append(np.mean(backend.evaluate_step(batch)[0], dtype=np.float64))
        return (means[0] - means[1]) / (2 * size)

    norm = np.sqrt(sum(np.sum(g.astype(np.float64) ** 2) for g in gradients.values()))
    along = {name: (g / norm).astype(np.float32) for name, g in gradients.items()}
    assert slope(along) == pytest.approx(norm, rel=0.01)
    for name, gradient in gradients.items():
        place = np.unravel_index(np.argmax(np.abs(gradient)), gradient.shape)
        one_weight = np.zeros_like(gradient)
        one_weight[place] = 1
        assert slope({name: one_weight}, 5e-3) == pytest.approx(gradient[place], rel=0.05, abs=2e-3), name


def test_a_step_is_tensorflow_1s_adam_on_the_mean_loss(backend):
    expected = {name: value.astype(np.float64) for name, value in WEIGHTS.items()}
    first, second = ({name: np.zeros(v.shape) for name, v in WEIGHTS.items()} for _ in range(2))
    beta1, beta2, epsilon = RULES.beta1, RULES.beta2, RULES.epsilon
    for t, rows in enumerate(([1, 2, 3], [4, 5]), start=1):
        batch = batch_of(*rows)
        gradients = backend.gradients(batch)
        losses, norm = step(backend, batch, number=t - 1, learning_rate=0.01)
        np.testing.assert_allclose(norm, np.sqrt(sum(np.sum(g**2) for g in gradients.values())), rtol=1e-4)
        assert losses.shape == (len(rows),)
        rate = 0.01 * np.sqrt(1 - beta2**t) / (1 - beta1**t)
        for name, gradient in gradients.items():
            first[name] = beta1 * first[name] + (1 - beta1) * gradient
            second[name] = beta2 * second[name] + (1 - beta2) * gradient.astype(np.float64) ** 2
            expected[name] -= rate * first[name] / (np.sqrt(second[name]) + epsilon)
    state = backend.state()
    for name in WEIGHTS:
        # A gradient that is nearly zero moves a weight by a full rate in a direction that rounding decides.
        clear = np.sqrt(second[name]) > 1e-6
        np.testing.assert_allclose(state[name][clear], expected[name][clear], atol=2e-5)
        np.testing.assert_allclose(state[f"adam_m/{name}"], first[name], rtol=1e-2, atol=1e-5)
        np.testing.assert_allclose(state[f"adam_v/{name}"], second[name], rtol=2e-2, atol=1e-7)


@pytest.mark.parametrize("rows", [[-1], [1, -2, 3]])
def test_a_clip_that_is_not_finite_leaves_weights_and_moments_as_they_were(backend, rows):
    step(backend, batch_of(1, 2))
    before = backend.state()
    losses, norm = step(backend, batch_of(*rows), number=1)
    assert np.isnan(losses).tolist() == [row < 0 for row in rows] and not np.isfinite(norm)
    assert_same_bits(backend.state(), before)
    step(backend, batch_of(*[row for row in rows if row > 0] or [5]), number=1)
    assert any(backend.state()[name].tobytes() != before[name].tobytes() for name in before)


class InfiniteLoss(SpeechObjective):
    """One whose loss is infinite, with a finite gradient, for clips of one label."""

    def losses(self, kernels, outputs, arrays):
        return super().losses(kernels, outputs, arrays) + tf.where(arrays["num_labels"] == 1, np.inf, 0.0)


def test_a_loss_that_is_not_finite_leaves_all_as_it_was_whatever_its_gradient():
    task = SpeechToText(ALPHABET, FeatureGeometry(), TASK.network)
    task.objective = lambda: InfiniteLoss(FeatureGeometry())
    backend = LIBRARY.backend(task, WEIGHTS)
    before = backend.state()
    losses, norm = step(backend, batch_of(1, 3))
    assert np.isinf(losses).tolist() == [False, True] and np.isfinite(norm)
    assert_same_bits(backend.state(), before)


def test_a_gradient_that_is_not_finite_leaves_all_as_it_was(backend):
    # All logits are equal, so the loss is finite; what comes back through the last layer overflows.
    weights = {name: np.zeros_like(value) for name, value in WEIGHTS.items()}
    weights["lstm/bias"] += np.float32(1)
    weights["layer_5/bias"] += np.float32(1)
    weights["layer_5/weights"] += np.linspace(1e-3, 2e-3, 64, dtype=np.float32).reshape(8, 8)
    weights["layer_6/weights"] += np.float32(3e37)
    backend.set_state(weights)
    before = backend.state()
    losses, norm = step(backend, batch_of(1))
    assert np.isfinite(losses).all() and not np.isfinite(norm)
    assert_same_bits(backend.state(), before)


def test_leading_blanks_are_asked_for_in_training_and_not_in_validation():
    task = SpeechToText(ALPHABET, TASK.feature_geometry, TASK.network, leading_blanks=4)
    backend, batch = LIBRARY.backend(task, WEIGHTS), batch_of(1, 3)
    plain, answers = backend.evaluate_step(batch)
    np.testing.assert_array_equal(plain, LIBRARY.backend(TASK, WEIGHTS).evaluate_step(batch)[0])
    trained, _ = step(backend, batch, apply=False)
    labelled = answers["lengths"], batch.arrays["labels"], batch.arrays["num_labels"]
    logits, cost = leading_blanks(answers["log_probs"], *labelled, most=4)
    np.testing.assert_allclose(trained, cost + backend.kernels.ctc_loss(logits, *labelled), rtol=1e-4)
    assert (trained > plain + 0.01).all()


def test_a_step_that_is_only_tried_changes_nothing(backend):
    before = backend.state()
    tried = step(backend, batch_of(1, 2), apply=False)
    assert_same_bits(backend.state(), before)
    done = step(backend, batch_of(1, 2))
    np.testing.assert_array_equal(tried[0], done[0])
    assert tried[1] == done[1]


def test_the_gradient_is_scaled_down_to_max_grad_norm(dropping):
    dropping.set_state(WEIGHTS)
    batch = batch_of(1, 2)
    _, norm = step(dropping, batch)
    assert norm > 0.5  # the norm that is told is the one before
    moments = [value for name, value in dropping.state().items() if name.startswith("adam_m/")]
    scaled = np.sqrt(sum(np.sum(m.astype(np.float64) ** 2) for m in moments)) / (1 - RULES.beta1)
    assert scaled == pytest.approx(0.5, rel=1e-3)


def test_a_step_again_from_the_saved_state_gives_the_same_bits(dropping):
    def go_on():
        return [step(dropping, batch_of(n, n + 1), number=n) for n in (2, 3)], dropping.state()

    dropping.set_state(WEIGHTS)
    step(dropping, batch_of(1, 2))
    saved = dropping.state()
    results, after = go_on()
    assert set(saved) == {prefix + name for prefix in ("", "adam_m/", "adam_v/") for name in WEIGHTS}
    dropping.set_state(saved)
    assert_same_bits(dropping.state(), saved)
    again, after_again = go_on()
    assert_same_bits(after_again, after)
    assert all(np.array_equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(results, again, strict=True))


def test_weights_without_moments_start_them_at_zero(backend):
    step(backend, batch_of(1))
    backend.set_state(WEIGHTS)
    state = backend.state()
    assert_same_bits({name: state[name] for name in WEIGHTS}, WEIGHTS)
    assert not any(value.any() for name, value in state.items() if name.startswith("adam_"))


def test_dropout_is_of_training_alone_and_of_each_clip_alone(dropping):
    dropping.set_state(WEIGHTS)
    batch = batch_of(1, 2, 6)
    together, _ = step(dropping, batch, apply=False)
    alone = [step(dropping, batch_of(row), apply=False)[0][0] for row in (1, 2, 6)]
    np.testing.assert_allclose(together, alone, rtol=1e-5)
    other_step, _ = step(dropping, batch, number=1, apply=False)
    evaluated = dropping.evaluate_step(batch)[0]
    assert (together != other_step).all() and (together != evaluated).all()
    np.testing.assert_array_equal(dropping.evaluate_step(batch)[0], evaluated)


def test_an_evaluation_gives_losses_and_log_probabilities_up_to_each_end(backend):
    batch = batch_of(1, 9)
    losses, answers = backend.evaluate_step(batch)
    log_probs, lengths = answers["log_probs"], answers["lengths"]
    assert lengths.tolist() == [FeatureGeometry().num_frames(n) for n in batch.arrays["num_samples"].tolist()]
    assert log_probs.shape == (2, max(lengths), 4) and losses.shape == (2,)
    np.testing.assert_allclose(np.exp(log_probs).sum(axis=2), 1, rtol=1e-5)
    np.testing.assert_allclose(losses, step(backend, batch, apply=False)[0], rtol=1e-6)
    assert len(TASK.decode(answers)) == 2


def test_a_network_learns_to_tell_two_clips_apart(backend):
    batch = batch_of(1, 2)
    first = step(backend, batch, apply=False)[0].mean()
    for number in range(400):
        step(backend, batch, number=number, learning_rate=0.005)
    losses, answers = backend.evaluate_step(batch)
    assert losses.mean() < 0.2 < first
    assert TASK.decode(answers) == [ALPHABET.decode(s.labels) for s in batch.samples]


def test_a_frozen_layer_keeps_its_bits_and_another_factor_is_another_rate(backend):
    factors = {"layer_1": 0.0, "layer_6": 0.0, "lstm": 0.5}
    partly = LIBRARY.backend(TASK, WEIGHTS, rules=UpdateRules(rate_factors=factors))
    moments = {
        f"{kind}/{name}": np.full(w.shape, value, np.float32)
        for name, w in WEIGHTS.items()
        for kind, value in (("adam_m", 1e-3), ("adam_v", 1e-4))
    }
    rates = {1.0: 1e-3, 0.5: 5e-4}
    found = {}
    for factor, rate in rates.items():
        backend.set_state(WEIGHTS | moments)
        _, norm = step(backend, batch_of(1, 2, 3), learning_rate=rate)
        found[factor] = backend.state()
    partly.set_state(WEIGHTS | moments)
    _, partial_norm = step(partly, batch_of(1, 2, 3), learning_rate=1e-3)
    assert 0 < partial_norm < norm
    for name, array in partly.state().items():
        factor = factors.get(name.removeprefix("adam_m/").removeprefix("adam_v/").split("/")[0], 1.0)
        if factor == 0:
            assert array.tobytes() == (WEIGHTS | moments)[name].tobytes()
        else:
            np.testing.assert_allclose(array, found[factor][name], rtol=1e-5, atol=1e-9)
            assert np.any(array != (WEIGHTS | moments)[name])


# --- averages, decay, normalisation ------------------------------------------------------------------------------

NORMALISATION = Normalisation(np.linspace(-20, 5, 26, dtype=np.float32), np.geomspace(9, 0.4, 26, dtype=np.float32))


@pytest.fixture(scope="module")
def everything():
    """A backend in which the weights that are trained are not those to use."""
    return LIBRARY.backend(
        TASK,
        WEIGHTS,
        rules=UpdateRules(ema=0.9, weight_decay=0.1),
        normalisation=NORMALISATION,
        training_options=DROPOUT,
    )


def test_the_average_follows_the_weights_as_it_is_defined(shared):
    averaging = LIBRARY.backend(TASK, WEIGHTS, rules=UpdateRules(ema=0.5))
    shared.set_state(WEIGHTS)
    expected = {name: value.astype(np.float64) for name, value in WEIGHTS.items()}
    for number in range(4):
        for backend in (averaging, shared):
            step(backend, batch_of(1 + number, 2 + number), number=number, learning_rate=0.01)
        decay = min(0.5, (1 + number) / (10 + number))
        for name, value in shared.model.named_weights().items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    state = averaging.state()
    for name, value in shared.model.named_weights().items():
        np.testing.assert_allclose(state[name], expected[name], atol=1e-6)
        np.testing.assert_array_equal(state[f"trained/{name}"], value)
    assert not any(name.startswith("ema/") for name in state)
    shared.set_state({name: state[name] for name in WEIGHTS})
    for found, wanted in zip(evaluated(averaging, 3), evaluated(shared, 3), strict=True):
        np.testing.assert_array_equal(found, wanted)  # the averages are what is evaluated


def test_weight_decay_shrinks_matrices_by_rate_times_decay(shared):
    decaying = LIBRARY.backend(TASK, WEIGHTS, rules=UpdateRules(weight_decay=0.2))
    shared.set_state(WEIGHTS)
    for backend in (decaying, shared):
        step(backend, batch_of(1, 2), learning_rate=0.01)
    plain, decayed = shared.state(), decaying.state()
    for name, value in WEIGHTS.items():
        shrunk = np.float32(0.01 * 0.2) * value if value.ndim == 2 else 0.0
        np.testing.assert_allclose(decayed[name], plain[name] - shrunk, atol=1e-7)
        np.testing.assert_array_equal(decayed[f"adam_m/{name}"], plain[f"adam_m/{name}"])


def test_weights_trained_on_normalised_features_are_saved_to_take_raw_ones(shared):
    normalising = LIBRARY.backend(TASK, WEIGHTS, normalisation=NORMALISATION)
    for number in range(2):
        step(normalising, batch_of(1, 2, 3), number=number, learning_rate=0.01)
    state = normalising.state()
    trained = {name for name in state if name.startswith("trained/")}
    assert trained == {"trained/layer_1/weights", "trained/layer_1/bias"}
    shared.set_state({name: state[name] for name in WEIGHTS})
    for found, wanted in zip(evaluated(shared, 4, 1), evaluated(normalising, 4, 1), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_averages_decay_and_normalisation_go_on_with_the_same_bits(everything):
    def go_on():
        return [step(everything, batch_of(n, n + 1), number=n) for n in (2, 3)], everything.state()

    step(everything, batch_of(1, 2))
    saved = everything.state()
    assert {name.split("/")[0] for name in saved} >= {"trained", "ema", "normalisation", "adam_m"}
    results, after = go_on()
    everything.set_state(saved)
    assert_same_bits(everything.state(), saved)
    again, after_again = go_on()
    assert_same_bits(after_again, after)
    assert all(np.array_equal(a[0], b[0]) and a[1] == b[1] for a, b in zip(results, again, strict=True))
    assert everything.traces() == 1


def test_a_run_that_begins_to_average_begins_with_the_weights_it_has(everything):
    plain = LIBRARY.backend(TASK, WEIGHTS, normalisation=NORMALISATION)
    step(plain, batch_of(1, 2), learning_rate=0.01)
    everything.set_state(plain.state())
    state = everything.state()
    for name, value in plain.model.named_weights().items():
        np.testing.assert_allclose(state.get(f"ema/{name}", state[name]), value, rtol=1e-4, atol=1e-5)


def test_a_function_of_the_waveforms_is_computed_for_each_batch_that_has_clips():
    batches = [batch_of(1, 5), batch_of(), batch_of(2)]
    found = list(LIBRARY.over_batches(TASK.objective().features, batches, device="CPU:0"))
    assert [len(batch.samples) for batch, _ in found] == [2, 1]
    for batch, (features, num_frames) in found:
        for k, length in enumerate(num_frames):
            expected = Mfcc(FeatureGeometry())(batch.example(k)["audio"])
            np.testing.assert_allclose(features[k, :length], expected, atol=2e-3)
