"""A parsed command line -> `Call` (what is asked for) -> `Run` (all that is known before TensorFlow is imported).

Flags, checkpoints and, by the task, all that it works on are checked here, in this order. A `Run` is made once, by
`prepare`, and never changes: what a training changes is its RunState.
"""

import difflib
import importlib
import os
from collections.abc import Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.checkpoints.source import (
    Folder,
    Source,
    adopted_flags,
    folder_to_evaluate,
    load_folder_of,
    source_of_evaluation,
    source_of_training,
)
from deepspeech_training.config import Config, ParsedFlags, as_dict
from deepspeech_training.config.groups import CheckpointFlags
from deepspeech_training.config.rules import check_network, values_of_task
from deepspeech_training.console import Console
from deepspeech_training.data.folder import has_audio
from deepspeech_training.data.sample import CheckedData
from deepspeech_training.data.sample_list import Joined, SampleList, as_list
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.machine.cluster import Cluster
from deepspeech_training.machine.device_choice import Choice, choose
from deepspeech_training.machine.resources import HOW_TO_MOUNT, read_resources, will_be_lost
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.reporting.events import DataChecked, Events, SetSummary
from deepspeech_training.reporting.session_log import SessionLog
from deepspeech_training.tasks import TASKS
from deepspeech_training.tasks import prepare as prepare_task
from deepspeech_training.tasks.base import Exports, Order, Prepared, Task, Transcribes
from deepspeech_training.training import announce
from deepspeech_training.training.memory import check_memory_to_begin
from deepspeech_training.training.schedule import figure_to_judge_by

if TYPE_CHECKING:
    from deepspeech_training.exporting.folder import ExportFolder

# What a call that does one thing only must and must not be given.
ONLY = {
    "test": "this command only tests: give --test_files and --checkpoint_dir, and nothing to train or export",
    "export": "this command only exports: give --export_dir and --checkpoint_dir, and neither --train_files nor "
    "--one_shot_infer",
}


@dataclass(frozen=True)
class Work:
    """What one call has to do, in this order."""

    train: bool = False
    text: bool = False
    test: bool = False
    export: bool = False
    infer: bool = False

    @property
    def names(self) -> list[str]:
        return [name for name, wanted in vars(self).items() if wanted]

    @property
    def computes(self) -> bool:
        """Whether TensorFlow is needed: an export and a scorer do without."""
        return self.train or self.test or self.infer


@dataclass(frozen=True)
class Call:
    """One call of the program.

    Args:
        config: the flags, defaults included.
        given: names of those that the person has set.
        command: as it was typed, for the session log.
        work: what it asks for.
        choice: what to compute on; None where nothing is computed, in an export alone.
        cluster: with whom it trains; None where it does so alone.
        exporter: the folder of the export, checked; None without one.
        folder: where checkpoints are saved; locked while the call trains.
        console: its lines are events.
        events: where all that happens is told.
    """

    config: Config
    given: frozenset[str]
    command: str
    work: Work
    choice: Choice | None
    cluster: Cluster | None
    exporter: "ExportFolder | None"
    folder: CheckpointFolder
    console: Console
    events: Events

    @property
    def is_first(self) -> bool:
        """Whether it writes what a training leaves behind: of several workers one does."""
        return self.cluster is None or self.cluster.is_first

    @property
    def own_folder(self) -> Path:
        """Where this process keeps what it has found out of the data: that of the checkpoints, or one in it."""
        return (
            self.folder.folder
            if self.cluster is None or self.is_first
            else self.folder.folder / (f"worker-{self.cluster.rank}")
        )

    @property
    def device(self) -> Choice:
        """What a call that computes does so on."""
        assert self.choice is not None, "nothing is computed"
        return self.choice

    def say_kind(self) -> None:
        if self.work.train or self.work.text:
            self.console.info(announce.kind_of_data(self.config, voice=self.work.train, text=self.work.text))

    def begin_log(self, folder: Path) -> SessionLog:
        """From here on the call has an id and a log."""
        log = SessionLog(
            folder,
            command=self.command,
            working_folder=os.getcwd(),
            work=self.work.names,
            flags=as_dict(self.config),
        )
        if log.fault:
            self.console.info(log.fault)
        self.events.add(log)
        return log


