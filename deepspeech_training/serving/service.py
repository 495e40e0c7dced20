"""What every route and socket finds at `app.state.service`."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from deepspeech_training.serving.access_log import AccessLog
from deepspeech_training.serving.drift import report
from deepspeech_training.serving.engine import Engine
from deepspeech_training.serving.limits import Limits
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.models import ServedModel
from deepspeech_training.serving.security import Security


@dataclass(eq=False)
class Service:
    """One running service.

    Attributes:
        phase: what it is doing: "loading", "ready" or "draining"; `deepspeech app` has more, such as "training".
        started: `time.monotonic()` of its start.
        told: what /ready and /health say besides.
    """

    engine: Engine
    limits: Limits
    security: Security
    metrics: Metrics
    access_log: AccessLog
    phase: str = "loading"
    started: float = field(default_factory=time.monotonic)
    told: Callable[[], Mapping[str, Any]] = dict

    def __post_init__(self) -> None:
        self.metrics.watch_ready(lambda: self.phase == "ready")

    def drift(self) -> dict[str, dict[str, Any]]:
        """Of each model: how what it hears lately differs from its test set."""
        models = self.engine.of_kind(ServedModel)
        return {name: report(served.window.profile(), served.reference) for name, served in models.items()}
