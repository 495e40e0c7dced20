"""WS /v1/realtime, OpenAI's Realtime API as far as it transcribes: `intent=transcription`, of today and of the beta.

A turn is an item: its id is known from the first event on. Deltas only ever add, so they carry the stable text alone,
and those of an item together are the transcript of its `completed` event. What is wrong is answered by an `error`
event, and the session stays open.
"""

import base64
import binascii
import secrets
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from starlette.websockets import WebSocket

from deepspeech_training.runtime.utterances import Event, Final, Partial, SpeechEnded, SpeechStarted
from deepspeech_training.serving import values
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.realtime_settings import AudioInput
from deepspeech_training.serving.websocket import Conversation, serve

CONTENT = {"content_index": 0}
NOTHING_TO_COMMIT = "input_audio_buffer_commit_empty"


class RealtimeSession(Conversation):
    protocol = "realtime"
    subprotocol = "realtime"
    growth = 4 / 3  # by base64

    def __init__(self, websocket: WebSocket):
        super().__init__(websocket)
        self._beta = False
        self._input = AudioInput(model=values.text(self.query.get("model", ""), "model"))
        self._input.served(self.engine)  # an unknown model is told at once
        self._event_id: str | None = None  # of the client's event that is handled
        self._begun = False
        self._before_s = 0.0  # audio of earlier settings
        self._new_audio = False  # since the last turn
        self._told_s = 0.0  # where that ended
        self._item = _Item()
        self._previous_id: str | None = None

    async def begin(self) -> None:
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
                session = values.mapping(message.get("session"), "session")
                self._beta = kind.startswith("transcription")
                await self._update(session)
            case kind:
                raise values.bad(f"{values.shown(kind)} is no event of a transcription session", "type")

    async def answer_error(self, error: ServingError) -> None:
        """An error event; the session continues."""
        await self.refuse(error)

    async def refuse(self, error: ServingError, **fields: Any) -> None:
        await self._send("error", error={**error.as_openai()["error"], "event_id": self._event_id, **fields})

    async def _update(self, session: dict[str, Any]) -> None:
        new = self._input.updated_by_beta(session) if self._beta else self._input.updated(session)
        new.stream_settings(self.engine)  # refused now, not with the next audio
        if new != self._input:
            await self._end()  # what was said before the change is told by the settings that it was said under
            self._input = new
        await self._send("transcription_session.updated" if self._beta else "session.updated", session=self._session())

    def _session(self) -> dict[str, Any]:
        session = {"id": f"sess_{self.session.id}", "object": "realtime.transcription_session"}
        return {**session, **self._input.as_session(beta=self._beta)}

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
        wanted = self._input
        await self.begin_session(
            wanted.served(self.engine),
            wanted.stream_settings(self.engine),
            wanted.endpointing,
            sample_rate=wanted.rate,
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
        item_per_utterance = self._input.turns is not None
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


async def endpoint(websocket: WebSocket) -> None:
    await serve(websocket, RealtimeSession)
