"""WS /v1/listen, Deepgram's protocol of live audio: raw PCM in, `Results` out.

Of what its query can ask, formatting is ignored (there is no punctuation to add), while what a client would rely on and
this server cannot do is refused: other encodings, a channel each, redaction, callbacks.
"""

import hashlib
import math
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from starlette.datastructures import QueryParams
from starlette.websockets import WebSocket

from deepspeech_training.runtime.utterances import (
    Alternative,
    Endpointing,
    Event,
    Final,
    Partial,
    SpeechEnded,
    SpeechStarted,
    Word,
)
from deepspeech_training.serving import values
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.websocket import Conversation, serve

ENCODINGS = {"linear16": "int16", "linear32": "float32"}
DEFAULT_RATE = 16000
DEFAULT_ENDPOINTING_MS = 300  # Deepgram's 10 ms end a sentence at every comma
CANNOT = ("multichannel", "redact", "callback", "diarize", "diarize_model", "detect_entities", "search", "replace")
MODELS_OF_DEEPGRAM = ("nova", "flux", "enhanced", "base", "whisper", "general")  # their names mean the default model
SILENCE_S = 10.0  # without a message; then Deepgram ends the stream with NET-0001
CHANNEL_INDEX = [0, 1]


@dataclass(frozen=True)
class Options:
    """The query of a connection."""

    model: str
    language: str
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


