"""The examples of docs/protocols.md run as they stand, against a real server."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from stream_clients import SENTENCE, WAIT_S, line_of

PAGE = Path(__file__).resolve().parents[2] / "docs" / "protocols.md"
SECTIONS = dict(
    re.findall(r"^## (.+?)\n.*?^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
)

SECTIONS.pop("/v1/detect")  # of other models: test_served_commands.py


@pytest.fixture(scope="module")
def all_ports(_servers, spoken_model, spoken_scorer):
    server = _servers("--model", spoken_model, "--scorer", spoken_scorer, "--wyoming_port", 0)
    yield server
    server.kill()


@pytest.mark.parametrize("section", SECTIONS)
def test_the_example_of_a_protocol_prints_what_was_said(all_ports, spoken_clip, tmp_path, section):
    wyoming_port = line_of(all_ports, r"Wyoming: tcp://[^:]+:(\d+)")
    program = SECTIONS[section].replace("127.0.0.1:8000", all_ports.url.removeprefix("http://"))
    shutil.copy(spoken_clip, tmp_path / "clip.wav")
    finished = subprocess.run(
        [sys.executable, "-c", program.replace("10300", wyoming_port)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert SENTENCE in finished.stdout.splitlines()[-1]


def test_each_protocol_has_an_example():
    assert list(SECTIONS) == ["/v1/stream", "Vosk", "OpenAI Realtime", "Deepgram", "Wyoming"]


def test_the_settings_of_the_page_are_those_of_our_own_stream():
    from dataclasses import fields

    from deepspeech_training.serving.own_stream import Start

    table = PAGE.read_text(encoding="utf-8").split("### Settings")[1].split("###")[0]
    named = [name for row in re.findall(r"^\| (`.+?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)]
    assert named == [field.name for field in fields(Start)]
