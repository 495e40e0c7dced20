"""A checkpoint or an export -> what it is, where it comes from, whether it is sound.

It reads our checkpoints and their folders, exported models, and the TensorFlow 1 checkpoints of DeepSpeech
0.9.3's trainer, all without TensorFlow.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.checkpoints.answers import answers_of_export, answers_of_weights
from deepspeech_training.checkpoints.describe import Checkpoint, Progress, TrainedModel, read_checkpoint
from deepspeech_training.checkpoints.file import DamagedCheckpoint
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.checkpoints.tf1 import Tf1Folder, find_tf1_checkpoint
from deepspeech_training.config import FLAGS
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.reporting.diagnosis import Diagnosis, diagnose
from deepspeech_training.reporting.evidence import Answers, Evidence
from deepspeech_training.reporting.figures import SPEECH_TO_TEXT, Figure
from deepspeech_training.reporting.history import Epoch
from deepspeech_training.runtime.model_files import MODEL_SUFFIXES, read_model_file
from deepspeech_training.runtime.pronunciation_file import PronunciationFile

NAME = re.compile(r"(?P<stem>(?P<kind>train|best)-\d{1,15})(-\d+)?\.(json|safetensors)")


@dataclass(frozen=True)
class Inspection:
    """What was found; JSON values but for the diagnosis.

    Args:
        path: the file that was inspected.
        kind: "checkpoint", "TensorFlow 1 checkpoint" or "export".
        files: name and size of each file that belongs to it.
        facts: of the training and the model, by section.
        weights: one entry for each array.
        answers: to speech and silence; None if the network could not be run.
        history: of the whole run.
        judged_by: the figures of the task.
    """

    path: Path
    kind: str
    files: list[dict[str, Any]]
    facts: dict[str, Any]
    weights: list[dict[str, Any]]
    answers: Answers | None
    history: list[Epoch]
    diagnosis: Diagnosis
    judged_by: Sequence[Figure] = SPEECH_TO_TEXT

    def as_dict(self) -> dict[str, Any]:
        return {
            "path": str(self.path),
            "kind": self.kind,
            "files": self.files,
            **self.facts,
            "weights": self.weights,
            "answers": None if self.answers is None else asdict(self.answers),
            "history": [epoch.as_json(self.judged_by) for epoch in self.history],
            "diagnosis": self.diagnosis.as_dict(),
        }


def inspect(path: Path, *, which: str = "auto", clip: str | None = None, console: Console) -> Inspection:
    """Inspect whatever is at `path`.

    Args:
        which: "best", "last" or "auto", where it is a folder.
        clip: an audio file for the network to answer to; None for a synthetic sentence.
    Raises:
        UserError: there is nothing that can be inspected, or it is damaged.
    """
    if path.is_dir():
        return _inspect_folder(path, which=which, clip=clip, console=console)
    match = NAME.fullmatch(path.name)
    if match:
        return _inspect_state(path.with_name(f"{match['stem']}.json"), clip)
    if path.suffix in MODEL_SUFFIXES:
        return _inspect_export(path, clip)
    prefix = find_tf1_checkpoint(path)
    if prefix is not None:
        return _inspect_tf1(prefix, clip)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    raise UserError(
        f"{path}: neither a checkpoint nor an exported model\n"
        "Give a folder of checkpoints, a train-*.json or best-*.json in it, an exported model, or DeepSpeech's "
        "train-200.index."
    )


def _inspect_folder(folder: Path, *, which: str, clip: str | None, console: Console) -> Inspection:
    checkpoints = CheckpointFolder(folder, console)
    for kind in {"auto": ("best", "train"), "best": ("best",), "last": ("train",)}[which]:
        for path in checkpoints.state_files(kind):
            try:
                return _inspect_state(path, clip)
            except DamagedCheckpoint as error:
                console.warn(f"Damaged checkpoint: {error}\nThe one before it is inspected, if there is one.")
    prefix = find_tf1_checkpoint(folder, which)
    if prefix is not None:
        return _inspect_tf1(prefix, clip)
    exports = sorted(path for suffix in MODEL_SUFFIXES for path in folder.glob(f"*{suffix}"))
    if len(exports) == 1:
        return _inspect_export(exports[0], clip)
    inside = exports or sorted({p.parent for p in folder.glob("*/*.json") if NAME.fullmatch(p.name)})
    hint = "\nOne of these? " + " ".join(map(str, inside[:10])) if inside else ""
    raise UserError(f"{folder}: no usable {'' if which == 'auto' else which + ' '}checkpoint or export in it{hint}")


def _inspect_state(path: Path, clip: str | None) -> Inspection:
    checkpoint = read_checkpoint(path)
    model, weights = checkpoint.model, checkpoint.weights
    try:
        run = _whole_run(path, model.progress)
        history = [Epoch.of_history(figures) for figures in run.history]
        evidence = Evidence(
            not_finite=_count_not_finite(weights),
            epoch=model.progress.epoch,
            epochs=model.flags["epochs"],
            stopped=run.stopped,
            is_best=path.name.startswith("best"),
            history=history,
            updates=model.progress.updates,
            early_stop=model.flags["early_stop"],
            average_of=model.average_of,
            judged_by=model.judged_by,
            size_flag=model.network.size_flag,
        )
        training = _training_facts(path, model, stopped=run.stopped)
    except (KeyError, TypeError) as error:
        raise DamagedCheckpoint(f"{path}: does not say how its weights were trained ({error!r})") from error
    return _inspection("checkpoint", checkpoint, training, evidence, clip)


def _inspect_tf1(prefix: Path, clip: str | None) -> Inspection:
    checkpoint = Tf1Folder(prefix).load("train")
    assert checkpoint is not None  # `prefix` is that of one
    model, progress = checkpoint.model, checkpoint.model.progress
    if model.alphabet is None and model.network.num_classes == Alphabet.english().num_classes:
        checkpoint = replace(checkpoint, model=replace(model, alphabet=Alphabet.english()))
    training = {"saved_at": model.saved_at, "step": progress.updates, "learning_rate": progress.learning_rate}
    evidence = Evidence(not_finite=_count_not_finite(checkpoint.weights), updates=progress.updates)
    return _inspection("TensorFlow 1 checkpoint", checkpoint, training, evidence, clip)


def _inspection(
    kind: str, checkpoint: Checkpoint, training: dict[str, Any], evidence: Evidence, clip: str | None
) -> Inspection:
    """Of a checkpoint of either kind, its network run on speech and silence."""
    model, weights = checkpoint.model, checkpoint.weights
    answers, heard = None, ""
    is_acoustic = isinstance(model.network, AcousticModel)
    if model.features is not None and is_acoustic and not evidence.not_finite:
        answers, heard = answers_of_weights(
            weights, model.features, model.network, model.alphabet, clip, classes=model.described.get("labels", ())
        )
    facts = {
        "training": training,
        "data": list(model.data),
        "alphabet": None if model.alphabet is None else list(model.alphabet.characters),
        "alphabet_of_bytes": isinstance(model.alphabet, ByteAlphabet),
        "classes": list(model.described.get("labels", ())),
        "network": model.network.describe(),
        "parameters": model.network.num_parameters,
        "clip": heard,
    }
    if is_acoustic:
        facts["export_bytes"] = {
            "float32": model.network.export_bytes(quantized=False),
            "int8": model.network.export_bytes(quantized=True),
        }
    return Inspection(
        path=checkpoint.path,
        kind=kind,
        files=_sizes(checkpoint.files),
        facts=facts,
        weights=_weight_figures(weights),
        answers=answers,
        history=list(evidence.history),
        diagnosis=diagnose(replace(evidence, answers=answers)),
        judged_by=model.judged_by,
    )


def _whole_run(path: Path, run: Progress) -> Progress:
    """The run as far as it is known: a best checkpoint's from the last one beside it, if it was trained further."""
    beside = CheckpointFolder(path.parent, Console()).read_description("train")
    later = run if beside is None else beside[1].progress
    continues = later.history[: len(run.history)] == run.history and (later.epoch or 0) >= (run.epoch or 0)
    return later if continues else run


