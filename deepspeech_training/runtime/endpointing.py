"""Where utterances begin and end in a stream: speech by the voice activity detector of WebRTC, and pauses after it.

All is decided on frames of 30 ms, counted from the first sample, so that where the audio was cut makes no difference.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import soxr
import webrtcvad

from deepspeech_training.runtime.segments import DETECTOR_RATES, FRAME_S

PRE_ROLL_FRAMES = 9  # 270 ms: two frames to be sure, and a soft beginning, or what a new detector cannot know yet
POST_ROLL_FRAMES = 12  # 360 ms: further silence waits until somebody speaks on; what a network makes of it is no word
WARM_UP_FRAMES = 7  # a new detector takes its first frames for speech, whatever they are
FAINT = 4  # samples up to this are silence, whatever the detector says: digital silence confuses it
SURE_OF = 2  # of the last three frames: a single one is mostly a click
# Of the longest length: from where on it is found out how quiet it gets, and from where on a quiet moment ends it: at
# first one with a quarter of the least power so far, at last one with four times that.
QUIET_FROM, QUIET_SOUGHT = 0.6, 0.8
QUIET_FRAMES = 3  # a quiet moment: 90 ms, longer than the stop of a consonant


@dataclass(frozen=True, slots=True)
class Endpointing:
    """When an utterance ends.

    Args:
        enabled: False: not by itself, but when it is asked for or as long as is allowed; all audio is recognised then.
        hangover_s: the silence after which it ends.
        min_s: a shorter one does not end by silence.
        max_s: as long as it may be; from 4/5 of that on it ends in the next quiet moment.
        aggressiveness: 0 to 3; a higher one takes more for silence.
    Raises:
        ValueError: a number is out of bounds.
    """

    enabled: bool = True
    hangover_s: float = 0.8
    min_s: float = 0.3
    max_s: float = 30.0
    aggressiveness: int = 1

    def __post_init__(self) -> None:
        for name, lowest, highest in (("hangover_s", 0.1, 10), ("min_s", 0, 10), ("max_s", 1, 120)):
            if not lowest <= getattr(self, name) <= highest:  # NaN neither
                raise ValueError(f"{name} {getattr(self, name)}: it must be from {lowest} to {highest} seconds")
        if self.aggressiveness not in (0, 1, 2, 3):
            raise ValueError(f"aggressiveness {self.aggressiveness}: it must be 0, 1, 2 or 3")


@dataclass(frozen=True, slots=True)
class Begin:
    """An utterance begins with the audio that comes next, `at` samples after the start."""

    at: int


@dataclass(frozen=True, slots=True)
class Audio:
    """Further audio of the utterance: int16 [samples]."""

    samples: np.ndarray


@dataclass(frozen=True, slots=True)
class End:
    """The utterance ends; the last speech of it ended `at` samples after the start."""

    at: int
    reason: str


Step = Begin | Audio | End


class Endpointer:
    """Audio -> utterances. Between them nothing comes out, and a short pre-roll is kept.

    The steps that `feed` and `flush` give must be gone through to their end.

    Args:
        sample_rate: of the audio, in Hz.
    """

    def __init__(self, endpointing: Endpointing, sample_rate: int):
        def frames(seconds: float) -> int:
            return max(round(seconds / FRAME_S), 1)

        self._frame = round(FRAME_S * sample_rate)
        self._detector = _Detector(endpointing.aggressiveness, sample_rate) if endpointing.enabled else None
        self._hangover, self._shortest = frames(endpointing.hangover_s), frames(endpointing.min_s)
        self._longest = frames(endpointing.max_s)
        self._audio = np.zeros(0, np.int16)  # pre-roll, frames that are not decided yet, a part of one
        self._at = 0  # samples before `_audio`
        self._decided = 0  # frames of `_audio`
        self._seen = 0  # frames since the start
        self._voices: deque[bool] = deque(maxlen=PRE_ROLL_FRAMES)
        self._length: int | None = None  # of the utterance in frames; None: there is none
        self._last_speech = 0  # samples before its end
        self._energies: deque[float] = deque(maxlen=QUIET_FRAMES)
        self._quietest = np.inf

    def feed(self, audio: np.ndarray) -> Iterator[Step]:
        """Take further audio: int16 [samples]."""
        self._audio = np.concatenate([self._audio, audio])
        for voiced in self._decisions():
            self._decided += 1
            self._seen += 1
            self._voices.append(voiced)
            # islice of the reversed one: a deque has no slices
            speech = sum(islice(reversed(self._voices), 3)) >= SURE_OF
            if self._length is not None:
                self._length += 1
            elif (speech and self._seen > WARM_UP_FRAMES) or self._detector is None:
                self._drop_all_but(PRE_ROLL_FRAMES)
                yield self._begin()
            else:
                continue
            if speech:
                self._last_speech = self._at + self._decided * self._frame
            reason = self._reason_to_end()
            if reason:
                yield from self._pass_on(self._decided_speech())
                yield self._end(reason)
        if self._length is None:
            self._drop_all_but(PRE_ROLL_FRAMES)
        else:
            yield from self._pass_on(self._decided_speech())
        self._audio = self._audio.copy()  # a view would keep all that was fed

    def flush(self, reason: str) -> Iterator[Step]:
        """End the utterance now, with all audio. What was voiced, but too shortly to be sure, becomes one too."""
        if self._length is None and (any(self._voices) if self._detector else len(self._audio)):
            yield self._begin()
        if self._length is not None:
            self._last_speech = self._last_speech or self._at + len(self._audio)
            silent = self._decided_speech() < self._decided * self._frame
            yield from self._pass_on(self._decided_speech() if silent else len(self._audio))
            yield self._end(reason)
        self._at += len(self._audio)
        self._audio, self._decided = np.zeros(0, np.int16), 0
        self._voices.clear()
        if self._detector is not None:
            self._detector.restart()

    def _decisions(self) -> Iterable[bool]:
        """Whether the whole frames that are not decided yet are voiced, as far as that can be told."""
        if self._detector is None:
            return [True] * (len(self._audio) // self._frame - self._decided)
        return self._detector.feed(self._audio[(self._decided + self._detector.pending) * self._frame :])

    def _reason_to_end(self) -> str:
        """Why the utterance ends after the last decided frame; empty where it does not."""
        length = self._length or 0
        silence = (self._at + self._decided * self._frame - self._last_speech) // self._frame
        if self._detector is not None and silence >= self._hangover and length >= self._shortest:
            return "endpoint"
        if length >= self._longest:
            return "longest"
        if length >= QUIET_FROM * self._longest:
            frame = self._audio[(self._decided - 1) * self._frame : self._decided * self._frame].astype(np.float32)
            self._energies.append(float(frame @ frame))
            if len(self._energies) == QUIET_FRAMES:
                energy = sum(self._energies)
                left = (self._longest - length) / (self._longest * (1 - QUIET_SOUGHT))
                if left > 1:
                    self._quietest = min(self._quietest, energy)
                elif energy <= self._quietest * 4 ** (1 - 2 * left):
                    return "longest"
        return ""

    def _begin(self) -> Begin:
        self._length, self._last_speech = self._decided, 0
        self._energies.clear()
        self._quietest = np.inf
        return Begin(self._at)

    def _end(self, reason: str) -> End:
        self._length = None
        self._voices.clear()
        return End(self._last_speech, reason)

    def _pass_on(self, samples: int) -> Iterator[Audio]:
        if samples:
            yield Audio(self._audio[:samples])
        self._audio = self._audio[samples:]
        self._at += samples
        self._decided = max(self._decided - samples // self._frame, 0)

    def _decided_speech(self) -> int:
        """Of the samples that are decided, how many are speech or the post-roll after it."""
        until = self._last_speech + POST_ROLL_FRAMES * self._frame - self._at
        return min(max(until, 0), self._decided * self._frame)

    def _drop_all_but(self, frames: int) -> None:
        dropped = max(self._decided - frames, 0)
        self._audio = self._audio[dropped * self._frame :]
        self._at += dropped * self._frame
        self._decided -= dropped


class _Detector:
    """The voice activity detector on frames as they come, at its own rate if it does not know that of the audio."""

    def __init__(self, aggressiveness: int, sample_rate: int):
        self.pending = 0  # frames that were taken and not decided
        self._detector = webrtcvad.Vad(aggressiveness)
        self._frame = round(FRAME_S * sample_rate)
        self._rate = sample_rate if sample_rate in DETECTOR_RATES else 16000
        self._detector_frame = round(FRAME_S * self._rate)
        self._rest = np.zeros(0, np.int16)
        self._resampler = None
        if self._rate != sample_rate:  # frame by frame, so that what is decided never drifts from the audio
            self._resampler = soxr.ResampleStream(self._frame, self._detector_frame, 1, dtype="int16")

    def feed(self, audio: np.ndarray) -> list[bool]:
        """Take the whole frames of int16 [samples] -> whether the frames that can be decided by now are voiced."""
        frames = len(audio) // self._frame
        self.pending += frames
        audio = audio[: frames * self._frame]
        if self._resampler is not None:
            audio = np.concatenate([self._rest, self._resampler.resample_chunk(audio)])
        whole = min(len(audio) // self._detector_frame, self.pending)
        self._rest = audio[whole * self._detector_frame :].copy()
        self.pending -= whole
        size = 2 * self._detector_frame
        audio = audio[: whole * self._detector_frame]
        loud = np.abs(audio.reshape(whole, self._detector_frame).astype(np.int32)).max(axis=1) > FAINT
        data, is_speech, rate = audio.tobytes(), self._detector.is_speech, self._rate
        voiced = [is_speech(data[start : start + size], rate) for start in range(0, len(data), size)]
        return (loud & np.array(voiced, bool)).tolist()

    def restart(self) -> None:
        """Forget audio that was not decided; what is known about the noise stays."""
        self.pending = 0
        self._rest = np.zeros(0, np.int16)
        if self._resampler is not None:
            self._resampler.clear()
