"""The command `inspect_checkpoint`: a checkpoint or an export -> what it is, where it comes from, whether it is sound.

It reads our checkpoints and their folders, exported `.tflite` files, and the TensorFlow 1 checkpoints of DeepSpeech's
trainer, all without TensorFlow. The network is run in numpy (an export: on LiteRT) on a clip of speech and on silence.
"""

import argparse
import json
import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.audio.files import AudioError, read_audio
from deepspeech_training.audio.synthetic_speech import SMOKE_SENTENCE, synthesize
from deepspeech_training.checkpoints.describe import Progress, TrainedModel, read_checkpoint
from deepspeech_training.checkpoints.file import DamagedCheckpoint
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.checkpoints.tf1 import Tf1Folder, find_tf1_checkpoint
from deepspeech_training.config import FLAGS, Config, as_dict
from deepspeech_training.console import Console
from deepspeech_training.decoding.greedy import greedy_labels
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.models.reference import softmax
from deepspeech_training.reporting.diagnosis import Diagnosis, diagnose
from deepspeech_training.reporting.evidence import Answers, Evidence
from deepspeech_training.reporting.figures import LOSS, SPEECH_TO_TEXT, Figure, figures_text
from deepspeech_training.reporting.history import Epoch
from deepspeech_training.reporting.messages import duration, size
from deepspeech_training.runtime.model_file import ModelFile

NAME = re.compile(r"(?P<stem>(?P<kind>train|best)-\d{1,15})(-\d+)?\.(json|safetensors)")
EPOCHS_SHOWN = 12


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


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 for a fault (with --strict for an unhealthy model too), 2 flags."""
    flags = _parser().parse_args(argv)
    console = Console()
    try:
        found = inspect(Path(flags.path), which=flags.which, clip=flags.clip, console=console)
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    if flags.json:
        print(json.dumps(found.as_dict(), ensure_ascii=False, indent=1, allow_nan=False))
    else:
        print("\n".join(lines(found)))
    return EXIT_RUN if flags.strict and not found.diagnosis.healthy else EXIT_OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="inspect_checkpoint.py",
        allow_abbrev=False,
        description="Say what a checkpoint or an exported model is, where it comes from, and whether it is sound.",
        epilog="Example: bin/inspect_checkpoint.py persistent-data/checkpoints/first --strict",
    )
    parser.add_argument(
        "path",
        metavar="PATH",
        help="folder of checkpoints, one of its files, a .tflite, or a checkpoint of DeepSpeech's own trainer",
    )
    parser.add_argument(
        "--which",
        choices=("auto", "best", "last"),
        default="auto",
        help="which checkpoint of a folder (default auto: the best, without one the last)",
    )
    parser.add_argument("--clip", metavar="FILE", help="a recording for the model to answer to, not a synthetic one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where the diagnosis is not healthy")
    return parser


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
    if path.suffix == ".tflite":
        return _inspect_export(path, clip)
    prefix = find_tf1_checkpoint(path)
    if prefix is not None:
        return _inspect_tf1(prefix, clip)
    if not path.exists():
        raise UserError(f"{path}: no such file or folder")
    raise UserError(
        f"{path}: neither a checkpoint nor an exported model\n"
        "Give a folder of checkpoints, a train-*.json or best-*.json in it, a .tflite, or DeepSpeech's train-200.index."
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
    exports = sorted(folder.glob("*.tflite"))
    if len(exports) == 1:
        return _inspect_export(exports[0], clip)
    inside = exports or sorted({p.parent for p in folder.glob("*/*.json") if NAME.fullmatch(p.name)})
    hint = "\nOne of these? " + " ".join(map(str, inside[:10])) if inside else ""
    raise UserError(f"{folder}: no usable {'' if which == 'auto' else which + ' '}checkpoint or export in it{hint}")


# --- our own checkpoints -----------------------------------------------------------------------------------------


def _inspect_state(path: Path, clip: str | None) -> Inspection:
    checkpoint = read_checkpoint(path)
    model, weights = checkpoint.model, checkpoint.weights
    if None in (model.progress.epoch, model.progress.updates, model.progress.learning_rate, model.precision):
        raise DamagedCheckpoint(
            f"{path}: not the state of a checkpoint of this program: it lacks how far it is trained"
        )
    try:
        epochs, early_stop = model.flags["epochs"], model.flags["early_stop"]
        run = _whole_run(path, model.progress)
        history = [Epoch.of_history(figures) for figures in run.history]
        facts = _facts(path, model, stopped=run.stopped)
    except (KeyError, TypeError) as error:
        raise DamagedCheckpoint(f"{path}: not the state of a checkpoint of this program ({error!r})") from error
    answers, facts["clip"] = _answers(weights, model.features, model.network, model.alphabet, clip)
    evidence = Evidence(
        not_finite=_count_not_finite(weights),
        epoch=model.progress.epoch,
        epochs=epochs,
        stopped=run.stopped,
        is_best=path.name.startswith("best"),
        history=history,
        updates=model.progress.updates,
        early_stop=early_stop,
        answers=answers,
        average_of=model.average_of,
        judged_by=model.judged_by,
    )
    return Inspection(
        path,
        "checkpoint",
        _sizes(checkpoint.files),
        facts,
        _weight_figures(weights),
        answers,
        history,
        diagnose(evidence),
        model.judged_by,
    )


def _whole_run(path: Path, run: Progress) -> Progress:
    """The run as far as it is known: a best checkpoint's from the last one beside it, if it went on."""
    beside = CheckpointFolder(path.parent, Console()).read_description("train")
    later = run if beside is None else beside[1].progress
    went_on = later.history[: len(run.history)] == run.history and (later.epoch or 0) >= (run.epoch or 0)
    return later if went_on else run


