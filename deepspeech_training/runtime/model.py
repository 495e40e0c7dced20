"""DeepSpeech's Python API: int16 samples -> text, whole or in pieces as they arrive.

The names are those of `deepspeech` 0.9.3 and `stt` 1.4.0 (hence the camel case), and so are the frames: as in stt
1.4.0 the rest of the samples gives one last frame, filled up with zeros, so a clip has one frame more than in training.
"""

import os
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from deepspeech_training.decoding.beam import LARGEST_BEAM, BeamDecoder, BeamStream
from deepspeech_training.decoding.candidate import Candidate
from deepspeech_training.decoding.greedy import GreedyStream
from deepspeech_training.decoding.scorer import Scorer, check_weight
from deepspeech_training.features.mfcc_numpy import Mfcc
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.runtime.model_file import ModelError, ModelFile


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


class Model:
    """An exported model, ready to transcribe. Any number of threads may use one Model, each with its own streams.

    It decodes greedily until `setBeamWidth` or `enableExternalScorer` is called; what they and the calls on hot words
    change holds for the streams that are made afterwards.

    Args:
        path: a `.tflite` of ours, of DeepSpeech 0.7 to 0.9 or of Coqui STT.
        num_threads: how many calls of the network may run at the same time, each on one core and with working memory
            of its own; by default the cores that this process may use. More streams than that take turns.
    Raises:
        ModelError: the file is not such a model, or is damaged.
    """

    def __init__(self, path: str | os.PathLike, *, num_threads: int | None = None):
        if num_threads is not None and num_threads < 1:
            raise ValueError(f"num_threads {num_threads}: it must be 1 or more")
        self._file = ModelFile.read(path)
        self._mfcc = Mfcc(self._file.geometry)
        self._beam_width: int | None = None  # None: not set
        self._scorer: Scorer | None = None
        self._alpha: float | None = None
        self._beta: float | None = None
        self._hot_words: dict[str, float] = {}
        self._beam: BeamDecoder | None = None
        self._settings_lock = threading.Lock()
        self._networks = _NetworkPool(self._file, limit=num_threads or usable_cores())

    def sampleRate(self) -> int:
        """The rate in Hz that the audio must have."""
        return self._file.geometry.sample_rate

    def beamWidth(self) -> int:
        """The beam width that was set, or else the one of the export, which a scorer is used with."""
        return self._file.beam_width if self._beam_width is None else self._beam_width

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
        decoders: dict[str, GreedyStream | BeamStream] = {"text": self._new_decoder()}
        with self._settings_lock:
            if self._scorer is not None:
                decoders["without_scorer"] = BeamDecoder(self._labels, width=self.beamWidth()).stream()
        if isinstance(decoders["text"], BeamStream):
            decoders["greedy"] = GreedyStream(blank=len(self._file.labels))
        with Stream(self._file, self._mfcc, self._networks.run, _Together(list(decoders.values()))) as stream:
            stream.feedAudioContent(audio)
            stream.finishStream()
        heard = {name: self._file.text(decoder.results()[0].labels) for name, decoder in decoders.items()}
        return {"without_scorer": None, "greedy": None, **heard}

    def createStream(self) -> "Stream":
        """Begin a clip whose audio comes in pieces."""
        return Stream(self._file, self._mfcc, self._networks.run, self._new_decoder())

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
            self._need_scorer("scorerAlphaBeta")
            scorer = self._scorer
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
        return None if self._file.bytes_mode else self._file.labels

    def _need_scorer(self, call: str) -> None:
        if self._scorer is None:
            raise ScorerNotEnabled(call)

    def _new_decoder(self) -> "GreedyStream | BeamStream":
        with self._settings_lock:
            if self._scorer is None and not self._beam_width:
                return GreedyStream(blank=len(self._file.labels))
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


