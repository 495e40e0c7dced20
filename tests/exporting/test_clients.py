"""The deployed clients themselves, from PyPI, load our models; in processes of their own, for they may crash."""

import fcntl
import json
import platform
import signal
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from models.small_models import SENTENCE, golden_weights, random_model
from models.test_tflite import written

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.commands.main import run as command
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.conformer import Conformer
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.reporting.metrics import edit_distance
from deepspeech_training.runtime.model import Model

pytestmark = pytest.mark.slow

CLIENT_PROCESS = Path(__file__).with_name("client_process.py")
CYRILLIC = Alphabet(" абвгдежзийклмнопрстуфхцчшщъыьэюяё")
LONG = Alphabet([chr(0x4E00 + number) for number in range(300)] + [" "])


@dataclass(frozen=True)
class Wheel:
    requirement: str
    python: str
    platform: str
    library: str
    prefix: str
    version: str


WHEELS = {
    "deepspeech 0.9.3": Wheel(
        "deepspeech-tflite==0.9.3", "37", "manylinux1_x86_64", "deepspeech/lib/libdeepspeech.so", "DS", "0.9.3"
    ),
    "stt 1.4.0": Wheel("stt==1.4.0", "310", "manylinux_2_24_x86_64", "stt/lib/libstt.so", "STT", "1.4.0"),
}