def _facts(path: Path, model: TrainedModel, *, stopped: str | None) -> dict[str, Any]:
    run, average_of = model.progress, list(model.average_of)
    measured = () if average_of else run.history  # the figures of an average are those of its last checkpoint
    return {
        "training": {
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
                name: model.flags[name]
                for name, flag in FLAGS.items()
                if flag.describes_training and name in model.flags
            },
            "stopped": stopped,
        },
        "data": list(model.data),
        **_model_facts(model.network, model.alphabet),
    }


def _model_facts(network: AcousticModel, alphabet: Alphabet | ByteAlphabet | None) -> dict[str, Any]:
    return {
        "alphabet": None if alphabet is None else list(alphabet.characters),
        "alphabet_of_bytes": isinstance(alphabet, ByteAlphabet),
        "network": network.describe(),
        "parameters": network.num_parameters,
        "export_bytes": {
            "float32": network.export_bytes(quantized=False),
            "int8": network.export_bytes(quantized=True),
        },
    }


# --- the others --------------------------------------------------------------------------------------------------


def _inspect_tf1(prefix: Path, clip: str | None) -> Inspection:
    checkpoint = Tf1Folder(prefix).load("train")
    model, weights = checkpoint.model, checkpoint.weights
    alphabet = model.alphabet
    if alphabet is None and model.network.num_classes == Alphabet.english().num_classes:
        alphabet = Alphabet.english()
    answers, clip_name = _answers(weights, model.features, model.network, alphabet, clip)
    facts = {
        "training": {
            "saved_at": model.saved_at,
            "step": model.progress.updates,
            "learning_rate": model.progress.learning_rate,
        },
        "data": [],
        **_model_facts(model.network, alphabet),
        "clip": clip_name,
    }
    evidence = Evidence(not_finite=_count_not_finite(weights), updates=model.progress.updates, answers=answers)
    return Inspection(
        prefix,
        "TensorFlow 1 checkpoint",
        _sizes(checkpoint.files),
        facts,
        _weight_figures(weights),
        answers,
        [],
        diagnose(evidence),
    )