class _Together:
    """Several decoders that are fed the same; the result is that of the first."""

    def __init__(self, decoders: "list[GreedyStream | BeamStream]"):
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

    def __init__(
        self,
        file: ModelFile,
        mfcc: Mfcc,
        run: Callable[..., tuple[np.ndarray, np.ndarray, np.ndarray]],
        decoder: GreedyStream | BeamStream | _Together,
    ):
        self._file, self._mfcc, self._run_network = file, mfcc, run
        geometry = file.geometry
        # The frames that the next call of the network sees; `_num_frames` are there. The clip begins with zeros.
        self._frames = np.zeros((file.n_steps + 2 * geometry.n_context, geometry.n_mfcc), np.float32)
        self._num_frames = geometry.n_context
        self._samples = np.zeros(self._samples_for(len(self._frames) - self._num_frames), np.float32)
        self._num_samples = 0
        self._got_audio = False
        self._c = self._h = np.zeros((1, file.n_cell), np.float32)
        self._decoder = decoder
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
        audio = _as_int16(audio)
        with self._lock:
            self._check_open()
            self._got_audio |= len(audio) > 0
            while len(audio):
                taken = audio[: self._samples_wanted() - self._num_samples]
                self._samples[self._num_samples : self._num_samples + len(taken)] = taken
                self._num_samples += len(taken)
                audio = audio[len(taken) :]
                if self._num_samples == self._samples_wanted():
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
            self._open = False
            self._samples = self._frames = None

    def _check_open(self) -> None:
        if not self._open:
            raise StreamError("this stream has ended (finishStream or freeStream was called): make another")

    def _samples_for(self, num_frames: int) -> int:
        geometry = self._file.geometry
        return max((num_frames - 1) * geometry.step_samples + geometry.window_samples, self._step(num_frames))

    def _samples_wanted(self) -> int:
        return self._samples_for(len(self._frames) - self._num_frames)

    def _step(self, num_frames: int) -> int:
        return num_frames * self._file.geometry.step_samples

    def _run_full(self) -> None:
        """The samples suffice for a full call of the network: make it, and keep what the next one needs of them."""
        wanted = len(self._frames) - self._num_frames
        used = self._step(wanted)
        self._frames[self._num_frames :] = self._mfcc(self._samples[: self._num_samples] / np.float32(32768))[:wanted]
        self._network(self._frames, self._file.n_steps)
        self._num_frames = 2 * self._file.geometry.n_context
        self._frames[: self._num_frames] = self._frames[self._file.n_steps :]
        kept = self._num_samples - used
        self._samples[:kept] = self._samples[used : self._num_samples]
        self._num_samples = kept

    def _finish(self) -> None:
        self._check_open()
        self._open = False
        if self._got_audio:
            geometry = self._file.geometry
            # Every whole window, and one of the rest filled up with zeros.
            num_frames = geometry.num_frames(self._num_samples) + 1
            samples = np.zeros(self._step(num_frames - 1) + geometry.window_samples, np.float32)
            held = min(self._num_samples, len(samples))
            samples[:held] = self._samples[:held] / np.float32(32768)
            frames = np.concatenate(
                [self._frames[: self._num_frames], self._mfcc(samples), np.zeros_like(self._frames)]
            )
            left = self._num_frames + num_frames - geometry.n_context
            for start in range(0, left, self._file.n_steps):
                self._network(
                    frames[start : start + len(self._frames)],
                    min(self._file.n_steps, left - start),
                )
        self._samples = self._frames = None

    def _network(self, frames: np.ndarray, num_outputs: int) -> None:
        # Each of the n_steps frames with its neighbours: [1, n_steps, 2 * n_context + 1, n_mfcc].
        windows = np.lib.stride_tricks.sliding_window_view(frames, 2 * self._file.geometry.n_context + 1, axis=0)
        probs, self._c, self._h = self._run_network(windows.transpose(0, 2, 1)[None], self._c, self._h)
        self._decoder.feed(probs[:num_outputs])

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
        step_s = geometry.step_samples / geometry.sample_rate
        for labels, frame in self._characters(candidate):
            yield TokenMetadata(self._file.text(labels), frame, frame * step_s)

    def _characters(self, candidate: Candidate) -> Iterator[tuple[list[int], int]]:
        """Labels of each character and the frame where it begins."""
        labels, begins = candidate.labels, range(len(candidate.labels))
        if self._file.bytes_mode:  # label + 1 is the byte; those of 10xxxxxx go on with a character
            begins = [place for place in begins if place == 0 or (labels[place] + 1) & 0xC0 != 0x80]
        for begin, end in pairwise([*begins, len(labels)]):
            yield labels[begin:end], candidate.frames[begin]