@dataclass(frozen=True)
class Run:
    """All that a call works with, checked.

    Args:
        call: what was asked for.
        log: of this session.
        source: where the weights come from.
        prepared: the task, and what it works on.
    """

    call: Call
    log: SessionLog
    source: Source
    prepared: Prepared

    @property
    def config(self) -> Config:
        """The flags of the call, with those that the checkpoint decides and the CSVs that the task has found."""
        return self.prepared.config

    @property
    def task(self) -> Task:
        return self.prepared.task

    @property
    def data(self) -> CheckedData:
        return self.prepared.data

    @property
    def work(self) -> Work:
        return self.call.work

    @property
    def folder(self) -> CheckpointFolder:
        return self.call.folder

    @property
    def console(self) -> Console:
        return self.call.console

    @property
    def events(self) -> Events:
        return self.call.events

    def samples(self, kind: str) -> SampleList:
        """Those of all CSVs of a set together, of the task's own class."""
        parts = [as_list(found.samples) for found in self.data.sets.get(kind, ())]
        return parts[0] if len(parts) == 1 else Joined(parts)

    def data_summary(self) -> list[SetSummary]:
        """The figures of each CSV, for events and checkpoints."""
        unit = self.task.unit
        return [SetSummary.of(kind, found, unit.sample_rate) for kind, found in self.data.all_sets()]


def work_of(config: Config, *, only: str = "") -> Work:
    """What the flags ask for.

    Args:
        only: "test" or "export" for a command that does nothing else; "" for all that is asked for.
    Raises:
        FlagError: nothing, or something else than the command does, or data that the mode needs is missing or doubled.
    """
    trains_on = kinds_of_data(config)
    exports, infers = bool(config.export.export_dir), bool(config.inference.one_shot_infer)
    work = Work(
        train="voice" in trains_on and config.training.epochs > 0,
        text="text" in trains_on,
        test=bool(config.data.test_files) and only != "export",  # there, an export is compared on them
        export=exports,
        infer=infers,
    )
    if only and (trains_on or work.names != [only]):
        raise FlagError(ONLY[only])
    if not work.names:
        voice = "for --voice_mode voice " if config.voice.voice_mode == "voice" else ""
        raise FlagError(
            f"there is nothing to do: {voice}give --train_files, --voice_data_dir, --text_data, "
            "--test_files, --export_dir or --one_shot_infer\n--help lists all flags and shows an example."
        )
    return work


def kinds_of_data(config: Config) -> frozenset[str]:
    """What --voice_mode takes: "voice", "text", both or nothing.

    Raises:
        FlagError: the data that the mode needs is not named, or named twice.
    """
    voice, train_files = config.voice, config.data.train_files
    mode, folder, has_text = voice.voice_mode, voice.voice_data_dir, bool(voice.text_data)
    if folder and train_files:
        raise FlagError("--voice_data_dir and --train_files are two sources of the same: leave one out")
    if mode == "text" and not (has_text or train_files or folder):
        raise FlagError("--voice_mode text: there is no text; give --text_data, or --train_files for transcripts")
    sounds = bool(train_files) or bool(folder and has_audio(Path(folder)))
    if mode == "voice" and folder and not sounds:
        raise FlagError(f"--voice_mode voice: there are no recordings below {folder}")
    if mode != "auto":
        return frozenset({mode} if sounds or mode == "text" else ())
    return frozenset(
        kind for kind, there in (("voice", sounds), ("text", has_text or (folder and not sounds))) if there
    )


def of_another_worker(config: Config) -> Config:
    """The flags of a worker that is not the first: it trains, and does nothing else."""
    return config.replace(
        test_files=(), export_dir="", one_shot_infer="", text_data=(), train_scorer=False, scorer="", scorer_path=""
    )


def call_of(
    parsed: ParsedFlags, *, only: str, console: Console, events: Events, cluster: Cluster | None = None
) -> Call:
    """Check what the flags ask for, and on what: all that can be said without looking at checkpoints and data.

    Raises:
        FlagError: they ask for nothing, or for what does not go together.
        UserError: an export could not be written, or the device that is demanded is not there.
    """
    config, name = parsed.config, parsed.config.training.task
    if name not in TASKS:
        near = [f"; did you mean {task}?" for task in difflib.get_close_matches(name, TASKS, n=1)]
        raise FlagError(f"--task {name}: must be one of {', '.join(TASKS)}{''.join(near)}")
    work = work_of(config, only=only)
    exporter = _exporter(config, console) if work.export else None
    choice = None
    if work.computes or work.text:
        choice = choose(config.compute, read_resources(), visible=os.environ.get("CUDA_VISIBLE_DEVICES"))
    folder = CheckpointFolder(config.checkpoint.save_dir, console)
    return Call(config, parsed.given, parsed.command_line, work, choice, cluster, exporter, folder, console, events)


