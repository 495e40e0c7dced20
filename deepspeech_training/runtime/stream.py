"""Samples of a clip, as they come -> what an exported network says of its frames, and what a decoder makes of that.

The names of calls are those of `deepspeech` 0.9.3 and `stt` 1.4.0 (hence the camel case), and so are the frames: as in
stt 1.4.0 the rest of the samples gives one last frame, filled up with zeros, so a clip has one frame more than in
training.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np

from deepspeech_training.decoding.candidate import Candidate
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.network import FrameStream, Networks


class StreamError(RuntimeError):
    """A stream is used after its end: after finishStream, finishStreamWithMetadata or freeStream."""


@dataclass(frozen=True, slots=True)
class TokenMetadata:
    """One character: its text, the frame where it begins, and the same in seconds from the start of the audio."""

    text: str
    timestep: int
    start_time: float


@dataclass(frozen=True, slots=True)
class CandidateTranscript:
    """One transcript; `confidence` is the sum of the log probabilities of its path (see docs/inference.md)."""

    confidence: float
    tokens: tuple[TokenMetadata, ...]

    @property
    def text(self) -> str:
        return "".join(token.text for token in self.tokens)


@dataclass(frozen=True, slots=True)
class Metadata:
    """The candidates, best first; decoding greedily there is one, with a beam as many as were asked for."""

    transcripts: tuple[CandidateTranscript, ...]


class Decoder(Protocol):
    """What probabilities of frames are fed to."""

    def feed(self, probs: np.ndarray) -> None:
        """Take those of further frames, float32 [frames, classes]."""

    def results(self, num_results: int = 1) -> list[Candidate]:
        """The best candidates so far, at least one."""


class TextDecoder(Decoder, Protocol):
    """A decoder that tells what will not change any more."""

    @property
    def settled(self) -> int:
        """How many labels, with their frames, all further results begin with."""

    @property
    def agreed(self) -> int:
        """How many labels all further results begin with; their frames may still change."""


class ExportedNetwork:
    """The features and the network of an exported model, whatever its classes stand for.

    Args:
        num_threads: how many calls of the network may run at the same time, each on one core and with working memory
            of its own; by default the cores that this process may use. More streams than that take turns.
    Raises:
        ModelError: the model cannot be run.
    """

    def __init__(self, file: ModelFile, *, num_threads: int | None = None):
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads {num_threads}: it must be 1 or more")
        self.file = file
        self._mfcc = Mfcc(file.geometry)
        self._networks = Networks(file, limit=num_threads or usable_cores())

    def stream_into(self, decoder: Decoder) -> "Stream":
        """Begin a clip whose frames are fed to `decoder`; no call of the clients."""
        return Stream(self._networks, self._mfcc, decoder)

    def probabilities(self, audio: np.ndarray) -> np.ndarray:
        """What the network says of each frame of a whole clip, for those who decode later; no call of the clients.

        Args:
            audio: int16 [samples], mono, at the model's rate.
        Returns:
            float32 [frames, classes], a CTC blank last.
        """
        recorder = Recorder(self.file)
        with self.stream_into(recorder) as stream:
            stream.feedAudioContent(audio)
            stream.finishStream()
        return recorder.probabilities()

    def probabilities_of_features(self, features: np.ndarray) -> np.ndarray:
        """The same of the features of a clip, float32 [frames, n_mfcc]."""
        recorder = Recorder(self.file)
        stream = FrameStream(self._networks, recorder.feed)
        stream.feed_frames(features)
        stream.finish()
        return recorder.probabilities()


class Recorder:
    """A decoder that decodes nothing: it keeps the probabilities."""

    def __init__(self, file: ModelFile):
        self._none = np.zeros((0, file.num_classes), np.float32)
        self._parts = [self._none]

    def feed(self, probs: np.ndarray) -> None:
        self._parts.append(probs)

    def results(self, num_results: int = 1) -> list[Candidate]:
        return [Candidate([], [], 0.0)]

    def probabilities(self) -> np.ndarray:
        """float32 [frames, classes]."""
        return np.concatenate(self._parts)

    def take(self) -> np.ndarray:
        """The same, and forget them."""
        parts, self._parts = self._parts, [self._none]
        return np.concatenate(parts)


class Stream:
    """A clip whose audio comes in pieces; made by `Model.createStream`. As a context manager it frees itself.

    Where the audio is cut makes no difference, not even in the last bit: features and network always run on the same
    frames together. What has been fed is kept only until it fills the next call of the network, so feeding costs the
    same after an hour as in the first second, and memory grows with the text alone.
    """

    def __init__(self, networks: Networks, mfcc: Mfcc, decoder: Decoder):
        self._file, self._mfcc, self._decoder = networks.file, mfcc, decoder
        self._frames = FrameStream(networks, decoder.feed)
        self._samples = np.zeros(self._samples_wanted(), np.int16)
        self._num_samples = 0
        self._got_audio = False
        self._open = True
        self._lock = threading.Lock()  # two threads that feed one stream by mistake must not break its state

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.freeStream()

    def feedAudioContent(self, audio: np.ndarray) -> None:
        """Take further samples, as many as there are: int16 [samples]; none and one are fine.

        Raises:
            TypeError: not int16.
            ValueError: not one-dimensional.
            StreamError: the stream has ended.
        """
        audio = _checked_audio(audio)
        with self._lock:
            self._check_open()
            self._got_audio |= len(audio) > 0
            while len(audio):
                wanted = self._samples_wanted()
                taken = audio[: wanted - self._num_samples]
                self._samples[self._num_samples : self._num_samples + len(taken)] = taken
                self._num_samples += len(taken)
                audio = audio[len(taken) :]
                if self._num_samples == wanted:
                    self._run_full()

    def intermediateDecode(self) -> str:
        """The text so far: of all calls of the network that were full, up to half a second behind what was fed."""
        with self._lock:
            self._check_open()
            return self._text()

    def intermediateDecodeWithMetadata(self, num_results: int = 1) -> Metadata:
        """The same with times and confidence."""
        _check_num_results(num_results)
        with self._lock:
            self._check_open()
            return self._metadata(num_results)

    def finishStream(self) -> str:
        """The text of the whole clip; the stream ends."""
        with self._lock:
            self._finish()
            return self._text()

    def finishStreamWithMetadata(self, num_results: int = 1) -> Metadata:
        """The same with times and confidence."""
        _check_num_results(num_results)
        with self._lock:
            self._finish()
            return self._metadata(num_results)

    def freeStream(self) -> None:
        """End the stream without a result; a second time is harmless."""
        with self._lock:
            if self._open:
                self._end()

    def _check_open(self) -> None:
        if not self._open:
            raise StreamError("this stream has ended (finishStream or freeStream was called): make another")

    def _samples_wanted(self) -> int:
        """The samples that the frames come from which the next call of the network lacks, or those up to its step."""
        geometry, frames = self._file.geometry, self._frames.wanted
        return max((frames - 1) * geometry.step_samples + geometry.window_samples, frames * geometry.step_samples)

    def _run_full(self) -> None:
        """The samples suffice for a full call of the network: make it, and keep what the next one needs of them."""
        frames = self._frames.wanted
        used = frames * self._file.geometry.step_samples
        self._frames.feed_frames(self._mfcc(self._samples[: self._num_samples] / np.float32(32768))[:frames])
        kept = self._num_samples - used
        self._samples[:kept] = self._samples[used : self._num_samples]
        self._num_samples = kept

    def _finish(self) -> None:
        self._check_open()
        if self._got_audio:
            left = self._samples[: self._num_samples] / np.float32(32768)
            self._frames.feed_frames(self._mfcc(with_last_frame(left, self._file.geometry)))
            self._frames.finish()
        self._end()

    def _end(self) -> None:
        self._open = False
        del self._samples, self._frames

    def _text(self) -> str:
        return self._file.text(self._decoder.results()[0].labels)

    def _metadata(self, num_results: int) -> Metadata:
        return Metadata(
            tuple(
                CandidateTranscript(candidate.confidence, tuple(self._tokens(candidate)))
                for candidate in self._decoder.results(num_results)
            )
        )

    def _tokens(self, candidate: Candidate) -> Iterator[TokenMetadata]:
        """A token for each character; one of several bytes begins with its first."""
        geometry = self._file.geometry
        step_s = self._file.stride * geometry.step_samples / geometry.sample_rate
        for labels, frame in self._characters(candidate):
            yield TokenMetadata(self._file.text(labels), frame, frame * step_s)

    def _characters(self, candidate: Candidate) -> Iterator[tuple[list[int], int]]:
        """Labels of each character and the frame where it begins."""
        labels, begins = candidate.labels, list(range(len(candidate.labels)))
        if self._file.bytes_mode:  # label + 1 is the byte; those of 10xxxxxx continue with a character
            begins = [place for place in begins if place == 0 or (labels[place] + 1) & 0xC0 != 0x80]
        for begin, end in pairwise([*begins, len(labels)]):
            yield labels[begin:end], candidate.frames[begin]


def to_int16(audio: np.ndarray) -> np.ndarray:
    """Audio float32 [samples], -1..1, as the int16 samples that a model takes; louder samples are clipped."""
    return np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16)


def _checked_audio(audio: np.ndarray) -> np.ndarray:
    if isinstance(audio, bytes | bytearray | memoryview):
        raise TypeError("the audio is bytes: wrap them with np.frombuffer(audio, np.int16)")
    audio = np.asarray(audio)
    if not audio.size:
        return np.zeros(0, np.int16)
    if audio.dtype != np.int16:
        if audio.dtype.kind == "f":
            found = " with samples that are not finite numbers" if not np.isfinite(audio).all() else ""
            raise TypeError(
                f"the audio is {audio.dtype}{found}, it must be int16; if it lies between -1 and 1, convert it with "
                "np.clip(np.rint(audio * 32768), -32768, 32767).astype(np.int16)"
            )
        raise TypeError(f"the audio is {audio.dtype}, it must be int16: 16-bit samples at the model's rate")
    if audio.ndim != 1:
        raise ValueError(f"the audio has the shape {audio.shape}, it must have one dimension: mono")
    return audio


def _check_num_results(num_results: int) -> None:
    if num_results < 1:
        raise ValueError(f"num_results {num_results}: it must be 1 or more")
