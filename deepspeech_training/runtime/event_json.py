"""What a session tells, as the JSON of the service's /v1/stream and /v1/detect and of `deepspeech stream --json`."""

from typing import Any

from deepspeech_training.runtime.detection import Detection
from deepspeech_training.runtime.utterances import (
    Alternative,
    Event,
    Final,
    Partial,
    SpeechEnded,
    SpeechStarted,
    Word,
)


def as_message(event: Event, *, words: bool = True, alternatives: bool = False) -> dict[str, Any]:
    """An event; times in seconds.

    Args:
        words: of partials too; finals have them always.
        alternatives: of finals.
    """
    match event:
        case SpeechStarted(at_s):
            return {"type": "speech_start", "at": round(at_s, 3)}
        case SpeechEnded(at_s):
            return {"type": "speech_end", "at": round(at_s, 3)}
        case Partial():
            return {
                "type": "partial",
                "text": event.text,
                "stable": event.stable,
                **({"words": [as_word(word) for word in event.words]} if words else {}),
                "start": round(event.start_s, 3),
                "seq": event.seq,
            }
        case Final():
            found = [as_alternative(alternative) for alternative in event.alternatives]
            return {
                "type": "final",
                "text": event.text,
                "words": [as_word(word) for word in event.words],
                **({"alternatives": found} if alternatives else {}),
                "confidence": round(event.confidence, 4),
                "start": round(event.start_s, 3),
                "end": round(event.end_s, 3),
                "reason": event.reason,
                "seq": event.seq,
            }
        case Detection(label, time_s, score):
            return {"type": "detection", "label": label, "time": round(time_s, 3), "score": score}


def as_word(word: Word) -> dict[str, Any]:
    return {
        "word": word.text,
        "start": round(word.start_s, 3),
        "end": round(word.end_s, 3),
        "confidence": round(word.confidence, 4),
    }


def as_alternative(alternative: Alternative) -> dict[str, Any]:
    """`confidence` is the logarithm of the probability of the path, as the 0.9.3 clients have it."""
    return {
        "text": alternative.text,
        "confidence": round(alternative.confidence, 4),
        "words": [as_word(word) for word in alternative.words],
    }