def _training_facts(path: Path, model: TrainedModel, *, stopped: str | None) -> dict[str, Any]:
    """How the weights were trained.

    Raises:
        KeyError: the checkpoint does not say.
    """
    run, average_of = model.progress, list(model.average_of)
    if None in (run.epoch, run.updates, run.learning_rate, model.precision):
        raise KeyError("epoch, updates, learning_rate, precision")
    measured = () if average_of else run.history  # the figures of an average are those of its last checkpoint
    return {
        "saved_at": model.saved_at or path.stat().st_mtime,
        "version": model.version,
        "sessions": list(model.sessions),
        "epoch": run.epoch,
        "epochs": model.flags["epochs"],
        "step": run.step,
        "updates": run.updates,
        "average_of": average_of,
        "train_loss": measured[-1]["train_loss"] if measured else None,
        "dev": measured[-1]["dev"] if measured else [],
        "best_epoch": None if average_of or run.best_epoch is None else run.best_epoch + 1,
        "best_by": model.flags.get("best_by", "loss"),
        "best_figures": None if average_of else run.best_figures,
        "epochs_without_improvement": run.epochs_without_improvement,
        "learning_rate": run.learning_rate,
        "seconds": run.seconds,
        "precision": model.precision,
        "clips_left_out": run.clips_left_out,
        "transfer": model.transfer and model.transfer.as_json(),
        "began_with": model.transfer and model.transfer.description,
        "flags": {
            name: model.flags[name] for name, flag in FLAGS.items() if flag.describes_training and name in model.flags
        },
        "stopped": stopped,
    }


