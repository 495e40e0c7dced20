"""Exports and test sets for the registry: one model that has memorised a sentence, one that writes nonsense."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from models.small_models import random_model

from deepspeech_training.commands.main import main
from deepspeech_training.console import Console
from deepspeech_training.registry.store import Registry

SENTENCE = "she had your dark suit in greasy wash water all year"


@pytest.fixture
def registry(tmp_path) -> Registry:
    return Registry(tmp_path / "models")


@pytest.fixture
def console() -> Console:
    return Console(show_progressbar=False)


@pytest.fixture(scope="session")
def poor(tmp_path_factory) -> Path:
    """The folder of an export with random weights."""
    folder = tmp_path_factory.mktemp("poor")
    (folder / "poor.tflite").write_bytes(random_model())
    return folder


@pytest.fixture(scope="session")
def good(tmp_path_factory, test_data) -> Path:
    """The folder of an export that has memorised SENTENCE of LDC93S1."""
    folder = tmp_path_factory.mktemp("good")
    shutil.copy(test_data / "golden" / "output_graph_nodrop.tflite", folder / "good.tflite")
    return folder


@pytest.fixture(scope="session")
def test_csv(tmp_path_factory, test_data) -> str:
    """A test set of 12 rows, each a copy of LDC93S1."""
    folder = tmp_path_factory.mktemp("test_set")
    rows = ["wav_filename,wav_filesize,transcript"]
    for number in range(12):
        shutil.copy(test_data / "ldc93s1" / "LDC93S1.wav", folder / f"{number}.wav")
        rows.append(f"{number}.wav,,{SENTENCE}")
    path = folder / "test.csv"
    path.write_text("\n".join(rows) + "\n")
    return str(path)


@pytest.fixture
def models(registry, capsys) -> Callable[..., tuple[int, str, str]]:
    """A function that runs `deepspeech models WORDS --dir REGISTRY`; exit code, stdout and stderr."""

    def run(command: str, *words: object) -> tuple[int, str, str]:
        code = main(["models", command, *map(str, words), "--dir", str(registry.folder)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run