def _exporter(config: Config, console: Console) -> "ExportFolder":
    """Find out before a training of days whether its export could be written."""
    from deepspeech_training.exporting.folder import ExportFolder

    try:
        importlib.import_module("deepspeech_training.models.tflite_graph")  # which needs what writes flatbuffers
    except ImportError as error:
        raise UserError(
            f"--export_dir needs the package {error.name}, which is not installed: pip install ai-edge-litert"
        ) from error
    exporter = ExportFolder(config.export, config.card, console)
    exporter.check()
    return exporter


def prepare(call: Call) -> Run:
    """Find the checkpoint, and check all that the call works with.

    Raises:
        UserError: anything that would keep it from its end, as far as that can be known beforehand.
    """
    config, work, console = call.config, call.work, call.console
    load_folder = load_folder_of(config.checkpoint, config.data, config.training.relu_clip, console)
    if work.train:
        _check_that_it_will_be_kept(config.checkpoint)
        if call.is_first:
            call.folder.lock()
        used: Folder = call.folder
        log = call.begin_log(config.checkpoint.logs_dir if call.is_first else call.own_folder)
        source = source_of_training(config.checkpoint, call.given, call.folder, load_folder)
    else:
        used = folder_to_evaluate(config.checkpoint, call.folder, load_folder)
        source = source_of_evaluation(config.checkpoint, call.given, used)
        log = call.begin_log(_logs_of_evaluation(config.checkpoint, call.given, used.folder))
    continues = work.train and source.kind == "resume"
    task = config.training.task
    if source.found is not None and "task" not in call.given:
        task = source.found.model.task
    config = config.replace(**values_of_task(config, task, call.given))
    if source.found is not None:
        config = config.with_preset_for(source.found.model.network.name, call.given)
    config = config.replace(**adopted_flags(source, as_dict(config), call.given, continues=continues, console=console))
    check_network(config, call.given)
    log.update(flags=as_dict(config), checkpoint_dir=str(used.folder))
    prepared = prepare_task(Order(config, source, work.train, call.own_folder if work.train else used.folder, console))
    best_by = figure_to_judge_by(config.checkpoint.best_by, prepared.task).name
    run = Run(call, log, source, replace(prepared, config=prepared.config.replace(best_by=best_by)))
    log.update(flags=as_dict(run.config))
    call.events.emit(DataChecked(run.data_summary()))
    _check_abilities(work, config, run.task)
    if work.computes and not config.batches.skip_batch_test:
        longest = int(run.samples("train").costs.max(initial=0))
        check_memory_to_begin(
            run.task.network,
            frames=run.task.frames(longest),
            trains=work.train,
            on_gpu=call.device.uses_gpu,
        )
    return run


def _check_abilities(work: Work, config: Config, task: Task) -> None:
    for wanted, flag, is_able in (
        (work.export, "--export_dir", isinstance(task, Exports)),
        (work.infer, "--one_shot_infer", isinstance(task, Transcribes)),
        (config.geometry.normalise_features, "--normalise_features", isinstance(task.network, AcousticModel)),
    ):
        if wanted and not is_able:
            raise FlagError(f"{flag}: not with --task {task.name}; leave it out")


def _check_that_it_will_be_kept(flags: CheckpointFlags) -> None:
    if not flags.ephemeral and will_be_lost(flags.save_dir):
        raise FlagError(
            f"{flags.save_dir.absolute()}: no volume is mounted there, so that the checkpoints would be gone "
            f"with this container\nStart it with {HOW_TO_MOUNT}\n"
            "or, if nothing of this run is to be kept, add --ephemeral."
        )


def _logs_of_evaluation(flags: CheckpointFlags, given: Collection[str], folder: Path) -> Path:
    """Where the log of a call that does not train goes: not into the folder of a source that others train in."""
    if flags.output_dir or flags.save_checkpoint_dir or {"checkpoint_dir", "load_checkpoint_dir"} <= set(given):
        return flags.logs_dir
    return folder / "logs"
