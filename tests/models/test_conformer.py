"""The conformer: training, reference and export are one network, which looks back alone."""

import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models import network_of
from deepspeech_training.models.conformer import Conformer
from deepspeech_training.models.kernels import PlainKernels
from deepspeech_training.models.reference import softmax
from deepspeech_training.models.tflite import ExportSettings, write_tflite
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.stream import Recorder
from deepspeech_training.training.backends.tensorflow.kernels import TensorFlowKernels

SMALL = {"num_classes": 5, "d_model": 16, "layers": 2, "heads": 2, "kernel": 5, "left_context": 6}
NETWORKS = {
    "attention": Conformer(**SMALL),
    "no attention": Conformer(**{**SMALL, "heads": 0}),
    "a longer left context than a group of queries": Conformer(**{**SMALL, "layers": 1, "left_context": 40}),
}
FEATURES = FeatureGeometry(n_mfcc=40)
FRAMES = (1, 7, 100, 163)
EXACT = 1e-5


@pytest.fixture(autouse=True)
def on_the_cpu():
    with tf.device("/CPU:0"):
        yield


@pytest.fixture(params=NETWORKS)
def network(request) -> Conformer:
    return NETWORKS[request.param]


def weights_of(network: Conformer, seed: int = 1) -> dict[str, np.ndarray]:
    """As drawn, but that biases and normalisations do something, so that what is left out would show."""
    generator = np.random.default_rng(seed)
    return {
        name: array + generator.normal(size=array.shape, scale=0.2 if array.ndim == 1 else 0.0).astype(np.float32)
        for name, array in network.initial_weights(seed=seed).items()
    }


def noise(frames: int, seed: int = 0) -> np.ndarray:
    return (3 * np.random.default_rng(seed).standard_normal((frames, 40))).astype(np.float32)


def batch_of(frames=FRAMES) -> tuple[tf.Tensor, tf.Tensor]:
    features = np.zeros((len(frames), max(frames), 40), np.float32)
    for row, count in enumerate(frames):
        features[row, :count] = noise(count, row)
    return tf.constant(features), tf.constant(frames)


def exported(network: Conformer, weights, *, quantize: bool = False, n_steps: int = 16) -> Model:
    data = write_tflite(
        weights,
        alphabet=Alphabet("abcd"),
        features=FEATURES,
        network=network,
        settings=ExportSettings(quantize=quantize, n_steps=n_steps),
    )
    return Model(ModelFile.of_bytes(data, "model.tflite"), num_threads=1)


def test_it_is_described_and_its_groups_are_in_order(network):
    assert network_of(network.describe()) == network
    assert network.groups == ("input", *network.blocks, "output")
    assert all(shape[-1] == 5 for name, shape in network.weight_shapes().items() if name.startswith("output/"))


@pytest.mark.parametrize("kernels", [PlainKernels(), TensorFlowKernels()], ids=["plain Keras", "TensorFlow"])
def test_each_clip_of_a_padded_batch_is_what_the_reference_makes_of_it_alone(network, kernels):
    weights = weights_of(network)
    layers = network.build(kernels, weights=weights)
    logits, lengths = tf.function(layers)(*batch_of())
    assert logits.dtype == tf.float32 and logits.shape == (4, 163, 5) and lengths.numpy().tolist() == list(FRAMES)
    for row, frames in enumerate(FRAMES):
        wanted = network.reference(weights, noise(frames, row))
        np.testing.assert_allclose(logits[row, :frames], wanted, atol=EXACT)


def test_bfloat16_stays_close_to_float32_and_its_gradients_are_finite(network):
    weights = weights_of(network)
    exact, near = (
        network.build(TensorFlowKernels(compute_dtype=dtype), weights=weights, dropout_rate=0.1)
        for dtype in ("float32", "bfloat16")
    )
    with tf.GradientTape() as tape:
        logits, _ = near(*batch_of())
        loss = tf.reduce_sum(tf.square(logits))
    difference = np.abs(logits - exact(*batch_of())[0]).max()
    assert 0 < difference < 0.1 * np.abs(logits).max()
    gradients = tape.gradient(loss, [variable.value for variable in near.by_name.values()])
    assert all(gradient is not None and np.isfinite(gradient).all() for gradient in gradients)


def test_a_frame_hears_of_the_future_only_its_own_window(network):
    weights, features = weights_of(network), noise(120)
    changed = features.copy()
    changed[80:] += 1
    differs = np.abs(network.reference(weights, features) - network.reference(weights, changed)).max(axis=1) > 0
    assert not differs[: 80 - network.n_context].any() and differs[80:].all()


