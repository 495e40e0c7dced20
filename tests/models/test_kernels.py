from itertools import product

import numpy as np
import pytest
import tensorflow as tf

from deepspeech_training.models.kernels import PlainKernels
from deepspeech_training.training.backends.tensorflow.kernels import TensorFlowKernels, kernel_difference

ALL = {"plain Keras": PlainKernels(), "TensorFlow": TensorFlowKernels()}


@pytest.fixture(autouse=True)
def on_the_cpu():
    """Last digits are compared: a GPU, where there is one, has its own (TF32)."""
    with tf.device("/CPU:0"):
        yield


def lstm_arguments(frames, clips, depth=5, units=3):
    generator = np.random.default_rng(frames * 10 + clips)
    shapes = ((frames, clips, depth), (depth + units, 4 * units), (4 * units,))
    return [tf.constant(generator.normal(size=shape, scale=0.5).astype(np.float32)) for shape in shapes]


def outputs_and_gradients(kernels, method, arguments, constants=()):
    with tf.GradientTape() as tape:
        tape.watch(arguments)
        outputs = getattr(kernels, method)(*arguments, *constants)
        objective = tf.reduce_sum(
            tf.sin(outputs * 3.0 + tf.reshape(tf.range(tf.size(outputs), dtype=tf.float32), outputs.shape))
        )
    return [t.numpy() for t in (outputs, *tape.gradient(objective, arguments))]


def reference_lstm(inputs, kernel, bias):
    """The cell as TensorFlow 1's LSTMBlockFusedCell has it, forget bias 0, in float64."""
    inputs, kernel, bias = (np.asarray(a, np.float64) for a in (inputs, kernel, bias))

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    cell = output = np.zeros((inputs.shape[1], len(bias) // 4))
    outputs = []
    for frame in inputs:
        i, j, f, o = np.split(np.concatenate([frame, output], axis=1) @ kernel + bias, 4, axis=1)
        cell = sigmoid(f) * cell + sigmoid(i) * np.tanh(j)
        output = sigmoid(o) * np.tanh(cell)
        outputs.append(output)
    return np.array(outputs)


SHAPES = [(1, 1), (1, 3), (6, 1), (5, 2)]


@pytest.mark.parametrize(("frames", "clips"), SHAPES)
@pytest.mark.parametrize("kernels", ALL.values(), ids=ALL)
def test_the_lstm_is_the_textbooks(kernels, frames, clips):
    arguments = lstm_arguments(frames, clips)
    outputs = np.asarray(kernels.lstm(*arguments))
    np.testing.assert_allclose(outputs, reference_lstm(*arguments), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("frames", "clips"), SHAPES)
def test_the_lstms_own_gradient_is_the_one_that_keras_derives(frames, clips):
    arguments = lstm_arguments(frames, clips)
    ours, plain = (outputs_and_gradients(kernels, "lstm", arguments) for kernels in ALL.values())
    for one, other in zip(ours, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("method", ["lstm", "ctc_loss"])
def test_tensorflows_kernels_equal_the_plain_ones(method):
    assert kernel_difference(TensorFlowKernels(), PlainKernels(), method) < 1e-4


def test_bfloat16_is_close_to_float32():
    assert 1e-5 < kernel_difference(TensorFlowKernels(compute_dtype="bfloat16"), PlainKernels(), "lstm") < 0.03


@pytest.mark.parametrize("kernels", ALL.values(), ids=ALL)
def test_dense_is_a_product_and_a_bias(kernels):
    generator = np.random.default_rng(1)
    inputs, weights, bias = (generator.normal(size=s).astype(np.float32) for s in ((4, 2, 5), (5, 3), (3,)))
    np.testing.assert_allclose(np.asarray(kernels.dense(inputs, weights, bias)), inputs @ weights + bias, rtol=1e-5)


# --- CTC ---------------------------------------------------------------------------------------------------------


def collapse(path, blank) -> list[int]:
    return [c for k, c in enumerate(path) if c != blank and (k == 0 or path[k - 1] != c)]


def loss_over_all_paths(logits, labels) -> float:
    """-log of the summed probability of every path that collapses to the labels (Graves et al. 2006, equation 3)."""
    logits = np.asarray(logits, np.float64)
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    blank = logits.shape[1] - 1
    total = sum(
        np.exp(sum(log_probs[frame, c] for frame, c in enumerate(path)))
        for path in product(range(blank + 1), repeat=len(logits))
        if collapse(path, blank) == list(labels)
    )
    return -np.log(total)


CASES = [(1, [0]), (2, [1]), (3, [0, 1]), (3, [1, 1]), (4, [0, 0]), (5, [0, 1, 0]), (5, [1]), (5, [0, 0, 1])]


@pytest.mark.parametrize("kernels", ALL.values(), ids=ALL)
def test_the_ctc_loss_is_the_sum_over_all_paths_in_any_padded_batch(kernels):
    generator = np.random.default_rng(3)
    frames, width = max(n for n, _ in CASES) + 1, max(len(labels) for _, labels in CASES) + 1
    logits = generator.normal(size=(len(CASES), frames, 3), scale=2).astype(np.float32)
    labels = np.ones((len(CASES), width), np.int32)
    for row, (_, wanted) in enumerate(CASES):
        labels[row, : len(wanted)] = wanted
    num_frames = np.array([n for n, _ in CASES], np.int32)
    num_labels = np.array([len(wanted) for _, wanted in CASES], np.int32)
    found = np.asarray(kernels.ctc_loss(logits, num_frames, labels, num_labels))
    expected = [loss_over_all_paths(logits[row, :n], wanted) for row, (n, wanted) in enumerate(CASES)]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_the_gradients_of_ctc_are_equal_and_zero_past_a_clips_end():
    generator = np.random.default_rng(4)
    logits = tf.constant(generator.normal(size=(2, 6, 3)).astype(np.float32))
    constants = [tf.constant(a, tf.int32) for a in ([3, 6], [[0, 1, 0], [1, 1, 0]], [1, 3])]
    ours, plain = (outputs_and_gradients(k, "ctc_loss", [logits], constants)[1] for k in ALL.values())
    np.testing.assert_allclose(ours, plain, atol=1e-5)
    assert not ours[0, 3:].any() and not plain[0, 3:].any() and ours[1, 3:].any()
