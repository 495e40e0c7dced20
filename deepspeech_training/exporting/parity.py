"""Does the exported model compute what the checkpoint computes? The answer, in numbers, goes beside each export.

Both the float32 and the int8 model run in the runtime that users get (`runtime`), and are compared with the
network in numpy: from equal features, from audio, from audio that comes in pieces, and from the features that the
model's own operators compute, which DeepSpeech's clients run.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.decoding import DECODERS
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.models.reference import softmax
from deepspeech_training.models.tflite_graph import AlignedBuffer
from deepspeech_training.reporting.metrics import Result, SetReport
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.network import without_delegate_notice
from deepspeech_training.runtime.stream import Recorder, to_int16

# Bounds of the greatest difference of a probability between the float32 model and the reference.
MAX_DIFFERENCE_FROM_FEATURES = 1e-5
# From audio the features differ too: where a band is empty (8 kHz recordings at 16 kHz), the rounding of the Fourier
# transform stands alone under the logarithm. Spoken digits so resampled gave up to 7.5e-3 with equal transcripts;
# speech that fills the band stays below 1e-5.
MAX_DIFFERENCE_FROM_AUDIO = 5e-2
TIE = 2e-3  # two classes this close may change places
MAX_AUDIO_S = 120.0  # of all clips after the first, so that the largest networks are compared within minutes
PIECE_SAMPLES = 1000  # what a stream is fed with here: no multiple of a window or a step


@dataclass(frozen=True)
class Clip:
    """A clip to compare on; its transcript is in the alphabet's language only if it came from a test set."""

    name: str
    audio: np.ndarray
    transcript: str


@dataclass
class ModelParity:
    """Figures of one exported model; `where` names the clip of the greatest difference."""

    file_bytes: int
    from_features: float = 0.0
    from_audio: float = 0.0
    streamed: float = 0.0
    in_a_client: float = 0.0
    where: dict[str, str] = field(default_factory=dict)
    transcripts_that_differ: list[str] = field(default_factory=list)
    wer: float = 0.0
    cer: float = 0.0
    real_time_factor: float = 0.0
    faults: list[str] = field(default_factory=list)

    def note(self, what: str, difference: float, clip: str) -> None:
        if difference > getattr(self, what) or math.isnan(difference):  # NaN stays: nothing is greater
            setattr(self, what, difference)
            self.where[what] = clip


class ClientFeatures:
    """The feature operators of a model, a window at a time: what DeepSpeech's clients run, and our runtime does not."""

    def __init__(self, model: bytes):
        from ai_edge_litert.interpreter import Interpreter  # 0.1 s, and only where it is needed

        with without_delegate_notice():
            self._interpreter = Interpreter(model_content=part_of(model, ["mfccs"]), num_threads=1)
            self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._output = self._interpreter.get_output_details()[0]["index"]

    def __call__(self, audio: np.ndarray, geometry: FeatureGeometry) -> np.ndarray:
        """float32 [samples] -> float32 [frames, n_mfcc], with the last frame filled up with zeros."""
        samples = with_last_frame(audio, geometry)
        windows = np.lib.stride_tricks.sliding_window_view(samples, geometry.window_samples)[:: geometry.step_samples]
        rows = np.zeros((len(windows), geometry.n_mfcc), np.float32)
        for row, window in zip(rows, windows, strict=True):
            self._interpreter.set_tensor(self._input, np.ascontiguousarray(window))
            self._interpreter.invoke()
            row[:] = self._interpreter.get_tensor(self._output).reshape(-1)
        return rows


def _streamed(model: Model, audio: np.ndarray) -> np.ndarray:
    """As `Model.probabilities`, with the audio in pieces."""
    recorder = Recorder(model.file)
    with model.stream_into(recorder) as stream:
        for start in range(0, len(audio), PIECE_SAMPLES):
            stream.feedAudioContent(audio[start : start + PIECE_SAMPLES])
        stream.finishStream()
    return recorder.probabilities()


