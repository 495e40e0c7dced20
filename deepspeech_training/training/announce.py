"""What is said of a run: of what kind it is, its plan, where it starts, what came of it."""

import math
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_training.checkpoints.describe import Checkpoint, TrainedModel
from deepspeech_training.checkpoints.source import FoundCheckpoint
from deepspeech_training.checkpoints.tf1 import find_tf1_checkpoint
from deepspeech_training.checkpoints.transfer import Transfer
from deepspeech_training.config import FLAGS, Config, as_dict
from deepspeech_training.config.flag import value_text
from deepspeech_training.config.groups import CheckpointFlags
from deepspeech_training.config.presets import PRESETS, suited
from deepspeech_training.console import Console
from deepspeech_training.data.plan import Plan
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, UserError
from deepspeech_training.models import MODELS, flags_of_others
from deepspeech_training.models.base import AcousticModel, Network, group_of
from deepspeech_training.reporting.diagnosis import diagnose
from deepspeech_training.reporting.events import Ended, Events, FrozenLayers, Initialised, Outcome, Resumed, Started
from deepspeech_training.reporting.evidence import Evidence
from deepspeech_training.reporting.history import Epoch
from deepspeech_training.tasks.base import UsedAsItIs
from deepspeech_training.training.backends.base import Machine
from deepspeech_training.training.interrupt import Interrupted, interrupts
from deepspeech_training.version import VERSION

if TYPE_CHECKING:
    from deepspeech_training.training.run import Run
    from deepspeech_training.training.state import RunState

DEFAULT_EXPORT_DIR = Path("persistent-data/exports")


@contextmanager
def ending(events: Events) -> Iterator[None]:
    """Tell how a call ended, as the last event; an error that compiled code made of a signal is a signal again."""
    ended = "crashed", EXIT_RUN, ""
    try:
        yield
        ended = "done", EXIT_OK, ""
    except UserError as error:
        ended = "failed", error.exit_code, str(error)
        raise
    except Interrupted as interrupted:
        ended = "interrupted", interrupted.exit_code, str(interrupted)
        raise
    except Exception as error:
        exit_code = interrupts.requested()
        if exit_code is None:
            raise
        ended = "interrupted", exit_code, ""
        raise Interrupted(exit_code) from error
    finally:
        events.emit(Ended(*ended))
        events.close()


MODELS_OF_TASKS = {
    "spoken_command": "a model of spoken commands",
    "word_to_ipa": "a model of words to pronunciations",
    "ipa_to_word": "a model of pronunciations to words",
}


def kind_of_data(config: Config, *, voice: bool, text: bool) -> str:
    """What is trained, the acoustic model (`voice`), a scorer (`text`) or both, and why, in one line."""
    flags, train_files = config.voice, config.data.train_files
    if voice:
        csvs = f"{len(train_files)} CSV{'s' if len(train_files) > 1 else ''}"
        why = f"--train_files names {csvs}" if train_files else f"there are recordings in {flags.voice_data_dir}"
        and_text = (" and a scorer", ", and there is --text_data") if text else ("", "")
        kind = MODELS_OF_TASKS.get(config.training.task, "the acoustic model")
        what = f"{kind}{and_text[0]}, as {why}{and_text[1]}"
    elif flags.voice_mode == "text":
        texts = f"texts in {flags.voice_data_dir}"
        source = "--text_data" if flags.text_data else "transcripts" if train_files else texts
        what = f"a language model and scorer, from {source}"
    else:
        folder = f"{flags.voice_data_dir} has texts and no recordings"
        what = (
            f"a language model and scorer, as {'there is --text_data and no recordings' if flags.text_data else folder}"
        )
    return f"Kind      {flags.voice_mode}: {what}"


def preset(run: "Run") -> None:
    """The values of --preset that count, those that flags have replaced, and whether it suits the data."""
    name = run.config.training.preset
    if name == "none":
        return
    console, chosen, now = run.console, PRESETS[name], as_dict(run.config)
    of_others = flags_of_others(run.task.network.name) if run.task.network.name in MODELS else set()
    values = chosen.values_of(run.task.network.name)
    ours = {flag: value for flag, value in values.items() if flag not in of_others}
    hours = sum(found.hours or 0.0 for found in run.data_summary() if found.set == "train")
    same = ", ".join(f"{flag} {value_text(value)}" for flag, value in ours.items() if now[flag] == value)
    others = [
        f"{flag} {value_text(now[flag])} instead of {value_text(value)}"
        for flag, value in ours.items()
        if now[flag] != value
    ]
    console.info(f"Preset    {name}, for {chosen.amount}: {same}")
    if others:
        console.info(f"          but {', '.join(others)}")
    console.info(f"          expect {chosen.expect}")
    if suited(hours) != name:
        console.warn(f"--preset {name}: {suited(hours)} is made for {hours:.3g} hours of training data")