class DeepgramStream(Conversation):
    protocol = "deepgram"
    subprotocol = "token"

    def __init__(self, websocket: WebSocket):
        super().__init__(websocket)
        self._options = Options.read(self.query)
        self._served = self._model()
        self._settings = self.engine.settings(
            self._served, hot_words=self._options.hot_words, num_results=self._options.alternatives
        )
        self._request_id = str(uuid.uuid4())
        self._created = datetime.now(UTC)
        self._sha256 = hashlib.sha256()
        self._last_word_end: float | None = None  # for which no UtteranceEnd was sent
        self.idle_s = min(SILENCE_S, self.limits.idle_s)

    def _model(self) -> Any:
        name = self._options.model
        if name.startswith(MODELS_OF_DEEPGRAM) and name not in self.engine.models:
            name = ""
        return self.engine.model(name or None, self._options.language or None)

    async def begin(self) -> None:
        options = self._options
        await self.begin_session(
            self._served,
            self._settings,
            options.endpointing,
            sample_rate=options.sample_rate,
            channels=options.channels,
            dtype=options.dtype,
        )

    async def audio(self, data: bytes) -> None:
        if not data:  # the older way to say CloseStream
            await self._close_stream()
        self._sha256.update(data)
        await self.feed(data)
        await self._tell_utterance_end(self.session.seconds)

    async def command(self, message: dict[str, Any]) -> None:
        match message.get("type"):
            case "KeepAlive":
                pass
            case "Finalize":
                finals = [event for event in await self._flushed() if isinstance(event, Final)]
                for final in finals:
                    await self._send_final(final, from_finalize=True)
                if not finals:
                    await self._send_nothing(from_finalize=True)
            case "CloseStream":
                await self._close_stream()
            case kind:
                raise values.bad(
                    f"{values.shown(kind)} is no message of this server: it knows KeepAlive, Finalize and CloseStream"
                )

    async def _flushed(self) -> list[Event]:
        events = await self.session.flush()
        self.note(events)
        await self.tell([event for event in events if not isinstance(event, Final)])
        return events

    async def _close_stream(self) -> None:
        events = await self.session.finish()
        await self.tell(events)
        if not any(isinstance(event, Final) for event in events):
            await self._send_nothing()
        await self._send_metadata()
        await self.close()

    async def last_words(self) -> None:
        await super().last_words()
        await self._send_metadata()

    async def mend(self, error: ServingError) -> None:
        """A message that is none; the stream goes on."""
        await self.refuse(error)

    async def refuse(self, error: ServingError) -> None:
        variant = "SchemaError" if error.code == "bad_request" else error.code
        await self.send({"type": "Error", "variant": variant, "description": error.message, "message": error.message})

    def idle_error(self) -> ServingError:
        return ServingError(f"NET-0001: no audio and no KeepAlive came for {self.idle_s:g} s", "idle")

    def closing_code(self, error: ServingError) -> int:
        return 1011 if error.code == "idle" else super().closing_code(error)

    # --- what was recognised ------------------------------------------------------------------------------------------

    async def tell(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case SpeechStarted(at_s):
                    await self._tell_utterance_end(at_s)
                    self._last_word_end = None
                    if self._options.vad_events:
                        await self.send({"type": "SpeechStarted", "channel": [0], "timestamp": round(at_s, 3)})
                case Partial() if self._options.interim_results:
                    await self._send_partial(event)
                case Final():
                    await self._send_final(event)
                case SpeechEnded():
                    pass  # the final says so

    async def _tell_utterance_end(self, silent_until_s: float) -> None:
        """UtteranceEnd, once the silence after the last word is as long as the client wants."""
        wanted_ms, end_s = self._options.utterance_end_ms, self._last_word_end
        if wanted_ms is not None and end_s is not None and silent_until_s >= end_s + wanted_ms / 1000:
            self._last_word_end = None
            await self.send({"type": "UtteranceEnd", "channel": [0], "last_word_end": round(end_s, 3)})

    async def _send_partial(self, event: Partial) -> None:
        alternative = _alternative(event.text, event.words, _mean_confidence(event.words))
        duration = self.session.seconds - event.start_s
        await self._send_results([alternative], start=event.start_s, duration=duration, is_final=False)

    async def _send_final(self, event: Final, *, from_finalize: bool = False) -> None:
        best = event.alternatives[0].confidence if event.alternatives else 0.0
        alternatives = [
            _alternative(other.text, other.words, _as_likely(other, best, event.confidence))
            for other in event.alternatives[: self._options.alternatives]
        ]
        if event.words:
            self._last_word_end = event.words[-1].end_s
        await self._send_results(
            alternatives or [_alternative(event.text, event.words, event.confidence)],
            start=event.start_s,
            duration=event.end_s - event.start_s,
            is_final=True,
            speech_final=event.reason != "longest",
            from_finalize=from_finalize,
        )

    async def _send_nothing(self, *, from_finalize: bool = False) -> None:
        """Results without a word, for a client that waits for some."""
        await self._send_results(
            [_alternative("", (), 0.0)],
            start=self.session.seconds,
            duration=0.0,
            is_final=True,
            from_finalize=from_finalize,
        )

    async def _send_results(
        self,
        alternatives: list[dict[str, Any]],
        *,
        start: float,
        duration: float,
        is_final: bool,
        speech_final: bool = False,
        from_finalize: bool = False,
    ) -> None:
        await self.send(
            {
                "type": "Results",
                "channel_index": CHANNEL_INDEX,
                "start": round(start, 3),
                "duration": round(duration, 3),
                "is_final": is_final,
                "speech_final": speech_final,
                "from_finalize": from_finalize,
                "channel": {"alternatives": alternatives},
                "metadata": {"request_id": self._request_id, **self._model_facts()},
            }
        )

    def _model_facts(self) -> dict[str, Any]:
        facts = self._served.facts
        info = {
            "name": self._served.name,
            "version": str(facts.get("version") or facts["sha256"][:12]),
            "arch": "deepspeech",
        }
        return {"model_info": info, "model_uuid": self._model_uuid}

    @property
    def _model_uuid(self) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, self._served.facts["sha256"]))

    async def _send_metadata(self) -> None:
        await self.send(
            {
                "type": "Metadata",
                "transaction_key": "deprecated",  # as Deepgram has it
                "request_id": self._request_id,
                "sha256": self._sha256.hexdigest(),
                "created": self._created.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "duration": round(self.session.seconds, 3),
                "channels": self._options.channels,
                "models": [self._model_uuid],
                "model_info": {self._model_uuid: self._model_facts()["model_info"]},
            }
        )


def _alternative(text: str, words: Sequence[Word], confidence: float) -> dict[str, Any]:
    return {
        "transcript": text,
        "confidence": round(confidence, 4),
        "words": [
            {
                "word": word.text,
                "start": round(word.start_s, 3),
                "end": round(word.end_s, 3),
                "confidence": round(word.confidence, 4),
                "punctuated_word": word.text,
            }
            for word in words
        ],
    }


def _as_likely(other: Alternative, best: float, confidence: float) -> float:
    """0..1: the best one's, less by as much as the path is less likely."""
    return confidence * math.exp(min(0.0, other.confidence - best))


def _mean_confidence(words: Sequence[Word]) -> float:
    return sum(word.confidence for word in words) / len(words) if words else 0.0


async def endpoint(websocket: WebSocket) -> None:
    await serve(websocket, DeepgramStream)
