"""argv -> Config -> check of all data -> train, test, export, one-shot inference, in DeepSpeech's order.

Flags, checkpoints, alphabet and every row of every CSV are checked before TensorFlow is imported. An export alone does
not import it.
"""

import json
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.config import (
    CardFlags,
    Config,
    ExportFlags,
    ParsedFlags,
    as_dict,
    format_help,
    parse_flags,
    to_flag_lines,
    value_text,
)
from deepspeech_training.console import Console
from deepspeech_training.engine.checkpoints import Checkpoint, CheckpointFolder
from deepspeech_training.engine.interrupt import Interrupted, interrupts
from deepspeech_training.engine.schedule import wants_stop
from deepspeech_training.errors import EXIT_OK, FlagError, UserError
from deepspeech_training.features_geometry import FeatureGeometry
from deepspeech_training.network_geometry import NetworkGeometry
from deepspeech_training.samples import CheckedData, Rejection, SampleSet, check_sets, limit_fairly
from deepspeech_training.samples import write_rejections as write_rejected_csv
from deepspeech_training.version import VERSION

if TYPE_CHECKING:
    from deepspeech_training.engine.devices import Machine
    from deepspeech_training.engine.tensorflow_backend import Backend
    from deepspeech_training.tasks.speech_to_text import SpeechToText

# Flags that fix the shapes or the meaning of the weights: (group, name, where a checkpoint has it).
FIXED_BY_THE_WEIGHTS = (
    ("geometry", "n_hidden", ("network", "n_hidden")),
    ("geometry", "layer_norm", ("network", "layer_norm")),
    ("training", "relu_clip", ("network", "relu_clip")),
    ("data", "audio_sample_rate", ("features", "sample_rate")),
    ("data", "feature_win_len", ("features", "win_len_ms")),
    ("data", "feature_win_step", ("features", "win_step_ms")),
)
MAX_CLIPS_TO_COMPARE = 20  # of --test_files, after an export
# Flags whose change on resume is nobody's surprise.
QUIET_FLAGS = {
    "checkpoint_dir", "load_checkpoint_dir", "save_checkpoint_dir", "load_train", "load_evaluate", "test_files",
    "test_output_file", "one_shot_infer", "log_level", "show_progressbar", "report_count", "alphabet_config_path",
    "summary_dir", "limit_test", "reverse_test", "test_batch_size", "log_placement", "skip_batch_test",
    *(entry.name for group in (ExportFlags, CardFlags) for entry in fields(group)),
}  # fmt: skip


def export_main(argv: Sequence[str] | None = None) -> int:
    """Export a checkpoint and do nothing else: --test_files are only what the exported model is compared on."""
    return main(argv, export_only=True)


def main(argv: Sequence[str] | None = None, *, export_only: bool = False) -> int:
    """Run the program; returns its exit code: 0 done, 1 data or run, 2 flags, 130 Ctrl-C, 143 SIGTERM."""
    console = Console()
    try:
        interrupts.install()
        parsed = parse_flags(sys.argv[1:] if argv is None else argv)
        if parsed.version_wanted:
            print(VERSION)
            return EXIT_OK
        if parsed.help_wanted:
            print(format_help(min(shutil.get_terminal_size().columns, 110), full=parsed.help_wanted == "full"))
            return EXIT_OK
        reporting = parsed.config.reporting
        console = Console(level=reporting.log_level, show_progressbar=reporting.show_progressbar)
        Session(parsed, console, export_only=export_only).run()
        return EXIT_OK
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except Interrupted as interrupted:
        if str(interrupted):
            console.info(str(interrupted))
        return interrupted.exit_code


@dataclass(frozen=True)
class Source:
    """Where the weights of a run come from.

    Args:
        kind: "resume" (all of the state), "weights" (of another run; a new run begins with them) or "init".
        description: the state of the checkpoint, without arrays; None for "init".
        folder, checkpoint_kind: where to load it.
    """

    kind: str
    description: dict[str, Any] | None = None
    folder: CheckpointFolder | None = None
    checkpoint_kind: str = ""