def start(run: "Run", machine: Machine, plan: Plan, transfer: Transfer | None) -> None:
    """With what a training starts: versions, devices, data, network, plan."""
    config, network = run.config, run.task.network
    batches = (
        f"up to {config.batches.batch_seconds:g} padded seconds each"
        if config.batches.batch_seconds
        else f"{config.batches.train_batch_size} clips each"
    )
    if machine.num_devices > 1:
        batches += f" and device ({machine.num_devices} devices)"
    batches_per_epoch = len(plan.batches(1))
    started = Started(
        version=VERSION,
        versions=machine.versions,
        devices=machine.description,
        precision=machine.precision,
        intra_op_threads=machine.intra_op,
        sets=run.data_summary(),
        batches_per_epoch=batches_per_epoch,
        batches=batches,
        padding_share=plan.padding_share(1),
        parameters=network.num_parameters,
        size={network.size_flag: getattr(network, network.size_flag)},
        frozen=_frozen(config.transfer.freeze_layers, network),
        checkpoint_bytes=3 * 4 * network.num_parameters,
        export_bytes=_export_bytes(network),
        plan=_training_plan(
            config, batches_per_epoch, has_dev=bool(run.data.sets.get("dev")), has_source=transfer is not None
        ),
        checkpoint_dir=str(run.folder.folder),
        flags=as_dict(config),
        judged_by=run.task.figures,
    )
    run.events.emit(started)


def source_of_weights(
    run: "Run", machine: Machine, transfer: Transfer | None, checkpoint: Checkpoint | None, state: "RunState"
) -> None:
    """Where the run starts, and what has changed since: at `checkpoint`, if it resumes."""
    if checkpoint is None:
        run.events.emit(Initialised(what_it_began_with(transfer)))
        return
    if state.stopped is None:
        run.events.emit(Resumed(str(checkpoint.path), state.epoch, state.step_in_epoch, state.step))
    else:
        run.console.info(f"{checkpoint.path} is of a finished run ({state.stopped})")
    before, now = checkpoint.model.flags, as_dict(run.config)
    changed = [
        f"--{name} {before[name]} -> {now[name]}"
        for name in now
        if name in before and before[name] != now[name] and not FLAGS[name].quiet
    ]
    if changed:
        run.console.info("Changed since the checkpoint: " + ", ".join(changed))
    if "load_checkpoint_dir" in run.call.given and _is_another_source(run.config.checkpoint, transfer):
        run.console.info(
            f"--load_checkpoint_dir {run.config.checkpoint.load_dir} has no effect: it "
            f"counts when a run begins, and this one began with {what_it_began_with(transfer)}"
        )
    recordings = checkpoint.model.augment_sources
    for path, fingerprint in run.prepared.recordings.items():
        if recordings.get(path, fingerprint) != fingerprint:
            run.console.info(f"The recordings of --augment in {path} are others than before")
    for what, then, here in (
        ("threads", checkpoint.model.threads, {"intra_op": machine.intra_op, "inter_op": machine.inter_op}),
        ("precision", checkpoint.model.precision, machine.compute_dtype),
        ("devices", checkpoint.model.devices, machine.num_devices),
    ):
        if then != here:
            run.console.info(f"Other {what} than before ({then} -> {here}): last digits may differ")


def what_it_began_with(transfer: Transfer | None) -> str:
    return "new weights" if transfer is None else transfer.description


def outcome(run: "Run", state: "RunState", events_log: Path) -> None:
    """At the end of a training: what is best, where everything is, what to make of it, and what to do next."""
    config, folder = run.config, run.folder
    found = diagnose(
        Evidence(
            epoch=state.epoch,
            epochs=config.training.epochs,
            stopped=state.stopped,
            updates=state.updates,
            history=[Epoch.of_history(figures) for figures in state.history],
            early_stop=config.early_stop.early_stop,
            judged_by=run.task.figures,
            size_flag=run.task.network.size_flag,
        )
    )
    files = {kind: next(iter(folder.state_files(kind)), None) for kind in ("best", "train")}
    if found.verdict == "undertrained":
        next_command = found.advice
    elif isinstance(run.task, UsedAsItIs):
        next_command = run.task.how_to_use(str(folder.folder))
    elif config.export.export_dir:
        model = Path(config.export.export_dir) / f"{config.export.export_file_name}.tflite"
        next_command = f"deepspeech transcribe --model {shlex.quote(str(model))} CLIP.wav"
    else:
        exported = DEFAULT_EXPORT_DIR / folder.folder.name
        paths = shlex.join(["--checkpoint_dir", str(folder.folder), "--export_dir", str(exported)])
        next_command = f"deepspeech export {paths}"
    said = Outcome(
        epoch=state.epoch,
        best_epoch=state.schedule.best_epoch,
        best_figures=state.schedule.best_figures,
        best_file=str(files["best"]),
        last_file=str(files["train"]),
        log="" if run.log.fault else str(run.log.path),
        events_log=str(events_log),
        diagnosis=found.lines(),
        next=next_command,
        judged_by=run.task.figures,
    )
    run.events.emit(said)


