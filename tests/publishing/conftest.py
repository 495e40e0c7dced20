"""The program in a process of its own, and a hub on this machine."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from publishing.hub import FakeHub

from deepspeech_training.commands.main import main

ROOT = Path(__file__).resolve().parents[2]
TOKEN = "hf_of_a_test"
SENTENCE = "she had your dark suit in greasy wash water all year"


@pytest.fixture(scope="session")
def export(test_data, tmp_path_factory) -> Path:
    """The folder of an export that has memorised SENTENCE of LDC93S1, with the card of its author."""
    folder = tmp_path_factory.mktemp("exports") / "suit"
    folder.mkdir()
    (folder / "output_graph.tflite").write_bytes((test_data / "golden/output_graph_nodrop.tflite").read_bytes())
    (folder / "me_suit_1.md").write_text(
        "---\nauthor: me\nlicense: MPL-2.0\nlanguage: en-Latn-US\ncontact_info: <public contact information>\n---\n"
        "It knows one sentence.\n"
    )
    figures = {"exported": True, "wer": 0.0, "in_clip": {"from_audio": "anna.csv:1"}, "transcripts_that_differ": ["a"]}
    (folder / "parity.json").write_text(json.dumps({"checkpoint_file": "", "models": {"float32": figures}}))
    return folder


@pytest.fixture
def test_csv(test_data, tmp_path) -> Path:
    path = tmp_path / "greasy.csv"
    path.write_text(f"wav_filename,wav_filesize,transcript\n{test_data / 'ldc93s1/LDC93S1.wav'},,{SENTENCE}\n")
    return path


@pytest.fixture
def publish(capsys) -> Callable[..., tuple[int, str, str]]:
    """A function that runs `deepspeech publish WORDS`; exit code, stdout and stderr."""

    def run(*words: object) -> tuple[int, str, str]:
        code = main(["publish", *map(str, words)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def hub() -> Iterator[FakeHub]:
    hub = FakeHub(TOKEN)
    yield hub
    hub.close()


@pytest.fixture
def publish_there(hub, tmp_path) -> Callable[..., subprocess.CompletedProcess]:
    """As `publish`, in a process of its own: the library of the hub reads the environment when it is imported."""

    def run(*words: object, token: str | None = TOKEN) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "hf")}
        environment.pop("HF_TOKEN", None)
        if token:
            environment["HF_TOKEN"] = token
        return subprocess.run(
            [sys.executable, "-m", "deepspeech_training", "publish", *map(str, words)],
            env=environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run