def part_of(model: bytes, outputs: Sequence[str]) -> bytes:
    """The part of a .tflite that computes the named outputs, as a .tflite of its own.

    LiteRT always runs the whole file; the clients run the features for each frame and the network every n_steps.
    """
    whole = schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))
    graph = whole.subgraphs[0]
    names = {index: tensor.name.decode() for index, tensor in enumerate(graph.tensors)}
    wanted = [index for index in graph.outputs if names[index] in outputs]
    needed = set(map(int, wanted))
    operators: list[Any] = []
    for operator in reversed(graph.operators):
        if needed & set(map(int, operator.outputs)):
            needed |= set(map(int, operator.inputs)) | set(map(int, operator.outputs))
            operators.insert(0, operator)
    graph.operators, graph.outputs = operators, wanted
    graph.inputs = [index for index in graph.inputs if int(index) in needed]
    kept = {int(graph.tensors[index].buffer) for index in needed}
    for number, buffer in enumerate(whole.buffers):
        whole.buffers[number] = schema.BufferT()
        if number in kept and buffer.data is not None:
            whole.buffers[number] = AlignedBuffer()
            whole.buffers[number].data = buffer.data.tobytes()
    builder = flatbuffers.Builder(len(model) + 4096)
    builder.Finish(whole.Pack(builder), b"TFL3")
    return bytes(builder.Output())


@dataclass(frozen=True)
class Comparison:
    """The result for all models, by "float32" and "int8"."""

    clips: list[str]
    audio_s: float
    reference_wer: float
    reference_cer: float
    wer_is_judged: bool
    models: dict[str, ModelParity]
    max_wer_increase: float

    @property
    def faults(self) -> list[str]:
        return [f"{name}: {fault}" for name, model in self.models.items() for fault in model.faults]

    def as_json(self, exported: str) -> dict[str, Any]:
        models = {}
        for name, model in self.models.items():
            models[name] = {
                "exported": name == exported,
                "file_bytes": model.file_bytes,
                "greatest_probability_difference": {
                    "from_equal_features": model.from_features,
                    "from_audio": model.from_audio,
                    "streaming_against_whole_file": model.streamed,
                    "from_the_features_of_its_own_operators": model.in_a_client,
                },
                "in_clip": model.where,
                "transcripts_that_differ": model.transcripts_that_differ,
                "wer": model.wer,
                "cer": model.cer,
                "real_time_factor_on_one_thread": model.real_time_factor,
            }
        return {
            "clips": self.clips,
            "audio_s": self.audio_s,
            "checkpoint": {"wer": self.reference_wer, "cer": self.reference_cer},
            "bounds": {
                "float32_from_equal_features": MAX_DIFFERENCE_FROM_FEATURES,
                "float32_from_audio": MAX_DIFFERENCE_FROM_AUDIO,
                "int8_wer_increase": self.max_wer_increase if self.wer_is_judged else None,
            },
            "models": models,
        }

    def lines(self) -> list[str]:
        """What the log says."""
        clips = self.clips[0] if len(self.clips) == 1 else f"{len(self.clips)} clips"
        said = [
            f"Parity on {clips}, {self.audio_s:.1f} s; the checkpoint in numpy has WER {self.reference_wer:.4f} "
            "(greedy, with the clients' last frame)"
        ]
        for name, model in self.models.items():
            said.append(
                f"  {name:<8}{model.file_bytes / 1e6:7.2f} MB  greatest difference {model.from_features:.1e} from "
                f"equal features, {model.from_audio:.1e} from audio, {model.streamed:.1e} streaming, "
                f"{model.in_a_client:.1e} in DeepSpeech's clients; "
                f"{len(model.transcripts_that_differ)} transcripts differ; WER {model.wer:.4f}; "
                f"real-time factor {model.real_time_factor:.4f} on one thread"
            )
        return said


