"""WS /v1/realtime, OpenAI's Realtime API as far as it transcribes: `intent=transcription`, of today and of the beta.

A turn is an item: its id is known from the first event on. Deltas only ever add, so they carry the stable text alone,
and those of an item together are the transcript of its `completed` event. What is wrong is answered by an `error`
event, and the session stays open.
"""

import base64
import binascii
import copy
import secrets
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from starlette.websockets import WebSocket

from deepspeech_training.runtime.utterances import Endpointing, Event, Final, Partial, SpeechEnded, SpeechStarted
from deepspeech_training.serving import values
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.websocket import Conversation, serve

RATE = 24000  # what OpenAI takes; other rates are an extension
MODELS_OF_OPENAI = ("gpt-", "whisper")  # their names mean the default model
DEFAULT_TURNS = {"type": "server_vad", "threshold": 0.5, "prefix_padding_ms": 300, "silence_duration_ms": 500}
CONTENT = {"content_index": 0}
NOTHING_TO_COMMIT = "input_audio_buffer_commit_empty"


class RealtimeSession(Conversation):
    protocol = "realtime"
    subprotocol = "realtime"
    growth = 4 / 3  # by base64

    def __init__(self, websocket: WebSocket):
        super().__init__(websocket)
        self._beta = False
        model = values.text(self.query.get("model", ""), "model")
        self._input: dict[str, Any] = {
            "format": {"type": "audio/pcm", "rate": RATE},
            "noise_reduction": None,
            "transcription": {"model": model, "language": None, "prompt": "", "keywords": []},
            "turn_detection": dict(DEFAULT_TURNS),
        }
        self._event_id: str | None = None  # of the client's event that is handled
        self._begun = False
        self._before_s = 0.0  # audio of earlier settings
        self._new_audio = False  # since the last turn
        self._told_s = 0.0  # where that ended
        self._item = _Item()
        self._previous_id: str | None = None

    async def begin(self) -> None:
        self._served(self._input)  # an unknown model is told at once
        await self._send("session.created", session=self._session())

    async def audio(self, data: bytes) -> None:
        raise values.bad("audio comes in input_audio_buffer.append events, in base64; a binary message is none")

    async def command(self, message: dict[str, Any]) -> None:
        event_id = message.get("event_id")
        self._event_id = event_id if isinstance(event_id, str) else None
        match message.get("type"):
            case "input_audio_buffer.append":
                await self._append(message.get("audio"))
            case "input_audio_buffer.commit":
                await self._commit()
            case "input_audio_buffer.clear":
                await self._clear()
            case "session.update" | "transcription_session.update" as kind:
                self._beta = kind.startswith("transcription")
                await self._update(values.mapping(message.get("session"), "session"))
            case kind:
                raise values.bad(f"{values.shown(kind)} is no event of a transcription session", "type")

    async def mend(self, error: ServingError) -> None:
        """An error event; the session goes on."""
        await self.refuse(error)

    async def refuse(self, error: ServingError, **fields: Any) -> None:
        await self._send("error", error={**error.as_openai()["error"], "event_id": self._event_id, **fields})

    # --- settings -----------------------------------------------------------------------------------------------------

    async def _update(self, found: dict[str, Any]) -> None:
        new = copy.deepcopy(self._input)
        if self._beta:
            self._read_input(new, {**found, "format": found.get("input_audio_format")}, "input_audio_")
        else:
            if found.get("type", "transcription") != "transcription":
                raise values.bad("session.type must be transcription: this server only transcribes", "session.type")
            audio = values.mapping(found.get("audio") or {}, "session.audio")
            self._read_input(new, values.mapping(audio.get("input") or {}, "session.audio.input"), "")
        self._settings(new)
        if new != self._input:
            await self._end()  # what was said before the change is told by the settings that it was said under
            self._input = new
        await self._send("transcription_session.updated" if self._beta else "session.updated", session=self._session())

    @staticmethod
    def _read_input(new: dict[str, Any], found: dict[str, Any], prefix: str) -> None:
        if found.get("format") is not None:
            new["format"] = {"type": "audio/pcm", "rate": _rate(found["format"])}
        transcription = found.get(f"{prefix}transcription")
        if transcription is not None:
            transcription = values.mapping(transcription, "transcription")
            for name in ("model", "language", "prompt"):
                if transcription.get(name) is not None:
                    new["transcription"][name] = _any_text(transcription[name], name)
            if transcription.get("keywords") is not None:
                words = transcription["keywords"]
                if not isinstance(words, list):
                    raise values.bad(f"keywords must be a list of words, it is {values.shown(words)}", "keywords")
                new["transcription"]["keywords"] = [values.text(word, "keywords") for word in words]
        if "turn_detection" in found:
            new["turn_detection"] = _turns(found["turn_detection"])
        if f"{prefix}noise_reduction" in found:
            new["noise_reduction"] = None  # there is none, and the answer says so

    def _served(self, wanted: dict[str, Any]) -> Any:
        transcription = wanted["transcription"]
        name = transcription["model"] or ""
        if name.startswith(MODELS_OF_OPENAI) and name not in self.engine.models:
            name = ""
        return self.engine.model(name or None, transcription["language"] or None)

    def _settings(self, wanted: dict[str, Any]) -> Any:
        words = values.hot_words(wanted["transcription"]["keywords"], "keywords")
        return self.engine.settings(self._served(wanted), hot_words=words)

    def _session(self) -> dict[str, Any]:
        session = {"id": f"sess_{self.session.id}", "object": "realtime.transcription_session"}
        if not self._beta:
            return {**session, "type": "transcription", "audio": {"input": self._input}, "include": None}
        return {
            **session,
            "input_audio_format": "pcm16",
            "input_audio_transcription": self._input["transcription"],
            "turn_detection": self._input["turn_detection"],
        }

    # --- audio --------------------------------------------------------------------------------------------------------

    async def _append(self, audio: object) -> None:
        if not isinstance(audio, str):
            raise values.bad(f"audio must be base64, it is {values.shown(audio)}", "audio")
        try:
            data = base64.b64decode(audio, validate=True)
        except (binascii.Error, ValueError):
            raise values.bad(f"audio must be base64, it is {values.shown(audio)}", "audio") from None
        if not self._begun:
            await self._begin()
        self._new_audio |= bool(data)
        await self.feed(data)

    async def _begin(self) -> None:
        turns = self._input["turn_detection"]
        endpointing = Endpointing(enabled=False)
        if turns is not None:
            endpointing = Endpointing(
                hangover_s=turns["silence_duration_ms"] / 1000, aggressiveness=min(3, int(turns["threshold"] * 4))
            )
        await self.begin_session(
            self._served(self._input),
            self._settings(self._input),
            endpointing,
            sample_rate=self._input["format"]["rate"],
        )
        self._begun = True

    async def _commit(self) -> None:
        if not self._new_audio:
            await self.refuse(values.bad("there is no audio to commit since the last turn"), code=NOTHING_TO_COMMIT)
            return
        await self.report(await self.session.flush())
        if self._new_audio:
            await self._complete()

    async def _clear(self) -> None:
        """Forget the audio since the last turn; deltas of it that were sent belong to an item that never completes."""
        if self._begun:
            self.note(await self.session.flush())
        self._item, self._new_audio, self._told_s = _Item(), False, self._seconds
        await self._send("input_audio_buffer.cleared")

    async def _end(self) -> None:
        """Before other settings, and at the end of the connection."""
        if self._begun:
            await self.report(await self.session.finish())
            if self._item.text:
                await self._complete()
            self._before_s, self._begun = self._seconds, False

    async def last_words(self) -> None:
        await self._end()

    # --- what was recognised ------------------------------------------------------------------------------------------

    async def tell(self, events: Sequence[Event]) -> None:
        item_per_utterance = self._input["turn_detection"] is not None
        for event, following in zip_longest(events, events[1:]):
            item_id = self._item.id
            match event:
                case SpeechStarted(at_s):
                    await self._send(
                        "input_audio_buffer.speech_started", audio_start_ms=self._ms(at_s), item_id=item_id
                    )
                case SpeechEnded(at_s):
                    await self._send("input_audio_buffer.speech_stopped", audio_end_ms=self._ms(at_s), item_id=item_id)
                    if not isinstance(following, Final):  # it had no words
                        await self._complete()
                case Partial():
                    await self._add(event.stable)
                case Final():
                    await self._add(event.text)
                    self._item.settle()
                    if item_per_utterance:
                        await self._complete()

    async def _add(self, stable: str) -> None:
        """Send what an item has more than before."""
        more = self._item.more(stable)
        if more:
            await self._send(
                "conversation.item.input_audio_transcription.delta", item_id=self._item.id, **CONTENT, delta=more
            )

    async def _complete(self) -> None:
        """The item has all its audio and its text."""
        item, self._item, self._new_audio = self._item, _Item(), False
        previous, self._previous_id = self._previous_id, item.id
        await self._send("input_audio_buffer.committed", item_id=item.id, previous_item_id=previous)
        message = item.as_message()
        if self._beta:
            await self._send("conversation.item.created", previous_item_id=previous, item=message)
        else:
            await self._send("conversation.item.added", previous_item_id=previous, item=message)
            await self._send("conversation.item.done", previous_item_id=previous, item=message)
        await self._send(
            "conversation.item.input_audio_transcription.completed",
            item_id=item.id,
            **CONTENT,
            transcript=item.text,
            usage={"type": "duration", "seconds": round(self._seconds - self._told_s, 3)},
        )
        self._told_s = self._seconds

    @property
    def _seconds(self) -> float:
        """Of audio since the handshake."""
        return self._before_s + (self.session.seconds if self._begun else 0.0)

    def _ms(self, at_s: float) -> int:
        return round(1000 * (self._before_s + at_s))

    async def _send(self, kind: str, **fields: Any) -> None:
        await self.send({"type": kind, "event_id": f"event_{secrets.token_hex(10)}", **fields})


