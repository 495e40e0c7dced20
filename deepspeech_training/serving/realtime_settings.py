"""What a client of OpenAI's Realtime API sets of a session: `session.audio.input`, and the beta's fields."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from deepspeech_training.runtime.utterances import Endpointing, StreamSettings
from deepspeech_training.serving import values
from deepspeech_training.serving.engine import Engine
from deepspeech_training.serving.models import ServedModel

RATE = 24000  # what OpenAI takes; other rates are an extension
MODELS_OF_OPENAI = ("gpt-", "whisper")  # their names mean the default model


@dataclass(frozen=True)
class Turns:
    """When a turn ends by itself (`server_vad`)."""

    threshold: float = 0.5
    prefix_padding_ms: float = 300  # an utterance has as much before it in any case
    silence_duration_ms: float = 500

    @classmethod
    def read(cls, found: object) -> "Turns | None":
        """Of `turn_detection`; null: turns end when the client says so.

        Raises:
            ServingError: it is another kind of detection, or a number is out of bounds.
        """
        if found is None:
            return None
        found = values.mapping(found, "turn_detection")
        if found.get("type", "server_vad") != "server_vad":
            kind = values.shown(found.get("type"))
            raise values.bad(f"turn_detection must be null or server_vad, it is {kind}", "turn_detection")
        bounds = {"threshold": (0, 1), "prefix_padding_ms": (0, 5000), "silence_duration_ms": (100, 10000)}
        given = {
            name: values.number(found[name], name, least=least, most=most)
            for name, (least, most) in bounds.items()
            if found.get(name) is not None
        }
        return cls(**given)

    @property
    def endpointing(self) -> Endpointing:
        aggressiveness = min(3, int(4 * self.threshold))  # of the detector: 0, 1, 2 or 3
        return Endpointing(hangover_s=self.silence_duration_ms / 1000, aggressiveness=aggressiveness)


@dataclass(frozen=True)
class AudioInput:
    """All that can be set."""

    rate: int = RATE
    model: str = ""
    language: str | None = None
    prompt: str = ""
    keywords: tuple[str, ...] = ()
    turns: Turns | None = Turns()

    def updated(self, session: dict[str, Any]) -> "AudioInput":
        """With what a `session.update` says.

        Raises:
            ServingError: a field is not what it must be.
        """
        if session.get("type", "transcription") != "transcription":
            raise values.bad("session.type must be transcription: this server only transcribes", "session.type")
        audio = values.mapping(session.get("audio") or {}, "session.audio")
        found = values.mapping(audio.get("input") or {}, "session.audio.input")
        return self._updated(found, found.get("format"), found.get("transcription"))

    def updated_by_beta(self, session: dict[str, Any]) -> "AudioInput":
        """The same of the beta's `transcription_session.update`."""
        return self._updated(session, session.get("input_audio_format"), session.get("input_audio_transcription"))

    def _updated(self, found: dict[str, Any], form: object, transcription: object) -> "AudioInput":
        new = self
        if form is not None:
            new = replace(new, rate=_rate(form))
        if transcription is not None:
            given = values.mapping(transcription, "transcription")
            readers: dict[str, Callable[[object, str], Any]] = {
                "model": values.text,
                "language": values.text,
                "prompt": _prompt,
                "keywords": _keywords,
            }
            changes: dict[str, Any] = {
                name: read(given[name], name) for name, read in readers.items() if given.get(name) is not None
            }
            new = replace(new, **changes)
        if "turn_detection" in found:
            new = replace(new, turns=Turns.read(found["turn_detection"]))
        return new

    def served(self, engine: Engine) -> ServedModel:
        """The model.

        Raises:
            ServingError: there is no such one.
        """
        means_default = self.model.startswith(MODELS_OF_OPENAI) and self.model not in engine.models
        return engine.model(None if means_default else self.model or None, self.language or None)

    def stream_settings(self, engine: Engine) -> StreamSettings:
        """How it decodes.

        Raises:
            ServingError: that cannot be had.
        """
        return engine.settings(self.served(engine), hot_words=values.hot_words(list(self.keywords), "keywords"))

    @property
    def endpointing(self) -> Endpointing:
        return self.turns.endpointing if self.turns else Endpointing(enabled=False)

    def as_session(self, *, beta: bool) -> dict[str, Any]:
        """The settings in effect, as a `session` has them. There is no noise reduction, and they say so."""
        transcription = {
            "model": self.model,
            "language": self.language,
            "prompt": self.prompt,
            "keywords": list(self.keywords),
        }
        turns = {"type": "server_vad", **asdict(self.turns)} if self.turns else None
        if beta:
            names = {"input_audio_format": "pcm16", "input_audio_transcription": transcription}
            return {**names, "turn_detection": turns}
        audio_input = {
            "format": {"type": "audio/pcm", "rate": self.rate},
            "noise_reduction": None,
            "transcription": transcription,
            "turn_detection": turns,
        }
        return {"type": "transcription", "audio": {"input": audio_input}, "include": None}


def _rate(found: object) -> int:
    """Of {"type": "audio/pcm", "rate": 24000}, or of the beta's "pcm16"."""
    if found == "pcm16":
        return RATE
    if isinstance(found, dict) and found.get("type", "audio/pcm") == "audio/pcm":
        rate = found.get("rate")
        return RATE if rate is None else values.whole(rate, "rate", least=4000, most=192000)
    raise values.bad(f"the format must be audio/pcm (16-bit little endian), it is {values.shown(found)}", "format")


def _keywords(found: object, name: str) -> tuple[str, ...]:
    if not isinstance(found, list):
        raise values.bad(f"{name} must be a list of words, it is {values.shown(found)}", name)
    return tuple(values.text(word, name) for word in found)


def _prompt(found: object, name: str) -> str:
    if not isinstance(found, str):
        raise values.bad(f"{name} must be a text, it is {values.shown(found)}", name)
    return found  # it is ignored, however long
