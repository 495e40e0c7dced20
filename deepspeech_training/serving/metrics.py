"""What the service counts, as Prometheus reads it: GET /metrics."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

LATENCIES_S = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
FACTORS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)


class Metrics:
    """The series of one service, in a registry of its own."""

    content_type = CONTENT_TYPE_LATEST

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self.requests = Counter(
            "deepspeech_requests", "HTTP requests answered", ["route", "method", "status"], registry=registry
        )
        self.sessions = Gauge("deepspeech_sessions", "Streams that are open", ["protocol"], registry=registry)
        self.sessions_total = Counter(
            "deepspeech_sessions_opened", "Streams that were opened", ["protocol"], registry=registry
        )
        self.refused = Counter("deepspeech_refused", "What was refused, by reason", ["reason"], registry=registry)
        self.audio_s = Counter("deepspeech_audio_seconds", "Audio that was recognised", ["protocol"], registry=registry)
        self.recognition_s = Counter(
            "deepspeech_recognition_seconds", "Time that recognition took", ["protocol"], registry=registry
        )
        self.first_partial_s = Histogram(
            "deepspeech_first_partial_seconds",
            "From the arrival of the audio in which speech begins to the first partial text",
            buckets=LATENCIES_S,
            registry=registry,
        )
        self.final_s = Histogram(
            "deepspeech_final_seconds",
            "From the arrival of the audio that ends an utterance to its final text",
            buckets=LATENCIES_S,
            registry=registry,
        )
        self.real_time_factor = Histogram(
            "deepspeech_real_time_factor",
            "Time that recognition took, by the seconds of audio; of each file and stream",
            ["protocol"],
            buckets=FACTORS,
            registry=registry,
        )
        self.reloads = Counter(
            "deepspeech_model_reloads", "Models taken from disk anew", ["outcome"], registry=registry
        )
        self._lag_s = Gauge("deepspeech_lag_seconds", "Audio of the stream that is furthest behind", registry=registry)
        self._files = Gauge("deepspeech_files", "Uploaded files at work, and those that wait", registry=registry)

    def watch(self, *, lag_s: Callable[[], float], files: Callable[[], float]) -> None:
        """Take two figures when somebody asks for them."""
        self._lag_s.set_function(lag_s)
        self._files.set_function(files)

    def text(self) -> bytes:
        return generate_latest(self._registry)