def test_attention_reaches_as_far_back_as_it_says():
    network = Conformer(**{**SMALL, "layers": 1, "left_context": 10})
    weights, features = weights_of(network), noise(120)
    changed = features.copy()
    changed[:20] += 1  # heard up to window 28, which is frame 14 inside
    differs = np.abs(network.reference(weights, features) - network.reference(weights, changed)).max(axis=1) > 1e-6
    # Of one block, the convolution sees 4 frames back what attention has heard of 10 frames back.
    assert differs[: 2 * 14].all() and not differs[2 * (14 + 10 + 4 + 1) :].any() and differs[2 * 14 + 2 * 10]


def test_dropout_is_a_function_of_the_clip_and_only_there_in_training(network):
    layers = network.build(weights=weights_of(network), dropout_rate=0.3)
    features, lengths = batch_of()
    keys = tf.constant([1, 2, 3, 4], tf.uint32)
    without, _ = layers(features, lengths)
    dropped, _ = layers(features, lengths, clip_keys=keys)
    alone, _ = layers(features[2:3, :100], lengths[2:3], clip_keys=keys[2:3])
    np.testing.assert_allclose(dropped[2, :100], alone[0], atol=EXACT)
    assert np.abs(without - dropped)[:, 0].max() > 1e-2
    other, _ = layers(features, lengths, clip_keys=keys + 4)
    assert np.abs(other - dropped)[:, 0].max() > 1e-2


def test_folded_weights_take_raw_features(network):
    normalisation = Normalisation(np.linspace(-3, 3, 40, dtype=np.float32), np.geomspace(0.5, 4, 40, dtype=np.float32))
    weights = weights_of(network)
    wanted, _ = network.build(weights=weights, normalisation=normalisation)(noise(30)[None], np.array([30]))
    folded = network.fold(weights, normalisation)
    np.testing.assert_allclose(network.reference(folded, noise(30)), ops.convert_to_numpy(wanted)[0], atol=1e-4)
    for name, array in network.unfold(folded, normalisation).items():
        np.testing.assert_allclose(array, weights[name], atol=1e-5)


def test_initial_weights_are_a_function_of_the_seed_and_keep_the_size_of_what_goes_through():
    network = Conformer(29, d_model=64, layers=3)
    first, again, other = (network.initial_weights(seed=seed) for seed in (1, 1, 2))
    assert {name: array.shape for name, array in first.items()} == network.weight_shapes()
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
        assert array.dtype == np.float32 and (array.ndim == 1 or (array != other[name]).any())
    assert 0.3 < np.abs(network.reference(first, noise(60))).std() < 3


# --- the export --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_steps", [2, 16, 34])
def test_the_exported_network_is_the_reference_whatever_the_call(network, n_steps):
    weights = weights_of(network)
    model = exported(network, weights, n_steps=n_steps)
    assert model.file.stride == 1 and model.file.window_frames == 19
    assert set(model.file.state_shapes) == {"state_c", "state_h"}
    for frames in FRAMES:
        found = model.probabilities_of_features(noise(frames))
        np.testing.assert_allclose(found, softmax(network.reference(weights, noise(frames))), atol=EXACT)


def test_eight_bits_are_a_quarter_of_the_size_and_near():
    network = Conformer(5, d_model=64, layers=2)
    weights = weights_of(network)
    exact, rounded = (exported(network, weights, quantize=quantize) for quantize in (False, True))
    assert len(rounded.file.data) < 0.4 * len(exact.file.data)
    for quantized, model in ((False, exact), (True, rounded)):
        assert 0.7 < network.export_bytes(quantized=quantized) / len(model.file.data) < 1.3
    difference = np.abs(exact.probabilities_of_features(noise(99)) - rounded.probabilities_of_features(noise(99)))
    assert 1e-4 < difference.max() < 0.1


@pytest.mark.parametrize("seconds", [0.1, 0.333, 2.0, 7.1, 60.0])
def test_a_stream_cut_anywhere_gives_what_the_whole_clip_gives(network, seconds):
    weights, generator = weights_of(network), np.random.default_rng(int(10 * seconds))
    model = exported(network, weights)
    samples = (3000 * generator.standard_normal(int(16000 * seconds))).astype(np.int16)
    features = Mfcc(FEATURES, dtype=np.float64)(with_last_frame(samples / np.float32(32768), FEATURES))
    wanted = softmax(network.reference(weights, features))
    np.testing.assert_allclose(model.probabilities(samples), wanted, atol=1e-4)
    recorder = Recorder(model.file)
    with model.stream_into(recorder) as stream:
        for piece in np.split(samples, sorted(generator.integers(0, len(samples), 20))):
            stream.feedAudioContent(piece)
        stream.finishStream()
    np.testing.assert_allclose(recorder.probabilities(), wanted, atol=1e-4)


def test_an_odd_number_of_steps_is_refused(network):
    with pytest.raises(Exception, match="--n_steps 15: the network conformer takes 2 frames together"):
        exported(network, weights_of(network), n_steps=15)