def _inspect_export(path: Path, clip: str | None) -> Inspection:
    file = ModelFile.read(path)
    weights = dict(file.constants(least=1000))
    matrices = {name: array for name, array in weights.items() if array.ndim == 2}
    network = DeepSpeech(
        num_classes=len(file.labels) + 1,
        n_hidden=file.n_cell,
        n_features=file.geometry.n_mfcc,
        n_context=file.geometry.n_context,
    )
    answers, clip_name = _export_answers(file, network, clip)
    facts = {
        "training": {"saved_at": path.stat().st_mtime},
        "data": [],
        "alphabet": list(ByteAlphabet.characters if file.bytes_mode else file.labels),
        "alphabet_of_bytes": file.bytes_mode,
        "network": {**asdict(network), "layer_norm": None, "relu_clip": None},
        "parameters": sum(array.size for array in matrices.values()),
        "features": asdict(file.geometry),
        "n_steps": file.n_steps,
        "beam_width": file.beam_width,
        "clip": clip_name,
    }
    evidence = Evidence(not_finite=_count_not_finite(weights), answers=answers)
    return Inspection(path, "export", _sizes([path]), facts, _weight_figures(weights), answers, [], diagnose(evidence))


# --- how the network answers -------------------------------------------------------------------------------------


def _speech(clip: str | None, features: FeatureGeometry) -> tuple[np.ndarray, str]:
    """float32 [samples] and what it is."""
    if clip is None:
        audio = synthesize(SMOKE_SENTENCE, sample_rate=features.sample_rate, seed=1993, pitch_hz=130.0, rate=1.25)
        return audio, f"a synthetic voice that says {SMOKE_SENTENCE!r}"
    try:
        audio = read_audio(clip, sample_rate=features.sample_rate)
    except AudioError as error:
        raise UserError(f"--clip {clip}: {error}") from error
    if features.num_frames(len(audio)) < 1:
        raise UserError(f"--clip {clip}: shorter than one window of {features.win_len_ms} ms")
    return audio[: 20 * features.sample_rate], clip


def _silence_like(audio: np.ndarray) -> np.ndarray:
    return (1e-3 * np.random.Generator(np.random.PCG64(0)).standard_normal(len(audio))).astype(np.float32)


