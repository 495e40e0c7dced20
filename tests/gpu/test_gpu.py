"""What is claimed of GPUs: their kernels give the plain ones' results, a step is the CPU's, a run resumes bit for bit.

`make test-gpu` runs these alone. Without a GPU they are skipped, each with the reason.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from training.processes import assert_same_end, kill_in, make_corpus, run, transcripts
from training.test_backend import LIBRARY, TASK, WEIGHTS, batch_of, step

from deepspeech_training.machine.resources import read_gpus
from deepspeech_training.models.kernels import PlainKernels
from deepspeech_training.training.backends.tensorflow.kernels import TensorFlowKernels

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def gpu():
    """Skips where TensorFlow has no GPU; memory is taken as it is needed, and float32 is float32, not TF32."""
    devices = tf.config.list_physical_devices("GPU")
    if not devices:
        found, _, _, reason = read_gpus()
        pytest.skip(f"needs a GPU: {f'TensorFlow does not see the {found[0].name}' if found else reason}")
    with contextlib.suppress(RuntimeError):  # set by an earlier test
        for device in devices:
            tf.config.experimental.set_memory_growth(device, True)
    tf.config.experimental.enable_tensor_float_32_execution(False)


def results(kernels, method, arguments, constants, device):
    """Outputs and gradients, float64."""
    with tf.device(device):
        arguments = [tf.constant(argument) for argument in arguments]

        @tf.function
        def compute(*tensors):
            with tf.GradientTape() as tape:
                tape.watch(tensors)
                outputs = tf.cast(getattr(kernels, method)(*tensors, *map(tf.constant, constants)), tf.float32)
                objective = tf.reduce_sum(outputs * tf.cos(outputs))
            return [outputs, *tape.gradient(objective, tensors)]

        return [found.numpy().astype(np.float64) for found in compute(*arguments)]


def greatest_difference(ours, theirs) -> float:
    """Relative to the greatest value of each tensor."""
    return max(float(np.abs(a - b).max() / (np.abs(b).max() + 1e-6)) for a, b in zip(ours, theirs, strict=True))


@pytest.mark.parametrize(("compute_dtype", "tolerance"), [("float32", 1e-4), ("bfloat16", 5e-2)])
@pytest.mark.parametrize(("frames", "clips", "units"), [(1, 1, 8), (50, 4, 64), (700, 8, 256)])
def test_cudnns_lstm_is_the_plain_one(compute_dtype, tolerance, frames, clips, units):
    generator = np.random.default_rng(frames)
    shapes = ((frames, clips, 32), (32 + units, 4 * units), (4 * units,))
    arguments = [generator.normal(size=shape, scale=0.1).astype(np.float32) for shape in shapes]
    ours = results(TensorFlowKernels(compute_dtype=compute_dtype, cudnn=True), "lstm", arguments, (), "/GPU:0")
    assert greatest_difference(ours, results(PlainKernels(), "lstm", arguments, (), "/CPU:0")) < tolerance


@pytest.mark.parametrize(
    ("frames", "classes", "num_labels"),
    [
        pytest.param(50, 29, [12, 7, 5, 1], id="short"),
        pytest.param(400, 29, [300, 120, 7, 1], id="more than 256 labels"),
        pytest.param(1500, 29, [250, 100, 40, 1], id="1,500 frames"),
        pytest.param(1500, 256, [300, 257, 256, 255], id="bytes, long"),
    ],
)
def test_the_ctc_loss_on_a_gpu_is_the_plain_one_for_padded_batches(frames, classes, num_labels):
    generator = np.random.default_rng(frames)
    logits = generator.normal(size=(4, frames, classes), scale=2.0).astype(np.float32)
    labels = generator.integers(0, classes - 1, size=(4, max(num_labels))).astype(np.int32)
    num_frames = np.array([frames, frames - 1, frames * 9 // 10, max(frames // 2, 2 * num_labels[-1] + 1)], np.int32)
    constants = (num_frames, labels, np.array(num_labels, np.int32))
    ours = results(TensorFlowKernels(sparse_ctc_on_gpu=True), "ctc_loss", [logits], constants, "/GPU:0")
    assert greatest_difference(ours, results(PlainKernels(), "ctc_loss", [logits], constants, "/CPU:0")) < 2e-3


def test_a_step_gives_what_it_gives_on_the_cpu():
    batch = batch_of(1, 2, 3, 4)
    ended = {}
    for device in ("CPU:0", "GPU:0"):
        backend = LIBRARY.backend(TASK, WEIGHTS, devices=(device,))
        losses, norm = step(backend, batch)
        ended[device] = losses, norm, backend.state()
    np.testing.assert_allclose(ended["GPU:0"][0], ended["CPU:0"][0], rtol=1e-3)
    assert ended["GPU:0"][1] == pytest.approx(ended["CPU:0"][1], rel=1e-2)
    for name in WEIGHTS:  # one Adam step moves a weight by the rate at most
        np.testing.assert_allclose(ended["GPU:0"][2][name], ended["CPU:0"][2][name], atol=2.5e-3, err_msg=name)


def test_a_killed_run_ends_with_the_same_weights_in_the_deterministic_mode(tmp_path, monkeypatch):
    monkeypatch.setenv("TF_DETERMINISTIC_OPS", "1")
    train = make_corpus(tmp_path, transcripts(12))
    flags = ["--train_files", train, "--dev_files", train, "--n_hidden", 32, "--epochs", 3, "--mode", "gpu"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(*flags, "--checkpoint_dir", whole).code == 0
    kill_in("in a step", killed, 1, *flags, "--checkpoint_dir", killed)
    assert run(*flags, "--checkpoint_dir", killed).code == 0
    assert_same_end(whole, killed)


TOO_MUCH = """
import numpy as np, tensorflow as tf
gpu = tf.config.list_physical_devices("GPU")[0]
tf.config.set_logical_device_configuration(gpu, [tf.config.LogicalDeviceConfiguration(memory_limit=64)])  # MB
from training.test_backend import LIBRARY, TASK, WEIGHTS, batch_of, step
from deepspeech_training.errors import OutOfMemory
backend = LIBRARY.backend(TASK, WEIGHTS, devices=("GPU:0",))
try:
    step(backend, batch_of(*range(1, 2000)))
except OutOfMemory as error:
    print(error)
"""


def test_a_batch_that_does_not_fit_is_named(monkeypatch):
    tests = Path(__file__).resolve().parents[1]
    monkeypatch.setenv("PYTHONPATH", str(tests), prepend=os.pathsep)
    done = subprocess.run([sys.executable, "-c", TOO_MUCH], capture_output=True, text=True, check=False, cwd=tests)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "Out of memory" in done.stdout and "--train_batch_size" in done.stdout
