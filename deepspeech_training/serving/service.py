"""What every route and socket finds at `app.state.service`."""

import time
from dataclasses import dataclass, field

from deepspeech_training.serving.access_log import AccessLog
from deepspeech_training.serving.engine import Engine
from deepspeech_training.serving.limits import Limits
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.security import Security


@dataclass(eq=False)
class Service:
    """One running service.

    Attributes:
        phase: what it is doing: "loading", "ready" or "draining".
        started: `time.monotonic()` of its start.
    """

    engine: Engine
    limits: Limits
    security: Security
    metrics: Metrics
    access_log: AccessLog
    phase: str = "loading"
    started: float = field(default_factory=time.monotonic)
