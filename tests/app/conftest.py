"""Apps that end with the test."""

from collections.abc import Callable, Iterator

import pytest
from app.app_process import App


@pytest.fixture
def start_app() -> Iterator[Callable[..., App]]:
    """A function that starts `deepspeech app FLAGS` and waits until it listens."""
    running: list[App] = []

    def start(*flags: object, environment: dict[str, str] | None = None) -> App:
        running.append(App(*flags, environment=environment))
        return running[-1]

    yield start
    for app in running:
        app.kill()
