"""WS /v1/listen, Deepgram's protocol of live audio: raw PCM in, `Results` out.

Of what its query can ask, formatting is ignored (there is no punctuation to add), while what a client would rely on and
this server cannot do is refused (deepgram_query.py). A client that names no encoding may send a WAV.
"""

import hashlib
import math
import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from starlette.websockets import WebSocket

from deepspeech_training.runtime.utterances import (
    Alternative,
    Event,
    Final,
    Partial,
    SpeechEnded,
    SpeechStarted,
    Word,
)
from deepspeech_training.serving import values
from deepspeech_training.serving.deepgram_query import Options
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.headers import read_header
from deepspeech_training.serving.websocket import Conversation, serve

MODELS_OF_DEEPGRAM = ("nova", "flux", "enhanced", "base", "whisper", "general")  # their names mean the default model
SILENCE_S = 10.0  # without a message; then Deepgram ends the stream with NET-0001
CHANNEL_INDEX = [0, 1]


class DeepgramStream(Conversation):
    protocol = "deepgram"
    subprotocol = "token"

    def __init__(self, websocket: WebSocket):
        super().__init__(websocket)
        self._options = Options.read(self.query)
        self._served = self._wanted_model()
        self._settings = self.engine.settings(
            self._served, hot_words=self._options.hot_words, num_results=self._options.alternatives
        )
        self._request_id = str(uuid.uuid4())
        self._created = datetime.now(UTC)
        self._sha256 = hashlib.sha256()
        self._head: bytes | None = None if self._options.says_encoding else b""
        self._last_word_end: float | None = None  # for which no UtteranceEnd was sent
        self.idle_s = min(SILENCE_S, self.limits.idle_s)

    def _wanted_model(self) -> Any:
        name = self._options.model
        if name.startswith(MODELS_OF_DEEPGRAM) and name not in self.engine.models:
            name = ""
        return self.engine.model(name or None, self._options.language or None)

    async def begin(self) -> None:
        options = self._options
        await self._begin(options.sample_rate, options.channels, options.dtype)

    async def _begin(self, sample_rate: int, channels: int, dtype: str) -> None:
        await self.begin_session(
            self._served,
            self._settings,
            self._options.endpointing,
            sample_rate=sample_rate,
            channels=channels,
            dtype=dtype,
        )

    async def audio(self, data: bytes) -> None:
        if not data:  # the older way to say CloseStream
            await self._close_stream()
        self._sha256.update(data)
        await self.feed(data if self._head is None else await self._after_header(self._head + data))
        await self._tell_utterance_end(self.session.seconds)

    async def _after_header(self, head: bytes) -> bytes:
        """The samples of a stream whose client has not said what it sends: of a WAV, or as they are."""
        header = read_header(head)
        if header is None:
            self._head = head
            return b""
        self._head = None
        if header.size:
            await self._begin(header.sample_rate, header.channels, header.dtype)
        return head[header.size :]

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
        if self._head:  # too short to be anything but samples
            await self.feed(self._head)
        events = await self.session.finish()
        await self.tell(events)
        if not any(isinstance(event, Final) for event in events):
            await self._send_nothing()
        await self._send_metadata()
        await self.close()

    async def last_words(self) -> None:
        await super().last_words()
        await self._send_metadata()

    async def answer_error(self, error: ServingError) -> None:
        """A message that is none; the stream continues. Audio that is none ends it."""
        if error.code == "bad_audio":
            raise error
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
