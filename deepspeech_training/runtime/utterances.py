"""Continuous audio -> utterances with their words: what a service needs of a model.

A `Session` is a stream that ends an utterance where somebody pauses, and begins the next one. `transcribe` takes a
whole recording.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from deepspeech_training.runtime.endpointing import Audio, Begin, End, Endpointer, Endpointing
from deepspeech_training.runtime.events import (
    Alternative,
    Event,
    Final,
    Partial,
    SpeechEnded,
    SpeechStarted,
    Word,
)
from deepspeech_training.runtime.figures import Heard
from deepspeech_training.runtime.intake import Intake
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.segments import split_at_silence
from deepspeech_training.runtime.settings import StreamSettings
from deepspeech_training.runtime.stream import StreamError
from deepspeech_training.runtime.utterance import Utterance

__all__ = [
    "Alternative",
    "Endpointing",
    "Event",
    "Final",
    "Partial",
    "Session",
    "SpeechEnded",
    "SpeechStarted",
    "StreamSettings",
    "Word",
    "transcribe",
]

LONGEST_S = 30.0  # of a recording that is one utterance
BLOCK_S = 60  # a recording is converted in blocks of so many seconds


class Session:
    """Audio of any length -> events; one caller at a time.

    The finals are the same to the byte wherever the audio is cut. While nobody speaks the network does not run. Memory
    and the cost of `feed` do not grow with the length of the session.

    Args:
        settings: how to decode; they hold for this session alone.
        sample_rate, channels, dtype: of the audio that is fed, interleaved "int16" or "float32" (-1..1).
        heard: called with the audio figures of each utterance, including those without words.
    Raises:
        ValueError: a rate, a number of channels or a type that cannot be.
        ScorerError: the scorer was built for another alphabet.
    """

    def __init__(
        self,
        model: Model,
        settings: StreamSettings | None = None,
        endpointing: Endpointing | None = None,
        *,
        sample_rate: int,
        channels: int = 1,
        dtype: str = "int16",
        heard: Heard | None = None,
    ):
        self._model, self._settings, self._heard = model, settings or StreamSettings(), heard
        self._rate = model.sampleRate()
        self._intake = Intake(sample_rate=sample_rate, channels=channels, dtype=dtype, model_rate=self._rate)
        self._endpointing = endpointing or Endpointing()
        self._endpointer = Endpointer(self._endpointing, self._rate)
        model.new_decoder(self._settings)  # what is wrong with the settings is found out now
        self._utterance: Utterance | None = None
        self._num_utterances = 0
        self._open = True

    @property
    def seconds(self) -> float:
        """Of audio fed so far."""
        return self._intake.num_frames / self._intake.sample_rate

    def feed(self, audio: bytes | bytearray | memoryview | np.ndarray) -> list[Event]:
        """Take further audio, little-endian bytes or an array; at most one partial comes of it.

        Raises:
            ValueError: an array of another type or shape, or samples that are not finite numbers.
            StreamError: the session has ended.
        """
        self._check_open()
        events = self._events(self._endpointer.feed(self._intake.feed(audio)))
        partial = self._utterance.partial() if self._utterance is not None else None
        return [*events, partial] if partial else events

    def flush(self) -> list[Event]:
        """End the utterance now; the session continues."""
        self._check_open()
        return self._flush("flush")

    def finish(self) -> list[Event]:
        """End the utterance and the session."""
        self._check_open()
        self._open = False
        return self._flush("finish")

    def _flush(self, reason: str) -> list[Event]:
        events = self._events(self._endpointer.feed(self._intake.flush()))
        return events + self._events(self._endpointer.flush(reason))

    def _check_open(self) -> None:
        if not self._open:
            raise StreamError("this session has ended (finish was called): make another")

    def _events(self, steps: Iterator[Begin | Audio | End]) -> list[Event]:
        events: list[Event] = []
        for step in steps:
            if isinstance(step, Begin):
                start_s = step.at / self._rate
                self._utterance = Utterance(
                    self._model, self._settings, start_s=start_s, seq=self._num_utterances, heard=self._heard
                )
                self._num_utterances += 1
                if self._endpointing.enabled:
                    events.append(SpeechStarted(start_s))
            elif self._utterance is None:
                raise AssertionError("audio or an end outside of an utterance")
            elif isinstance(step, Audio):
                self._utterance.feed(step.samples)
            else:
                if self._endpointing.enabled:
                    events.append(SpeechEnded(step.at / self._rate))
                final = self._utterance.finish(end_s=step.at / self._rate, reason=step.reason)
                if final.text or step.reason in ("flush", "finish"):
                    events.append(final)
                self._utterance = None
        return events


def transcribe(
    model: Model,
    audio: np.ndarray,
    *,
    sample_rate: int,
    settings: StreamSettings | None = None,
    longest_s: float = LONGEST_S,
    heard: Heard | None = None,
) -> Iterator[Final]:
    """The utterances of a whole recording, one after another as they are recognised.

    A recording that is longer than `longest_s` is split at its silences, where nothing is recognised; a shorter one is
    one utterance. Those without words are left out.

    Args:
        audio: int16 or float32 (-1..1) [samples], mono.
        sample_rate: its own; it is resampled to the model's.
        heard: as `Session` has it.
    Raises:
        ValueError: a rate that cannot be, audio of another type or shape, samples that are not finite numbers.
        ScorerError: the scorer was built for another alphabet.
    """
    settings = replace(settings or StreamSettings(), commit_s=None)  # nobody reads along
    rate = model.sampleRate()
    intake = Intake(sample_rate=sample_rate, channels=1, dtype=audio.dtype.name, model_rate=rate)
    block = BLOCK_S * sample_rate  # so that only the result is as long as the recording
    blocks = [intake.feed(audio[start : start + block]) for start in range(0, len(audio), block)]
    samples = np.concatenate([*blocks, intake.flush()])
    pieces = [(0, len(samples))]
    if len(samples) > longest_s * rate:
        pieces = split_at_silence(samples, sample_rate=rate, longest_s=longest_s)
    for seq, (start, end) in enumerate(pieces):
        utterance = Utterance(model, settings, start_s=start / rate, seq=seq, heard=heard)
        utterance.feed(samples[start:end])
        final = utterance.finish(end_s=end / rate, reason="endpoint" if end < len(samples) else "finish")
        if final.text:
            yield final
