"""The studio behind HTTP, without a process and without models."""

from types import SimpleNamespace

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from deepspeech_training.serving.app import refused
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.limits import Limits
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.studio.routes import Studio
from deepspeech_training.studio.store import Store


@pytest.fixture
def open_client(tmp_path):
    """A function that opens the studio of the volume `tmp_path`, as often as it is started."""
    stores = []

    def start() -> TestClient:
        for store in stores:
            store.close()
        stores.append(Store(tmp_path / "studio", tmp_path / "corpora"))
        app = Starlette(routes=Studio(stores[-1]).routes(), exception_handlers={ServingError: refused})
        app.state.service = SimpleNamespace(metrics=Metrics(), limits=Limits())
        return TestClient(app)

    yield start
    for store in stores:
        store.close()


@pytest.fixture
def client(open_client):
    return open_client()
