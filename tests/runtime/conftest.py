"""DeepSpeech's export and the clip that it has memorised."""

import subprocess
import sys
from pathlib import Path

import pytest
import soundfile

from deepspeech_training.runtime import Model

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def model_path(test_data) -> Path:
    return test_data / "golden" / "output_graph_nodrop.tflite"


@pytest.fixture(scope="session")
def model(model_path) -> Model:
    return Model(model_path)


@pytest.fixture(scope="session")
def clip_path(test_data) -> Path:
    return test_data / "ldc93s1" / "LDC93S1.wav"


@pytest.fixture(scope="session")
def clip(clip_path):
    """int16 [46797]."""
    audio, sample_rate = soundfile.read(clip_path, dtype="int16")
    assert sample_rate == 16000
    return audio


@pytest.fixture
def fresh_python():
    """A function that runs Python source in a process of its own and returns the finished process."""

    def run(source: str, *arguments, timeout: float = 300):
        return subprocess.run(
            [sys.executable, "-c", source, *map(str, arguments)],
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout,
            cwd=ROOT,
        )

    return run