class _NetworkPool:
    """Interpreters of one model, each used by one thread at a time: LiteRT's are not thread-safe.

    The recurrent state goes in and out at each call, so any interpreter serves any stream.
    """

    def __init__(self, file: ModelFile, *, limit: int):
        self._file, self._limit = file, limit
        self._idle: queue.LifoQueue[_Network] = queue.LifoQueue()
        self._lock = threading.Lock()
        self._count = 1
        self._idle.put(_Network(file))

    def run(self, windows: np.ndarray, c: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Take one interpreter, waiting for it where all are busy; -> probabilities and the new state."""
        network = self._take()
        try:
            return network(windows, c, h)
        finally:
            self._idle.put(network)

    def _take(self) -> "_Network":
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            with self._lock:
                may_grow = self._count < self._limit
                self._count += may_grow
            if not may_grow:
                return self._idle.get()
        try:
            return _Network(self._file)
        except BaseException:
            with self._lock:
                self._count -= 1
            raise


class _Network:
    """One LiteRT interpreter on one core. Its feature operators run along with `input_samples` left at zero."""

    def __init__(self, file: ModelFile):
        # Imported here: it takes 0.1 s, and the module must be importable where a file is only checked.
        from ai_edge_litert.interpreter import Interpreter

        try:
            # With XNNPACK, LiteRT's default: twice as fast at n_hidden 2048, for more memory (docs/inference.md).
            self._interpreter = Interpreter(model_content=file.data, num_threads=1)
            self._interpreter.allocate_tensors()
            inputs = {tensor["name"]: tensor["index"] for tensor in self._interpreter.get_input_details()}
            outputs = {tensor["name"]: tensor["index"] for tensor in self._interpreter.get_output_details()}
            self._interpreter.set_tensor(inputs["input_samples"], np.zeros(file.geometry.window_samples, np.float32))
            self._inputs = [inputs[name] for name in ("input_node", "previous_state_c", "previous_state_h")]
            self._outputs = [outputs[name] for name in ("logits", "new_state_c", "new_state_h")]
            # One call before the first clip: a graph that cannot run is found out when it is loaded.
            state = np.zeros((1, file.n_cell), np.float32)
            width = 2 * file.geometry.n_context + 1
            probs, c, h = self(np.zeros((1, file.n_steps, width, file.geometry.n_mfcc), np.float32), state, state)
        except (RuntimeError, ValueError, KeyError) as error:
            raise ModelError(f"{file.path}: LiteRT cannot run the model: {error}") from error
        if probs.shape != (file.n_steps, len(file.labels) + 1) or c.shape != state.shape or h.shape != state.shape:
            raise ModelError(f"{file.path}: the model computes tensors of other shapes than it says")
        if not all(np.isfinite(values).all() for values in (probs, c, h)) or abs(probs.sum(axis=-1) - 1).max() > 1e-3:
            raise ModelError(f"{file.path}: the model computes no probabilities; its weights are damaged")

    def __call__(self, windows: np.ndarray, c: np.ndarray, h: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        for index, value in zip(self._inputs, (windows, c, h), strict=True):
            self._interpreter.set_tensor(index, value)
        self._interpreter.invoke()
        probs, new_c, new_h = (self._interpreter.get_tensor(index) for index in self._outputs)  # copies
        return probs, new_c, new_h


def _as_int16(audio: np.ndarray) -> np.ndarray:
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