class Session:
    """One call of the program."""

    def __init__(self, parsed: ParsedFlags, console: Console, *, export_only: bool = False):
        self._console = console
        self._given = parsed.given
        self._config = parsed.config
        self._trains = bool(parsed.config.data.train_files) and parsed.config.training.epochs > 0
        self._export_only = export_only
        for notice in parsed.notices:
            console.warn(notice)

    def run(self) -> None:
        config, data = self._config, self._config.data
        exports = bool(config.export.export_dir)
        tests = bool(data.test_files) and not self._export_only
        if self._export_only and (not exports or self._trains or config.inference.one_shot_infer):
            raise FlagError(
                "this command only exports: give --export_dir and --checkpoint_dir, and neither --train_files nor "
                "--one_shot_infer"
            )
        if not (self._trains or tests or exports or config.inference.one_shot_infer):
            raise FlagError(
                "there is nothing to do: give --train_files, --test_files, --export_dir or --one_shot_infer\n"
                "--help lists all flags and shows an example."
            )
        if exports:
            self._check_export()
        save_folder = CheckpointFolder(config.checkpoint.save_dir, self._console)
        load_folder = CheckpointFolder(config.checkpoint.load_dir, self._console)
        if self._trains:
            save_folder.lock()
            source = self._source_of_training(save_folder, load_folder)
        else:
            source = self._source_of_evaluation(load_folder)
        self._config = config = self._adopt(source)
        alphabet, alphabet_name = self._alphabet(source)
        features = FeatureGeometry(data.audio_sample_rate, data.feature_win_len, data.feature_win_step)
        if source.description is not None:
            features = FeatureGeometry(**source.description["features"])
        checked = self._check(alphabet, alphabet_name, features, save_folder.folder if self._trains else None)
        network = NetworkGeometry(
            num_classes=alphabet.num_classes, n_hidden=config.geometry.n_hidden, layer_norm=config.geometry.layer_norm,
            relu_clip=config.training.relu_clip, n_features=features.n_mfcc, n_context=features.n_context,
        )  # fmt: skip
        if not (self._trains or tests or config.inference.one_shot_infer):
            self._write_export(source, alphabet, features, network, checked)
            return

        from deepspeech_training.engine import devices

        machine = devices.set_up(config.performance)  # imports TensorFlow
        from deepspeech_training.tasks.speech_to_text import SpeechToText

        task = SpeechToText(alphabet, features, network)
        backend = None
        if self._trains:
            backend = self._train(task, machine, source, save_folder, checked)
            source = self._source_of_evaluation(save_folder)
        if data.test_files or config.inference.one_shot_infer:
            backend = self._with_weights_for_evaluation(backend, task, machine, source)
        if data.test_files:
            self._test(backend, task, machine, checked)
        if exports:
            self._write_export(source, alphabet, features, network, checked)
        if config.inference.one_shot_infer:
            self._infer(backend, task, config.inference.one_shot_infer)

    # --- before TensorFlow: checkpoint, alphabet, data -----------------------------------------------------------

    def _source_of_training(self, save_folder: CheckpointFolder, load_folder: CheckpointFolder) -> Source:
        """Decide what --load_train means here; see docs/training.md, "Which checkpoint a run starts from"."""
        wanted = self._config.checkpoint.load_train
        if wanted == "init":
            return Source("init")
        same = save_folder.folder.resolve() == load_folder.folder.resolve()
        if wanted == "best" and same:
            kinds, folder = ("best",), save_folder
        elif save_folder.has("train"):
            return self._source("resume", save_folder, "train")  # the run that this command began goes on
        else:
            kinds = {"auto": ("train", "best"), "last": ("train",), "best": ("best",)}[wanted]
            folder = save_folder if same else load_folder
        for kind in kinds:
            if folder.has(kind):
                return self._source("resume" if same else "weights", folder, kind)
        if wanted == "auto" and (same or "load_checkpoint_dir" not in self._given):
            return Source("init")
        raise UserError(
            f"{folder.folder}: there is no {'best' if wanted == 'best' else 'last'} checkpoint to start from\n"
            "Name the folder with --load_checkpoint_dir, or start with new weights: --load_train init."
        )

    def _source_of_evaluation(self, folder: CheckpointFolder) -> Source:
        wanted = self._config.checkpoint.load_evaluate
        for kind in {"auto": ("best", "train"), "last": ("train",), "best": ("best",)}[wanted]:
            if folder.has(kind):
                return self._source("resume", folder, kind)
        raise UserError(
            f"{folder.folder}: there is no {'' if wanted == 'auto' else wanted + ' '}checkpoint to test or export\n"
            "Train first (--train_files), or name the folder of a trained model with --checkpoint_dir."
        )

    @staticmethod
    def _source(kind: str, folder: CheckpointFolder, checkpoint_kind: str) -> Source:
        found = folder.read_description(checkpoint_kind)
        if found is None:
            folder.load(checkpoint_kind)  # raises, naming each damaged file
            raise AssertionError("a description that is damaged has been loaded")
        return Source(kind, found[1], folder, checkpoint_kind)

    def _adopt(self, source: Source) -> Config:
        """Take from the checkpoint what fixes its weights; refuse a flag that says otherwise, with both values."""
        config = self._config
        if source.description is None:
            return config
        refused = []
        for group_name, name, (part, key) in FIXED_BY_THE_WEIGHTS:
            group = getattr(config, group_name)
            ours, theirs = getattr(group, name), source.description[part][key]
            if ours == theirs:
                continue
            if name in self._given:
                refused.append(f"--{name} {value_text(ours)}: the checkpoint was trained with {value_text(theirs)}")
            else:
                self._console.info(f"--{name} {value_text(theirs)}, as in the checkpoint")
                config = replace(config, **{group_name: replace(group, **{name: theirs})})
        if refused:
            raise FlagError(
                "\n".join(refused) + f"\nThe checkpoint is in {source.folder.folder}. Leave the flag out, or name "
                "another folder with --checkpoint_dir, or start anew with --load_train init."
            )
        return config

    def _alphabet(self, source: Source) -> tuple[Alphabet, str]:
        """The flag's, else the checkpoint's, else English; a flag that differs from the checkpoint is refused."""
        path = self._config.decoder.alphabet_config_path
        given = Alphabet.read(path) if path else None
        if source.description is None:
            return (given, path) if given is not None else (Alphabet.english(), "English, of the package")
        trained = Alphabet(tuple(source.description["alphabet"]))
        if given is not None and given != trained:
            differing = sorted(set(given.characters) ^ set(trained.characters))
            what = (
                f"characters in one only: {' '.join(map(repr, differing[:20]))}" if differing else "the order differs"
            )
            raise FlagError(
                f"--alphabet_config_path {path}: {given.size} characters; the checkpoint was trained with "
                f"{trained.size} ({what})\n"
                f"The checkpoint is in {source.folder.folder}. Use its alphabet (leave the flag out), or name another "
                "folder with --checkpoint_dir, or start anew with --load_train init."
            )
        return trained, path or "in the checkpoint"

    def _check(
        self, alphabet: Alphabet, alphabet_name: str, features: FeatureGeometry, folder: Path | None
    ) -> CheckedData:  # fmt: skip
        data, limits = self._config.data, self._config.limits
        csvs: Mapping[str, Sequence[str]] = {
            "train": data.train_files if self._trains else (),
            "dev": data.dev_files if self._trains else (),
            "test": data.test_files,
            "metrics": data.metrics_files if self._trains else (),
        }
        csvs = {name: paths for name, paths in csvs.items() if paths}
        if not csvs:
            return CheckedData()
        checked = check_sets(
            csvs, alphabet=alphabet, geometry=features, on_bad_row=data.on_bad_row,
            cache_dir=None if folder is None else folder / "data_check", console=self._console,
            alphabet_name=alphabet_name, workers=None,
        )  # fmt: skip
        for warning in checked.warnings:
            self._console.warn(warning)
        if folder is not None and not checked.rejected:
            (folder / "rejected.csv").unlink(missing_ok=True)  # of an earlier run, whose rows have been mended
        elif folder is not None:
            write_rejected_csv(folder / "rejected.csv", checked.rejected)
            self._console.warn(f"The rows left out are listed in {folder / 'rejected.csv'}")
        seed = self._config.training.random_seed
        for name, limit in (("dev", limits.limit_dev), ("test", limits.limit_test)):
            if limit and name in checked.sets:
                checked.sets[name] = [
                    replace(s, samples=limit_fairly(s.samples, limit, seed)) for s in checked.sets[name]
                ]  # fmt: skip
        return checked

    # --- training ------------------------------------------------------------------------------------------------

    def _train(
        self, task: "SpeechToText", machine: "Machine", source: Source, folder: CheckpointFolder, checked: CheckedData
    ) -> "Backend":
        from deepspeech_training.data.loader import Loader
        from deepspeech_training.data.plan import BatchRules, Plan
        from deepspeech_training.engine.devices import usable_cores
        from deepspeech_training.engine.events import ConsoleSink, Events, JsonLines, TensorBoard
        from deepspeech_training.engine.memory import memory_for_audio, try_heaviest_batches
        from deepspeech_training.engine.train import RunState, Trainer

        config = self._config
        samples = limit_fairly(
            [s for found in checked.sets["train"] for s in found.samples], config.limits.limit_train,
            config.training.random_seed,
        )  # fmt: skip
        num_devices = len(machine.devices)
        plan = Plan(
            samples,
            BatchRules(
                batch_size=config.batches.train_batch_size * num_devices,
                batch_seconds=config.batches.batch_seconds * num_devices,
                shuffle=config.limits.shuffle,
                reverse=config.limits.reverse_train,
                seed=config.training.random_seed,
                sample_rate=config.data.audio_sample_rate,
            ),
        )
        checkpoint = None if source.folder is None else source.folder.load(source.checkpoint_kind)
        if source.kind != "resume":
            aside = folder.set_aside()
            if aside is not None:
                self._console.info(f"A new run begins: the checkpoints that were there are in {aside}")
        elif source.checkpoint_kind == "best":
            aside = folder.set_aside(later_than=checkpoint.state["run"]["step"])
            if aside is not None:
                self._console.info(f"Later checkpoints than the best one are in {aside}")
        state = RunState(learning_rate=config.optimizer.learning_rate)
        if source.kind == "resume":
            state = RunState.from_json(checkpoint.state["run"])
        log = JsonLines(folder.folder / "events.jsonl")
        # Without a checkpoint to resume, what the log has is of a run that was killed before its first.
        log.cut_back(checkpoint.state["log_length"] if source.kind == "resume" else 0)
        sinks = [ConsoleSink(self._console), log]
        if config.reporting.summary_dir:
            sinks.append(TensorBoard(Path(config.reporting.summary_dir), resumed_step=state.step))
        events = Events(sinks)
        write_atomically(folder.folder / "flags.txt", [("\n".join(to_flag_lines(config)) + "\n").encode()])
        backend = self._backend(
            task,
            machine,
            checkpoint.arrays if checkpoint is not None else task.initial_weights(config.training.random_seed),
        )
        self._say_start(events, task, machine, plan, checked, folder)
        self._say_source(events, source, checkpoint, state, plan, machine)
        if source.kind == "resume":
            backend.set_state(checkpoint.arrays)
        self._settle_rate(events, state)

        def save_rejections(quarantined: list[Rejection]) -> None:
            write_rejected_csv(folder.folder / "rejected.csv", [*checked.rejected, *quarantined])

        threads = config.performance.loader_threads or min(usable_cores(), 8)
        with Loader(
            task.load, threads=threads, static_shapes=machine.on_gpu, keep_bytes=memory_for_audio()
        ) as loader:  # fmt: skip
            trainer = Trainer(
                backend=backend, task=task, config=config, plan=plan, dev_sets=checked.sets.get("dev", []),
                metrics_sets=checked.sets.get("metrics", []), loader=loader, folder=folder, state=state,
                extra_state={
                    "version": VERSION, **task.describe(),
                    "threads": {"intra_op": machine.intra_op, "inter_op": machine.inter_op},
                    "precision": machine.compute_dtype, "devices": num_devices,
                },
                events=events, log=log, save_rejections=save_rejections,
            )  # fmt: skip
            try:
                if (
                    state.epoch < config.training.epochs
                    and not wants_stop(state.schedule, state.epoch, config)
                    and not config.batches.skip_batch_test
                ):
                    try_heaviest_batches(
                        backend, task, machine, loader, [plan.samples[i] for i in plan.heaviest_batch()],
                        dev_samples=[s for found in checked.sets.get("dev", []) for s in found.samples],
                        dev_batch_size=config.batches.dev_batch_size * num_devices,
                        by_seconds=config.batches.batch_seconds > 0,
                    )  # fmt: skip
                trainer.run()
            finally:
                events.close()
        if state.quarantine:
            self._console.warn(
                f"{len(state.quarantine):,} clips were left out in training: {folder.folder / 'rejected.csv'}"
            )  # fmt: skip
        return backend

    def _backend(self, task: "SpeechToText", machine: "Machine", weights) -> "Backend":
        from deepspeech_training.engine.tensorflow_backend import Backend

        config = self._config
        return Backend(
            task, weights, devices=machine.devices, compute_dtype=machine.compute_dtype,
            dropout_rates=config.training.dropout_rates,
            adam=(config.optimizer.beta1, config.optimizer.beta2, config.optimizer.epsilon),
            max_grad_norm=config.training.max_grad_norm, log=self._console.warn,
        )  # fmt: skip

    def _say_start(self, events, task: "SpeechToText", machine: "Machine", plan, checked: CheckedData, folder) -> None:
        from deepspeech_training.engine import tensorflow_backend

        config = self._config
        shapes = task.network.weight_shapes().values()
        batches = (
            f"up to {config.batches.batch_seconds:g} padded seconds each"
            if config.batches.batch_seconds
            else f"{config.batches.train_batch_size} clips each"
        )
        if len(machine.devices) > 1:
            batches += f" and device ({len(machine.devices)} devices)"
        events.emit(
            "start", version=VERSION, **tensorflow_backend.versions(), devices=machine.description,
            precision=machine.precision, intra_op_threads=machine.intra_op,
            sets=[_describe_set(kind, s, plan.rules.sample_rate) for kind, sets in checked.sets.items() for s in sets],
            batches_per_epoch=len(plan.batches(1)), batches=batches, padding_share=plan.padding_share(1),
            parameters=sum(_product(shape) for shape in shapes), n_hidden=task.network.n_hidden,
            checkpoint_dir=str(folder.folder), flags=as_dict(config),
        )  # fmt: skip

    def _say_source(self, events, source: Source, checkpoint: Checkpoint | None, state, plan, machine) -> None:
        """Say where the run starts, what has changed since, and start an epoch again whose batches have changed."""
        if source.kind == "init":
            events.emit("initialised", source="new weights", step=0)
        elif source.kind == "weights":
            events.emit("initialised", source=f"the weights of {checkpoint.path}", step=0)
        else:
            if state.stopped is None:
                events.emit(
                    "resumed", checkpoint=str(checkpoint.path), epoch=state.epoch, step_in_epoch=state.step_in_epoch,
                    step=state.step,
                )  # fmt: skip
            else:
                events.emit("note", message=f"{checkpoint.path} is of a finished run ({state.stopped})")
            before, now = checkpoint.state["flags"], as_dict(self._config)
            changed = [
                f"--{name} {before[name]} -> {now[name]}"
                for name in now
                if name in before and before[name] != now[name] and name not in QUIET_FLAGS
            ]
            if changed:
                events.emit("note", message="Changed since the checkpoint: " + ", ".join(changed))
            threads = {"intra_op": machine.intra_op, "inter_op": machine.inter_op}
            for what, then, here in (
                ("threads", checkpoint.state["threads"], threads),
                ("precision", checkpoint.state["precision"], machine.compute_dtype),
                ("devices", checkpoint.state["devices"], len(machine.devices)),
            ):
                if then != here:
                    events.emit("note", message=f"Other {what} than before ({then} -> {here}): last digits may differ")
        fingerprint = plan.fingerprint()
        if state.plan and state.plan != fingerprint and state.step_in_epoch and state.validation is None:
            events.emit(
                "note", message=f"The training clips or their batches have changed: epoch {state.epoch + 1} starts "
                "again from its first batch",
            )  # fmt: skip
            state.begin_epoch()
        state.plan = fingerprint

    def _settle_rate(self, events, state) -> None:
        """--force_initialize_learning_rate sets the rate once, not again each time that the same command goes on."""
        flag = self._config.optimizer.learning_rate
        if self._config.plateau.force_initialize_learning_rate:
            if state.forced_rate != flag:
                state.forced_rate = flag
                state.learning_rate = flag
                events.emit("note", message=f"Learning rate set to {flag:g} (--force_initialize_learning_rate)")
        elif "learning_rate" in self._given and state.step and state.learning_rate != flag:
            events.emit(
                "note", message=f"The checkpoint's learning rate {state.learning_rate:g} is kept; "
                f"--force_initialize_learning_rate takes {flag:g}",
            )  # fmt: skip

    # --- export --------------------------------------------------------------------------------------------------

    def _check_export(self) -> None:
        """Find out before a training of days whether its export could be written."""
        try:
            from deepspeech_training.export.folder import ExportFolder
        except ImportError as error:
            raise UserError(
                f"--export_dir needs the package {error.name}, which is not installed: pip install ai-edge-litert"
            ) from error
        config = self._config
        self._export_folder = ExportFolder(config.export, config.card, self._console)
        self._export_folder.check()

    def _write_export(
        self, source: Source, alphabet: Alphabet, features: FeatureGeometry, network: NetworkGeometry,
        checked: CheckedData,
    ) -> None:  # fmt: skip
        from deepspeech_training.export.folder import TrainedModel

        checkpoint = source.folder.load(source.checkpoint_kind)
        weights = {name: array for name, array in checkpoint.arrays.items() if not name.startswith("adam_")}
        self._console.info(f"Exports {checkpoint.path}")
        samples = [sample for found in checked.sets.get("test", []) for sample in found.samples]
        self._export_folder.write(
            TrainedModel(str(checkpoint.path), weights, alphabet, features, network),
            limit_fairly(samples, MAX_CLIPS_TO_COMPARE, self._config.training.random_seed),
        )  # fmt: skip

    # --- test and one-shot inference -----------------------------------------------------------------------------

    def _with_weights_for_evaluation(
        self, backend: "Backend | None", task: "SpeechToText", machine: "Machine", source: Source
    ) -> "Backend":
        checkpoint = source.folder.load(source.checkpoint_kind)
        weights = {name: checkpoint.arrays[name] for name in task.network.weight_shapes()}
        run = checkpoint.state["run"]
        self._console.info(f"Uses {checkpoint.path} (step {run['step']:,}, after {run['epoch']:,} epochs)")
        if backend is None:
            return self._backend(task, machine, weights)
        backend.model.set_named_weights(weights)
        return backend

    def _test(self, backend: "Backend", task: "SpeechToText", machine: "Machine", checked: CheckedData) -> None:
        from deepspeech_training.data.loader import Loader
        from deepspeech_training.engine.devices import usable_cores
        from deepspeech_training.engine.evaluate import clip_results
        from deepspeech_training.metrics import SetReport

        config = self._config
        size = config.batches.test_batch_size * len(machine.devices)
        threads = config.performance.loader_threads or min(usable_cores(), 8)
        everything = []
        with Loader(task.load, threads=threads, static_shapes=machine.on_gpu) as loader:
            for found in checked.sets["test"]:
                batches = -(-len(found.samples) // size)
                with self._console.progress(f"Testing on {found.name}", total=batches, unit="batches") as progress:
                    results = clip_results(
                        backend, task, loader, found.samples, batch_size=size, reverse=config.limits.reverse_test,
                        on_batch=progress.update,
                        on_fault=lambda sample, reason: self._console.warn(f"{sample.id} ({sample.path}) {reason}"),
                    )  # fmt: skip
                print(SetReport(found.csv_path, tuple(results)).to_text(config.reporting.report_count), flush=True)
                everything += results
        if config.reporting.test_output_file:
            text = json.dumps([r.as_dict() for r in everything], ensure_ascii=False, indent=1) + "\n"
            write_atomically(Path(config.reporting.test_output_file), [text.encode()])

    def _infer(self, backend: "Backend", task: "SpeechToText", path: str) -> None:
        import numpy as np

        from deepspeech_training.audio import AudioError, read_audio
        from deepspeech_training.data.loader import Clip, make_batch

        try:
            audio = read_audio(path, sample_rate=task.feature_geometry.sample_rate)
        except AudioError as error:
            raise UserError(f"--one_shot_infer {path}: {error}") from error
        if task.feature_geometry.num_frames(len(audio)) < 1:
            raise UserError(
                f"--one_shot_infer {path}: shorter than one window of {task.feature_geometry.win_len_ms} ms"
            )
        batch = make_batch([None], [Clip(audio, np.zeros(1, np.int32))])
        _, log_probs, num_frames = backend.evaluate_step(batch)
        print(task.decode(log_probs, num_frames)[0], flush=True)


def _product(shape: Sequence[int]) -> int:
    count = 1
    for n in shape:
        count *= n
    return count


def _describe_set(kind: str, found: SampleSet, sample_rate: int) -> str:
    hours = sum(s.num_samples for s in found.samples) / sample_rate / 3600
    return f"{kind:<8}{len(found.samples):>8,} clips {hours:9.3f} h  {found.csv_path}"
