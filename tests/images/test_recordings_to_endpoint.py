"""What the app promises, on a real engine: recordings of 18 speakers are copied in, and a stranger is understood."""

import csv
import json
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from images.containers import fill, free_port
from models.small_models import random_model

pytestmark = pytest.mark.docker
TRAINING_S = 20 * 60  # of a busy machine; two quiet cores take some 5 minutes
START_S = 240  # of a busy machine; two quiet cores take some 5 s
RIGHT = 9  # of the ten words of a stranger: one may sound like another


class Endpoint:
    """The app of Compose, as a client sees it from outside."""

    def __init__(self, port: int):
        self.url = f"http://127.0.0.1:{port}"

    def ready(self) -> tuple[int, dict[str, Any]]:
        """Code and body of /ready; 0 before the port listens."""
        try:
            with urllib.request.urlopen(f"{self.url}/ready", timeout=30) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, json.load(error)
        except (OSError, ValueError):
            return 0, {"status": "starting"}

    def until_ready(self, logs, timeout_s: float) -> tuple[float, dict[str, float]]:
        """-> seconds until it was ready, and of them those of each phase."""
        phases: dict[str, float] = {}
        began = last = time.monotonic()
        while last - began < timeout_s:
            code, told = self.ready()
            now = time.monotonic()
            phases[told["status"]] = phases.get(told["status"], 0.0) + now - last
            last = now
            if code == 200:
                return now - began, phases
            assert told["status"] != "failed", logs()
            time.sleep(0.2)
        raise AssertionError(f"not ready after {timeout_s:.0f} s ({phases}):\n{logs()}")

    def status(self) -> dict[str, Any]:
        with urllib.request.urlopen(f"{self.url}/v1/status", timeout=30) as answer:
            return json.load(answer)

    def text_of(self, clip: Path) -> str:
        """As anybody asks who has curl."""
        curl = ["curl", "-sS", "--fail-with-body", "-F", f"file=@{clip}", f"{self.url}/v1/audio/transcriptions"]
        ended = subprocess.run(curl, capture_output=True, text=True, timeout=120)
        assert ended.returncode == 0, ended.stderr + ended.stdout
        return json.loads(ended.stdout)["text"]


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def commands(test_data, tmp_path) -> tuple[Path, dict[Path, str]]:
    """A folder with the recordings of 18 speakers, and a stranger's clips with what they say, one of each word."""
    corpus, folder = test_data / "commands", tmp_path / "commands"
    folder.mkdir()
    for name in ("train.csv", "alphabet.txt"):
        shutil.copy(corpus / name, folder)
    rows = rows_of(corpus / "train.csv")
    assert len({row["speaker"] for row in rows}) == 18
    for row in rows:
        (folder / row["wav_filename"]).parent.mkdir(exist_ok=True)
        shutil.copy(corpus / row["wav_filename"], folder / row["wav_filename"])
    others = rows_of(corpus / "dev.csv")
    stranger = {row["transcript"]: row["wav_filename"] for row in others if row["speaker"] == others[-1]["speaker"]}
    assert others[-1]["speaker"] not in {row["speaker"] for row in rows} and len(stranger) == 10
    return folder, {corpus / clip: word for word, clip in stranger.items()}


class App:
    """The service `app` of Compose on a free port."""

    def __init__(self, compose: Callable[..., subprocess.CompletedProcess]):
        self._compose, self._port = compose, free_port()
        self.endpoint = Endpoint(self._port)

    def up(self, *more: str, **environment: str) -> None:
        ended = self._compose(*more, "up", "-d", "app", PORT=str(self._port), **environment)
        assert ended.returncode == 0, ended.stderr

    def down(self, *more: str) -> None:
        ended = self._compose("down", *more)
        assert ended.returncode == 0, ended.stderr

    def logs(self) -> str:
        return self._compose("logs", "--no-color", "app").stdout

    def until_ready(self, timeout_s: float) -> tuple[float, dict[str, float]]:
        return self.endpoint.until_ready(self.logs, timeout_s)


@pytest.fixture
def app(compose) -> Iterator[App]:
    """The app on a volume that is empty, and is so again afterwards."""
    app = App(compose)
    app.down("--volumes")
    yield app
    app.down("--volumes")


def test_recordings_become_an_endpoint_that_understands_a_stranger_and_serves_at_once_later(
    app, compose, commands, capsys
):
    folder, stranger = commands
    fill(compose.volume, folder, "corpora/commands")
    app.up()
    trained_s, phases = app.until_ready(TRAINING_S)
    heard = {clip: app.endpoint.text_of(clip) for clip in stranger}
    right = sum(heard[clip] == word for clip, word in stranger.items())
    model = app.endpoint.status()["models"][0]["sha256"]
    app.down()
    app.up()
    again_s, _ = app.until_ready(START_S)
    with capsys.disabled():
        spent = ", ".join(f"{phase} {seconds:.0f}" for phase, seconds in phases.items())
        print(f"\nFrom 18 speakers to an endpoint: {trained_s:.0f} s ({spent}); after down, up: {again_s:.1f} s")
        print(f"Of a stranger's words {right} of {len(heard)} are right")
    assert [found["sha256"] for found in app.endpoint.status()["models"]] == [model]
    assert right >= RIGHT, heard


def test_a_model_that_is_mounted_is_served_at_once_and_nothing_is_trained(app, tmp_path, capsys):
    model = tmp_path / "mine.tflite"
    model.write_bytes(random_model())
    mount = {"type": "bind", "source": str(model), "target": "/models/mine.tflite", "read_only": True}
    more = tmp_path / "with-a-model.yaml"
    more.write_text(yaml.safe_dump({"services": {"app": {"volumes": [mount]}}}), encoding="utf-8")
    app.up("--file", str(more), MODEL="/models/mine.tflite")
    took_s, _ = app.until_ready(START_S)
    with capsys.disabled():
        print(f"\nA model that is mounted, on an empty volume, is ready after {took_s:.1f} s")
    status = app.endpoint.status()
    assert status["run"] is None and [found["name"] for found in status["models"]] == ["mine"]
    said = app.logs()
    assert "Model mine is live" in said and "Checking" not in said
