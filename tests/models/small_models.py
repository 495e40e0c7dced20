"""Models to export in the tests: the one that DeepSpeech 0.9.3 trained, and ones with random weights."""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.config import Config, as_dict
from deepspeech_training.console import Console
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.models.ds_tc_resnet import DsTcResNet
from deepspeech_training.models.tflite import ExportSettings, write_commands_tflite, write_tflite
from deepspeech_training.training.loop import RunState

LSTM_SCOPE = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
COMMANDS = ("yes", "no", "_unknown_", "_silence_")
COMMANDS_NETWORK = DsTcResNet(num_classes=len(COMMANDS), filters=16)
COMMANDS_FEATURES = FeatureGeometry(n_mfcc=40)
SENTENCE = "she had your dark suit in greasy wash water all year"


def golden_weights(golden: Path) -> dict[str, np.ndarray]:
    """The weights that DeepSpeech 0.9.3's trainer learned LDC93S1 with, n_hidden 100."""
    arrays = np.load(golden / "vars_nodrop.npz")
    return {name.replace(LSTM_SCOPE, "lstm"): arrays[name] for name in arrays.files}


def random_weights(network: DeepSpeech, *, seed: int = 0) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    weights = {}
    for name, shape in network.weight_shapes().items():
        limit = np.sqrt(6.0 / sum(shape)) if len(shape) == 2 else 0.1
        weights[name] = generator.uniform(-limit, limit, shape).astype(np.float32)
    return weights


def random_model(
    *,
    alphabet: Alphabet | ByteAlphabet | None = None,
    n_hidden: int = 16,
    sample_rate: int = 16000,
    relu_clip: float = 20.0,
    layer_norm: bool = False,
    **settings,
) -> bytes:
    """The bytes of a .tflite with random weights; `settings` are those of ExportSettings."""
    alphabet = alphabet or Alphabet.english()
    network = DeepSpeech(alphabet.num_classes, n_hidden, relu_clip=relu_clip, layer_norm=layer_norm)
    return write_tflite(
        random_weights(network),
        alphabet=alphabet,
        features=FeatureGeometry(sample_rate=sample_rate),
        network=network,
        settings=ExportSettings(**settings),
    )


def random_commands(*, quantize: bool = False, rule: dict | None = None) -> tuple[bytes, dict[str, np.ndarray]]:
    """The bytes of a .tflite of spoken commands with random weights, and those: its classes are COMMANDS."""
    generator = np.random.default_rng(3)
    weights = {
        name: array + generator.normal(size=array.shape, scale=0.2 if array.ndim == 1 else 0.0).astype(np.float32)
        for name, array in COMMANDS_NETWORK.initial_weights(seed=3).items()
    }
    data = write_commands_tflite(
        weights,
        labels=COMMANDS,
        said=json.dumps({"task": "spoken_command", "clip_seconds": 0.5, "rule": rule}),
        features=COMMANDS_FEATURES,
        network=COMMANDS_NETWORK,
        settings=ExportSettings(quantize=quantize),
    )
    return data, weights


def save_checkpoint(
    folder: Path, weights, *, alphabet: Alphabet | ByteAlphabet, features: FeatureGeometry, network: DeepSpeech
) -> Path:
    """Write a best checkpoint as a training leaves it, as far as other commands read it."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {
        "task": "speech_to_text",
        "alphabet": list(alphabet.characters),
        "features": asdict(features),
        "network": asdict(network),
        "run": RunState(learning_rate=0.001, epoch=1, step=1, updates=1).as_json(),
        "precision": "float32",
        "flags": as_dict(Config()),
    }
    arrays = {name: weights[name] for name in network.weight_shapes()}
    return CheckpointFolder(folder, Console()).save_best(1, state, lambda: arrays)