class _Item:
    """A turn: its text so far, of one utterance, or of several where the client alone says when a turn ends."""

    def __init__(self) -> None:
        self.id = f"item_{secrets.token_hex(10)}"
        self.text = ""  # what was sent as deltas
        self._settled = ""  # of utterances that have ended

    def more(self, stable: str) -> str:
        """What the utterance at hand adds to the text."""
        whole = f"{self._settled} {stable}".strip() if stable else self._settled
        more, self.text = whole[len(self.text) :], max(whole, self.text, key=len)
        return more

    def settle(self) -> None:
        """An utterance has ended."""
        self._settled = self.text

    def as_message(self) -> dict[str, Any]:
        content = [{"type": "input_audio", "transcript": None}]
        kind = {"id": self.id, "object": "realtime.item", "type": "message", "status": "completed", "role": "user"}
        return {**kind, "content": content}


def _rate(found: object) -> int:
    """The rate of {"type": "audio/pcm", "rate": 24000}, or of the beta's "pcm16"."""
    if found == "pcm16":
        return RATE
    if isinstance(found, dict) and found.get("type", "audio/pcm") == "audio/pcm":
        rate = found.get("rate")
        return RATE if rate is None else values.whole(rate, "rate", least=4000, most=192000)
    raise values.bad(f"the format must be audio/pcm (16-bit little endian), it is {values.shown(found)}", "format")


def _turns(found: object) -> dict[str, Any] | None:
    """Turn detection: None, or a server_vad with all that it may have."""
    if found is None:
        return None
    found = values.mapping(found, "turn_detection")
    if found.get("type", "server_vad") != "server_vad":
        raise values.bad(
            f"turn_detection must be null or server_vad, it is {values.shown(found.get('type'))}", "turn_detection"
        )
    given = {name: value for name, value in found.items() if name in DEFAULT_TURNS and value is not None}
    turns = {**DEFAULT_TURNS, **given}
    values.number(turns["threshold"], "threshold", least=0, most=1)
    values.number(turns["prefix_padding_ms"], "prefix_padding_ms", least=0, most=5000)
    values.number(turns["silence_duration_ms"], "silence_duration_ms", least=100, most=10000)
    return turns


def _any_text(found: object, name: str) -> str:
    if not isinstance(found, str):
        raise values.bad(f"{name} must be a text, it is {values.shown(found)}", name)
    return found if name == "prompt" else values.text(found, name)


async def endpoint(websocket: WebSocket) -> None:
    await serve(websocket, RealtimeSession)
