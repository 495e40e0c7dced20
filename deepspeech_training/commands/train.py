"""argv -> Config -> check of all data -> train, test, export, one-shot inference, in DeepSpeech's order.

Flags, checkpoints, alphabet and every row of every CSV are checked before TensorFlow is imported. An export alone does
not import it.
"""

import json
import math
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from deepspeech_training.alphabet import Alphabet, ByteAlphabet, alphabet_of_flags
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio.cache import AudioCache
from deepspeech_training.augment.augmenter import Augmenter
from deepspeech_training.augment.catalogue import parse_augmentations
from deepspeech_training.checkpoints.describe import Checkpoint, TrainedModel
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.checkpoints.tf1 import Tf1Folder, find_tf1_checkpoint, folder_to_load
from deepspeech_training.checkpoints.transfer import Transfer
from deepspeech_training.config import FLAGS, Config, ParsedFlags, as_dict, parse_flags, to_flag_lines
from deepspeech_training.config.flag import value_text
from deepspeech_training.config.help import format_help
from deepspeech_training.config.presets import PRESETS, suited
from deepspeech_training.console import Console
from deepspeech_training.data.folder import has_audio, missing, report, scan, write_csvs
from deepspeech_training.data.samples import CheckedData, Rejection, Sample, check_sets, limit_fairly
from deepspeech_training.data.samples import write_rejections as write_rejected_csv
from deepspeech_training.decoding.beam import BeamDecoder
from deepspeech_training.decoding.clips import ClipDecoder
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, FlagError, UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.machine.device_choice import Choice, choose, resource_lines
from deepspeech_training.machine.resources import HOW_TO_MOUNT, read_resources, usable_cores, will_be_lost
from deepspeech_training.models.deepspeech.geometry import LAYERS, NetworkGeometry, layer_of
from deepspeech_training.models.deepspeech.normalisation import Normalisation
from deepspeech_training.reporting.console_sink import ConsoleSink, EventConsole
from deepspeech_training.reporting.diagnosis import Epoch, Evidence, diagnose
from deepspeech_training.reporting.events import (
    DataChecked,
    Ended,
    Events,
    Exported,
    FrozenLayers,
    Initialised,
    Note,
    Outcome,
    Resumed,
    SetSummary,
    SetTested,
    Sink,
    Started,
)
from deepspeech_training.reporting.json_log import JsonLines
from deepspeech_training.reporting.session_log import SessionLog, program
from deepspeech_training.reporting.tensorboard import TensorBoard
from deepspeech_training.training.backends import BACKENDS, DEFAULT_BACKEND
from deepspeech_training.training.backends.base import Backend, Machine, UpdateRules
from deepspeech_training.training.interrupt import Interrupted, interrupts
from deepspeech_training.training.schedule import wants_stop
from deepspeech_training.version import VERSION

if TYPE_CHECKING:
    from deepspeech_training.data.plan import Plan
    from deepspeech_training.tasks.speech_to_text import SpeechToText
    from deepspeech_training.training.loop import RunState

