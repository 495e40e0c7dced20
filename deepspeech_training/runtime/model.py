"""DeepSpeech's Python API: int16 samples -> text, whole or in pieces as they arrive.

The names are those of `deepspeech` 0.9.3 and `stt` 1.4.0 (hence the camel case), and so are the frames: as in stt
1.4.0 the rest of the samples gives one last frame, filled up with zeros, so a clip has one frame more than in training.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

import numpy as np

from deepspeech_training.decoding.beam import LARGEST_BEAM, BeamDecoder, BeamStream
from deepspeech_training.decoding.candidate import Candidate
from deepspeech_training.decoding.greedy import GreedyStream
from deepspeech_training.decoding.scorer import Scorer, check_weight
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.runtime.confidence import read_confidence
from deepspeech_training.runtime.model_file import ModelError, ModelFile
from deepspeech_training.runtime.network import FrameStream, Networks
from deepspeech_training.runtime.settings import StreamSettings

DECODERS_KEPT = 32  # of different settings; a decoder without its scorer takes some kilobytes


class ScorerNotEnabled(RuntimeError):
    """A call that changes what a scorer does, while there is none."""

    def __init__(self, call: str):
        super().__init__(f"{call} needs a scorer: call enableExternalScorer before it")


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


class Model:
    """An exported model, ready to transcribe. Any number of threads may use one Model, each with its own streams.

    It decodes greedily until `setBeamWidth` or `enableExternalScorer` is called; what they and the calls on hot words
    change holds for the streams that are made afterwards.

    Args:
        path: a `.tflite` of ours, of DeepSpeech 0.7 to 0.9 or of Coqui STT, or one that has been read.
        num_threads: how many calls of the network may run at the same time, each on one core and with working memory
            of its own; by default the cores that this process may use. More streams than that take turns.
    Raises:
        ModelError: the file is not such a model, or is damaged.
    """

    def __init__(self, path: str | os.PathLike | ModelFile, *, num_threads: int | None = None):
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads {num_threads}: it must be 1 or more")
        self.file = path if isinstance(path, ModelFile) else ModelFile.read(path)
        if self.file.commands is not None:
            raise ModelError(
                f"{self.file.path}: a model of spoken commands ({', '.join(self.file.labels[:8])}), it writes no text\n"
                "Use it with `deepspeech detect`, or in Python with `SpokenCommandModel`."
            )
        self.confidence = read_confidence(self.file.path)  # how the words of sessions are judged
        self._mfcc = Mfcc(self.file.geometry)
        self._beam_width: int | None = None  # None: not set
        self._scorer: Scorer | None = None
        self._alpha: float | None = None
        self._beta: float | None = None
        self._hot_words: dict[str, float] = {}
        self._beam: BeamDecoder | None = None
        self._settings_lock = threading.Lock()
        self._decoders: OrderedDict[StreamSettings, BeamDecoder] = OrderedDict()  # the latest used last
        self._decoders_lock = threading.Lock()
        self._networks = Networks(self.file, limit=num_threads or usable_cores())

    def sampleRate(self) -> int:
        """The rate in Hz that the audio must have."""
        return self.file.geometry.sample_rate

    def beamWidth(self) -> int:
        """The beam width that was set, or else the one of the export, which a scorer is used with."""
        return self.file.beam_width if self._beam_width is None else self._beam_width

    def setBeamWidth(self, beam_width: int) -> None:
        """Decode with a beam of that many hypotheses from now on; 0 decodes greedily again, if there is no scorer."""
        whole = isinstance(beam_width, int | np.integer) and not isinstance(beam_width, bool)
        if not whole or not 0 <= beam_width <= LARGEST_BEAM:
            raise ValueError(f"beam width {beam_width!r}: it must be a whole number from 0 to {LARGEST_BEAM}")
        with self._settings_lock:
            if not beam_width and self._scorer is not None:
                raise ValueError("beam width 0 decodes greedily, without the scorer: call disableExternalScorer before")
            self._beam_width, self._beam = int(beam_width), None

    def stt(self, audio: np.ndarray) -> str:
        """Transcribe a whole clip: int16 [samples], mono, at `sampleRate()`."""
        with self.createStream() as stream:
            stream.feedAudioContent(audio)
            return stream.finishStream()

    def sttWithMetadata(self, audio: np.ndarray, num_results: int = 1) -> Metadata:
        """Transcribe a whole clip, with times and confidence; `num_results` is the most candidates to return."""
        with self.createStream() as stream:
            stream.feedAudioContent(audio)
            return stream.finishStreamWithMetadata(num_results)

    def sttCompared(self, audio: np.ndarray) -> dict[str, str | None]:
        """Transcribe a whole clip in all the ways that tell what beam and scorer change; no call of the clients.

        Returns:
            "text" as `stt` has it; "without_scorer" with the same beam, None without a scorer; "greedy", None where
            that is how it decodes.
        """
        decoders: dict[str, Decoder] = {"text": self._new_decoder()}
        with self._settings_lock:
            if self._scorer is not None:
                decoders["without_scorer"] = BeamDecoder(self._labels, width=self.beamWidth()).stream()
        if isinstance(decoders["text"], BeamStream):
            decoders["greedy"] = GreedyStream(blank=len(self.file.labels))
        with self.stream_into(_Together(list(decoders.values()))) as stream:
            stream.feedAudioContent(audio)
            stream.finishStream()
        heard = {name: self.file.text(decoder.results()[0].labels) for name, decoder in decoders.items()}
        return {"without_scorer": None, "greedy": None, **heard}

    def createStream(self, settings: StreamSettings | None = None) -> "Stream":
        """Begin a clip whose audio comes in pieces; with `settings` it decodes so, whatever the model is set to.

        Raises:
            ScorerError: the scorer of the settings was built for another alphabet.
        """
        return self.stream_into(self._new_decoder() if settings is None else self.new_decoder(settings))

    def new_decoder(self, settings: StreamSettings) -> "GreedyStream | BeamStream":
        """What decodes a clip with these settings; no call of the clients.

        Raises:
            ScorerError: the scorer was built for another alphabet.
        """
        width = settings.width(of_model=self._beam_width, of_export=self.file.beam_width)
        if not width:
            return GreedyStream(blank=len(self.file.labels))
        key = replace(settings, beam_width=width, num_results=1)
        geometry = self.file.geometry
        frame_s = self.file.stride * geometry.step_samples / geometry.sample_rate
        with self._decoders_lock:
            decoder = self._decoders.pop(key, None)
            if decoder is None:
                decoder = BeamDecoder(
                    self._labels,
                    width=width,
                    scorer=settings.scorer,
                    alpha=settings.alpha,
                    beta=settings.beta,
                    hot_words=dict(settings.hot_words),
                    commit_after=None if settings.commit_s is None else round(settings.commit_s / frame_s),
                )
            self._decoders[key] = decoder
            if len(self._decoders) > DECODERS_KEPT:
                self._decoders.popitem(last=False)
        return decoder.stream()

    def stream_into(self, decoder: Decoder) -> "Stream":
        """Begin a clip that is decoded by `decoder`; no call of the clients."""
        return Stream(self._networks, self._mfcc, decoder)

    def probabilities(self, audio: np.ndarray) -> np.ndarray:
        """What the network says of each frame of a whole clip, for those who decode later; no call of the clients.

        Args:
            audio: int16 [samples], mono, at `sampleRate()`.
        Returns:
            float32 [frames, classes], the blank last.
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

    def enableExternalScorer(self, scorer_path: str) -> None:
        """Decode with a beam and a scorer from now on, with the alpha and beta of its file.

        Raises:
            ScorerError: the file is no scorer, damaged, or was built for another alphabet.
        """
        scorer = Scorer.read(scorer_path)
        scorer.check_labels(self._labels)
        with self._settings_lock:
            self._scorer, self._alpha, self._beta, self._beam = scorer, None, None, None
            self._beam_width = self._beam_width or None

    def disableExternalScorer(self) -> None:
        with self._settings_lock:
            self._need_scorer("disableExternalScorer")
            self._scorer = self._beam = None

    def setScorerAlphaBeta(self, alpha: float, beta: float) -> None:
        """How much the language model counts, and what each word adds; instead of what the scorer's file says."""
        with self._settings_lock:
            self._need_scorer("setScorerAlphaBeta")
            self._alpha, self._beta, self._beam = check_weight("alpha", alpha), check_weight("beta", beta), None

    def scorerAlphaBeta(self) -> tuple[float, float]:
        """Alpha and beta that are in use; no call of the clients."""
        with self._settings_lock:
            scorer = self._scorer
            if scorer is None:
                raise ScorerNotEnabled("scorerAlphaBeta")
            return (
                scorer.alpha if self._alpha is None else self._alpha,
                scorer.beta if self._beta is None else self._beta,
            )

    def addHotWord(self, word: str, boost: float) -> None:
        """Add `boost` to the log probability of a word, each time that it is among the last ones that are scored.

        Positive makes it likelier; 5 to 15 is much. It must be a word of the scorer to be heard at all.
        """
        with self._settings_lock:
            self._need_scorer("addHotWord")
            if word in self._hot_words:
                raise ValueError(f"{word!r} is a hot word already: erase it before")
            self._hot_words[word], self._beam = check_weight(f"boost of {word!r}", boost), None

    def unknownHotWords(self) -> list[str]:
        """The hot words that the scorer's dictionary lacks, so that they are never heard; no call of the clients."""
        with self._settings_lock:
            scorer = self._scorer
            return [word for word in self._hot_words if scorer and not scorer.has_word(word, self._labels)]

    def eraseHotWord(self, word: str) -> None:
        with self._settings_lock:
            self._need_scorer("eraseHotWord")
            if word not in self._hot_words:
                raise ValueError(f"{word!r} is no hot word")
            del self._hot_words[word]
            self._beam = None

    def clearHotWords(self) -> None:
        with self._settings_lock:
            self._need_scorer("clearHotWords")
            self._hot_words.clear()
            self._beam = None

    @property
    def _labels(self) -> tuple[str, ...] | None:
        return None if self.file.bytes_mode else self.file.labels

    def _need_scorer(self, call: str) -> None:
        if self._scorer is None:
            raise ScorerNotEnabled(call)

    def _new_decoder(self) -> "GreedyStream | BeamStream":
        with self._settings_lock:
            if self._scorer is None and not self._beam_width:
                return GreedyStream(blank=len(self.file.labels))
            if self._beam is None:
                self._beam = BeamDecoder(
                    self._labels,
                    width=self.beamWidth(),
                    scorer=self._scorer,
                    alpha=self._alpha,
                    beta=self._beta,
                    hot_words=self._hot_words if self._scorer else None,
                )
            return self._beam.stream()


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


class _Together:
    """Several decoders that are fed the same; the result is that of the first."""

    def __init__(self, decoders: list[Decoder]):
        self._decoders = decoders

    def feed(self, probs: np.ndarray) -> None:
        for decoder in self._decoders:
            decoder.feed(probs)

    def results(self, num_results: int = 1) -> list[Candidate]:
        return self._decoders[0].results(num_results)


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
