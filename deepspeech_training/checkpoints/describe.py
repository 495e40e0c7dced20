"""What a checkpoint says of itself, read in one place: the state of a run -> `TrainedModel`.

All that opens a checkpoint (a run that resumes, test, export, inspection, averages, scorers) learns from this class
what the weights are of. Only the files (`checkpoints.file`) and the loop, which writes the state, know its layout.
"""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.alphabet import Alphabet, ByteAlphabet, alphabet_of
from deepspeech_training.checkpoints.file import DamagedCheckpoint, read_arrays, read_state
from deepspeech_training.checkpoints.transfer import Transfer
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models import network_of
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.reporting.figures import SPEECH_TO_TEXT, Figure, figures_of

SPEECH = "speech_to_text"
# What the run writes into a state; the rest is the task's, see `Task.describe`.
OF_THE_RUN = {
    *("version", "saved_at", "run", "flags", "log_length", "transfer", "threads", "precision", "devices", "sessions"),
    *("augment_sources", "data", "weights_file", "weights_sha256", "average_of", "judged_by"),
}


@dataclass(frozen=True)
class Progress:
    """How far the training of the weights had come; None and empty where the checkpoint does not say.

    Args:
        step: batches done in the whole run; 0 where the checkpoint does not say.
        epoch: epochs done.
        updates: changes of the weights.
        learning_rate: before warm-up and cosine.
        stopped: why the run has ended; None while it has not.
        history: the figures of each finished epoch.
        seconds: spent on training, the current epoch included.
        clips_left_out: clips that were quarantined.
        best_epoch: of the run, from 0.
        best_figures: of that epoch, by name.
        epochs_without_improvement: in a row, up to now.
    """

    step: int
    epoch: int | None = None
    updates: int | None = None
    learning_rate: float | None = None
    stopped: str | None = None
    history: Sequence[Mapping[str, Any]] = ()
    seconds: float = 0.0
    clips_left_out: int = 0
    best_epoch: int | None = None
    best_figures: Mapping[str, float] | None = None
    epochs_without_improvement: int = 0

    @classmethod
    def of_run(cls, run: Mapping[str, Any]) -> "Progress":
        """From the state of `training.loop.RunState`."""
        history, schedule = run.get("history", ()), run.get("schedule", {})
        return cls(
            step=run["step"],
            epoch=run.get("epoch"),
            updates=run.get("updates"),
            learning_rate=run.get("learning_rate"),
            stopped=run.get("stopped"),
            history=history,
            seconds=sum(figures["seconds"] for figures in history) + run.get("seconds", 0.0),
            clips_left_out=len(run.get("quarantine", ())),
            best_epoch=schedule.get("best_epoch"),
            best_figures=schedule.get("best_figures"),
            epochs_without_improvement=schedule.get("epochs_without_improvement", 0),
        )


@dataclass(frozen=True)
class TrainedModel:
    """What the weights of a checkpoint are of, and how they came about.

    Args:
        task: a name in tasks.TASKS.
        judged_by: the figures of the task.
        network: fixes the shapes of the weights and what they mean.
        features: what they were trained on; None where the task does not hear.
        alphabet: the labels; None where the task has none, or a checkpoint of DeepSpeech 0.9.3 does not say.
        described: all that `Task.describe` gave, JSON values: what the tasks of other kinds say is in here alone.
        flags: that the run had, by name; empty where the checkpoint does not say.
        progress: how far the run had come.
        version: of the program that wrote it.
        saved_at: seconds since 1970; None where the checkpoint does not say.
        transfer: what the run took from another one when it began; None if it began with new weights.
        average_of: the checkpoints whose mean the weights are; `progress` is then that of the last one.
        unsaid: flags of the features that a checkpoint of DeepSpeech 0.9.3 does not say and that count as given now.
        data: a summary of each set of clips.
        sessions: names of the session logs of the run.
        precision, devices, threads: what the run computed with; None where the checkpoint does not say.
        augment_sources: fingerprints of the recordings that --augment took.
        log_length: bytes of events.jsonl that are of the run up to here.
        run: what `training.loop.RunState` takes to resume; empty where nothing can be resumed.
        weights_sha256: checksum of the file with the arrays; empty where the checkpoint does not say.
    """

    network: AcousticModel
    progress: Progress
    features: FeatureGeometry | None = None
    alphabet: Alphabet | ByteAlphabet | None = None
    described: Mapping[str, Any] = field(default_factory=dict)
    task: str = SPEECH
    judged_by: Sequence[Figure] = SPEECH_TO_TEXT
    flags: Mapping[str, Any] = field(default_factory=dict)
    version: str = ""
    saved_at: float | None = None
    transfer: Transfer | None = None
    average_of: Sequence[str] = ()
    unsaid: Sequence[str] = ()
    data: Sequence[Mapping[str, Any]] = ()
    sessions: Sequence[str] = ()
    precision: str | None = None
    devices: int | None = None
    threads: Mapping[str, Any] | None = None
    augment_sources: Mapping[str, str] = field(default_factory=dict)
    log_length: int = 0
    run: Mapping[str, Any] = field(default_factory=dict)
    weights_sha256: str = ""


