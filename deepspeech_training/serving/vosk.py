"""The websocket protocol of vosk-server: int16 audio in, exactly one reply to each binary message, in lock-step.

Clients send a message and wait for its answer, so a message that ends two sentences is answered by one reply with both,
and one that brings nothing new by the partial text so far. A `config` has no reply. Any path does, as at vosk-server.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.routing import BaseRoute, WebSocketRoute
from starlette.websockets import WebSocket

from deepspeech_training.runtime.utterances import Alternative, Endpointing, Event, Final, Partial, Word
from deepspeech_training.serving import values
from deepspeech_training.serving.websocket import Conversation, serve

DEFAULT_RATE = 8000  # as vosk-server has it
ANY_OTHER_WORD = "[unk]"  # in the phrase lists of its clients


@dataclass(frozen=True)
class Config:
    """What a client sets; as at vosk-server it holds for the audio after it, or after the next `reset`."""

    model: str = ""
    sample_rate: int = DEFAULT_RATE
    words: bool = True
    max_alternatives: int = 0
    phrases: tuple[str, ...] = ()

    def updated(self, found: dict[str, Any]) -> "Config":
        """With what a `config` message says; what else may stand there, vosk-server does not read either."""
        config = self
        if "model" in found:
            config = replace(config, model=values.text(found["model"], "model"))
        if "sample_rate" in found:
            rate = values.whole(found["sample_rate"], "sample_rate", least=4000, most=192000)
            config = replace(config, sample_rate=rate)
        if "words" in found:
            config = replace(config, words=values.truth(found["words"], "words"))
        if "max_alternatives" in found:
            number = values.whole(found["max_alternatives"], "max_alternatives", least=0, most=values.MOST_ALTERNATIVES)
            config = replace(config, max_alternatives=number)
        if "phrase_list" in found:
            config = replace(config, phrases=_phrases(found["phrase_list"]))
        return config

    def hot_words(self) -> dict[str, float]:
        """The words of the phrases: they are made likelier, while Vosk would hear nothing else."""
        words = [word for phrase in self.phrases for word in phrase.split() if word != ANY_OTHER_WORD]
        return dict.fromkeys(words, values.DEFAULT_BOOST)


def _phrases(found: object) -> tuple[str, ...]:
    if not isinstance(found, list):
        raise values.bad(f"phrase_list must be a list of texts, it is {values.shown(found)}")
    return tuple(values.text(phrase, "phrase_list") for phrase in found)


class VoskStream(Conversation):
    protocol = "vosk"
    joins_audio = False  # one reply to each message

    def __init__(self, websocket: WebSocket):
        super().__init__(websocket)
        self._config = Config()
        self._begun = False
        self._partial = ""
        self._finals: list[Final] = []

    async def audio(self, data: bytes) -> None:
        if not self._begun:
            await self._begin()
        await self.feed(data)
        if self._finals:
            await self._send_final()
        else:
            await self.send({"partial": self._partial})

    async def command(self, message: dict[str, Any]) -> None:
        if "config" in message:
            self._config = self._config.updated(values.mapping(message["config"], "config"))
        elif message.get("reset"):
            await self._end()
            self._begun = False
        elif message.get("eof"):
            await self._end()
            await self.close()
        else:
            raise values.bad('a message must be binary audio, or have "config", "reset" or "eof"')

    async def last_words(self) -> None:
        if self._begun:
            await self._end()

    async def tell(self, events: Sequence[Event]) -> None:
        for event in events:
            if isinstance(event, Partial):
                self._partial = event.text
            elif isinstance(event, Final):
                self._finals.append(event)
                self._partial = ""

    async def _begin(self) -> None:
        config = self._config
        served = self.engine.model(config.model or None)
        settings = self.engine.settings(
            served, hot_words=config.hot_words(), num_results=max(1, config.max_alternatives)
        )
        await self.begin_session(served, settings, Endpointing(), sample_rate=config.sample_rate)
        self._begun = True

    async def _end(self) -> None:
        """The rest of the text, in one reply whatever it is."""
        if self._begun:
            await self.report(await self.session.finish())
        await self._send_final()

    async def _send_final(self) -> None:
        finals, self._finals = self._finals, []
        if not self._config.max_alternatives:
            await self.send(self._result(" ".join(final.text for final in finals), _words(finals)))
            return
        most = max((len(final.alternatives) for final in finals), default=0)
        joined = [_joined(finals, place) for place in range(most)]
        await self.send(
            {
                "alternatives": [
                    {"confidence": other.confidence} | self._result(other.text, other.words) for other in joined
                ]
                or [{"confidence": 1.0, "text": ""}]
            }
        )

    def _result(self, text: str, words: Sequence[Word]) -> dict[str, Any]:
        if not (self._config.words and words):
            return {"text": text}
        return {"result": [_as_word(word) for word in words], "text": text}


def _words(finals: Sequence[Final]) -> list[Word]:
    return [word for final in finals for word in final.words]


def _joined(finals: Sequence[Final], place: int) -> Alternative:
    """The alternative at a place of each of several sentences as one; one that has fewer lends its last."""
    others = [final.alternatives[min(place, len(final.alternatives) - 1)] for final in finals if final.alternatives]
    return Alternative(
        " ".join(other.text for other in others),
        tuple(word for other in others for word in other.words),
        round(sum(other.confidence for other in others), 4),
    )


def _as_word(word: Word) -> dict[str, Any]:
    return {
        "conf": round(word.confidence, 6),
        "end": round(word.end_s, 3),
        "start": round(word.start_s, 3),
        "word": word.text,
    }


async def endpoint(websocket: WebSocket) -> None:
    """On /vosk, and on any path of the port of its own."""
    await serve(websocket, VoskStream)


def routes() -> list[BaseRoute]:
    """Of the port of its own: any path, as at vosk-server."""
    return [WebSocketRoute("/{path:path}", endpoint)]
