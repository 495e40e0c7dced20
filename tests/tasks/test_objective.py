"""What training a network to write makes smaller, against the same by numpy; and what of a clip it is shown."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.augment.augmenter import Augmenter
from deepspeech_training.augment.catalogue import parse_augmentations
from deepspeech_training.data.loader import Batch, make_batch
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.models.conformer import Conformer
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.models.kernels import PlainKernels
from deepspeech_training.tasks.speech_to_text import SpeechToText
from deepspeech_training.tasks.speech_to_text.consistency import difference
from deepspeech_training.training.backends import BACKENDS, DEFAULT_BACKEND
from deepspeech_training.training.backends.base import UpdateRules

ALPHABET = Alphabet("abc")
GEOMETRY = FeatureGeometry(n_mfcc=40)
CONFORMER = Conformer(num_classes=4, d_model=16, layers=2, heads=2, kernel=5, left_context=6)
LSTM = DeepSpeech(num_classes=4, n_hidden=8)
MASKS = ("time_mask[n=2,size=200]", "frequency_mask[n=2,size=40]", "tempo[factor=1~0.2]")
LENGTHS = (16000, 12345, 9000)
KEYS = np.array([3, 1, 4], np.uint32)


@pytest.fixture(autouse=True)
def on_the_cpu():
    with tf.device("/CPU:0"):
        yield


def task_of(network, masks=(), **options) -> SpeechToText:
    geometry = FeatureGeometry(n_mfcc=network.n_features)
    augmenter = Augmenter(parse_augmentations(masks), geometry, seed=1) if masks else None
    return SpeechToText(ALPHABET, geometry, network, augmenter=augmenter, **options)


def batch_of(task: SpeechToText, lengths=LENGTHS, *, clock: float = 0.5) -> Batch:
    """Clips of noise, as a training step gets them; a clip is the same in any batch."""
    examples = []
    for length in lengths:
        audio = (0.1 * np.random.default_rng(length).standard_normal(length)).astype(np.float32)
        example = {"audio": audio, "labels": np.array([0, 1, 1, 2], np.int32)}
        if masks := task._augmenter:
            audio, draws = masks(f"clip {length}", audio, needed_frames=6, epoch=0, clock=clock)
            example |= {"audio": audio, **draws._asdict()}
        examples.append(example)
    return make_batch(task.spec, [None] * len(lengths), examples)


def computed(task: SpeechToText, batch: Batch, keys=KEYS, **options):
    """Outputs and training losses of a network whose weights say something."""
    weights = {name: 2 * array for name, array in task.network.initial_weights(seed=2).items()}
    layers = task.network.build(weights=weights, **options)
    objective, arrays = task.objective(), {name: tf.constant(array) for name, array in batch.arrays.items()}
    outputs = objective.outputs(layers, arrays, clip_keys=tf.constant(keys))
    return outputs, ops.convert_to_numpy(objective.training_losses(PlainKernels(), outputs, arrays))


def log_softmax(logits) -> np.ndarray:
    logits = np.asarray(logits, np.float64)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def divergence(first, second, frames: int) -> float:
    a, b = log_softmax(first)[:frames], log_softmax(second)[:frames]
    return float((np.exp(a) * (a - b)).sum())


def test_the_difference_of_two_views_is_their_mean_divergence_and_each_learns_from_the_other():
    generator = np.random.default_rng(1)
    first, second = generator.normal(size=(2, 3, 7, 4)).astype(np.float32)
    lengths = np.array([7, 5, 0], np.int32)
    found = ops.convert_to_numpy(difference(first, second, lengths))
    pairs = list(zip(first, second, lengths, strict=True))
    wanted = [0.5 * (divergence(a, b, n) + divergence(b, a, n)) for a, b, n in pairs]
    np.testing.assert_allclose(found, wanted, rtol=1e-5)
    variable = tf.Variable(first)
    with tf.GradientTape() as tape:
        loss = difference(variable, second, lengths)[1]
    gradient = tape.gradient(loss, variable)[1].numpy()
    # Only as the pupil: of 0.5 * KL(second || first) by the logits of first, softmax(first) - softmax(second).
    wanted = 0.5 * (np.exp(log_softmax(first[1])) - np.exp(log_softmax(second[1])))
    wanted[5:] = 0
    np.testing.assert_allclose(gradient, wanted, atol=1e-6)


@pytest.mark.parametrize("network", [CONFORMER, LSTM], ids=["conformer", "lstm"])
def test_the_training_loss_is_put_together_as_the_flags_say(network):
    inter = 0.3 if network is CONFORMER else 0.0
    task = task_of(network, MASKS, cr_ctc=0.2, inter_ctc=inter, leading_blanks=0)
    batch = batch_of(task)
    outputs, losses = computed(task, batch)
    frames, labels = outputs["lengths"], batch.arrays["labels"]

    def ctc(name: str) -> np.ndarray:
        return ops.convert_to_numpy(PlainKernels().ctc_loss(outputs[name], frames, labels, batch.arrays["num_labels"]))

    wanted = (1 - inter) * (ctc("logits") + ctc("other_logits")) / 2
    if inter:
        wanted += inter * (ctc("halfway") + ctc("other_halfway")) / 2
    wanted += 0.2 * ops.convert_to_numpy(difference(outputs["logits"], outputs["other_logits"], frames))
    np.testing.assert_allclose(losses, wanted, rtol=1e-5)
    for row, count in enumerate(ops.convert_to_numpy(frames)):
        apart = np.abs(outputs["logits"][row, :count] - outputs["other_logits"][row, :count])
        assert apart.max() > 1e-3  # other masks in the other view


def test_views_of_a_clip_are_a_function_of_its_keys_alone():
    task = task_of(CONFORMER, MASKS, cr_ctc=0.2, inter_ctc=0.3)
    _, together = computed(task, batch_of(task), dropout_rate=0.3)
    _, alone = computed(task, batch_of(task, LENGTHS[1:2]), KEYS[1:2], dropout_rate=0.3)
    np.testing.assert_allclose(together[1], alone[0], rtol=1e-4)
    _, others = computed(task, batch_of(task), KEYS + 1, dropout_rate=0.3)
    assert (np.abs(others - together) > 1e-3).all()


def test_masks_that_start_late_leave_clips_alone_before():
    plain, masked = task_of(CONFORMER), task_of(CONFORMER, ("time_mask[start=0.3,n=2,size=200]",))
    _, wanted = computed(plain, batch_of(plain))
    _, before = computed(masked, batch_of(masked, clock=0.29))
    _, after = computed(masked, batch_of(masked, clock=0.31))
    np.testing.assert_allclose(before, wanted, rtol=1e-5)
    assert (np.abs(after - wanted) > 1e-3).all()


@pytest.mark.parametrize("length", [100, 512, 9000, 9001])
def test_a_conformer_hears_in_training_what_the_clients_feed_at_the_end_of_a_clip(length):
    task = task_of(CONFORMER)
    batch = batch_of(task, (length, 16000))
    features, frames = task.objective().features(batch.arrays)
    audio = batch.arrays["audio"][0, :length]
    wanted = Mfcc(GEOMETRY)(with_last_frame(audio, GEOMETRY))
    assert frames[0] == len(wanted) == GEOMETRY.num_frames(length) + 1
    np.testing.assert_allclose(features[0, : len(wanted)], wanted, atol=2e-3)
    assert not np.any(features[0, len(wanted) :])
    assert task_of(LSTM).objective().features(batch.arrays)[1][0] == GEOMETRY.num_frames(length)  # as DeepSpeech's


@pytest.mark.parametrize("compute_dtype", ["float32", pytest.param("bfloat16", marks=pytest.mark.slow)])
def test_steps_with_all_of_it_are_finite_lower_the_loss_and_are_the_same_from_a_checkpoint(compute_dtype):
    task = task_of(CONFORMER, MASKS[:2], cr_ctc=0.2, inter_ctc=0.3, leading_blanks=4)
    backend = BACKENDS[DEFAULT_BACKEND].backend(
        task,
        CONFORMER.initial_weights(seed=1),
        compute_dtype=compute_dtype,
        rules=UpdateRules(ema=0.9, max_grad_norm=5.0, weight_decay=0.01),
        training_options={"dropout_rate": 0.1},
    )
    batch = batch_of(task)

    def steps(first: int, last: int) -> list[float]:
        numbers = range(first, last)
        return [backend.train_step(batch, KEYS + n, learning_rate=0.01, updates=n)[0].mean() for n in numbers]

    losses = steps(0, 3)
    checkpoint = backend.state()
    losses += steps(3, 6)
    ended = backend.state()
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    assert all(np.isfinite(array).all() for array in ended.values())
    backend.set_state(checkpoint)
    assert steps(3, 6) == losses[3:]
    assert all((array == ended[name]).all() for name, array in backend.state().items())