@dataclass(frozen=True)
class SpeechModel:
    """A model that hears and writes, as exports and scorers take it; `name` says where it is from."""

    name: str
    weights: Mapping[str, np.ndarray]
    alphabet: Alphabet | ByteAlphabet
    features: FeatureGeometry
    network: AcousticModel


@dataclass(frozen=True)
class Checkpoint:
    """One checkpoint in memory.

    Args:
        path: of its state file; of a TensorFlow 1 checkpoint the prefix of its files.
        model: what it says.
        arrays: weights by canonical name, and the moments of the optimizer where it has them.
        files: all that belong to it.
    """

    path: Path
    model: TrainedModel
    arrays: dict[str, np.ndarray]
    files: Sequence[Path]

    @functools.cached_property
    def weights(self) -> dict[str, np.ndarray]:
        """The weights to use, without the moments of the optimizer.

        Raises:
            DamagedCheckpoint: one is missing, or has another shape than the network asks for.
        """
        weights = {}
        for name, shape in self.model.network.weight_shapes().items():
            if name not in self.arrays:
                raise DamagedCheckpoint(f"{self.path}: {name} is not among its weights")
            if self.arrays[name].shape != shape:
                raise DamagedCheckpoint(f"{self.path}: {name} has the shape {self.arrays[name].shape}, not {shape}")
            weights[name] = self.arrays[name]
        return weights

    def speech_model(self, alphabet: Alphabet | ByteAlphabet | None = None) -> SpeechModel:
        """What exports and scorers take.

        Args:
            alphabet: for a checkpoint that does not say it.
        Raises:
            UserError: it does not hear, or does not write.
        """
        model, alphabet = self.model, alphabet or self.model.alphabet
        if model.features is None or alphabet is None:
            raise UserError(
                f"{self.path}: a model of the task {model.task}, which does not write what it hears; only one of "
                "speech_to_text can be exported and have a scorer"
            )
        return SpeechModel(str(self.path), self.weights, alphabet, model.features, model.network)


def read_checkpoint(path: Path) -> Checkpoint:
    """Read the checkpoint of a state file.

    Raises:
        DamagedCheckpoint: it is missing, damaged or not one of this program.
    """
    state = read_state(path)
    model = describe(state, path)
    try:
        weights_path, checksum = path.with_name(Path(state["weights_file"]).name), state["weights_sha256"]
    except (KeyError, TypeError) as error:
        raise _not_a_checkpoint(path, error) from error
    return Checkpoint(path, model, read_arrays(weights_path, sha256=checksum), (path, weights_path))


def read_description(path: Path) -> TrainedModel:
    """What the checkpoint of a state file says: quick, without its arrays.

    Raises:
        DamagedCheckpoint: it is missing, damaged or not one of this program.
    """
    return describe(read_state(path), path)


def describe(state: Mapping[str, Any], path: Path) -> TrainedModel:
    """Read the state of a checkpoint, also as earlier versions wrote it.

    Args:
        state: JSON values.
        path: for messages.
    Raises:
        DamagedCheckpoint: it lacks what its weights need, or contradicts itself.
    """
    try:
        task, network = state.get("task", SPEECH), network_of(state["network"])
        model = TrainedModel(
            task=task,
            judged_by=figures_of(state),
            network=network,
            features=FeatureGeometry.from_description(state["features"])
            if task == SPEECH or "features" in state
            else None,
            alphabet=alphabet_of(state["alphabet"]) if task == SPEECH or state.get("alphabet") is not None else None,
            described={name: value for name, value in state.items() if name not in OF_THE_RUN},
            flags=dict(state.get("flags", {})),
            progress=Progress.of_run(state["run"]),
            version=state.get("version", ""),
            saved_at=state.get("saved_at"),
            transfer=Transfer.from_json(state.get("transfer"), network.groups),
            average_of=tuple(state.get("average_of", ())),
            unsaid=tuple(state.get("unsaid", ())),
            data=state.get("data", ()),
            sessions=tuple(state.get("sessions", ())),
            precision=state.get("precision"),
            devices=state.get("devices"),
            threads=state.get("threads"),
            augment_sources=state.get("augment_sources", {}),
            log_length=state.get("log_length", 0),
            run=state["run"],
            weights_sha256=state.get("weights_sha256", ""),
        )
        if model.alphabet is not None and model.alphabet.num_classes != model.network.num_classes:
            raise ValueError(f"{model.alphabet.size} characters do not fit {model.network.num_classes} classes")
    except (KeyError, TypeError, ValueError, AttributeError, FlagError) as error:
        raise _not_a_checkpoint(path, error) from error
    return model


def _not_a_checkpoint(path: Path, error: Exception) -> DamagedCheckpoint:
    return DamagedCheckpoint(f"{path}: not the state of a checkpoint of this program ({error!r})")
