import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.models.deepspeech.weights import BLANK_BIAS, initial_weights
from deepspeech_training.models.dropout import dropout_mask
from deepspeech_training.models.kernels import PlainKernels
from deepspeech_training.training.backends.tensorflow.kernels import TensorFlowKernels

KERNELS = {"plain Keras": PlainKernels(), "TensorFlow": TensorFlowKernels()}
RATES = {"layer_1": 0.3, "layer_2": 0.2, "layer_3": 0.1, "layer_5": 0.4}
FRAMES = (4, 17, 9)  # of the three clips
LABELS = ([0, 1], [1, 1, 2, 0], [2])
CLIP_KEYS = np.array([7, 2**32 - 5, 123456789], np.uint32)


@pytest.fixture(autouse=True)
def on_the_cpu():
    """Last digits are compared: a GPU, where there is one, has its own (TF32)."""
    with tf.device("/CPU:0"):
        yield


def network_of(**changed) -> DeepSpeech:
    return DeepSpeech(**({"num_classes": 4, "n_hidden": 16, "n_features": 3, "n_context": 2} | changed))


def random_weights(network, seed=5) -> dict[str, np.ndarray]:
    """As drawn, with biases that are not zero, so that padding would show."""
    generator = np.random.default_rng(seed)
    return {
        name: value + generator.normal(size=value.shape, scale=0.2 if value.ndim == 1 else 0.0).astype(np.float32)
        for name, value in initial_weights(network, seed=seed).items()
    }


def batch_of(clips):
    """Features [batch, frames, 3], num_frames, labels, num_labels and clip keys of some of the three clips."""
    features = np.zeros((len(clips), max(FRAMES[c] for c in clips), 3), np.float32)
    labels = np.zeros((len(clips), max(len(LABELS[c]) for c in clips)), np.int32)
    for row, clip in enumerate(clips):
        features[row, : FRAMES[clip]] = np.random.default_rng(clip).normal(size=(FRAMES[clip], 3))
        labels[row, : len(LABELS[clip])] = LABELS[clip]
    num_frames = np.array([FRAMES[c] for c in clips], np.int32)
    num_labels = np.array([len(LABELS[c]) for c in clips], np.int32)
    return features, num_frames, labels, num_labels, CLIP_KEYS[list(clips)]


def logits_and_gradients(model, clips, row, *, dropout):
    """Logits of the clip in `row` of a batch, up to its end, and the gradients of its loss by name."""
    features, num_frames, labels, num_labels, keys = batch_of(clips)
    variables = {name: variable.value for name, variable in model.by_name.items()}
    with tf.GradientTape() as tape:
        logits, lengths = model(
            tf.constant(features), tf.constant(num_frames), clip_keys=tf.constant(keys) if dropout else None
        )
        np.testing.assert_array_equal(lengths, num_frames)
        arguments = [tf.constant(a) for a in (num_frames, labels, num_labels)]
        loss = model.kernels.ctc_loss(logits, *arguments)[row]
    gradients = tape.gradient(loss, list(variables.values()))
    return logits.numpy()[row, : num_frames[row]], {n: g.numpy() for n, g in zip(variables, gradients, strict=True)}


def assert_close(one, other, tolerance=1e-5):
    assert np.max(np.abs(one - other)) <= tolerance * max(np.max(np.abs(other)), 1e-3)


@pytest.mark.parametrize("layer_norm", [False, True], ids=["", "layer norm"])
@pytest.mark.parametrize("dropout", [False, True], ids=["", "dropout"])
@pytest.mark.parametrize("kernels", KERNELS.values(), ids=KERNELS)
def test_a_clip_gives_the_same_alone_and_in_any_padded_batch(kernels, dropout, layer_norm):
    network = network_of(layer_norm=layer_norm)
    model = network.build(kernels, weights=random_weights(network), dropout_rates=RATES)
    alone = {clip: logits_and_gradients(model, [clip], 0, dropout=dropout) for clip in range(3)}
    for clips in ([0, 1, 2], [2, 1]):
        for row, clip in enumerate(clips):
            logits, gradients = logits_and_gradients(model, clips, row, dropout=dropout)
            assert_close(logits, alone[clip][0])
            for name, gradient in gradients.items():
                assert gradient.any(), name
                assert_close(gradient, alone[clip][1][name])


@pytest.mark.parametrize("layer_norm", [False, True])
def test_both_kernels_give_the_same_network(layer_norm):
    network = network_of(layer_norm=layer_norm)
    weights = random_weights(network)
    results = [
        logits_and_gradients(network.build(kernels, weights=weights, dropout_rates=RATES), [0, 1, 2], 1, dropout=True)
        for kernels in KERNELS.values()
    ]
    assert_close(results[0][0], results[1][0])
    for name in weights:
        assert_close(results[0][1][name], results[1][1][name], 1e-4)


def test_bfloat16_stays_close_to_float32():
    network = network_of(n_hidden=64)
    weights = random_weights(network)
    logits = [
        network.build(TensorFlowKernels(compute_dtype=dtype), weights=weights)(*batch_of([0, 1, 2])[:2])[0]
        for dtype in ("float32", "bfloat16")
    ]
    assert all(one.dtype == tf.float32 for one in logits)
    assert 0 < np.max(np.abs(logits[0] - logits[1])) < 0.05 * np.max(np.abs(logits[0]))


def test_the_context_is_zero_outside_the_clip_and_oldest_first():
    features = np.arange(1, 5, dtype=np.float32).reshape(4, 1, 1)
    stacked = network_of(n_features=1).build()._stack_context(features)
    expected = [[0, 0, 1, 2, 3], [0, 1, 2, 3, 4], [1, 2, 3, 4, 0], [2, 3, 4, 0, 0]]
    assert ops.convert_to_numpy(stacked)[:, 0].tolist() == expected