def compare(
    models: Mapping[str, bytes],
    clips: Sequence[Clip],
    *,
    weights: Mapping[str, np.ndarray],
    alphabet: Alphabet | ByteAlphabet,
    features: FeatureGeometry,
    network: AcousticModel,
    exported: str,
    max_wer_increase: float,
    wer_is_judged: bool,
) -> Comparison:
    """Run every clip through every model and the reference.

    Args:
        models: bytes of .tflite files, by "float32" and "int8".
        clips: at least one.
        weights, alphabet, features, network: of the checkpoint.
        exported: which of the models is to be exported: the bound of the WER holds for it alone.
        max_wer_increase: bound of WER(int8) - WER(checkpoint).
        wer_is_judged: whether `max_wer_increase` is applied: not on a clip that the model was not made for.
    """

    def text(probabilities: np.ndarray) -> str:
        return alphabet.decode(DECODERS["greedy"](probabilities, blank=alphabet.blank))

    def report(texts: Sequence[str]) -> SetReport:
        results = [Result(c.name, c.transcript, said, 0.0) for c, said in zip(clips, texts, strict=True)]
        return SetReport("parity", tuple(results))

    audio_s = sum(len(clip.audio) for clip in clips) / features.sample_rate
    mfcc = Mfcc(features, dtype=np.float64)
    heard = [to_int16(clip.audio) for clip in clips]
    sounds = [samples / np.float32(32768) for samples in heard]
    frames = [mfcc(with_last_frame(sound, features)) for sound in sounds]
    wanted = [softmax(network.reference(weights, found)) for found in frames]
    reference_report = report([text(p) for p in wanted])
    figures = {}
    for name, data in models.items():
        with without_delegate_notice():
            model = Model(ModelFile.of_bytes(data, f"the exported model ({name})"), num_threads=1)
        client_features, parity = ClientFeatures(data), ModelParity(len(data))
        texts, seconds = [], 0.0
        for clip, samples, sound, found, reference in zip(clips, heard, sounds, frames, wanted, strict=True):
            parity.note("from_features", _difference(model.probabilities_of_features(found), reference), clip.name)
            began = time.perf_counter()
            probabilities = model.probabilities(samples)
            texts.append(text(probabilities))
            seconds += time.perf_counter() - began
            parity.note("from_audio", _difference(probabilities, reference), clip.name)
            parity.note("streamed", _difference(_streamed(model, samples), probabilities), clip.name)
            in_a_client = model.probabilities_of_features(client_features(sound, features))
            parity.note("in_a_client", _difference(in_a_client, reference), clip.name)
            if texts[-1] != text(reference):
                parity.transcripts_that_differ.append(clip.name)
                if name == "float32" and not _is_a_tie(probabilities, reference):
                    parity.faults.append(
                        f"{clip.name}: its transcript is {texts[-1]!r}, the checkpoint's {text(reference)!r}"
                    )
        said = report(texts)
        parity.wer, parity.cer, parity.real_time_factor = said.wer, said.cer, seconds / max(audio_s, 1e-9)
        parity.faults += _beyond_bounds(name, parity)
        increase = said.wer - reference_report.wer
        if name == exported == "int8" and wer_is_judged and increase > max_wer_increase:
            parity.faults.append(
                f"WER {said.wer:.4f} against {reference_report.wer:.4f} of the checkpoint on {len(clips)} clips: "
                f"{increase:.4f} more, and --export_max_wer_increase is {max_wer_increase:g}"
            )
        figures[name] = parity
    return Comparison(
        [clip.name for clip in clips],
        audio_s,
        reference_report.wer,
        reference_report.cer,
        wer_is_judged,
        figures,
        max_wer_increase,
    )


def _difference(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.max(np.abs(found - wanted)))


def _is_a_tie(found: np.ndarray, wanted: np.ndarray) -> bool:
    """Whether the best classes differ only where the reference has two that are equal within the bound."""
    best, frames = np.argmax(found, axis=1), np.arange(len(found))
    return bool(np.all(wanted.max(axis=1) - wanted[frames, best] <= TIE))


def _beyond_bounds(name: str, parity: ModelParity) -> list[str]:
    if name != "float32":
        return []
    faults = []
    for what, bound, words in (
        ("from_features", MAX_DIFFERENCE_FROM_FEATURES, "from equal features"),
        ("from_audio", MAX_DIFFERENCE_FROM_AUDIO, "from audio"),
        ("streamed", MAX_DIFFERENCE_FROM_FEATURES, "streaming against whole file"),
        ("in_a_client", MAX_DIFFERENCE_FROM_AUDIO, "from the features of its own operators"),
    ):
        if not getattr(parity, what) <= bound:
            faults.append(
                f"{parity.where[what]}: a probability {words} differs by {getattr(parity, what):.2g}, "
                f"and {bound:g} is allowed"
            )
    return faults