def _inspect_export(path: Path, clip: str | None) -> Inspection:
    file = read_model_file(path)
    if isinstance(file, PronunciationFile):
        return _inspect_words(path, file)
    weights = dict(file.constants(least=1000))
    answers, heard = answers_of_export(file, clip)
    facts = {
        "training": {"saved_at": path.stat().st_mtime},
        "data": [],
        "alphabet": None if file.commands else list(ByteAlphabet.characters if file.bytes_mode else file.labels),
        "classes": list(file.labels) if file.commands else [],
        "alphabet_of_bytes": file.bytes_mode,
        "network": {
            "num_classes": file.num_classes,
            "n_features": file.geometry.n_mfcc,
            "window_frames": file.window_frames,
            "stride": file.stride,
            "state": sum(math.prod(shape) for shape in file.state_shapes.values()),
        },
        "parameters": sum(array.size for array in weights.values() if array.ndim == 2),
        "features": asdict(file.geometry),
        "n_steps": file.n_steps,
        "beam_width": file.beam_width,
        "clip": heard,
    }
    return Inspection(
        path=path,
        kind="export",
        files=_sizes([path]),
        facts=facts,
        weights=_weight_figures(weights),
        answers=answers,
        history=[],
        diagnosis=diagnose(Evidence(not_finite=_count_not_finite(weights), answers=answers)),
    )


def _inspect_words(path: Path, file: PronunciationFile) -> Inspection:
    facts = {
        "training": {"saved_at": path.stat().st_mtime},
        "data": [],
        "alphabet": None,
        "alphabet_of_bytes": False,
        "classes": list(file.target.symbols),
        "network": file.network.describe(),
        "parameters": file.network.num_parameters,
        "task": file.task,
        "kind_of_weights": file.kind,
        "clip": "",
    }
    return Inspection(
        path=path,
        kind="export",
        files=_sizes([path]),
        facts=facts,
        weights=_weight_figures(file.weights),
        answers=None,
        history=[],
        diagnosis=diagnose(Evidence(not_finite=_count_not_finite(file.weights))),
    )


def _count_not_finite(weights: Mapping[str, np.ndarray]) -> int:
    return sum(int(np.count_nonzero(~np.isfinite(array))) for array in weights.values())


def _weight_figures(weights: Mapping[str, np.ndarray]) -> list[dict[str, Any]]:
    """Figures over the finite values of each array."""
    figures = []
    for name, array in weights.items():
        finite = array[np.isfinite(array)].astype(np.float64)
        entry = {"name": name, "shape": list(array.shape), "not_finite": array.size - finite.size}
        if finite.size:
            entry |= {
                "mean": float(finite.mean()),
                "deviation": float(finite.std()),
                "least": float(finite.min()),
                "greatest": float(finite.max()),
                "zeros": float((finite == 0).mean()),
            }
        figures.append(entry)
    return figures


def _sizes(paths: Sequence[Path]) -> list[dict[str, Any]]:
    return [{"name": path.name, "bytes": path.stat().st_size} for path in paths]
