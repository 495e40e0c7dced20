"""The deployed clients load scorers that are built here, and decode with them."""

import struct

import numpy as np
import pytest
from decoding.posterior_model import num_samples, posterior_model
from exporting.test_clients import client, recording  # noqa: F401 - fixtures
from models.small_models import SENTENCE, golden_weights
from models.test_tflite import written

from deepspeech_training.commands.main import run
from deepspeech_training.models.deepspeech import DeepSpeech

pytestmark = pytest.mark.slow


@pytest.fixture
def model(test_data, tmp_path):
    path = tmp_path / "model.tflite"
    path.write_bytes(written(golden_weights(test_data / "golden"), network=DeepSpeech(29, 100)))
    return path


@pytest.mark.parametrize(
    "options",
    [
        {"arpa_order": 2},
        {"arpa_order": 4, "arpa_prune": 0},
        {"arpa_order": 6},
        {"binary_q_bits": 0, "binary_a_bits": 0},
        {"binary_q_bits": 0},
        {"binary_a_bits": 0, "top_k": 13_000},
    ],
    ids=str,
)
def test_a_client_decodes_with_a_scorer_that_is_built_here(client, model, recording, test_data, tmp_path, options):  # noqa: F811
    package = tmp_path / "my.scorer"
    texts = f"{test_data / 'text' / 'lm-corpus.en.txt'},{test_data / 'ldc93s1' / 'vocab.txt'}"
    argv = ["--input_txt", texts, "--alphabet", test_data / "ldc93s1" / "alphabet.txt", "--package", package]
    for name, value in options.items():
        argv += [f"--{name}", value]
    assert run("scorer build", list(map(str, argv))) == 0
    said = client(model, recording(16000), package)
    assert said["scorer"] == 0 and said["with_scorer"] == SENTENCE


@pytest.mark.parametrize("order", [1, 5])
def test_the_dictionary_of_a_tiny_scorer_decides_what_a_client_writes(
    client,  # noqa: F811
    model,
    recording,  # noqa: F811
    test_data,
    tmp_path,
    order,
):
    text, package = tmp_path / "text.txt", tmp_path / "tiny.scorer"
    text.write_text(SENTENCE.replace("year", "ear").replace("suit", "suite") + "\n", encoding="utf-8")
    alphabet = test_data / "ldc93s1" / "alphabet.txt"
    argv = ["--input_txt", text, "--alphabet", alphabet, "--package", package, "--arpa_order", order]
    assert run("scorer build", list(map(str, argv))) == 0
    said = client(model, recording(16000), package)
    known = set(text.read_text(encoding="utf-8").split())
    assert said["scorer"] == 0 and said["whole"] == SENTENCE
    assert said["with_scorer"] != SENTENCE and set(said["with_scorer"].split()) <= known


def test_a_client_decodes_with_a_scorer_of_characters_for_a_model_of_bytes(client, tmp_path):  # noqa: F811
    heard, known = "一丌三", "一二三"  # the second characters differ in their last byte
    labels = [byte - 1 for byte in heard.encode()]
    probs = np.full((2 * len(labels) + 1, 256), 1e-4, np.float32)
    probs[::2, 255] = 1
    probs[np.arange(1, len(probs), 2), labels] = 0.9
    probs[9, known.encode()[5] - 1 : known.encode()[5]] = 0.05
    probs /= probs.sum(axis=1, keepdims=True)
    alphabet = struct.pack("<H", 255) + b"".join(struct.pack("<HHB", byte - 1, 1, byte) for byte in range(1, 256))
    model, text, package = tmp_path / "model.tflite", tmp_path / "text.txt", tmp_path / "my.scorer"
    model.write_bytes(posterior_model(probs, alphabet))
    np.zeros(num_samples(len(probs)), np.int16).tofile(tmp_path / "audio.raw")
    text.write_text(f"{known}\n" * 3, encoding="utf-8")
    argv = ["--input_txt", text, "--bytes_output_mode", "--package", package]
    assert run("scorer build", [*map(str, argv)]) == 0
    said = client(model, tmp_path / "audio.raw", package)
    assert said["scorer"] == 0 and said["whole"] == heard and said["with_scorer"] == known
