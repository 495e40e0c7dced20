"""The mean of the weights of several checkpoints, as a checkpoint of its own; numpy alone.

Averages of the last checkpoints of a run are often better than each of them (Vaswani et al. 2017, arXiv:1706.03762,
section 6.1, average the last 5 to 20). The checkpoint that comes out has weights and what they mean, no moments: it is
tested, exported, and taken as the start of a new run (--load_checkpoint_dir), but no run resumes from it.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.checkpoints.describe import TrainedModel, read_checkpoint
from deepspeech_training.checkpoints.file import read_state, write_arrays, write_state
from deepspeech_training.checkpoints.tf1 import find_tf1_checkpoint
from deepspeech_training.errors import FlagError, UserError


def checkpoints_of(sources: Sequence[str], *, last: int) -> list[Path]:
    """The state files that are meant: a .json itself, and of a folder its `last` newest.

    Raises:
        UserError: a folder has none or fewer, or a file is no state of a checkpoint.
        FlagError: a checkpoint is named twice.
    """
    found: list[Path] = []
    for source in map(Path, sources):
        if source.is_dir():
            newest = sorted(source.glob("train-*.json"))[-last:]
            if not newest:
                raise _nothing_to_average(source)
            if len(newest) < last:
                raise UserError(
                    f"{source}: has {len(newest)} of the last {last} checkpoints (train-*.json)\n"
                    "Train with a higher --max_to_keep, or average fewer: --last."
                )
            found += newest
        elif source.suffix == ".json" and source.is_file():
            found.append(source)
        else:
            raise _nothing_to_average(source)
    for number, path in enumerate(found):
        if path.resolve() in (before.resolve() for before in found[:number]):
            raise FlagError(f"{path}: is named twice; each checkpoint can be in an average once")
    return found


def _nothing_to_average(source: Path) -> UserError:
    """What is there instead of checkpoints that could be averaged."""
    if find_tf1_checkpoint(source) is not None:
        return UserError(
            f"{source}: a checkpoint of DeepSpeech's own trainer; only those of this program are averaged\n"
            "Train on from it first: --load_checkpoint_dir, with another folder for --save_checkpoint_dir."
        )
    if not source.is_dir():
        there = "neither a folder of checkpoints nor the .json of one" if source.exists() else "no such file or folder"
        return UserError(f"{source}: {there}")
    best = sorted(source.glob("best-*.json"))
    if best:
        return UserError(f"{source}: has no checkpoints of a run (train-*.json)\nIts best can be named: {best[-1]}")
    inside = sorted({path.parent for path in source.glob("*/train-*.json")})
    hint = "\nOne of these? " + " ".join(map(str, inside[:10])) if inside else ""
    return UserError(f"{source}: no checkpoint in this folder (train-*.json){hint}")


def average(paths: Sequence[Path]) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The mean of the weights to use of these checkpoints, and the state to go with it, that of the last.

    Raises:
        UserError: one is damaged, or they are of models of different kinds.
        FlagError: two are the same, such as a best checkpoint and the one of the run that it is.
    """
    sums: dict[str, Any] = {}
    first: TrainedModel | None = None
    seen: dict[str, Path] = {}
    for path in paths:
        checkpoint = read_checkpoint(path)
        model = checkpoint.model
        first = first or model
        same = seen.setdefault(model.weights_sha256, path)
        if same is not path:
            raise FlagError(f"{path}: has the same weights as {same}; each can be in an average once")
        here, there = _meaning(model), _meaning(first)
        different = [part for part in {**there, **here} if here.get(part) != there.get(part)]
        if different:
            raise UserError(f"{path}: has another {', '.join(different)} than {paths[0]}; they cannot be averaged")
        for name, array in checkpoint.weights.items():
            sums[name] = sums.get(name, 0.0) + array.astype(np.float64)
    weights = {name: (total / len(paths)).astype(np.float32) for name, total in sums.items()}
    return weights, {**read_state(paths[-1]), "average_of": [str(path) for path in paths]}


def _meaning(model: TrainedModel) -> dict[str, Any]:
    """What has to be the same, or a mean would mean nothing."""
    parsed = {"task": model.task, "alphabet": model.alphabet, "features": model.features, "network": model.network}
    return {**model.described, **parsed}


def write_average(paths: Sequence[Path], folder: Path) -> Path:
    """Write the average as the best checkpoint of a folder that has none yet; returns its state file."""
    if any(folder.glob("*-*.json")):
        raise UserError(f"{folder}: has checkpoints already; name another folder")
    weights, state = average(paths)
    name = f"best-{state['run']['step']:09}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        checksum = write_arrays(folder / f"{name}.safetensors", weights)
        state |= {"weights_file": f"{name}.safetensors", "weights_sha256": checksum, "saved_at": time.time()}
        write_state(folder / f"{name}.json", state)
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from error
    return folder / f"{name}.json"