def _answers(
    weights: Mapping[str, np.ndarray],
    features: FeatureGeometry,
    network: AcousticModel,
    alphabet: Alphabet | ByteAlphabet | None,
    clip: str | None,
) -> tuple[Answers | None, str]:
    """Run the network in numpy; None if its weights are not finite."""
    if _count_not_finite(weights):
        return None, ""
    audio, name = _speech(clip, features)
    alive: dict[str, np.ndarray] = {}
    at_limit: dict[str, list[float]] = {}

    def observe(layer: str, active: np.ndarray | None, share: float) -> None:
        if active is not None:
            alive[layer] = alive.get(layer, False) | active
        at_limit.setdefault(layer, []).append(share)

    log_probs, mfcc = [], Mfcc(features, dtype=np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        for sound in (audio, _silence_like(audio)):
            logits = network.reference(weights, mfcc(with_last_frame(sound, features)), observe=observe)
            log_probs.append(np.log(np.maximum(softmax(logits.astype(np.float64)), 1e-30)))
    if not all(np.isfinite(values).all() for values in log_probs):
        return None, name
    dead = {layer: round(1 - float(units.mean()), 6) for layer, units in alive.items()}
    saturated = {layer: round(float(np.mean(shares)), 6) for layer, shares in at_limit.items()}
    text = "" if alphabet is None else alphabet.decode(greedy_labels(log_probs[0], blank=network.num_classes - 1))
    return replace(_compared(*log_probs, text=text, clip=clip), dead=dead, saturated=saturated), name


def _export_answers(file: ModelFile, network: DeepSpeech, clip: str | None) -> tuple[Answers, str]:
    from deepspeech_training.exporting.parity import Runner

    audio, name = _speech(clip, file.geometry)
    log_probs = [
        np.log(np.maximum(Runner(file.data, file.geometry, network).from_audio(sound).astype(np.float64), 1e-30))
        for sound in (audio, _silence_like(audio))
    ]
    labels = greedy_labels(log_probs[0], blank=len(file.labels))
    return _compared(*log_probs, text=file.text(labels), clip=clip), name


def _compared(speech: np.ndarray, silence: np.ndarray, *, text: str, clip: str | None) -> Answers:
    """Log probabilities float64 [frames, classes] of the two sounds -> how they differ."""
    return Answers(
        blank_share=float((speech.argmax(axis=1) == speech.shape[1] - 1).mean()),
        text=text,
        difference=float(np.abs(speech - silence).max()),
        is_synthetic=clip is None,
    )


# --- weights -----------------------------------------------------------------------------------------------------


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


# --- in words ----------------------------------------------------------------------------------------------------


def lines(found: Inspection) -> Iterator[str]:
    """The report for a person."""
    facts, training = found.facts, found.facts["training"]
    average_of = training.get("average_of", ())
    yield f"{found.path}: " + ("an average of checkpoints" if average_of else found.kind)
    yield "Files     " + ", ".join(f"{file['name']} {size(file['bytes'])}" for file in found.files)
    saved = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(training["saved_at"]))
    if "epoch" in training:
        yield from _training_lines(training, found.judged_by, saved)
    elif training.get("step") is not None:
        rate = training["learning_rate"]
        yield f"Saved     {saved}, at step {training['step']:,}" + (
            "" if rate is None else f", learning rate {rate:.3g}"
        )
    else:
        yield f"Saved     {saved} (the file's date)"
    for data in facts["data"]:
        yield f"Data      {data['set']:<8}{data['clips']:>8,} clips {data['hours']:9.3f} h  {data['csv']}"
    if facts["alphabet_of_bytes"]:
        yield f"Alphabet  the {len(facts['alphabet'])} bytes of UTF-8"
    elif facts["alphabet"] is not None:
        yield f"Alphabet  {len(facts['alphabet'])} characters: " + " ".join(
            "space" if character == " " else character for character in facts["alphabet"]
        )
    network = facts["network"]
    yield (
        f"Network   {facts['parameters']:,} weights, n_hidden {network['n_hidden']}, {network['num_classes']} classes"
        + (", layer normalisation" if network["layer_norm"] else "")
        + (f"; {facts['n_steps']} frames a call, beam width {facts['beam_width']}" if "n_steps" in facts else "")
    )
    if "export_bytes" in facts:
        export = facts["export_bytes"]
        yield f"Export    about {size(export['int8'])} in 8 bits, {size(export['float32'])} in 32 bits"
    yield from _weight_lines(found)
    if found.answers is not None:
        yield f"Answer    to {facts['clip']}:"
        blank = f"the blank is likeliest in {found.answers.blank_share:.0%} of the frames"
        yield f"          {found.answers.text!r}; {blank}"
    yield from _history_lines(found.history, found.judged_by)
    if average_of and found.history:
        yield f"          these are of the run up to {average_of[-1]}, none is the average's"
    yield ""
    yield from found.diagnosis.lines()