def test_outputs_are_clipped_and_normalised_as_asked():
    network = network_of(relu_clip=0.5)
    clipped = network.build(weights=random_weights(network)).layer_outputs(batch_of([1])[0])["layer_1"]
    assert ops.min(clipped) == 0 and ops.max(clipped) == 0.5
    network = network_of(layer_norm=True)
    weights = random_weights(network) | {
        "layer_1/layer_norm/gamma": np.ones(16),
        "layer_1/layer_norm/beta": np.zeros(16),
    }
    normal = ops.convert_to_numpy(network.build(weights=weights).layer_outputs(batch_of([1])[0])["layer_1"])
    np.testing.assert_allclose(normal.mean(axis=-1), 0, atol=1e-5)
    np.testing.assert_allclose(normal.std(axis=-1), 1, atol=1e-4)


# --- dropout -----------------------------------------------------------------------------------------------------


def mask(rate=0.5, *, shape=(60, 4, 256), keys=(1, 2, 3, 4), layer=1) -> np.ndarray:
    return ops.convert_to_numpy(
        dropout_mask(shape, rate, clip_keys=np.array(keys, np.uint32), layer=layer, clip_axis=1)
    )


@pytest.mark.parametrize("rate", [0.01, 0.05, 0.3, 0.5, 0.95])
def test_the_dropped_share_is_the_rate(rate):
    found = mask(rate)
    assert abs(1 - found.mean() - rate) < 4 * np.sqrt(rate * (1 - rate) / found.size)
    for axis in ((1, 2), (0, 2), (0, 1)):  # by frame, clip and unit
        shares = 1 - found.mean(axis=axis)
        deviation = np.sqrt(rate * (1 - rate) * len(shares) / found.size)
        assert np.max(np.abs(shares - rate)) < 5.5 * deviation
        assert 0.6 < shares.std() / deviation < 1.6 or len(shares) < 10


def assert_uncorrelated(one: np.ndarray, other: np.ndarray):
    assert (one != other).any()
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 5 / np.sqrt(one.size)


def test_layers_clips_frames_units_and_steps_have_masks_of_their_own():
    found = mask()
    for a in range(4):
        for b in range(a):
            assert_uncorrelated(found[:, a], found[:, b])
    for layer in (2, 3, 5):
        assert_uncorrelated(found, mask(layer=layer))
    assert_uncorrelated(found, mask(keys=(5, 6, 7, 8)))
    for lag in (1, 2, 3, 30):
        assert_uncorrelated(found[lag:], found[:-lag])
        assert_uncorrelated(found[..., lag:], found[..., :-lag])
    assert_uncorrelated(found[..., 128:], found[..., :128])  # two halves that one hash decides on


def test_the_mask_of_a_clip_depends_on_its_key_alone():
    longer = mask(shape=(60, 4, 256))
    np.testing.assert_array_equal(mask(shape=(20, 1, 256), keys=(3,))[:, 0], longer[:20, 2])
    assert mask(shape=(20, 1, 7), keys=(3,)).shape == (20, 1, 7)  # an odd number of units


def test_what_stays_is_scaled_so_that_the_mean_stays():
    network = network_of(n_hidden=512)
    model = network.build(weights=random_weights(network), dropout_rates={"layer_1": 0.25})
    features = batch_of([1])[0]
    without = ops.convert_to_numpy(model.layer_outputs(features)["layer_1"])
    dropped = ops.convert_to_numpy(model.layer_outputs(features, np.array([9], np.uint32))["layer_1"])
    stays = dropped != 0
    np.testing.assert_allclose(dropped[stays], without[stays] / 0.75, rtol=1e-5)
    assert abs(stays[without != 0].mean() - 0.75) < 0.03


# --- initial weights ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layer_norm", [False, True])
def test_initial_weights_are_glorots_and_deepspeechs(layer_norm):
    network = DeepSpeech(num_classes=29, n_hidden=128, layer_norm=layer_norm)
    weights = initial_weights(network, seed=4568)
    assert {name: value.shape for name, value in weights.items()} == network.weight_shapes()
    assert all(value.dtype == np.float32 for value in weights.values())
    assert weights["layer_1/weights"].shape == (494, 128) and weights["lstm/kernel"].shape == (256, 512)
    for name, value in weights.items():
        if value.ndim == 1:
            expected = np.full(value.shape, 1 if name.endswith("gamma") else 0, np.float32)
            if name == "layer_6/bias":
                expected[-1] = BLANK_BIAS
            assert (value == expected).all()
            continue
        limit = np.sqrt(6 / sum(value.shape))
        assert 0.99 * limit < np.abs(value).max() <= np.float32(limit)
        assert abs(value.mean()) < 4 * limit / np.sqrt(3 * value.size)
        assert abs(value.std() / (limit / np.sqrt(3)) - 1) < 0.02


def test_initial_weights_are_a_function_of_the_seed_and_the_place():
    first, again, other = (initial_weights(network_of(), seed=seed) for seed in (1, 1, 2))
    for name in first:
        np.testing.assert_array_equal(first[name], again[name])
    matrices = [name for name in first if first[name].ndim == 2]
    assert all((first[name] != other[name]).all() for name in matrices)
    assert (first["layer_2/weights"] != first["layer_3/weights"]).all()


def test_the_released_size_has_47_million_parameters():
    shapes = DeepSpeech(num_classes=29).weight_shapes().values()
    assert round(sum(np.prod(shape) for shape in shapes) / 1e6, 1) == 47.2


def test_weights_come_back_by_name():
    weights = random_weights(network_of())
    found = network_of().build(weights=weights).named_weights()
    assert list(found) == list(weights)
    for name in weights:
        np.testing.assert_array_equal(found[name], weights[name])
