"""Where the weights of a run come from, and the flags that their checkpoint decides."""

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.checkpoints.describe import TrainedModel
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.checkpoints.tf1 import Tf1Folder
from deepspeech_training.config import FLAGS
from deepspeech_training.config.flag import value_text
from deepspeech_training.config.groups import CheckpointFlags
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError

Folder = CheckpointFolder | Tf1Folder


@dataclass(frozen=True)
class Source:
    """Where the weights of a run come from.

    Args:
        kind: "resume" (all of the state), "weights" (of another run; a new run begins with them) or "init".
        description: what the checkpoint says; None for "init".
        folder, checkpoint_kind: where to load it.
        path: of the checkpoint.
        flag: the one that named the folder, for messages.
    """

    kind: str
    description: TrainedModel | None = None
    folder: Folder | None = None
    checkpoint_kind: str = ""
    path: Path | None = None
    flag: str = "--checkpoint_dir"


def source_of_training(
    flags: CheckpointFlags, given: Collection[str], save_folder: CheckpointFolder, load_folder: Folder
) -> Source:
    """Decide what --load_train means here; see docs/training.md, "Which checkpoint a run starts from".

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
            if same and source.description.average_of:
                raise UserError(
                    f"{folder.folder}: holds an average of checkpoints, and a run cannot go on from one\n"
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
    if source.description is None:
        return {}
    network, features = source.description.network, source.description.features
    described = {"network": network.describe(), "features": {} if features is None else asdict(features)}
    fixed = {}
    for name, flag in FLAGS.items():
        if flag.fixed_by_weights:
            section, key = flag.fixed_by_weights
            if key in described[section]:  # else it is a flag of another network
                fixed[name] = described[section][key]
        elif flag.fixed_in_a_run and continues:
            fixed[name] = source.description.flags.get(name, flag.default)
    differing = {name: value for name, value in fixed.items() if flags[name] != value}
    refused = [
        f"--{name} {value_text(flags[name])}: the checkpoint was trained with {value_text(value)}"
        for name, value in differing.items()
        if name in given
    ]
    for name, value in differing.items():
        if name not in given:
            console.info(f"--{name} {value_text(value)}, as in the checkpoint")
    if refused:
        raise FlagError(
            "\n".join(refused) + f"\nThe checkpoint is in {source.folder.folder}. Leave the flag out, or name "
            f"another folder with {source.flag}, or start anew with --load_train init."
        )
    return differing


def _read(
    folder: Folder, checkpoint_kind: str, flags: CheckpointFlags, given: Collection[str], *, resumes: bool
) -> Source:
    found = folder.read_description(checkpoint_kind)
    if found is None:
        folder.load(checkpoint_kind)  # raises, naming each damaged file
        raise AssertionError("a description that is damaged has been loaded")
    is_target = folder.folder.resolve() == flags.save_dir.resolve()
    name = "save_checkpoint_dir" if is_target else "load_checkpoint_dir"
    path, description = found
    return Source(
        "resume" if resumes else "weights",
        description,
        folder,
        checkpoint_kind,
        path,
        f"--{name if name in given else 'checkpoint_dir'}",
    )
