"""GET /v1/runs and /v1/status of runs that this app does not train: how each of them ended."""

from types import SimpleNamespace

import pytest
from commands.test_status import FINISHED, OUTCOME, write_run
from starlette.applications import Starlette
from starlette.testclient import TestClient

from deepspeech_training.app.machine_facts import MachineFacts
from deepspeech_training.app.run_choice import RunChoice
from deepspeech_training.app.status import Status
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.console import Console
from deepspeech_training.reporting.events import Ended
from deepspeech_training.serving.app import refused
from deepspeech_training.serving.errors import ServingError


@pytest.fixture
def status(tmp_path) -> Status:
    return Status(MachineFacts(tmp_path), RunChoice(tmp_path / "checkpoints"))


@pytest.fixture
def client(status) -> TestClient:
    app = Starlette(routes=status.routes(), exception_handlers={ServingError: refused})
    engine = SimpleNamespace(models={})
    metrics = SimpleNamespace(refused=lambda *_: None)
    app.state.service = SimpleNamespace(phase="waiting", engine=engine, drift=dict, started=0.0, metrics=metrics)
    return TestClient(app)


def test_runs_say_how_they_ended_by_the_logs_of_their_sessions(client, status, tmp_path):
    assert client.get("/v1/runs").json() == {"runs": []} and client.get("/v1/status").json()["run"] is None
    write_run(tmp_path, "ended", FINISHED, OUTCOME, ended=Ended("done", 0, ""), written=1.7e9 + 4)
    write_run(tmp_path, "failed", ended=Ended("failed", 1, "no space left\non the disk"), written=1.7e9 + 3)
    write_run(tmp_path, "told to stop", ended=Ended("interrupted", 143, ""), written=1.7e9 + 2)
    write_run(tmp_path, "killed", written=1.7e9 + 1)
    running = CheckpointFolder(write_run(tmp_path, "running", written=1.7e9), Console())
    running.lock()
    try:
        runs = client.get("/v1/runs").json()["runs"]
    finally:
        running.unlock()
    assert [(run["name"], run["state"]) for run in runs] == [
        ("ended", "ended"),
        ("failed", "failed"),
        ("told to stop", "stopped"),
        ("killed", "stopped"),
        ("running", "running"),
    ]
    messages = {run["name"]: run["message"] for run in runs}
    assert messages["ended"] == "all 30 epochs are done" and messages["failed"] == "no space left\non the disk"
    assert "has saved" in messages["told to stop"] and "was killed" in messages["killed"]
    assert runs[0]["written"] == 1.7e9 + 4 and runs[0]["epoch"] == 3 and runs[0]["best"]["epoch"] == 2
    assert {run["phase"] for run in runs} == {None}

    assert client.get("/v1/status").json()["run"]["name"] == "ended"  # the one that was written last
    shown = client.get("/v1/status?run=failed").json()["run"]
    assert (shown["state"], shown["message"]) == ("failed", "no space left\non the disk")

    status.now("training", "training killed")
    status.follow(tmp_path / "checkpoints" / "killed")
    assert [run["phase"] for run in client.get("/v1/runs").json()["runs"]] == [None, None, None, "training", None]
    assert client.get("/v1/status").json()["run"]["state"] == "stopped"
