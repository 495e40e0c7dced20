"""What the service counts, as Prometheus reads it: GET /metrics."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from deepspeech_training.runtime.detection import Detection
from deepspeech_training.runtime.figures import STATISTICS, Figures
from deepspeech_training.serving.drift import indices
from deepspeech_training.serving.models import ServedModel

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
        self.reloads = Counter("deepspeech_model_reloads", "Models reloaded from disk", ["outcome"], registry=registry)
        for outcome in ("live", "refused"):  # a series that begins at 1 has no increase that an alert could see
            self.reloads.labels(outcome)
        self._lag_s = Gauge("deepspeech_lag_seconds", "Audio of the stream that is furthest behind", registry=registry)
        self._files = Gauge("deepspeech_files", "Uploaded files at work, and those that wait", registry=registry)

        self.utterances = Counter(
            "deepspeech_utterances", "Utterances with a text, and empty ones", ["model", "result"], registry=registry
        )
        self.words = Counter("deepspeech_words", "Words compared with a vocabulary", ["model"], registry=registry)
        self.unknown_words = Counter(
            "deepspeech_unknown_words", "Words that are not in the vocabulary", ["model"], registry=registry
        )
        self.figures = {
            name: Histogram(
                f"deepspeech_utterance_{name}",
                f"Of each utterance: {statistic.what}" + (f" in {statistic.unit}" if statistic.unit else ""),
                ["model"],
                buckets=statistic.bounds,
                registry=registry,
            )
            for name, statistic in STATISTICS.items()
        }
        self.commands = Counter(
            "deepspeech_commands", "Spoken commands heard in streams and files", ["model", "label"], registry=registry
        )
        self.words_answered = Counter(
            "deepspeech_words_answered", "Words pronounced or spelt by /v1/g2p", ["model"], registry=registry
        )
        self._ready = Gauge("deepspeech_ready", "1 while the service takes on work, as /ready says", registry=registry)

    def count(self, model: str, figures: Figures) -> None:
        """Count an utterance."""
        self.utterances.labels(model, "empty").inc(int(figures.is_empty))
        self.utterances.labels(model, "text").inc(int(not figures.is_empty))
        for name, value in figures.values.items():
            self.figures[name].labels(model).observe(value)
        if figures.unknown_words is not None:
            self.words.labels(model).inc(figures.num_words)
            self.unknown_words.labels(model).inc(figures.unknown_words)

    def count_commands(self, model: str, found: Iterable[Detection]) -> None:
        """Count commands that were heard."""
        for one in found:
            self.commands.labels(model, one.label).inc()

    def watch_ready(self, ready: Callable[[], bool]) -> None:
        self._ready.set_function(ready)

    def watch(
        self,
        *,
        lag_s: Callable[[], float],
        files: Callable[[], float],
        models: Callable[[], Mapping[str, ServedModel]],
    ) -> None:
        """Take figures when somebody asks for them."""
        self._registry.register(_Drift(models))
        self._lag_s.set_function(lag_s)
        self._files.set_function(files)

    def add(self, collector: Collector) -> None:
        """Series of others than the service."""
        self._registry.register(collector)

    def text(self) -> bytes:
        return generate_latest(self._registry)


class _Drift(Collector):
    """How far each model's last utterances are from its test set, where that can be said."""

    def __init__(self, models: Callable[[], Mapping[str, ServedModel]]):
        self._models = models

    def collect(self) -> Iterator[GaugeMetricFamily]:
        family = GaugeMetricFamily(
            "deepspeech_drift",
            "Population stability index of what is served lately against the test set; above 0.25 is large",
            labels=["model", "statistic"],
        )
        for name, served in self._models().items():
            for statistic, index in indices(served.window.profile(), served.reference).items():
                family.add_metric([name, statistic], index)
        yield family

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield GaugeMetricFamily("deepspeech_drift", "", labels=["model", "statistic"])
