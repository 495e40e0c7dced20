"""The Docker commands of the pages, taken out of them and run as they are written."""

import os
import re
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest
from images.containers import DOCKER, docker
from training.processes import make_corpus, transcripts

pytestmark = pytest.mark.docker
ROOT = Path(__file__).resolve().parents[2]
SECTIONS = [
    ("docker.md", "The commands"),
    ("environment.md", "The images"),
]
# Only names are others than the pages', for the sake of a volume that this machine may have.
STAND_IN = """#!/usr/bin/env bash
words=("${@//deepspeech-data/VOLUME}")
exec DOCKER "${words[@]//training/VOLUME-training}"
"""


def commands(page: str, heading: str) -> str:
    """The shell blocks of a section, one after the other."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    section = re.search(rf"^## {re.escape(heading)}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]
    return "\n".join(re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE))


@pytest.fixture
def place(tmp_path):
    """A copy of the project with my-recordings in it, and a `docker` that uses a volume of this test."""
    ignored = shutil.ignore_patterns(".git", ".venv", "persistent-data", "__pycache__", ".*_cache", ".hypothesis")
    project = tmp_path / "project"
    shutil.copytree(ROOT, project, ignore=ignored)
    for number, name in enumerate(("train.csv", "dev.csv", "test.csv")):
        make_corpus(project / "my-recordings", transcripts(12 if number == 0 else 4), seed=100 * number, name=name)
    volume = f"deepspeech-test-{uuid.uuid4().hex[:12]}"
    stand_in = tmp_path / "bin" / "docker"
    stand_in.parent.mkdir()
    real = shutil.which(DOCKER)
    stand_in.write_text(STAND_IN.replace("VOLUME", volume).replace("DOCKER", real))
    stand_in.chmod(0o755)
    environment = os.environ | {"PATH": f"{stand_in.parent}:{os.environ['PATH']}", "DOCKER": str(stand_in)}
    yield project, environment
    docker("rm", "--force", f"{volume}-training")
    docker("volume", "rm", "--force", volume)


@pytest.mark.parametrize(("page", "heading"), SECTIONS)
def test_the_commands_of_a_page_do_what_it_says(place, page, heading):
    project, environment = place
    script = commands(page, heading)
    assert "docker run" in script
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=project,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=1200,
    )
    told = ended.stdout + ended.stderr
    assert ended.returncode == 0, told
    assert "the clip was learned: WER 0" in told
    if page == "docker.md":
        assert "No faults" in told and "Training is finished" in told and "Test on" in told
        assert (project / "from-the-volume" / "exports" / "mine" / "output_graph.tflite").stat().st_size > 100_000
        assert (project / "deepspeech-data.tar").stat().st_size > 1_000_000
        assert "compared with the volume" in told