DEFAULT_EXPORT_DIR = Path("persistent-data/exports")
MAX_CLIPS_TO_COMPARE = 20  # of --test_files, after an export
MAX_CLIPS_TO_MEASURE = 5000  # of --train_files, for --normalise_features


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
        if parsed.config.voice.check_voice_data:
            return _check_voice_data(parsed.config, console)
        if parsed.config.compute.show_resources:
            found = read_resources(parsed.config.checkpoint.save_dir)
            visible = os.environ.get("CUDA_VISIBLE_DEVICES")
            print("\n".join(resource_lines(parsed.config.compute, found, visible=visible)))
            return EXIT_OK
        reporting = parsed.config.reporting
        console = Console(level=reporting.log_level, show_progressbar=reporting.show_progressbar)
        Session(parsed, console, argv=sys.argv[1:] if argv is None else argv, export_only=export_only).run()
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
        description: what the checkpoint says; None for "init".
        folder, checkpoint_kind: where to load it.
        path: of the checkpoint.
    """

    kind: str
    description: TrainedModel | None = None
    folder: CheckpointFolder | Tf1Folder | None = None
    checkpoint_kind: str = ""
    path: Path | None = None


class Session:
    """One call of the program."""

    def __init__(self, parsed: ParsedFlags, console: Console, *, argv: Sequence[str] = (), export_only: bool = False):
        self._argv = list(map(str, argv))
        self._events = Events([ConsoleSink(console, log_steps=parsed.config.reporting.log_steps)])
        self._console = EventConsole(console, self._events)
        self._log: SessionLog | None = None
        self._given = parsed.given
        self._config = _with_export_dir(parsed.config) if export_only else parsed.config
        self._kinds, self._kind_reason = kinds_of_data(parsed.config)
        self._trains = "voice" in self._kinds and parsed.config.training.epochs > 0
        self._export_only = export_only
        self._scorer_path = parsed.config.decoder.scorer_file  # "" for none; --train_scorer makes one
        self._notices = parsed.notices

    def run(self) -> None:
        """Do all that the flags ask for; how it ends is the last entry of the session log."""
        ended = "crashed", EXIT_RUN, ""
        try:
            for notice in self._notices:
                self._console.warn(notice)
            self._run()
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
            raise Interrupted(exit_code) from error  # what foreign code made of the signal
        finally:
            self._events.emit(Ended(*ended))
            self._events.close()

    def _begin_log(self, folder: Path) -> None:
        """From here on the session has an id and a log."""
        config = self._config
        work = {
            "train": self._trains,
            "text": "text" in self._kinds,
            "test": bool(config.data.test_files),
            "export": bool(config.export.export_dir),
            "infer": bool(config.inference.one_shot_infer),
        }
        self._log = SessionLog(
            folder,
            command=shlex.join([program(), *self._argv]),
            working_folder=os.getcwd(),
            work=[name for name, wanted in work.items() if wanted],
            flags=as_dict(config),
        )
        if self._log.fault:
            self._console.info(self._log.fault)
        self._events.add(self._log)

    def _say_kind(self) -> None:
        if self._kinds:
            self._console.info(f"Kind      {self._config.voice.voice_mode}: {self._kind_reason}")

    def _run(self) -> None:
        config, data = self._config, self._config.data
        exports = bool(config.export.export_dir)
        tests = bool(data.test_files) and not self._export_only
        if self._export_only and (not exports or self._kinds or config.inference.one_shot_infer):
            raise FlagError(
                "this command only exports: give --export_dir and --checkpoint_dir, and neither --train_files nor "
                "--one_shot_infer"
            )
        others = self._trains or tests or exports or bool(config.inference.one_shot_infer)
        if not (others or "text" in self._kinds):
            raise FlagError(
                f"there is nothing to do: {self._kind_reason}give --train_files, --voice_data_dir, --text_data, "
                "--test_files, --export_dir or --one_shot_infer\n--help lists all flags and shows an example."
            )
        if exports:
            self._check_export()
        choice = None
        if self._kinds or tests or config.inference.one_shot_infer:
            choice = choose(config.compute, read_resources(), visible=os.environ.get("CUDA_VISIBLE_DEVICES"))
        if "text" in self._kinds and not others:
            folder = self._scorer_folder()
            self._begin_log(folder.parent / "logs" if config.checkpoint.output_dir else folder / "logs")
            self._log.update(mode=choice.mode)
            self._say_kind()
            self._train_on_text()
            return
        save_folder = CheckpointFolder(config.checkpoint.save_dir, self._console)
        features = FeatureGeometry(data.audio_sample_rate, data.feature_win_len, data.feature_win_step)
        load_folder = folder_to_load(
            CheckpointFolder(config.checkpoint.load_dir, self._console), features, config.training.relu_clip
        )
        if self._trains:
            self._check_that_it_will_be_kept()
            save_folder.lock()
            self._begin_log(config.checkpoint.logs_dir)
            source = self._source_of_training(save_folder, load_folder)
            if source.kind == "resume" and source.description.average_of:
                raise UserError(
                    f"{source.folder.folder}: holds an average of checkpoints, and a run cannot go on from one\n"
                    "Start a new run with its weights: name it with --load_checkpoint_dir, and another folder with "
                    "--save_checkpoint_dir."
                )
        else:
            load_folder = self._target_of(save_folder) or load_folder
            source = self._source_of_evaluation(load_folder)
            checkpoint = config.checkpoint
            of_its_own = (  # not in the folder of a source
                checkpoint.output_dir
                or checkpoint.save_checkpoint_dir
                or {"checkpoint_dir", "load_checkpoint_dir"} <= self._given
            )
            self._begin_log(checkpoint.logs_dir if of_its_own else load_folder.folder / "logs")
        self._config = config = self._adopt(source)
        self._log.update(
            flags=as_dict(config), checkpoint_dir=str((save_folder if self._trains else load_folder).folder)
        )
        if "text" in self._kinds:
            self._train_on_text()
        alphabet, alphabet_name = self._alphabet(source)
        transfer = self._transfer(source, alphabet) if self._trains else None
        if source.description is not None:
            features = source.description.features
        if self._trains and config.voice.voice_data_dir:
            self._take_voice_folder(alphabet, save_folder.folder)
            config, data = self._config, self._config.data
            tests = bool(data.test_files) and not self._export_only
        self._scorer = self._read_scorer(alphabet)
        checked = self._check(alphabet, alphabet_name, features, save_folder.folder if self._trains else None)
        if config.decoder.train_scorer:
            folder = save_folder.folder if self._trains else load_folder.folder
            self._scorer_path = str(self._train_scorer(alphabet, checked, folder))
            self._scorer = self._read_scorer(alphabet)
        sets = [SetSummary.of(kind, s, features.sample_rate) for kind, s in checked.all_sets()]
        self._events.emit(DataChecked(sets))
        augmenter, cache = self._augmenter(features), self._cache(features)
        self._augment_sources = {} if augmenter is None else augmenter.source_fingerprints()
        network = NetworkGeometry(
            num_classes=alphabet.num_classes,
            n_hidden=config.geometry.n_hidden,
            layer_norm=config.geometry.layer_norm,
            relu_clip=config.training.relu_clip,
            n_features=features.n_mfcc,
            n_context=features.n_context,
        )
        if not (self._trains or tests or config.inference.one_shot_infer):
            self._write_export(source, alphabet, features, network, checked)
            return

        self._check_memory(network, checked, on_gpu=choice.uses_gpu)
        machine = self._set_up(choice)  # imports TensorFlow
        from deepspeech_training.tasks.speech_to_text import SpeechToText

        task = SpeechToText(
            alphabet,
            features,
            network,
            augmenter=augmenter,
            cache=cache,
            leading_blanks=config.training.leading_blanks,
        )
        backend = None
        if self._trains:
            self._say_preset(sum(found.hours for found in sets if found.set == "train"))
            backend = self._train(task, machine, source, transfer, save_folder, checked)
            source = self._source_of_evaluation(save_folder)
        if data.test_files or config.inference.one_shot_infer:
            backend = self._with_weights_for_evaluation(backend, task, machine, source)
        if data.test_files:
            self._test(backend, task, machine, checked)
        if exports:
            self._write_export(source, alphabet, features, network, checked)
        if config.inference.one_shot_infer:
            self._infer(backend, task, config.inference.one_shot_infer)
        if cache is not None:
            self._console.info(f"Cache {cache.describe()}")

    # --- before TensorFlow: checkpoint, alphabet, data, memory ---------------------------------------------------

    def _check_that_it_will_be_kept(self) -> None:
        checkpoint = self._config.checkpoint
        if not checkpoint.ephemeral and will_be_lost(checkpoint.save_dir):
            raise FlagError(
                f"{checkpoint.save_dir.absolute()}: no volume is mounted there, so that the checkpoints would be gone "
                f"with this container\nStart it with {HOW_TO_MOUNT}\n"
                "or, if nothing of this run is to be kept, add --ephemeral."
            )

    # --- kinds of data -------------------------------------------------------------------------------------------

    def _scorer_folder(self) -> Path:
        return Path(self._config.checkpoint.output_dir or "persistent-data") / "scorer"

    def _train_on_text(self) -> None:
        """Text mode: a language model and a scorer. It takes the CPU in every compute mode."""
        from deepspeech_training.scorer.build import build_scorer

        config = self._config
        package = self._scorer_folder() / "model.scorer"
        argv = ["--package", str(package)]
        texts, csvs = text_files(config.voice.text_data)
        if not texts and not csvs:
            csvs = list(config.data.train_files)
        if not texts and not csvs:
            texts = [str(path) for path in scan(Path(config.voice.voice_data_dir), self._console).texts]
        for option, paths in (("--input_txt", texts), ("--input_csv", csvs)):
            if paths:
                argv += [option, ",".join(paths)]
        load_folder = CheckpointFolder(config.checkpoint.load_dir, self._console)
        with tempfile.TemporaryDirectory() as scratch:
            trained = load_folder.read_description("best") or load_folder.read_description("train")
            if config.decoder.bytes_output_mode or (trained and isinstance(trained[1].alphabet, ByteAlphabet)):
                argv += ["--bytes_output_mode"]
            if config.decoder.alphabet_config_path:
                argv += ["--alphabet", config.decoder.alphabet_config_path]
            elif trained:
                argv += ["--model", str(load_folder.folder)]
            elif not config.decoder.bytes_output_mode:
                alphabet = Path(scratch) / "alphabet.txt"
                alphabet.write_text("".join(f"{c}\n" for c in Alphabet.english().characters), encoding="utf-8")
                self._console.info("The scorer is for the English alphabet of the package")
                argv += ["--alphabet", str(alphabet)]
            build_scorer(argv, self._console)
        self._events.emit(Exported(str(package), checkpoint=""))
        self._console.info(f"The scorer is {package}")

    def _train_scorer(self, alphabet: Alphabet | ByteAlphabet, checked: CheckedData, folder: Path) -> Path:
        """Make the scorer of --train_scorer, or find the one that the training made; -> its path."""
        from deepspeech_training.scorer.build import build_scorer

        package = folder / "train.scorer"
        if not self._trains:
            if not package.is_file():
                raise UserError(
                    f"{package}: --train_scorer: there is no such file\n"
                    "It is made when --train_files are given; else name a scorer with --scorer."
                )
            return package
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as scratch:
            text = Path(scratch) / "transcripts of --train_files"
            transcripts = [s.transcript for found in checked.sets["train"] for s in found.samples]
            text.write_text("".join(f"{transcript}\n" for transcript in transcripts), encoding="utf-8")
            argv = ["--package", str(package), "--input_txt", str(text), "--keep_case", "--discount_fallback"]
            if isinstance(alphabet, ByteAlphabet):
                argv += ["--bytes_output_mode"]
            else:
                (Path(scratch) / "alphabet.txt").write_text(alphabet.to_text(), encoding="utf-8")
                argv += ["--alphabet", str(Path(scratch) / "alphabet.txt")]
            build_scorer(argv, self._console)
        return package

    def _take_voice_folder(self, alphabet: Alphabet, folder: Path) -> None:
        """--voice_data_dir: find or make its CSVs, and train on them."""
        data, voice = self._config.data, self._config.voice
        found = scan(Path(voice.voice_data_dir), self._console)
        csvs: Mapping[str, Sequence[str]] = found.csvs
        if csvs:
            self._console.info(f"{voice.voice_data_dir} has CSVs of its own: {', '.join(sum(csvs.values(), ()))}")
        else:
            faults = missing(found, alphabet)
            if faults and not (found.usable and data.on_bad_row == "drop"):
                raise UserError(
                    f"--voice_data_dir {voice.voice_data_dir}: {'; '.join(faults)}\n"
                    "--check_voice_data tells all that is there."
                )
            csvs = {name: (path,) for name, path in write_csvs(found, folder / "voice_data", alphabet).items()}
            left_out = len(found.clips) - len(found.usable)
            self._console.info(
                f"{voice.voice_data_dir}: {len(found.usable):,} recordings with transcripts, divided into "
                f"{', '.join(path for (path,) in csvs.values())}; without the capitals and punctuation "
                "that the alphabet lacks"
            )
            if left_out:
                self._console.warn(
                    f"{left_out:,} recordings are left out: unreadable, or without a transcript "
                    "(--check_voice_data names them)"
                )
        self._config = replace(
            self._config,
            data=replace(
                data,
                train_files=tuple(csvs["train"]),
                dev_files=data.dev_files or tuple(csvs.get("dev", ())),
                test_files=data.test_files or tuple(csvs.get("test", ())),
            ),
        )

    def _set_up(self, choice: Choice) -> Machine:
        """Import TensorFlow on the devices that were chosen.

        Raises:
            UserError: it cannot use the GPU that --mode gpu demands.
        """
        self._say_kind()
        self._console.say(*choice.line)
        self._log.update(mode=choice.mode, chosen=[gpu.uuid for gpu in choice.gpus])
        choice.apply(os.environ)
        machine = BACKENDS[DEFAULT_BACKEND].set_up(self._config.performance)
        if choice.uses_gpu and not machine.on_gpu:
            what = (
                "TensorFlow does not see the GPU that was chosen: it was installed without CUDA, or its libraries are "
                "not there\nInstall them (pip install 'deepspeech_training[gpu]'); `doctor` says more."
            )
            if choice.mode == "gpu":
                raise UserError(f"{what} Or use --mode cpu.")
            self._console.warn(f"{what}\nNO GPU IS USED, this runs on the CPU.")
        return machine

    def _check_memory(self, network: NetworkGeometry, checked: CheckedData, *, on_gpu: bool) -> None:
        from deepspeech_training.training.memory import check_memory_to_begin

        if self._config.batches.skip_batch_test:
            return
        lengths = [s.num_samples for found in checked.sets.get("train", []) for s in found.samples]
        seconds = max(lengths, default=0) / self._config.data.audio_sample_rate
        check_memory_to_begin(network, longest_clip_s=seconds, trains=self._trains, on_gpu=on_gpu)

    def _source_of_training(self, save_folder: CheckpointFolder, load_folder: CheckpointFolder | Tf1Folder) -> Source:
        """Decide what --load_train means here; see docs/training.md, "Which checkpoint a run starts from"."""
        wanted = self._config.checkpoint.load_train
        if wanted == "init":
            return Source("init")
        same = save_folder.folder.resolve() == load_folder.folder.resolve()
        same = same and not isinstance(load_folder, Tf1Folder)  # of which only the weights can be taken
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
        what = f"there is no {'best' if wanted == 'best' else 'last'} checkpoint to start from"
        if not folder.folder.exists():
            what = "there is no such folder"
        elif not folder.folder.is_dir():
            what = "this is a file; a run starts from the folder of a run, or from a file of DeepSpeech's checkpoints"
        raise UserError(
            f"{folder.folder}: {what}\n"
            "Name the folder with --load_checkpoint_dir, or start with new weights: --load_train init."
        )

    def _target_of(self, save_folder: CheckpointFolder) -> CheckpointFolder | None:
        """Where a run with a source in --load_checkpoint_dir has saved: that is what is tested, not its source."""
        if self._config.checkpoint.save_checkpoint_dir and (save_folder.has("best") or save_folder.has("train")):
            return save_folder
        return None

    def _source_of_evaluation(self, folder: CheckpointFolder | Tf1Folder) -> Source:
        wanted = self._config.checkpoint.load_evaluate
        for kind in {"auto": ("best", "train"), "last": ("train",), "best": ("best",)}[wanted]:
            if folder.has(kind):
                return self._source("resume", folder, kind)
        raise UserError(
            f"{folder.folder}: there is no {'' if wanted == 'auto' else wanted + ' '}checkpoint to test or export\n"
            "Train first (--train_files), or name the folder of a trained model with --checkpoint_dir."
        )

    @staticmethod
    def _source(kind: str, folder: CheckpointFolder | Tf1Folder, checkpoint_kind: str) -> Source:
        found = folder.read_description(checkpoint_kind)
        if found is None:
            folder.load(checkpoint_kind)  # raises, naming each damaged file
            raise AssertionError("a description that is damaged has been loaded")
        return Source(kind, found[1], folder, checkpoint_kind, found[0])

    def _adopt(self, source: Source) -> Config:
        """Take from the checkpoint what fixes its weights; refuse a flag that says otherwise, with both values."""
        config = self._config
        if source.description is None:
            return config
        refused = []
        values, resumes = as_dict(config), self._trains and source.kind == "resume"
        for name, flag in FLAGS.items():
            if flag.fixed_by_weights:
                section, key = flag.fixed_by_weights
                theirs = getattr(getattr(source.description, section), key)
            elif flag.fixed_in_a_run and resumes:
                theirs = source.description.flags.get(name, flag.default)
            else:
                continue
            if values[name] == theirs:
                continue
            if name in self._given:
                found = value_text(values[name])
                refused.append(f"--{name} {found}: the checkpoint was trained with {value_text(theirs)}")
            else:
                self._console.info(f"--{name} {value_text(theirs)}, as in the checkpoint")
                config = config.replace(**{name: theirs})
        if refused:
            raise FlagError(
                "\n".join(refused) + f"\nThe checkpoint is in {source.folder.folder}. Leave the flag out, or name "
                f"another folder with {self._flag_of_folder(source)}, or start anew with --load_train init."
            )
        self._say_what_is_taken_for_granted(source, config)
        return config

    def _say_what_is_taken_for_granted(self, source: Source, config: Config) -> None:
        """A checkpoint of DeepSpeech's trainer may not say its sample rate and windows: what the flags say counts."""
        unsaid = source.description.unsaid
        if not unsaid:
            return
        values = {name: getattr(config.data, name) for name in unsaid}
        self._console.info(
            f"{source.path} does not say {', '.join(f'--{name}' for name in unsaid)}; taken to be "
            f"{', '.join(map(str, values.values()))}"
        )
        others = {name: FLAGS[name].default for name, value in values.items() if value != FLAGS[name].default}
        if others:
            self._console.warn(
                "DeepSpeech's own value, with which most of its checkpoints were trained, is "
                + ", ".join(f"--{name} {value}" for name, value in others.items())
                + ": weights know nothing of other features than they were trained with"
            )

    def _flag_of_folder(self, source: Source) -> str:
        """The flag that named the folder of the checkpoint that is loaded."""
        is_target = source.folder.folder.resolve() == self._config.checkpoint.save_dir.resolve()
        name = "save_checkpoint_dir" if is_target else "load_checkpoint_dir"
        return f"--{name}" if name in self._given else "--checkpoint_dir"

    def _alphabet(self, source: Source) -> tuple[Alphabet | ByteAlphabet, str]:
        """The flag's, else the checkpoint's, else English; a flag that differs from the checkpoint is refused.

        A run that begins with some layers of its source only may have another alphabet than the source.
        """
        decoder = self._config.decoder
        path = "--bytes_output_mode" if decoder.bytes_output_mode else decoder.alphabet_config_path
        given = alphabet_of_flags(decoder.alphabet_config_path, bytes_output_mode=decoder.bytes_output_mode)
        if source.description is None:
            return (given, path) if given is not None else (Alphabet.english(), "English, of the package")
        if given is not None and self._replaces_output(source):
            return given, path
        trained = self._trained_alphabet(source, given)
        if given is not None and given != trained:
            differing = sorted(set(given.characters) ^ set(trained.characters))
            what = (
                f"characters in one only: {' '.join(map(repr, differing[:20]))}" if differing else "the order differs"
            )
            transfer = (
                "A run that begins can start with the weights of the layers below the output: --drop_source_layers 1, "
                "or --reuse_characters.\n"
                if source.kind == "weights"
                else ""
            )
            raise FlagError(
                f"{self._named_alphabet(path)}: {given.size} characters; the checkpoint was trained with "
                f"{trained.size} ({what})\n{transfer}"
                f"The checkpoint is in {source.folder.folder}. Use its alphabet (leave the flag out), or name another "
                f"folder with {self._flag_of_folder(source)}, or start anew with --load_train init."
            )
        return trained, path or "in the checkpoint"

    def _augmenter(self, features: FeatureGeometry) -> Augmenter | None:
        """What --augment asks for; its noise and the like is looked for before TensorFlow is imported."""
        augmentations = parse_augmentations(self._config.augmentation.augment)
        if not (augmentations and self._trains):
            return None
        augmenter = Augmenter(augmentations, features, seed=self._config.training.random_seed)
        self._console.info(f"Augments {' '.join(map(str, augmentations))}")
        for augmentation in augmentations:
            if augmentation.name != "resample":
                continue
            rate, never = augmentation.values["rate"], augmentation.values["rate"].low >= features.sample_rate
            if never or rate.high > features.sample_rate:
                what = "no effect" if never else "no effect at times"
                self._console.warn(
                    f"--augment {augmentation}: {what}, since only a rate below --audio_sample_rate "
                    f"{features.sample_rate} loses anything"
                )
        return augmenter

    def _cache(self, features: FeatureGeometry) -> AudioCache | None:
        flags = self._config.augmentation
        if not flags.feature_cache:
            return None
        cache = AudioCache(
            Path(flags.feature_cache),
            sample_rate=features.sample_rate,
            max_bytes=round(flags.feature_cache_gb * 1e9),
            warn=self._console.warn,
        )
        self._console.info(f"Cache {cache.describe()}")
        return cache

    def _named_alphabet(self, path: str) -> str:
        return path if self._config.decoder.bytes_output_mode else f"--alphabet_config_path {path}"

    def _read_scorer(self, alphabet: Alphabet | ByteAlphabet) -> Scorer | None:
        if not self._scorer_path:
            return None
        scorer = Scorer.read(self._scorer_path)
        scorer.check_labels(_labels_of(alphabet))
        return scorer

    def _replaces_output(self, source: Source) -> bool:
        transfer = self._config.transfer
        return source.kind == "weights" and (transfer.drop_source_layers > 0 or transfer.reuse_characters)

    def _trained_alphabet(
        self, source: Source, given: Alphabet | ByteAlphabet | None = None
    ) -> Alphabet | ByteAlphabet:
        """The checkpoint's; for one of DeepSpeech's trainer, which does not say it, `given` or English, if it fits."""
        if source.description.alphabet is not None:
            return source.description.alphabet
        size = source.description.network.num_classes - 1
        for candidate, name in ((given, "that of --alphabet_config_path"), (Alphabet.english(), "English")):
            if candidate is not None and candidate.size == size:
                self._console.info(f"{source.path} does not say its alphabet of {size} characters; taken to be {name}")
                return candidate
        raise FlagError(
            f"{source.path}: was trained with an alphabet of {size} characters, and does not say which\n"
            "Name it with --alphabet_config_path, or put its alphabet.txt into the checkpoint's folder."
        )

    def _transfer(self, source: Source, alphabet: Alphabet | ByteAlphabet) -> Transfer | None:
        """What the run takes from another one, now or when it began; None for a run that began with new weights."""
        flags = self._config.transfer
        wanted = "--drop_source_layers" if flags.drop_source_layers else "--reuse_characters"
        wants = bool(flags.drop_source_layers or flags.reuse_characters)
        if source.kind == "init" and (wants or flags.freeze_layers):
            raise FlagError(
                f"{wanted if wants else '--freeze_layers'}: the run would start with new weights, not with those of "
                "another run\nName the folder of that run with --load_checkpoint_dir, and a new one with "
                "--save_checkpoint_dir."
            )
        transfer = None
        if source.kind == "resume":
            transfer = source.description.transfer
            layers = 0 if flags.reuse_characters else flags.drop_source_layers
            done = (0, False) if transfer is None else (transfer.drop_source_layers, transfer.reuse_characters)
            if wants and done != (layers, flags.reuse_characters):
                began = "new weights" if transfer is None else transfer.description
                raise FlagError(
                    f"{wanted}: acts when a run begins; that in {source.folder.folder} goes on, and began with {began}"
                    "\nName its folder as the source with --load_checkpoint_dir and a new one with "
                    "--save_checkpoint_dir, or leave the flag out."
                )
        elif source.kind == "weights":
            origin = str(source.path), source.description.progress.step
            transfer = Transfer(*origin, flags.drop_source_layers)
            if flags.reuse_characters:
                transfer = Transfer.of_characters(*origin, self._trained_alphabet(source), alphabet)
            new = [layer for layer in flags.freeze_layers if layer not in transfer.old_layers]
            if new:
                raise FlagError(f"--freeze_layers {','.join(new)}: has new weights, which have to be trained")
        if transfer is None and flags.source_learning_rate_factor != 1:
            raise FlagError(
                "--source_learning_rate_factor: the run has no source, its weights began as new ones\n"
                "Set --learning_rate instead."
            )
        return transfer

    def _check(
        self, alphabet: Alphabet | ByteAlphabet, alphabet_name: str, features: FeatureGeometry, folder: Path | None
    ) -> CheckedData:
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
            csvs,
            alphabet=alphabet,
            geometry=features,
            on_bad_row=data.on_bad_row,
            cache_dir=None if folder is None else folder / "data_check",
            console=self._console,
            alphabet_name=alphabet_name,
            workers=None,
        )
        for warning in checked.warnings:
            self._console.warn(warning)
        if folder is not None and not checked.rejected:
            (folder / "rejected.csv").unlink(missing_ok=True)  # of an earlier run, whose rows have been mended
        elif folder is not None:
            write_rejected_csv(folder / "rejected.csv", checked.rejected)
            self._console.warn(f"The rows left out are listed in {folder / 'rejected.csv'}")
        seed = self._config.training.random_seed
        if limits.limit_train and "train" in checked.sets:  # of all files together, unlike the others
            together = [s for found in checked.sets["train"] for s in found.samples]
            kept = {id(s) for s in limit_fairly(together, limits.limit_train, seed)}
            checked.sets["train"] = [
                replace(found, samples=[s for s in found.samples if id(s) in kept]) for found in checked.sets["train"]
            ]
        for name, limit in (("dev", limits.limit_dev), ("test", limits.limit_test)):
            if limit and name in checked.sets:
                checked.sets[name] = [
                    replace(s, samples=limit_fairly(s.samples, limit, seed)) for s in checked.sets[name]
                ]
        return checked

    def _say_preset(self, hours: float) -> None:
        """The values of --preset that count, those that flags have replaced, and whether it suits the data."""
        name = self._config.training.preset
        if name == "none":
            return
        preset, now = PRESETS[name], as_dict(self._config)
        values = ", ".join(f"{flag} {value_text(value)}" for flag, value in preset.values.items() if now[flag] == value)
        others = [
            f"{flag} {value_text(now[flag])} instead of {value_text(value)}"
            for flag, value in preset.values.items()
            if now[flag] != value
        ]
        self._console.info(f"Preset    {name}, for {preset.amount}: {values}")
        if others:
            self._console.info(f"          but {', '.join(others)}")
        self._console.info(f"          expect {preset.expect}")
        if suited(hours) != name:
            self._console.warn(f"--preset {name}: {suited(hours)} is made for {hours:.3g} hours of training data")

    # --- training ------------------------------------------------------------------------------------------------

    def _train(
        self,
        task: "SpeechToText",
        machine: Machine,
        source: Source,
        transfer: Transfer | None,
        folder: CheckpointFolder,
        checked: CheckedData,
    ) -> Backend:
        from deepspeech_training.data.plan import BatchRules, Plan
        from deepspeech_training.machine.gpu_monitor import GpuMonitor
        from deepspeech_training.training.loop import RunState

        config = self._config
        samples = [s for found in checked.sets["train"] for s in found.samples]
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
            aside = folder.set_aside(later_than=checkpoint.model.progress.step)
            if aside is not None:
                self._console.info(f"Later checkpoints than the best one are in {aside}")
        state = RunState(learning_rate=config.optimizer.learning_rate)
        if source.kind == "resume":
            state = RunState.from_json(checkpoint.model.run)
        log = JsonLines(folder.folder / "events.jsonl")
        # Without a checkpoint to resume, what the log has is of a run that was killed before its first.
        log.cut_back(checkpoint.model.log_length if source.kind == "resume" else 0)
        sinks: list[Sink] = [log]
        if config.reporting.summary_dir:
            sinks.append(TensorBoard(Path(config.reporting.summary_dir), resumed_step=state.step))
        sessions = self._log.continue_run(checkpoint.model.sessions if source.kind == "resume" else [])
        write_atomically(folder.folder / "flags.txt", [("\n".join(to_flag_lines(config)) + "\n").encode()])
        weights = checkpoint.arrays if source.kind == "resume" else task.initial_weights(config.training.random_seed)
        if source.kind == "weights":
            transfer = replace(transfer, source=os.path.abspath(checkpoint.path), step=checkpoint.model.progress.step)
            weights = transfer.weights(checkpoint.arrays, weights, task.alphabet)
        normalisation = self._normalisation(task, machine, samples, checkpoint if source.kind == "resume" else None)
        if normalisation is not None and (
            source.kind == "resume" or (source.kind == "weights" and "layer_1" in transfer.old_layers)
        ):
            weights = normalisation.unfold(weights)
        backend = self._backend(task, machine, weights, transfer, normalisation)
        if machine.on_gpu:
            sinks.append(GpuMonitor(self._events))
        with self._events.also_to(*sinks):
            self._say_start(self._events, task, machine, plan, checked, folder, transfer)
            self._say_source(self._events, source, transfer, checkpoint, state, plan, machine)
            if source.kind == "resume":
                backend.set_state(checkpoint.arrays)
            self._settle_rate(self._events, state)
            self._run_trainer(backend, task, machine, plan, folder, checked, state, transfer, log, sessions)
        self._say_outcome(folder, state, log)
        if state.quarantine:
            self._console.warn(
                f"{len(state.quarantine):,} clips were left out in training: {folder.folder / 'rejected.csv'}"
            )
        return backend

    def _run_trainer(
        self,
        backend: Backend,
        task: "SpeechToText",
        machine: Machine,
        plan: "Plan",
        folder: CheckpointFolder,
        checked: CheckedData,
        state: "RunState",
        transfer: Transfer | None,
        log: JsonLines,
        sessions: list[str],
    ) -> None:
        from deepspeech_training.data.loader import Loader
        from deepspeech_training.training.loop import Trainer
        from deepspeech_training.training.memory import memory_for_audio, try_heaviest_batches

        config, num_devices = self._config, len(machine.devices)

        def save_rejections(quarantined: list[Rejection]) -> None:
            write_rejected_csv(folder.folder / "rejected.csv", [*checked.rejected, *quarantined])

        threads = config.performance.loader_threads or min(usable_cores(), 8)
        with Loader(task.load, threads=threads, static_shapes=machine.on_gpu, keep_bytes=memory_for_audio()) as loader:
            trainer = Trainer(
                backend=backend,
                task=task,
                config=config,
                plan=plan,
                dev_sets=checked.sets.get("dev", []),
                metrics_sets=checked.sets.get("metrics", []),
                loader=loader,
                folder=folder,
                state=state,
                extra_state={
                    "version": VERSION,
                    **task.describe(),
                    "transfer": None if transfer is None else transfer.as_json(),
                    "threads": {"intra_op": machine.intra_op, "inter_op": machine.inter_op},
                    "precision": machine.compute_dtype,
                    "devices": num_devices,
                    "sessions": sessions,
                    "augment_sources": self._augment_sources,
                    "data": [
                        SetSummary.of(kind, s, plan.rules.sample_rate).as_json() for kind, s in checked.all_sets()
                    ],
                },
                events=self._events,
                log=log,
                save_rejections=save_rejections,
            )
            if (
                state.epoch < config.training.epochs
                and not wants_stop(state.schedule, state.epoch, config)
                and not config.batches.skip_batch_test
            ):
                try_heaviest_batches(
                    backend,
                    task,
                    machine,
                    loader,
                    [plan.samples[i] for i in plan.heaviest_batch()],
                    dev_samples=[s for found in checked.sets.get("dev", []) for s in found.samples],
                    dev_batch_size=config.batches.dev_batch_size * num_devices,
                    by_seconds=config.batches.batch_seconds > 0,
                )
            trainer.run()

    def _normalisation(
        self, task: "SpeechToText", machine: Machine, samples: Sequence[Sample], resumed: Checkpoint | None
    ) -> Normalisation | None:
        """That of --normalise_features: the resumed run's, or measured on its training clips."""
        from deepspeech_training.data.loader import Loader

        config = self._config
        if not config.geometry.normalise_features:
            return None
        if resumed is not None:
            return Normalisation.from_arrays(resumed.arrays)
        samples = limit_fairly(samples, MAX_CLIPS_TO_MEASURE, config.training.random_seed)
        size = config.batches.train_batch_size
        planned = [samples[i : i + size] for i in range(0, len(samples), size)]
        with (
            Loader(task.load, threads=config.performance.loader_threads or min(usable_cores(), 8)) as loader,
            self._console.progress("Measuring the features", total=len(planned), unit="batches") as progress,
        ):

            def counted():
                for batch in loader.batches(planned):
                    yield batch
                    progress.update()

            library = BACKENDS[DEFAULT_BACKEND]
            computed = library.over_batches(task.features, counted(), device=machine.devices[0])
            return Normalisation.of(
                features[np.arange(features.shape[1]) < num_frames[:, None]] for _, (features, num_frames) in computed
            )

    def _backend(
        self,
        task: "SpeechToText",
        machine: Machine,
        weights,
        transfer: Transfer | None = None,
        normalisation: Normalisation | None = None,
    ) -> Backend:
        config = self._config
        old_layers = () if transfer is None else transfer.old_layers
        factors = dict.fromkeys(old_layers, config.transfer.source_learning_rate_factor)
        factors |= dict.fromkeys(config.transfer.freeze_layers, 0.0)
        return BACKENDS[DEFAULT_BACKEND].backend(
            task,
            weights,
            devices=machine.devices,
            compute_dtype=machine.compute_dtype,
            rules=UpdateRules(
                beta1=config.optimizer.beta1,
                beta2=config.optimizer.beta2,
                epsilon=config.optimizer.epsilon,
                max_grad_norm=config.training.max_grad_norm,
                weight_decay=config.optimizer.weight_decay,
                ema=config.optimizer.ema,
                rate_factors=factors,
            ),
            dropout_rates=config.training.dropout_rates,
            normalisation=normalisation,
            log=self._console.warn,
        )

    def _say_start(
        self,
        events,
        task: "SpeechToText",
        machine: Machine,
        plan,
        checked: CheckedData,
        folder,
        transfer: Transfer | None,
    ) -> None:
        config = self._config
        batches = (
            f"up to {config.batches.batch_seconds:g} padded seconds each"
            if config.batches.batch_seconds
            else f"{config.batches.train_batch_size} clips each"
        )
        if len(machine.devices) > 1:
            batches += f" and device ({len(machine.devices)} devices)"
        started = Started(
            version=VERSION,
            versions=machine.versions,
            devices=machine.description,
            precision=machine.precision,
            intra_op_threads=machine.intra_op,
            sets=[SetSummary.of(kind, s, plan.rules.sample_rate) for kind, s in checked.all_sets()],
            batches_per_epoch=len(plan.batches(1)),
            batches=batches,
            padding_share=plan.padding_share(1),
            parameters=task.network.num_parameters,
            n_hidden=task.network.n_hidden,
            frozen=_frozen(config, task.network),
            checkpoint_bytes=3 * 4 * task.network.num_parameters,
            export_bytes={
                "float32": task.network.export_bytes(quantized=False),
                "int8": task.network.export_bytes(quantized=True),
            },
            plan=_training_plan(
                config, len(plan.batches(1)), has_dev=bool(checked.sets.get("dev")), has_source=transfer is not None
            ),
            checkpoint_dir=str(folder.folder),
            flags=as_dict(config),
        )
        events.emit(started)

    def _say_source(
        self, events, source: Source, transfer: Transfer | None, checkpoint: Checkpoint | None, state, plan, machine
    ) -> None:
        """Say where the run starts, what has changed since, and start an epoch again whose batches have changed."""
        if source.kind == "init":
            events.emit(Initialised("new weights"))
        elif source.kind == "weights":
            events.emit(Initialised(transfer.description))
        else:
            if state.stopped is None:
                events.emit(Resumed(str(checkpoint.path), state.epoch, state.step_in_epoch, state.step))
            else:
                events.emit(Note(f"{checkpoint.path} is of a finished run ({state.stopped})"))
            before, now = checkpoint.model.flags, as_dict(self._config)
            changed = [
                f"--{name} {before[name]} -> {now[name]}"
                for name in now
                if name in before and before[name] != now[name] and not FLAGS[name].quiet
            ]
            if changed:
                events.emit(Note("Changed since the checkpoint: " + ", ".join(changed)))
            if self._names_another_source(transfer):
                began = "with new weights" if transfer is None else f"with {transfer.description}"
                events.emit(
                    Note(
                        f"--load_checkpoint_dir {self._config.checkpoint.load_dir} has no effect: it "
                        f"counts when a run begins, and this one began {began}"
                    )
                )
            recordings = checkpoint.model.augment_sources
            for path, fingerprint in self._augment_sources.items():
                if recordings.get(path, fingerprint) != fingerprint:
                    events.emit(Note(f"The recordings of --augment in {path} are others than before"))
            threads = {"intra_op": machine.intra_op, "inter_op": machine.inter_op}
            for what, then, here in (
                ("threads", checkpoint.model.threads, threads),
                ("precision", checkpoint.model.precision, machine.compute_dtype),
                ("devices", checkpoint.model.devices, len(machine.devices)),
            ):
                if then != here:
                    events.emit(Note(f"Other {what} than before ({then} -> {here}): last digits may differ"))
        fingerprint = plan.fingerprint()
        if state.plan and state.plan != fingerprint and state.step_in_epoch and state.validation is None:
            events.emit(
                Note(
                    f"The training clips or their batches have changed: epoch {state.epoch + 1} starts "
                    "again from its first batch"
                )
            )
            state.begin_epoch()
        state.plan = fingerprint

    def _names_another_source(self, transfer: Transfer | None) -> bool:
        """Whether --load_checkpoint_dir is neither the folder of this run nor that of its source."""
        checkpoint = self._config.checkpoint
        if "load_checkpoint_dir" not in self._given or checkpoint.load_dir.resolve() == checkpoint.save_dir.resolve():
            return False
        if transfer is None:
            return True
        source, named = Path(transfer.source), checkpoint.load_dir
        if not source.is_absolute():  # of an earlier version: it counts from a folder that nothing tells
            return False
        if not named.is_dir():
            named = find_tf1_checkpoint(named) or named
        return named.resolve() not in (source.resolve(), source.resolve().parent)

    def _settle_rate(self, events, state) -> None:
        """--force_initialize_learning_rate sets the rate once, not again each time that the same command goes on."""
        flag = self._config.optimizer.learning_rate
        if self._config.plateau.force_initialize_learning_rate:
            if state.forced_rate != flag:
                state.forced_rate = flag
                state.learning_rate = flag
                events.emit(Note(f"Learning rate set to {flag:g} (--force_initialize_learning_rate)"))
        elif "learning_rate" in self._given and state.step and state.learning_rate != flag:
            events.emit(
                Note(
                    f"The checkpoint's learning rate {state.learning_rate:g} is kept; "
                    f"--force_initialize_learning_rate takes {flag:g}"
                )
            )

    def _say_outcome(self, folder: CheckpointFolder, state: "RunState", log: JsonLines) -> None:
        """At the end of a training: what is best, where everything is, what to make of it, and what to do next."""
        config = self._config
        found = diagnose(
            Evidence(
                epoch=state.epoch,
                epochs=config.training.epochs,
                stopped=state.stopped,
                updates=state.updates,
                history=[Epoch.of_history(figures) for figures in state.history],
                early_stop=config.early_stop.early_stop,
                best_by=config.checkpoint.best_by,
            )
        )
        files = {kind: next(iter(folder.state_files(kind)), None) for kind in ("best", "train")}
        if found.verdict == "undertrained":
            next_command = f"the same command with --epochs {2 * config.training.epochs} goes on"
        elif config.export.export_dir:
            model = Path(config.export.export_dir) / f"{config.export.export_file_name}.tflite"
            next_command = f"bin/transcribe --model {model} CLIP.wav"
        else:
            exported = DEFAULT_EXPORT_DIR / folder.folder.name
            next_command = f"bin/export --checkpoint_dir {folder.folder} --export_dir {exported}"
        outcome = Outcome(
            epoch=state.epoch,
            best_epoch=state.schedule.best_epoch,
            best_figures=state.schedule.best_figures,
            best_file=str(files["best"]),
            last_file=str(files["train"]),
            log="" if self._log.fault else str(self._log.path),
            events_log=str(log.path),
            diagnosis=found.lines(),
            next=next_command,
        )
        self._events.emit(outcome)

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
        self,
        source: Source,
        alphabet: Alphabet | ByteAlphabet,
        features: FeatureGeometry,
        network: NetworkGeometry,
        checked: CheckedData,
    ) -> None:
        from deepspeech_training.export.folder import TrainedModel as ExportedModel

        checkpoint = source.folder.load(source.checkpoint_kind)
        self._console.info(f"Exports {checkpoint.path}")
        if not self._trains:  # a training has said so at its end
            self._warn_of_an_unfinished_model(source, checkpoint.model)
        samples = [sample for found in checked.sets.get("test", []) for sample in found.samples]
        written = self._export_folder.write(
            ExportedModel(str(checkpoint.path), checkpoint.weights, alphabet, features, network),
            limit_fairly(samples, MAX_CLIPS_TO_COMPARE, self._config.training.random_seed),
            scorer_path=self._scorer_path,
        )
        self._events.emit(Exported(str(written), str(checkpoint.path)))

    def _warn_of_an_unfinished_model(self, source: Source, model: TrainedModel) -> None:
        """An export looks the same whether its model has learnt anything or not."""
        last = source.folder.read_description("train")
        run = last[1].progress if last is not None and last[1].progress.history else model.progress
        if not run.history:
            return
        found = diagnose(
            Evidence(
                epoch=model.progress.epoch,
                epochs=model.flags["epochs"],
                stopped=run.stopped,
                is_best=source.checkpoint_kind == "best",
                updates=model.progress.updates,
                history=[Epoch.of_history(figures) for figures in run.history],
                early_stop=model.flags["early_stop"],
                average_of=model.average_of,
            )
        )
        if not found.healthy:
            self._console.warn("\n".join(found.lines()))

    # --- test and one-shot inference -----------------------------------------------------------------------------

    def _with_weights_for_evaluation(
        self, backend: Backend | None, task: "SpeechToText", machine: Machine, source: Source
    ) -> Backend:
        checkpoint = source.folder.load(source.checkpoint_kind)
        weights, progress = checkpoint.weights, checkpoint.model.progress
        epochs = "" if progress.epoch is None else f", after {progress.epoch:,} epochs"
        self._console.info(f"Uses {checkpoint.path} (step {progress.step:,}{epochs})")
        if backend is None or backend.trains_other_weights:
            return self._backend(task, machine, weights)
        backend.set_weights(weights)
        return backend

    def _test(self, backend: Backend, task: "SpeechToText", machine: Machine, checked: CheckedData) -> None:
        from deepspeech_training.data.loader import Loader
        from deepspeech_training.reporting.metrics import SetReport
        from deepspeech_training.training.evaluate import clip_results

        config = self._config
        size = config.batches.test_batch_size * len(machine.devices)
        threads = config.performance.loader_threads or min(usable_cores(), 8)
        everything = []
        knows = None if self._scorer is None else self._scorer.language_model.__contains__
        with (
            Loader(task.load, threads=threads, static_shapes=machine.on_gpu) as loader,
            self._clip_decoder(task.alphabet, compares=True) or nullcontext() as decoder,
        ):
            for found in checked.sets["test"]:
                batches = -(-len(found.samples) // size)
                with self._console.progress(f"Testing on {found.name}", total=batches, unit="batches") as progress:
                    results = clip_results(
                        backend,
                        task,
                        loader,
                        found.samples,
                        batch_size=size,
                        reverse=config.limits.reverse_test,
                        on_batch=progress.update,
                        on_fault=lambda sample, reason: self._console.warn(f"{sample.id} ({sample.path}) {reason}"),
                        decoder=decoder,
                    )
                report = SetReport(found.csv_path, tuple(results), knows)
                print(report.to_text(config.reporting.report_count), flush=True)
                loss = report.loss if math.isfinite(report.loss) else None
                rates = {"wer": report.wer, "cer": report.cer}
                self._events.emit(SetTested(found.csv_path, len(results), loss, rates))
                everything += results
        if config.reporting.test_output_file:
            text = json.dumps([r.as_dict() for r in everything], ensure_ascii=False, indent=1) + "\n"
            write_atomically(Path(config.reporting.test_output_file), [text.encode()])

    def _infer(self, backend: Backend, task: "SpeechToText", path: str) -> None:
        from deepspeech_training.audio.files import AudioError, read_audio
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
        with self._clip_decoder(task.alphabet) or nullcontext() as decoder:
            if decoder is None:
                text = task.decode(log_probs, num_frames)[0]
            else:
                text = decoder.submit(log_probs[0, : num_frames[0]]).result().text
        print(text, flush=True)

    def _clip_decoder(self, alphabet: Alphabet | ByteAlphabet, *, compares: bool = False) -> ClipDecoder | None:
        """The beam that the flags ask for, and if a scorer is to be compared the same without; None: greedy."""
        flags = self._config.decoder
        if not flags.beam_width:
            return None

        def beam(**scorer: Any) -> BeamDecoder:
            return BeamDecoder(
                _labels_of(alphabet),
                width=flags.beam_width,
                cutoff_prob=flags.cutoff_prob,
                cutoff_top_n=flags.cutoff_top_n,
                say=self._console.info,
                **scorer,
            )

        if self._scorer is None:
            return ClipDecoder(beam(), alphabet.decode)
        scored = beam(scorer=self._scorer, alpha=flags.lm_alpha, beta=flags.lm_beta)
        return ClipDecoder(scored, alphabet.decode, without_scorer=beam() if compares else None)


def _labels_of(alphabet: Alphabet | ByteAlphabet) -> tuple[str, ...] | None:
    """Labels as the decoder takes them: None for bytes."""
    return None if isinstance(alphabet, ByteAlphabet) else alphabet.characters


def kinds_of_data(config: Config) -> tuple[frozenset[str], str]:
    """What --voice_mode takes, "voice", "text", both or nothing, and why, in words.

    Raises:
        FlagError: the data that the mode needs is not named, or named twice.
    """
    voice, train_files = config.voice, config.data.train_files
    folder = voice.voice_data_dir
    if folder and train_files:
        raise FlagError("--voice_data_dir and --train_files are two sources of the same: leave one out")
    sounds = bool(train_files) or bool(folder and has_audio(Path(folder)))
    csvs = f"{len(train_files)} CSV{'s' if len(train_files) > 1 else ''}"
    named = f"--train_files names {csvs}" if train_files else f"there are recordings in {folder}"
    if voice.voice_mode == "voice":
        if folder and not sounds:
            raise FlagError(f"--voice_mode voice: there are no recordings below {folder}")
        if not sounds:
            return frozenset(), "for --voice_mode voice "
        return frozenset({"voice"}), f"the acoustic model, as {named}"
    if voice.voice_mode == "text":
        if not (voice.text_data or train_files or folder):
            raise FlagError("--voice_mode text: there is no text; give --text_data, or --train_files for transcripts")
        source = "--text_data" if voice.text_data else "transcripts" if train_files else f"texts in {folder}"
        return frozenset({"text"}), f"a language model and scorer, from {source}"
    if sounds and voice.text_data:
        return frozenset({"voice", "text"}), f"the acoustic model and a scorer, as {named}, and there is --text_data"
    if sounds:
        return frozenset({"voice"}), f"the acoustic model, as {named}"
    if voice.text_data or folder:
        why = "there is --text_data and no recordings" if voice.text_data else f"{folder} has texts and no recordings"
        return frozenset({"text"}), f"a language model and scorer, as {why}"
    return frozenset(), ""


def text_files(paths: Sequence[str]) -> tuple[list[str], list[str]]:
    """The text files and the CSVs that --text_data means; of a folder all *.txt, *.txt.gz and *.csv below it."""
    texts, csvs = [], []
    for name in paths:
        path = Path(name)
        if not path.exists():
            raise UserError(f"--text_data {name}: no such file or folder")
        inside = sorted(p for p in path.rglob("*") if p.name.endswith((".txt", ".txt.gz", ".csv")))
        for file in inside if path.is_dir() else [path]:
            (csvs if file.suffix == ".csv" else texts).append(str(file))
        if path.is_dir() and not inside:
            raise UserError(f"--text_data {name}: there is no .txt, .txt.gz or .csv in this folder")
    return texts, csvs


def _check_voice_data(config: Config, console: Console) -> int:
    """Print what --voice_data_dir has; exit code 1 where it cannot be trained on."""
    if not config.voice.voice_data_dir:
        raise FlagError("--check_voice_data looks at --voice_data_dir; give it")
    decoder = config.decoder
    named = alphabet_of_flags(decoder.alphabet_config_path, bytes_output_mode=decoder.bytes_output_mode)
    alphabet = named or Alphabet.english()
    found = scan(Path(config.voice.voice_data_dir), console)
    print("\n".join(report(found, alphabet)))
    return EXIT_RUN if missing(found, alphabet) else EXIT_OK


def _with_export_dir(config: Config) -> Config:
    """What bin/export makes of --output_dir without --export_dir."""
    if not config.checkpoint.output_dir or config.export.export_dir:
        return config
    exports = os.path.join(config.checkpoint.output_dir, "exports")
    return replace(config, export=replace(config.export, export_dir=exports))


def _frozen(config: Config, network: NetworkGeometry) -> FrozenLayers | None:
    """The layers of --freeze_layers and how many weights they have; None without."""
    layers = [layer for layer in LAYERS if layer in config.transfer.freeze_layers]
    if not layers:
        return None
    shapes = network.weight_shapes()
    return FrozenLayers(
        layers, parameters=sum(math.prod(shape) for name, shape in shapes.items() if layer_of(name) in layers)
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
