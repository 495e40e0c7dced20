"""What the app is doing, and how far its training is, as series of /metrics."""

from collections.abc import Iterator
from typing import get_args

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from deepspeech_training.app.status import Phase, Status
from deepspeech_training.reporting.events import AUDIO_SPEED
from deepspeech_training.reporting.figures import figures_of
from deepspeech_training.reporting.history import Epoch
from deepspeech_training.reporting.run_log import RunLog

PREFIX = "deepspeech_training_"


class TrainingMetrics(Collector):
    """Takes figures when somebody asks for them; without a training there is the phase alone."""

    def __init__(self, status: Status):
        self._status = status

    def describe(self) -> Iterator[GaugeMetricFamily]:
        yield _phases()  # so that nothing has to be collected to register this

    def collect(self) -> Iterator[GaugeMetricFamily]:
        phases = _phases()
        for phase in get_args(Phase):
            phases.add_metric([phase], phase == self._status.phase)
        yield phases
        if self._status.log is not None:
            yield from _of_run(self._status.log)


def _phases() -> GaugeMetricFamily:
    return GaugeMetricFamily("deepspeech_phase", "1 for what the app is doing, 0 for all else", labels=["phase"])


def _of_run(log: RunLog) -> Iterator[GaugeMetricFamily]:
    """What is known of the training in hand, or of the last one."""
    progress, told = log.progress(), log.as_json()
    yield from _known("epoch", "The current epoch, from 1", progress["epoch"])
    yield from _known("epochs", "--epochs", progress["epochs"])
    yield from _known("share_done", "Share of all epochs, 0 to 1", progress["share_done"])
    yield from _known("left_seconds", "Time that the training still takes", progress["left_s"])
    step = told["step"] or {}
    yield from _known("audio_seconds_per_second", "Audio that is trained on in a second", step.get(AUDIO_SPEED))
    if not told["history"]:
        return
    last = told["history"][-1]
    epoch = Epoch.of_history(last)
    yield from _known("learning_rate", "Of the last epoch", last["learning_rate"])
    yield from _known("waited_share", "Share of the last epoch's time that waited for data", last["waited_share"])
    yield from _known("train_loss", "Mean of the last epoch", epoch.train_loss)
    yield from _known("dev_loss", "Mean over the dev clips after the last epoch", epoch.dev_loss)
    for figure in figures_of(told["started"] or {}):
        value = epoch.values.get(figure.name)
        yield from _known(f"dev_{figure.name}", f"{figure.label} on the dev clips after the last epoch", value)


def _known(name: str, what: str, value: float | None) -> Iterator[GaugeMetricFamily]:
    """A series, where there is a value."""
    if value is not None:
        yield GaugeMetricFamily(PREFIX + name, what, value=value)
