"""The one place where every utterance that was served is counted, whatever the protocol: as metrics and for the drift.

Of an utterance its numbers alone are kept, in memory: no audio and no text.
"""

from deepspeech_training.audio.loudness import Signal
from deepspeech_training.runtime.events import Final
from deepspeech_training.runtime.figures import Figures, Heard
from deepspeech_training.runtime.settings import StreamSettings
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.models import ServedModel


def listener(served: ServedModel, settings: StreamSettings, metrics: Metrics) -> Heard:
    """What a session or a file reports about its utterances, in the thread that recognises them."""
    # A scorer writes words of its own alone: that none is unknown says nothing then.
    knows = served.knows if settings.scorer is None else None

    def heard(final: Final, signal: Signal) -> None:
        figures = Figures.of(final, signal, knows)
        served.window.add(figures.places())
        metrics.count(served.name, figures)

    return heard
