"""An utterance -> numbers that tell how speech, audio and results were like, and nothing of what was said."""

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from deepspeech_training.audio.loudness import Signal
from deepspeech_training.runtime.events import Final

Heard = Callable[[Final, Signal], None]
SHORTEST_S = 0.1  # of speech: the time of a single letter is no speaking rate


class Statistic(NamedTuple):
    """A figure of an utterance.

    Args:
        bounds: of its buckets, each up to and including its bound; one more bucket is above the last.
    """

    what: str
    unit: str
    bounds: tuple[float, ...]


# Of the metrics, of the profile of the test set and of the drift alike.
STATISTICS = {
    "seconds": Statistic("length of speech", "s", (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 6, 8, 12, 16, 24, 30)),
    "confidence": Statistic("confidence", "", (0.2, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.98)),
    "characters_per_second": Statistic("speaking rate", "characters/s", (4, 7, 10, 13, 16, 19, 22, 26, 32)),
    "level_dbfs": Statistic("level of speech", "dBFS", (-70, -60, -50, -45, -40, -35, -30, -25, -20, -15, -10, -5)),
    "noise_dbfs": Statistic("level of noise", "dBFS", (-90, -80, -70, -65, -60, -55, -50, -45, -40, -35, -30, -20)),
    "snr_db": Statistic("signal to noise", "dB", (5, 10, 15, 20, 25, 30, 35, 40, 50, 60)),
    "clipped_ratio": Statistic("share of clipped samples", "", (0, 0.0001, 0.001, 0.01, 0.1)),
}
# Counts of no and yes.
SHARES = {"empty": "share of empty results", "unknown_words": "share of unknown words"}


class Place(NamedTuple):
    """What an utterance adds to the counts of a statistic."""

    statistic: str
    bucket: int
    weight: int


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one utterance.

    Attributes:
        values: by statistic; those of the text are missing where nothing was heard.
        unknown_words: how many words are not in the vocabulary; None where that is not known.
    """

    values: dict[str, float]
    num_words: int
    unknown_words: int | None

    @classmethod
    def of(cls, final: Final, signal: Signal, knows: Callable[[str], bool] | None) -> "Figures":
        """
        Args:
            knows: whether a word is in the vocabulary; None: that says nothing of how the utterance was decoded.
        """
        values = {
            "level_dbfs": signal.level_dbfs,
            "noise_dbfs": signal.noise_dbfs,
            "snr_db": signal.level_dbfs - signal.noise_dbfs,
            "clipped_ratio": signal.clipped,
        }
        words = final.words
        if words:
            # Of the words, not of the audio: how much silence is around them depends on how the audio was cut.
            values["seconds"] = words[-1].end_s - words[0].start_s
            values["confidence"] = final.confidence
            values["characters_per_second"] = len(final.text) / max(values["seconds"], SHORTEST_S)
        unknown = None if knows is None else sum(not knows(word.text) for word in words)
        return cls(values, len(words), unknown)

    @property
    def is_empty(self) -> bool:
        return self.num_words == 0

    def places(self) -> tuple[Place, ...]:
        """Where it is counted."""
        places = [Place(name, bisect_left(STATISTICS[name].bounds, value), 1) for name, value in self.values.items()]
        places.append(Place("empty", int(self.is_empty), 1))
        if self.unknown_words is not None and self.num_words:
            places.append(Place("unknown_words", 0, self.num_words - self.unknown_words))
            places.append(Place("unknown_words", 1, self.unknown_words))
        return tuple(places)


def num_buckets(statistic: str) -> int:
    return len(STATISTICS[statistic].bounds) + 1 if statistic in STATISTICS else 2
