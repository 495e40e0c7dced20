"""Where the weights of a run come from: which checkpoint, which flags it decides, what of it is taken."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.alphabet import Labels
from deepspeech_training.checkpoints.describe import Checkpoint, TrainedModel
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.checkpoints.tf1 import Tf1Folder, folder_to_load
from deepspeech_training.checkpoints.transfer import Transfer
from deepspeech_training.config import FLAGS
from deepspeech_training.config.flag import value_text
from deepspeech_training.config.groups import CheckpointFlags, DataFlags, TransferFlags
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.features.geometry import FeatureGeometry

Folder = CheckpointFolder | Tf1Folder


@dataclass(frozen=True)
class FoundCheckpoint:
    """A checkpoint that has been looked at, and not loaded yet.

    Args:
        folder, kind: where it is, and whether it is the "best" or the last one ("train").
        path: of the checkpoint.
        model: what it says.
        flag: the one that named the folder, for messages.
    """

    folder: Folder
    kind: str
    path: Path
    model: TrainedModel
    flag: str

    def load(self) -> Checkpoint:
        """The checkpoint, or if it is damaged the one before it.

        Raises:
            UserError: all are damaged.
        """
        checkpoint = self.folder.load(self.kind)
        assert checkpoint is not None, "it was there"
        return checkpoint


@dataclass(frozen=True)
class Source:
    """Where the weights of a run come from.

    Args:
        kind: "resume" (all of the state), "weights" (of another run; a new run begins with them) or "init".
        found: the checkpoint; None for "init".
    """

    kind: str
    found: FoundCheckpoint | None = None

    @property
    def checkpoint(self) -> FoundCheckpoint:
        """That of a source that has one."""
        assert self.found is not None, "there are new weights"
        return self.found


def load_folder_of(checkpoint: CheckpointFlags, data: DataFlags, relu_clip: float, console: Console) -> Folder:
    """The folder of --load_checkpoint_dir; what a checkpoint of DeepSpeech 0.9.3 does not say is as in the flags."""
    features = FeatureGeometry(data.audio_sample_rate, data.feature_win_len, data.feature_win_step)
    return folder_to_load(CheckpointFolder(checkpoint.load_dir, console), features, relu_clip)


def source_of_training(
    flags: CheckpointFlags, given: Collection[str], save_folder: CheckpointFolder, load_folder: Folder
) -> Source:
    """Decide what --load_train means here; see docs/resuming.md, "Which checkpoint a run starts from".

    Raises:
        UserError: what is asked for is not there, is damaged, or is an average, which cannot be resumed.
    """
    wanted = flags.load_train
    if wanted == "init":
        return Source("init")
    same = save_folder.folder.resolve() == load_folder.folder.resolve()
    same = same and not isinstance(load_folder, Tf1Folder)  # of which only the weights can be taken
    folder: Folder = save_folder
    if wanted == "best" and same:
        kinds: tuple[str, ...] = ("best",)
    elif save_folder.has("train"):
        kinds, same = ("train",), True  # resumes the run that this command began
    else:
        kinds = {"auto": ("train", "best"), "last": ("train",), "best": ("best",)}[wanted]
        folder = save_folder if same else load_folder
    for kind in kinds:
        if folder.has(kind):
            source = _read(folder, kind, flags, given, resumes=same)
            if same and source.checkpoint.model.average_of:
                raise UserError(
                    f"{folder.folder}: holds an average of checkpoints, and a run cannot resume from one\n"
                    "Start a new run with its weights: name it with --load_checkpoint_dir, and another folder with "
                    "--save_checkpoint_dir."
                )
            return source
    if wanted == "auto" and (same or "load_checkpoint_dir" not in given):
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


def source_of_evaluation(flags: CheckpointFlags, given: Collection[str], folder: Folder) -> Source:
    """The checkpoint of `folder` that --load_evaluate means.

    Raises:
        UserError: there is none, or it is damaged.
    """
    wanted = flags.load_evaluate
    for kind in {"auto": ("best", "train"), "last": ("train",), "best": ("best",)}[wanted]:
        if folder.has(kind):
            return _read(folder, kind, flags, given, resumes=True)
    raise UserError(
        f"{folder.folder}: there is no {'' if wanted == 'auto' else wanted + ' '}checkpoint to test or export\n"
        "Train first (--train_files), or name the folder of a trained model with --checkpoint_dir."
    )


def folder_to_evaluate(flags: CheckpointFlags, save_folder: CheckpointFolder, load_folder: Folder) -> Folder:
    """Where a run that took its weights from --load_checkpoint_dir has saved: that is tested, not its source."""
    if flags.save_checkpoint_dir and (save_folder.has("best") or save_folder.has("train")):
        return save_folder
    return load_folder


def adopted_flags(
    source: Source, flags: Mapping[str, Any], given: Collection[str], *, continues: bool, console: Console
) -> dict[str, Any]:
    """The flags that have another value in the checkpoint, which fixes them, with that value.

    Args:
        flags: all of the call, by name.
        given: those that the person has set: they are refused if they differ.
        continues: whether a training is resumed, which keeps the flags that are fixed in a run as well.
    Raises:
        FlagError: names each flag that differs, with both values.
    """
    found = source.found
    if found is None:
        return {}
    network, features = found.model.network, found.model.features
    described = {
        "task": {**found.model.described, "name": found.model.task},
        "network": network.describe(),
        "features": {} if features is None else asdict(features),
    }
    fixed = {}
    for name, flag in FLAGS.items():
        if flag.fixed_by_weights:
            section, key = flag.fixed_by_weights
            if key in described[section]:  # else it is a flag of another network
                fixed[name] = described[section][key]
        elif flag.fixed_in_a_run and continues:
            fixed[name] = found.model.flags.get(name, flag.default)
    differing = {name: value for name, value in fixed.items() if flags[name] != value}
    refused = [
        f"--{name} {value_text(flags[name])}: the checkpoint was trained with {value_text(value)}"
        for name, value in differing.items()
        if name in given
    ]
    for name, value in differing.items():
        if name not in given:
            console.info(f"--{name} {value_text(value)}, as in the checkpoint")
    if "network" in differing and refused:
        refused.append("Networks of different kinds share no layers: nothing of one can be used in the other.")
    if refused:
        raise FlagError(
            "\n".join(refused) + f"\nThe checkpoint is in {found.folder.folder}. Leave the flag out, or name "
            f"another folder with {found.flag}, or start over with --load_train init."
        )
    _say_what_is_taken_for_granted(found, {**flags, **differing}, console)
    return differing


def transfer_of_run(
    flags: TransferFlags,
    source: Source,
    alphabets: Callable[[], tuple[Labels, Labels]],
) -> Transfer | None:
    """What the run takes from another one, now or when it began; None for a run that began with new weights.

    Args:
        alphabets: gives those of the source and of the run; asked with --reuse_characters.
    Raises:
        FlagError: the flags ask for what this source cannot give, or what cannot be changed on resume.
    """
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
        transfer = source.checkpoint.model.transfer
        layers = 0 if flags.reuse_characters else flags.drop_source_layers
        done = (0, False) if transfer is None else (transfer.drop_source_layers, transfer.reuse_characters)
        if wants and done != (layers, flags.reuse_characters):
            began = "new weights" if transfer is None else transfer.description
            raise FlagError(
                f"{wanted}: acts when a run begins; that in {source.checkpoint.folder.folder} resumes, and began with "
                f"{began}\nName its folder as the source with --load_checkpoint_dir and a new one with "
                "--save_checkpoint_dir, or leave the flag out."
            )
    elif source.kind == "weights":
        found = source.checkpoint
        origin = str(found.path), found.model.progress.step, found.model.network.groups
        transfer = Transfer(*origin, drop_source_layers=flags.drop_source_layers)
        if flags.reuse_characters:
            transfer = Transfer.of_characters(*origin, *alphabets())
        new = [layer for layer in flags.freeze_layers if layer not in transfer.old_layers]
        if new:
            raise FlagError(f"--freeze_layers {','.join(new)}: has new weights, which have to be trained")
    if transfer is None and flags.source_learning_rate_factor != 1:
        raise FlagError(
            "--source_learning_rate_factor: the run has no source, its weights began as new ones\n"
            "Set --learning_rate instead."
        )
    return transfer


def _say_what_is_taken_for_granted(found: FoundCheckpoint, flags: Mapping[str, Any], console: Console) -> None:
    """A checkpoint of DeepSpeech's trainer may not say its sample rate and windows: what the flags say counts."""
    unsaid = found.model.unsaid
    if not unsaid:
        return
    values = {name: flags[name] for name in unsaid}
    console.info(
        f"{found.path} does not say {', '.join(f'--{name}' for name in unsaid)}; taken to be "
        f"{', '.join(map(str, values.values()))}"
    )
    others = {name: FLAGS[name].default for name, value in values.items() if value != FLAGS[name].default}
    if others:
        console.warn(
            "DeepSpeech's own value, with which most of its checkpoints were trained, is "
            + ", ".join(f"--{name} {value}" for name, value in others.items())
            + ": weights know nothing of other features than they were trained with"
        )


def _read(
    folder: Folder, checkpoint_kind: str, flags: CheckpointFlags, given: Collection[str], *, resumes: bool
) -> Source:
    description = folder.read_description(checkpoint_kind)
    if description is None:
        folder.load(checkpoint_kind)  # raises, naming each damaged file
        raise AssertionError("a description that is damaged has been loaded")
    is_target = folder.folder.resolve() == flags.save_dir.resolve()
    name = "save_checkpoint_dir" if is_target else "load_checkpoint_dir"
    path, model = description
    flag = f"--{name if name in given else 'checkpoint_dir'}"
    return Source("resume" if resumes else "weights", FoundCheckpoint(folder, checkpoint_kind, path, model, flag))