def client_library(config, name: str) -> Path:
    """The C library of a client, from PyPI or pytest's cache."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip(f"the clients' wheels are for Linux on x86-64, and this is {sys.platform} on {platform.machine()}")
    cache = Path(config.cache.mkdir("clients"))
    with open(cache / "lock", "w", encoding="utf-8") as lock:  # tests run in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _downloaded(WHEELS[name], cache)


def _downloaded(wheel: Wheel, cache: Path) -> Path:
    folder = cache / wheel.requirement
    library = folder / wheel.library
    if not library.exists():
        command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet", "--no-deps"]
        command += ["--only-binary=:all:", "--python-version", wheel.python, "--implementation", "cp"]
        command += ["--platform", wheel.platform, "--dest", str(folder), wheel.requirement]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode != 0:
            last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
            pytest.skip(f"pip cannot download {wheel.requirement} here: {last}")
        (downloaded,) = folder.glob("*.whl")
        with zipfile.ZipFile(downloaded) as archive:
            archive.extractall(folder)
    return library


@pytest.fixture(scope="module", params=WHEELS)
def client(request):
    """A function that lets a client work with a model, and the name of the client."""
    wheel, library = WHEELS[request.param], client_library(request.config, request.param)

    def work(model: Path, audio: Path, scorer: Path | None = None, **more) -> dict:
        wanted = {"model": str(model), "audio": str(audio), "scorer": str(scorer) if scorer else "", **more}
        command = [sys.executable, str(CLIENT_PROCESS), str(library), wheel.prefix, json.dumps(wanted)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
        if done.returncode < 0:
            pytest.fail(f"{request.param} crashed: {signal.Signals(-done.returncode).name}\n{done.stderr[-2000:]}")
        assert done.returncode == 0, done.stderr[-2000:]
        said = json.loads(done.stdout.splitlines()[-1])
        assert said["version"] == wheel.version
        return said

    return work


@pytest.fixture(scope="module")
def recording(test_data, tmp_path_factory):
    """A function that writes LDC93S1 as raw 16-bit samples of a rate."""

    def write(rate: int) -> Path:
        name = "LDC93S1.wav" if rate == 16000 else f"LDC93S1_pcms16le_1_{rate}.wav"
        samples, found = soundfile.read(test_data / "ldc93s1" / name, dtype="int16")
        assert found == rate
        path = tmp_path_factory.mktemp("audio") / f"{rate}.raw"
        samples.tofile(path)
        return path

    return write


@pytest.mark.parametrize("quantize", [False, True], ids=["float32", "int8"])
def test_a_client_hears_what_the_model_has_learned(client, test_data, recording, tmp_path, quantize):
    model = tmp_path / "model.tflite"
    weights = golden_weights(test_data / "golden")
    model.write_bytes(written(weights, network=DeepSpeech(29, 100), quantize=quantize, beam_width=321))
    said = client(model, recording(16000), test_data / "ldc93s1" / "pruned_lm.scorer")
    assert said["created"] == 0 and said["sample_rate"] == 16000 and said["beam_width"] == 321
    assert said["whole"] == said["streamed"] == SENTENCE
    assert said["scorer"] == 0 and said["with_scorer"] == SENTENCE


@pytest.mark.parametrize("n_steps", [1, 32])
def test_any_number_of_steps_gives_the_same_text(client, test_data, recording, tmp_path, n_steps):
    model = tmp_path / "model.tflite"
    weights = golden_weights(test_data / "golden")
    model.write_bytes(written(weights, network=DeepSpeech(29, 100), n_steps=n_steps))
    said = client(model, recording(16000))
    assert said["created"] == 0 and said["whole"] == said["streamed"] == SENTENCE


@pytest.mark.parametrize("quantize", [False, True], ids=["float32", "int8"])
@pytest.mark.parametrize(
    "model",
    [
        {"alphabet": CYRILLIC},
        {"alphabet": LONG},
        {"n_hidden": 2048},
        {"sample_rate": 8000},
        {"n_hidden": 1, "n_steps": 1, "relu_clip": 1.5},
        {"n_hidden": 100, "layer_norm": True},
    ],
    ids=["Cyrillic", "301 characters", "n_hidden 2048", "8 kHz", "the smallest", "layer normalisation"],
)
def test_a_client_takes_any_geometry(client, recording, tmp_path, model, quantize):
    path = tmp_path / "model.tflite"
    path.write_bytes(random_model(**model, quantize=quantize, beam_width=20))
    rate, alphabet = model.get("sample_rate", 16000), model.get("alphabet", Alphabet.english())
    said = client(path, recording(rate))
    assert said["created"] == 0 and said["sample_rate"] == rate and said["beam_width"] == 20
    for text in (said["whole"], said["streamed"]):
        assert not alphabet.missing(text)
    assert said["whole"]


CONFORMERS = {
    "conformer": ({"d_model": 32, "layers": 2}, 16),
    "without attention": ({"d_model": 32, "layers": 2, "heads": 0}, 16),
    "2 steps": ({"d_model": 32, "layers": 1, "left_context": 8}, 2),
    "32 steps": ({"d_model": 32, "layers": 1, "left_context": 8}, 32),
}


@pytest.mark.parametrize("name", CONFORMERS)
def test_a_client_hears_with_a_conformer_what_the_runtime_hears(client, recording, tmp_path, name):
    """Random weights write nonsense that hangs on every probability, at the end of the clip too.

    In 32 bits: with 8 the clients round the activations otherwise than LiteRT, and nonsense is full of ties. Some may
    be left, as their features differ from ours in the last digits.
    """
    shape, n_steps = CONFORMERS[name]
    network, path, audio = Conformer(29, **shape), tmp_path / "model.tflite", recording(16000)
    weights = {name: 1.5 * array for name, array in network.initial_weights(seed=3).items()}
    features = FeatureGeometry(n_mfcc=network.n_features)
    settings = {"quantize": False, "n_steps": n_steps, "beam_width": 20}
    path.write_bytes(written(weights, network=network, features=features, **settings))
    said = client(path, audio)
    assert said["created"] == 0
    ours = Model(path).stt(np.fromfile(audio, np.int16))
    assert len(ours) > 20 and said["whole"] == said["streamed"]
    assert edit_distance(ours, said["whole"]) <= 2 and said["whole"][-5:] == ours[-5:]


@pytest.fixture(scope="module")
def learned(test_data, tmp_path_factory):
    """Exports of a conformer that has memorised LDC93S1, as float32 and as int8."""
    folder = tmp_path_factory.mktemp("learned")
    csv = test_data / "ldc93s1" / "ldc93s1.csv"
    flags = ["--network", "conformer", "--d_model", 64, "--layers", 3, "--train_files", csv, "--test_files", csv]
    flags += ["--learning_rate", 0.002, "--warmup_epochs", 10, "--lr_schedule", "cosine", "--dropout_rate", 0]
    flags += ["--max_grad_norm", 5, "--checkpoint_dir", folder / "run", "--noshow_progressbar"]
    flags += ["--epochs", 60, "--mode", "cpu", "--export_dir", folder / "int8"]
    assert command("train", [*map(str, flags)]) == 0
    assert (folder / "int8" / "parity.json").is_file()
    export = ["--export_dir", str(folder / "float32"), "--checkpoint_dir", str(folder / "run")]
    assert command("export", [*export, "--noexport_quantize"]) == 0
    return {name: folder / name / "output_graph.tflite" for name in ("float32", "int8")}


@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_a_client_hears_what_a_conformer_has_learned(client, test_data, recording, learned, kind):
    audio, scorer = recording(16000), test_data / "ldc93s1" / "pruned_lm.scorer"
    said = client(learned[kind], audio, scorer, hot_words={"greasy": 5.0})
    model, samples = Model(learned[kind]), np.fromfile(audio, np.int16)
    assert said["whole"] == said["streamed"] == model.stt(samples)
    assert SENTENCE in said["whole"]  # and perhaps a letter in the one frame more that clients make of a clip
    model.enableExternalScorer(str(scorer))
    assert said["with_scorer"] == model.stt(samples)
    assert said["with_scorer"].rstrip() == SENTENCE  # that frame may be a space
    model.addHotWord("greasy", 5.0)
    assert said["with_hot_words"] == model.stt(samples)