def unfinished_model(found: FoundCheckpoint, model: TrainedModel, console: Console) -> None:
    """Warn of a model that has not learnt enough: an export looks the same whether it has or not."""
    last = found.folder.read_description("train")
    run = last[1].progress if last is not None and last[1].progress.history else model.progress
    if not run.history:
        return
    verdict = diagnose(
        Evidence(
            epoch=model.progress.epoch,
            epochs=model.flags["epochs"],
            stopped=run.stopped,
            is_best=found.kind == "best",
            updates=model.progress.updates,
            history=[Epoch.of_history(figures) for figures in run.history],
            early_stop=model.flags["early_stop"],
            average_of=model.average_of,
            judged_by=model.judged_by,
            size_flag=model.network.size_flag,
        )
    )
    if not verdict.healthy:
        console.warn("\n".join(verdict.lines()))


def _is_another_source(flags: CheckpointFlags, transfer: Transfer | None) -> bool:
    """Whether --load_checkpoint_dir is neither the folder of this run nor that of its source."""
    named = flags.load_dir
    if named.resolve() == flags.save_dir.resolve():
        return False
    if transfer is None:
        return True
    source = Path(transfer.source)
    if not source.is_absolute():  # of an earlier version: it counts from a folder that nothing tells
        return False
    if not named.is_dir():
        named = find_tf1_checkpoint(named) or named
    return named.resolve() not in (source.resolve(), source.resolve().parent)


def _export_bytes(network: Network) -> dict[str, int]:
    if not isinstance(network, AcousticModel):
        return {}
    return {"float32": network.export_bytes(quantized=False), "int8": network.export_bytes(quantized=True)}


def _frozen(names: Sequence[str], network: Network) -> FrozenLayers | None:
    """The layers of --freeze_layers and how many weights they have; None without."""
    layers = [layer for layer in network.groups if layer in names]
    if not layers:
        return None
    shapes = network.weight_shapes()
    return FrozenLayers(
        layers, parameters=sum(math.prod(shape) for name, shape in shapes.items() if group_of(name) in layers)
    )


def _training_plan(config: Config, batches_per_epoch: int, *, has_dev: bool, has_source: bool) -> str:
    """How long and how it is trained, in one line."""
    optimizer = config.optimizer
    training, stop, epochs = config.training, config.early_stop, config.training.epochs
    parts = [
        f"up to {epochs:,} epochs, {epochs * batches_per_epoch:,} steps",
        f"learning rate {optimizer.learning_rate:g}",
        f"dropout {training.dropout_rate:g}",
    ]
    if optimizer.lr_schedule == "cosine":
        parts[1] += " falling along a cosine"
    if config.reduces_rate_on_plateau and has_dev:
        parts[1] += " falling on plateaus" if optimizer.lr_schedule != "cosine" else " and on plateaus"
    if optimizer.warmup_epochs:
        parts[1] += f" after {optimizer.warmup_epochs:g} epochs of warm-up"
    if has_source and config.transfer.source_learning_rate_factor != 1:
        parts[1] += f" (layers of the source {config.transfer.source_learning_rate_factor:g} times that)"
    if optimizer.weight_decay:
        parts.append(f"weight decay {optimizer.weight_decay:g}")
    if optimizer.ema:
        parts.append(f"average of the weights {optimizer.ema:g}")
    if not has_dev:
        return ", ".join([*parts, "no dev set: no best checkpoint and no early stop"])
    if not stop.early_stop:
        return ", ".join([*parts, "no early stop"])
    least = f", not before epoch {stop.min_epochs}" if stop.min_epochs else ""
    return ", ".join([*parts, f"stops after {stop.es_epochs} epochs without a better dev loss{least}"])
