"""The training loss without letters in the first frames, against a sum over all alignments."""

from itertools import groupby, product

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from deepspeech_training.models.kernels import PlainKernels
from deepspeech_training.models.leading_blanks import leading_blanks
from deepspeech_training.training.backends.tensorflow.kernels import TensorFlowKernels

BLANK = 2
LOGITS = np.random.default_rng(5).normal(size=(3, 5, BLANK + 1)).astype(np.float32)
NUM_FRAMES = np.array([5, 4, 3], np.int32)
LABELS = np.array([[0, 1], [1, 9], [0, 0]], np.int32)  # the second has one label, what follows it is padding
NUM_LABELS = np.array([2, 1, 2], np.int32)


def probability(logits: np.ndarray, labels: list[int], free: int) -> float:
    """That of all alignments that give the labels and are blank in the first `free` frames."""
    log_probs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    total = 0.0
    for path in product(range(BLANK + 1), repeat=len(logits)):
        written = [label for label, _ in groupby(path) if label != BLANK]
        if written == labels and all(label == BLANK for label in path[:free]):
            total += np.exp(log_probs[range(len(path)), path].sum())
    return total


@pytest.mark.parametrize("kernels", [PlainKernels(), TensorFlowKernels()], ids=["plain Keras", "TensorFlow"])
@pytest.mark.parametrize(("most", "free"), [(0, (0, 0, 0)), (1, (1, 1, 0)), (2, (2, 2, 0)), (9, (3, 3, 0))])
def test_the_loss_is_that_of_the_alignments_that_begin_with_blanks(kernels, most, free):
    with tf.device("/CPU:0"):
        logits, cost = leading_blanks(LOGITS, NUM_FRAMES, LABELS, NUM_LABELS, most=most)
        losses = ops.convert_to_numpy(cost + kernels.ctc_loss(logits, NUM_FRAMES, LABELS, NUM_LABELS))
    for row, frames in enumerate(NUM_FRAMES):
        labels = LABELS[row, : NUM_LABELS[row]].tolist()
        expected = -np.log(probability(LOGITS[row, :frames], labels, free[row]))
        assert losses[row] == pytest.approx(expected, abs=2e-5)


def test_the_gradient_is_that_of_the_loss():
    with tf.device("/CPU:0"):
        weights = tf.constant(LOGITS)
        with tf.GradientTape() as tape:
            tape.watch(weights)
            logits, cost = leading_blanks(weights, NUM_FRAMES, LABELS, NUM_LABELS, most=2)
            loss = tf.reduce_sum(
                cost + TensorFlowKernels().ctc_loss(logits, tf.constant(NUM_FRAMES), LABELS, tf.constant(NUM_LABELS))
            )
        gradient = tape.gradient(loss, weights).numpy()

    def objective(logits: np.ndarray) -> float:
        rows = zip(NUM_FRAMES, LABELS, NUM_LABELS, (2, 2, 0), strict=True)
        return -sum(
            np.log(probability(logits[row, :frames], labels[:count].tolist(), free))
            for row, (frames, labels, count, free) in enumerate(rows)
        )

    for place in product(range(3), range(5), range(BLANK + 1)):
        nudge = np.zeros(LOGITS.shape)
        nudge[place] = 1e-5
        slope = (objective(LOGITS + nudge) - objective(LOGITS - nudge)) / 2e-5
        assert gradient[place] == pytest.approx(slope, abs=1e-4)
    assert not gradient[1, 4].any() and not gradient[2, 3:].any()  # past the ends of the clips
