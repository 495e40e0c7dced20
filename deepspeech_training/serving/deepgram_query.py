"""The query of /v1/listen: what Deepgram's clients ask for, as far as this server does it."""

from dataclasses import dataclass

from starlette.datastructures import QueryParams

from deepspeech_training.runtime.utterances import Endpointing
from deepspeech_training.serving import values

ENCODINGS = {"linear16": "int16", "linear32": "float32"}
DEFAULT_RATE = 16000
DEFAULT_ENDPOINTING_MS = 300  # Deepgram's 10 ms end a sentence at every comma
CANNOT = ("multichannel", "redact", "callback", "diarize", "diarize_model", "detect_entities", "search", "replace")


@dataclass(frozen=True)
class Options:
    """The query of a connection."""

    model: str
    language: str
    says_encoding: bool
    dtype: str
    sample_rate: int
    channels: int
    interim_results: bool
    vad_events: bool
    utterance_end_ms: float | None
    alternatives: int
    hot_words: dict[str, float]
    endpointing: Endpointing

    @classmethod
    def read(cls, query: QueryParams) -> "Options":
        """
        Raises:
            ServingError: a value is wrong, or something is asked for that this server cannot do.
        """
        for name in CANNOT:
            if query.get(name, "false").lower() not in values.FALSE:
                raise values.bad(f"{name} is not supported", name)
        encoding = query.get("encoding", "linear16")
        if encoding not in ENCODINGS:
            offered = " or ".join(ENCODINGS)
            raise values.bad(f"encoding must be {offered}, it is {values.shown(encoding)}", "encoding")
        language = values.text(query.get("language", ""), "language")
        ends = query.get("utterance_end_ms")
        return cls(
            model=values.text(query.get("model", ""), "model"),
            language="" if language == "multi" else language,
            says_encoding="encoding" in query,
            dtype=ENCODINGS[encoding],
            sample_rate=values.whole(query.get("sample_rate", DEFAULT_RATE), "sample_rate", least=4000, most=192000),
            channels=values.whole(query.get("channels", 1), "channels", least=1, most=8),
            interim_results=values.truth(query.get("interim_results", False), "interim_results"),
            vad_events=values.truth(query.get("vad_events", False), "vad_events"),
            utterance_end_ms=None if ends is None else values.number(ends, "utterance_end_ms", least=100, most=60000),
            alternatives=values.whole(
                query.get("alternatives", 1), "alternatives", least=1, most=values.MOST_ALTERNATIVES
            ),
            hot_words=_hot_words(query),
            endpointing=_endpointing(query.get("endpointing", str(DEFAULT_ENDPOINTING_MS))),
        )


def _hot_words(query: QueryParams) -> dict[str, float]:
    """Words of `keyterm`, each as likely as the other, and of `keywords` with their boosts."""
    terms = [word for term in query.getlist("keyterm") for word in values.text(term, "keyterm").split()]
    words = dict.fromkeys(terms, values.DEFAULT_BOOST)
    return words | values.hot_words(query.getlist("keywords"), "keywords")


def _endpointing(found: str) -> Endpointing:
    """Milliseconds of silence, or false."""
    if found.lower() in values.FALSE:
        return Endpointing(enabled=False)
    wait_ms = (
        DEFAULT_ENDPOINTING_MS if found.lower() == "true" else values.number(found, "endpointing", least=1, most=10000)
    )
    return Endpointing(hangover_s=max(wait_ms / 1000, 0.1))
