"""Compose with a project and a volume of the tests of one file."""

import os
import shutil
import subprocess
import uuid

import pytest
from images.containers import DOCKER, ROOT, docker


@pytest.fixture(scope="module")
def compose():
    """A function that runs Compose on a copy of compose.yaml with a volume and a project of this test."""
    if docker("compose", "version").returncode == 0:
        program = [DOCKER, "compose"]
    elif shutil.which("docker-compose"):
        program = ["docker-compose"]
    else:
        pytest.skip("neither `docker compose` nor docker-compose is installed")
    name = f"deepspeechtest{uuid.uuid4().hex[:12]}"
    text = (ROOT / "compose.yaml").read_text(encoding="utf-8").replace("name: deepspeech-data", f"name: {name}")
    file = ROOT / f".{name}.yaml"  # beside it, so that relative paths mean the same
    file.write_text(text, encoding="utf-8")

    def run(*words, **environment):
        command = [*program, "--project-name", name, "--file", str(file), *words]
        return subprocess.run(
            command, env=os.environ | environment, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600
        )

    run.volume = name
    yield run
    run("--profile", "cpu", "down", "--volumes", "--timeout", "60")
    file.unlink()
