"""The folder of a Space: what is in it, that it needs nothing else, and the page itself, run by Gradio."""

import json
import os
import re
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest
import yaml
from publishing.conftest import SENTENCE

from deepspeech_training.commands.main import main
from deepspeech_training.publishing.space import GRADIO
from deepspeech_training.publishing.space_app import Recogniser

ASKED = """
import sys
from gradio_client import Client, handle_file
client = Client(sys.argv[1], verbose=False)
print(client.predict(handle_file(sys.argv[2]), api_name="/hear"))
try:
    client.predict(handle_file(sys.argv[3]), api_name="/hear")
except Exception as error:
    print("refused:", error)
"""


@pytest.fixture(scope="module")
def recogniser(export, compiled_beam) -> Recogniser:
    return Recogniser(export)


@pytest.fixture(scope="module")
def space(export, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("spaces") / "suit"
    assert main(["publish", "space", str(folder), "--model", str(export), "--title", "Suit"]) == 0
    return folder


@pytest.fixture
def wav(test_data) -> Path:
    return test_data / "ldc93s1" / "LDC93S1.wav"


def without_the_checkout() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def test_the_folder_has_card_page_requirements_model_and_modules(space):
    names = {path.relative_to(space).as_posix() for path in space.rglob("*") if path.is_file()}
    assert names > {"README.md", "app.py", "requirements.txt", "output_graph.tflite"}
    assert "deepspeech_training/runtime/utterances.py" in names
    assert not any("/training/" in name or "/serving/" in name or "pycache" in name for name in names)
    _, fields, text = (space / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    fields = yaml.safe_load(fields)
    assert fields["sdk"] == "gradio" and fields["sdk_version"] == GRADIO and fields["app_file"] == "app.py"
    assert fields["title"] == "Suit" and fields["license"] == "mpl-2.0" and len(fields["short_description"]) <= 60
    assert fields["python_version"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert "It knows one sentence." in text and "MPL-2.0" in text
    pins = (space / "requirements.txt").read_text().split()
    assert f"gradio=={GRADIO}" in pins and f"numpy=={np.__version__}" in pins
    assert all(re.fullmatch(r"[a-z0-9-]+==\S+", pin) for pin in pins)


def test_the_modules_of_the_folder_suffice_for_the_page(space, wav):
    script = (
        "import app, json, sys, deepspeech_training\n"
        "model = app.Model(next(app.FOLDER.glob('*.tflite')))\n"
        "audio, rate = app.decode(app.Path(sys.argv[1]))\n"
        "heard = [final.text for final in app.transcribe(model, audio, sample_rate=rate)]\n"
        "from deepspeech_training.decoding import beam_kernels\n"
        "files = [module.__file__ for name, module in sys.modules.items() if name.startswith('deepspeech_training')]\n"
        "print(json.dumps([heard, files]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(wav)],
        cwd=space,
        env=without_the_checkout(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    heard, files = json.loads(done.stdout)
    assert heard == [SENTENCE]
    assert len(files) > 20 and all(Path(file).is_relative_to(space) for file in files)


def test_a_recording_has_candidates_and_nothing_is_heard_in_none(recogniser, wav):
    text, rows = recogniser.hear(str(wav))
    assert text == SENTENCE and rows[0][1] == SENTENCE
    assert len({row[1] for row in rows}) == 5 and [row[2] for row in rows] == sorted(row[2] for row in rows)[::-1]
    assert recogniser.hear(None) == ("", [])


def test_the_upload_of_a_space_names_its_sdk(publish_there, hub, export, tmp_path):
    done = publish_there("space", "out", "--model", export, "--upload", "me/talk")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{hub.url}/spaces/me/talk\n" and hub.created[0]["sdk"] == "gradio"
    assert hub.repositories["space me/talk"]["app.py"] == (tmp_path / "out/app.py").read_bytes()
    assert "deepspeech_training/runtime/model.py" in hub.repositories["space me/talk"]


@pytest.mark.slow
def test_the_page_runs_with_its_requirements_alone(space, wav, tmp_path):
    """In an environment of its own, as the hub makes it; so the package index must be there."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv/bin/python"
    environment = {**without_the_checkout(), "PYTHONUNBUFFERED": "1", "HF_HUB_OFFLINE": "1"}
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", "requirements.txt"]
    done = subprocess.run(install, cwd=space, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (tmp_path / "broken.wav").write_bytes(b"RIFF nothing of a sound")
    with subprocess.Popen([python, "app.py"], cwd=space, env=environment, stdout=subprocess.PIPE, text=True) as app:
        try:
            assert app.stdout is not None
            url = next(found[0] for line in app.stdout if (found := re.search(r"http://\S+", line)))
            asked = subprocess.run(
                [python, "-c", ASKED, url, str(wav), str(tmp_path / "broken.wav")],
                env=environment,
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            app.terminate()
    assert asked.returncode == 0, asked.stderr
    heard, refused = asked.stdout.splitlines()[0], asked.stdout.splitlines()[-1]
    assert SENTENCE in heard and "log score" in heard
    assert refused.startswith("refused:")
