"""What a session tells: when somebody speaks, what was said, and commands; times are seconds from its start."""

from dataclasses import dataclass

from deepspeech_training.runtime.detection import Detection


@dataclass(frozen=True, slots=True)
class Word:
    """A word; `confidence` is the probability that it is right (see runtime/confidence.py)."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True, slots=True)
class Alternative:
    """A candidate; `confidence` is the log score of its path, as in DeepSpeech 0.9.3, and no probability."""

    text: str
    words: tuple[Word, ...]
    confidence: float


@dataclass(frozen=True, slots=True)
class SpeechStarted:
    """Somebody speaks; an utterance begins here, a moment before the first sound of it."""

    at_s: float


@dataclass(frozen=True, slots=True)
class SpeechEnded:
    """Where the last sound of an utterance was heard; told when the hang-over after it is over."""

    at_s: float


@dataclass(frozen=True, slots=True)
class Partial:
    """What was heard of an utterance so far.

    Attributes:
        text: may change with the next partial, but for `stable`.
        stable: the words that `text` and all that follows in this utterance begin with; it only grows.
        words: those of `text`.
        start_s: where the utterance begins.
        seq: the number of the utterance, from 0; its final has the same.
    """

    text: str
    stable: str
    words: tuple[Word, ...]
    start_s: float
    seq: int


@dataclass(frozen=True, slots=True)
class Final:
    """What was heard of an utterance that has ended.

    Attributes:
        alternatives: the candidates, best first, at most as many as the settings say.
        confidence: the mean of those of the words: the share of them that is right; 0 without words.
        start_s, end_s: where the utterance begins and where its last sound was heard.
        seq: the number of the utterance, from 0.
        reason: "endpoint" (silence), "longest" (as long as is allowed), "flush" or "finish" (asked for).
    """

    text: str
    words: tuple[Word, ...]
    alternatives: tuple[Alternative, ...]
    confidence: float
    start_s: float
    end_s: float
    seq: int
    reason: str


Event = SpeechStarted | SpeechEnded | Partial | Final | Detection
