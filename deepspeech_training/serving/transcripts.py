"""Finals of a file -> what is answered, in the formats that OpenAI's service has."""

import json
import math
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from deepspeech_training.runtime.subtitles import cues_of, to_srt, to_vtt
from deepspeech_training.runtime.utterances import Final, Word

FORMATS = ("json", "text", "srt", "vtt", "verbose_json")


def joined(finals: Sequence[Final]) -> str:
    """The text of a whole file."""
    return " ".join(final.text for final in finals if final.text)


def answer(
    finals: Sequence[Final], seconds: float, *, format: str, language: str, word_times: bool, alternatives: int
) -> Response:
    """The text and what goes with it.

    Args:
        seconds: of audio.
        format: one of FORMATS.
        language: of the model.
        word_times: whether the words are wanted one by one.
        alternatives: how many candidates of each sentence.
    """
    text, words = joined(finals), [word for final in finals for word in final.words]
    if format == "text":
        return PlainTextResponse(text + "\n")
    if format in ("srt", "vtt"):
        cues = cues_of([{"word": w.text, "start_time": w.start_s, "duration": w.end_s - w.start_s} for w in words])
        kind = "text/vtt" if format == "vtt" else "application/x-subrip"
        return PlainTextResponse(to_vtt(cues) if format == "vtt" else to_srt(cues), media_type=kind)
    found: dict[str, Any] = {"text": text, "usage": usage(seconds)}
    if format == "verbose_json":
        found |= {
            "task": "transcribe",
            "language": language,
            "duration": round(seconds, 3),
            "segments": [segment(number, final) for number, final in enumerate(finals)],
        }
    if word_times:
        found["words"] = [word_json(word) for word in words]
    if alternatives > 1:
        found["alternatives"] = [
            [{"text": other.text, "confidence": other.confidence} for other in final.alternatives] for final in finals
        ]
    return JSONResponse(found)


def usage(seconds: float) -> dict[str, Any]:
    """What OpenAI would bill."""
    return {"type": "duration", "seconds": math.ceil(seconds)}


def word_json(word: Word) -> dict[str, Any]:
    return {
        "word": word.text,
        "start": round(word.start_s, 3),
        "end": round(word.end_s, 3),
        "confidence": round(word.confidence, 4),
    }


def segment(number: int, final: Final) -> dict[str, Any]:
    """All ten fields of OpenAI's segments, which strict clients want; those that only Whisper has say nothing."""
    text = final.text
    return {
        "id": number,
        "seek": 0,
        "start": round(final.start_s, 3),
        "end": round(final.end_s, 3),
        "text": text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": final.alternatives[0].confidence / max(len(text), 1) if final.alternatives else 0.0,
        "compression_ratio": len(text.encode()) / max(len(zlib.compress(text.encode())), 1),
        "no_speech_prob": 0.0,
    }


def event(data: Mapping[str, Any]) -> str:
    """A server-sent event."""
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
