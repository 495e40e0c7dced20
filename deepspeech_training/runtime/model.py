"""DeepSpeech's Python API: int16 samples -> text, whole or in pieces as they arrive.

The names are those of `deepspeech` 0.9.3 and `stt` 1.4.0, hence the camel case.
"""

import os
import threading
from collections import OrderedDict
from dataclasses import replace

import numpy as np

from deepspeech_training.decoding.beam import LARGEST_BEAM, BeamDecoder, BeamStream
from deepspeech_training.decoding.candidate import Candidate
from deepspeech_training.decoding.greedy import GreedyStream
from deepspeech_training.decoding.scorer import Scorer, check_weight
from deepspeech_training.runtime.confidence import read_confidence
from deepspeech_training.runtime.model_file import ModelError, ModelFile
from deepspeech_training.runtime.settings import StreamSettings
from deepspeech_training.runtime.stream import Decoder, ExportedNetwork, Metadata, Stream

DECODERS_KEPT = 32  # of different settings; a decoder without its scorer takes some kilobytes


class ScorerNotEnabled(RuntimeError):
    """A call that changes what a scorer does, while there is none."""

    def __init__(self, call: str):
        super().__init__(f"{call} needs a scorer: call enableExternalScorer before it")


class Model(ExportedNetwork):
    """An exported model, ready to transcribe. Any number of threads may use one Model, each with its own streams.

    It decodes greedily until `setBeamWidth` or `enableExternalScorer` is called; what they and the calls on hot words
    change holds for the streams that are made afterwards.

    Args:
        path: a `.tflite` of ours, of DeepSpeech 0.7 to 0.9 or of Coqui STT, or one that has been read.
        num_threads: of the network, as `ExportedNetwork` has it.
    Raises:
        ModelError: the file is not such a model, or is damaged.
    """

    def __init__(self, path: str | os.PathLike | ModelFile, *, num_threads: int | None = None):
        file = path if isinstance(path, ModelFile) else ModelFile.read(path)
        if file.commands is not None:
            raise ModelError(
                f"{file.path}: a model of spoken commands ({', '.join(file.labels[:8])}), it writes no text\n"
                "Use it with `deepspeech detect`, or in Python with `SpokenCommandModel`."
            )
        super().__init__(file, num_threads=num_threads)
        self.confidence = read_confidence(file.path)  # how the words of sessions are judged
        self._beam_width: int | None = None  # None: not set
        self._scorer: Scorer | None = None
        self._alpha: float | None = None
        self._beta: float | None = None
        self._hot_words: dict[str, float] = {}
        self._beam: BeamDecoder | None = None
        self._settings_lock = threading.Lock()
        self._decoders: OrderedDict[StreamSettings, BeamDecoder] = OrderedDict()  # the latest used last
        self._decoders_lock = threading.Lock()

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

    def createStream(self, settings: StreamSettings | None = None) -> Stream:
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


class _Together:
    """Several decoders that are fed the same; the result is that of the first."""

    def __init__(self, decoders: list[Decoder]):
        self._decoders = decoders

    def feed(self, probs: np.ndarray) -> None:
        for decoder in self._decoders:
            decoder.feed(probs)

    def results(self, num_results: int = 1) -> list[Candidate]:
        return self._decoders[0].results(num_results)