def _training_lines(training: Mapping[str, Any], judged_by: Sequence[Figure], saved: str) -> Iterator[str]:
    sessions = f", {len(training['sessions'])} sessions" if len(training["sessions"]) > 1 else ""
    trained = (
        f"after epoch {training['epoch']} of {training['epochs']}, step {training['step']:,}; "
        f"trained for {duration(training['seconds'])}{sessions}"
    )
    if training["average_of"]:
        yield f"Saved     {saved}"
        yield f"Average   of {training['average_of'][0]}"
        for path in training["average_of"][1:]:
            yield f"             {path}"
        labels = " or ".join(figure.label for figure in judged_by)
        yield f"Losses    not known, and no {labels}: nothing was measured on the average"
        yield f"Last      of these: {trained}"
    else:
        yield f"Saved     {saved}, {trained}"
    if training["began_with"] is not None:
        yield f"Began     with {training['began_with']}"
    yield f"Ended     {training['stopped'] or 'not yet'}"
    if training["train_loss"] is not None:
        parts = [f"train loss {training['train_loss']:.4f}"]
        for dev in training["dev"]:
            if dev["loss"] is not None:
                parts.append(f"{dev['name']} {figures_text(dev, (LOSS, *judged_by))}")
        yield f"Losses    {' | '.join(parts)}"
    if training["best_epoch"] is not None:
        best = figures_text(training["best_figures"], (LOSS, *judged_by))
        yield (
            f"Best      epoch {training['best_epoch']} by {training['best_by']}: dev {best}; "
            f"{training['epochs_without_improvement']} epochs without a lower loss"
        )
    yield f"Rate      learning rate {training['learning_rate']:.3g}, {training['precision']}"
    given = _not_default(training["flags"])
    if given:
        yield f"Trained   with {' '.join(given)}"


def _not_default(flags: Mapping[str, Any]) -> list[str]:
    """The flags that are not at their defaults, as they are written on a command line.

    >>> _not_default({"ema": 0.99, "weight_decay": 0.0, "freeze_layers": ["layer_1", "lstm"], "augment": ["gain"]})
    ['--ema 0.99', '--freeze_layers layer_1,lstm', '--augment gain']
    """
    defaults, given = as_dict(Config()), []
    for name, value in flags.items():
        if value == defaults[name]:
            continue
        if name == "augment":
            given += [f"--augment {shlex.quote(one) if ' ' in one else one}" for one in value]
        elif isinstance(value, bool):
            given.append(f"--{name}" if value else f"--no{name}")
        else:
            given.append(f"--{name} {','.join(value) if isinstance(value, list) else value}")
    return given


def _weight_lines(found: Inspection) -> Iterator[str]:
    width = max((len(entry["name"]) for entry in found.weights), default=0)
    yield f"Weights   {'name':<{width}} {'shape':>12} {'mean':>9} {'deviation':>9} {'largest':>9}  not finite, zeros"
    for entry in found.weights:
        shape = "x".join(map(str, entry["shape"]))
        if "mean" not in entry:
            yield f"          {entry['name']:<{width}} {shape:>12}  none is finite"
            continue
        largest = max(abs(entry["least"]), abs(entry["greatest"]))
        yield (
            f"          {entry['name']:<{width}} {shape:>12} {entry['mean']:9.4f} {entry['deviation']:9.4f} "
            f"{largest:9.4f}  {entry['not_finite']:,}, {entry['zeros']:.1%}"
        )
    if found.answers is not None and found.answers.dead:
        yield "Units     " + ", ".join(
            f"{layer} {share:.1%} dead, {found.answers.saturated[layer]:.1%} at the limit"
            for layer, share in found.answers.dead.items()
        )
        yield f"          lstm: {found.answers.saturated['lstm']:.1%} of the gates are stuck at 0 or 1"


def _history_lines(history: Sequence[Epoch], judged_by: Sequence[Figure]) -> Iterator[str]:
    if not history:
        return
    every = -(-len(history) // EPOCHS_SHOWN)
    yield "Epochs    epoch  train loss    dev loss" + "".join(f"{figure.label:>8}" for figure in judged_by)
    for epoch in history:
        if epoch.number % every == 0 or epoch is history[-1]:
            losses = f"{LOSS.text(epoch.train_loss):>12}{LOSS.text(epoch.dev_loss):>12}"
            rates = "".join(f"{figure.text(epoch.values.get(figure.name)):>8}" for figure in judged_by)
            yield f"          {epoch.number:>5}{losses}{rates}"


if __name__ == "__main__":
    sys.exit(main())
