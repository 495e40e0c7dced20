"""A checkpoint of spoken commands -> the exported model, compared with its checkpoint, and its streams' threshold."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deepspeech_training.audio.synthetic_speech import SMOKE_CLIP
from deepspeech_training.config.groups import ExportFlags
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.exporting.folder import ExportedModel
from deepspeech_training.exporting.parity import MAX_DIFFERENCE_FROM_AUDIO, MAX_DIFFERENCE_FROM_FEATURES
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.models.reference import softmax
from deepspeech_training.models.tflite import ExportSettings, write_commands_tflite
from deepspeech_training.runtime.commands import SpokenCommandModel, loudest
from deepspeech_training.runtime.detection import Rule, judged, logarithms
from deepspeech_training.runtime.listening import Clip, listen, read_clip
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.network import without_delegate_notice
from deepspeech_training.runtime.stream import Recorder

MOST_CHANGED = 0.1  # share of the clips whose answer the 8-bit model may change
PIECE_SAMPLES = 1000  # what a stream is fed with here: no multiple of a window or a step


@dataclass(frozen=True)
class CommandsToExport:
    """A checkpoint: its file's name, and what it is."""

    name: str
    weights: Mapping[str, np.ndarray]
    labels: tuple[str, ...]
    clip_seconds: float
    features: FeatureGeometry
    network: AcousticModel


def export_commands(
    model: CommandsToExport,
    clips: Sequence[Clip],
    *,
    listened: tuple[Sequence[Clip], Sequence[Clip]] | None,
    false_alarms_per_hour: float,
    export: ExportFlags,
    language: str,
    console: Console,
) -> ExportedModel:
    """Make the file of a model, compare it with its checkpoint, and fit the threshold of its streams.

    Args:
        clips: to compare on; without any the clip of the package is taken.
        listened: commands, and other speech without any, that the threshold is fitted on; None for the default one.
    Raises:
        UserError: it cannot be exported, or differs from the checkpoint by more than is allowed.
    """

    def made(quantize: bool, rule: Rule | None) -> bytes:
        settings = ExportSettings(quantize, export.n_steps, export.export_beam_width, language)
        said = {"task": "spoken_command", "clip_seconds": model.clip_seconds, "rule": rule and asdict(rule)}
        return write_commands_tflite(
            model.weights,
            labels=model.labels,
            said=json.dumps(said),
            features=model.features,
            network=model.network,
            settings=settings,
        )

    kind = "int8" if export.export_quantize else "float32"
    report = _compared({"float32": made(False, None), "int8": made(True, None)}, model, clips, kind, console)
    rule = None
    if listened is not None:
        curve = listen(_loaded(made(export.export_quantize, None), kind), *listened, console)
        point = curve.chosen(false_alarms_per_hour)
        rule = Rule(point.threshold)
        report["detection"] = {"rule": asdict(rule), "wanted": false_alarms_per_hour, **asdict(curve)}
        for line in curve.lines():
            console.info(line)
        console.info(curve.sentence(point.threshold))
        if curve.hours * false_alarms_per_hour < 3:
            console.warn(
                f"{curve.hours:.2f} h of other speech tell little of {false_alarms_per_hour:g} false alarms an hour: "
                f"with none of them there may be up to {3 / max(curve.hours, 1e-9):.2g} an hour (95 %)\n"
                "Give --other_speech_files more."
            )
    return ExportedModel(made(export.export_quantize, rule), kind, model.name, report)


def _loaded(data: bytes, kind: str) -> SpokenCommandModel:
    with without_delegate_notice():
        return SpokenCommandModel(ModelFile.of_bytes(data, f"the exported model ({kind})"), num_threads=1)


def _compared(
    files: Mapping[str, bytes], model: CommandsToExport, clips: Sequence[Clip], exported: str, console: Console
) -> dict[str, Any]:
    """Run every clip through both models and the reference in numpy.

    Raises:
        UserError: they differ by more than is allowed.
    """
    rate, mfcc = model.features.sample_rate, Mfcc(model.features, dtype=np.float64)
    clips = clips or [Clip(str(SMOKE_CLIP))]
    heard = [(clip, audio) for clip in clips if (audio := read_clip(clip, rate, console)) is not None]
    if not heard:
        raise UserError("None of the clips of --test_files can be read, so there is nothing to compare the model on")
    faults, models = [], {}
    for kind, data in files.items():
        loaded = _loaded(data, kind)
        most = {"from_equal_features": 0.0, "from_audio": 0.0, "streaming_against_whole_file": 0.0}
        changed, right, seconds, audio_s = [], 0, 0.0, 0.0
        for clip, whole in heard:
            audio = loudest(whole, round(model.clip_seconds * rate))
            features = mfcc(with_last_frame(audio / np.float32(32768), model.features))
            wanted = softmax(model.network.reference(model.weights, features))
            began = time.perf_counter()
            found = loaded.probabilities(audio)
            seconds += time.perf_counter() - began
            audio_s += len(audio) / rate
            for name, difference in (
                ("from_equal_features", loaded.probabilities_of_features(features) - wanted),
                ("from_audio", found - wanted),
                ("streaming_against_whole_file", _streamed(loaded, audio) - found),
            ):
                most[name] = max(most[name], float(np.abs(difference).max()))
            answers = [int(judged(logarithms(frames)).argmax()) for frames in (found, wanted)]
            right += model.labels[answers[0]] == clip.label
            if answers[0] != answers[1]:
                changed.append(clip.path)
        models[kind] = {
            "exported": kind == exported,
            "file_bytes": len(data),
            "greatest_probability_difference": most,
            "answers_that_differ": changed,
            "accuracy": right / len(heard) if heard[0][0].label else None,
            "real_time_factor_on_one_thread": seconds / max(audio_s, 1e-9),
        }
        console.info(
            f"  {kind:<8}{len(data) / 1e6:7.3f} MB  greatest difference {most['from_equal_features']:.1e} from equal "
            f"features, {most['from_audio']:.1e} from audio, {most['streaming_against_whole_file']:.1e} streaming; "
            f"{len(changed)} of {len(heard)} answers differ; real-time factor {seconds / max(audio_s, 1e-9):.4f}"
        )
        faults += _faults(kind, most, len(changed) / len(heard), exported)
    if faults:
        raise UserError(
            "The exported model does not compute what the checkpoint does; nothing was exported:\n" + "\n".join(faults)
        )
    return {"clips": [clip.path for clip, _ in heard], "models": models}


def _faults(kind: str, most: Mapping[str, float], changed: float, exported: str) -> list[str]:
    faults = []
    if kind == "float32":
        for name, bound in (
            ("from_equal_features", MAX_DIFFERENCE_FROM_FEATURES),
            ("from_audio", MAX_DIFFERENCE_FROM_AUDIO),
            ("streaming_against_whole_file", MAX_DIFFERENCE_FROM_FEATURES),
        ):
            if not most[name] <= bound:
                faults.append(
                    f"float32: a probability {name.replace('_', ' ')} differs by {most[name]:.2g}, not {bound:g}"
                )
    elif kind == exported and changed > MOST_CHANGED:
        faults.append(f"int8: {changed:.0%} of the answers differ: --noexport_quantize exports 32 bits")
    return faults


def _streamed(model: SpokenCommandModel, audio: np.ndarray) -> np.ndarray:
    recorder = Recorder(model.file)
    with model.stream_into(recorder) as stream:
        for start in range(0, len(audio), PIECE_SAMPLES):
            stream.feedAudioContent(audio[start : start + PIECE_SAMPLES])
        stream.finishStream()
    return recorder.probabilities()
