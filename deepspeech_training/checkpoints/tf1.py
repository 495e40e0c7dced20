"""The checkpoints of DeepSpeech 0.9.3's trainer (TensorFlow 1), taken as a source, tested and exported like ours.

train-200.index, .data-...       weights, Adam's moments and the step: see `tensor_bundle`
checkpoint, best_dev_checkpoint  text files that name the newest prefix ("train-200", "best_dev-150")
flags.txt                        in a complete folder: the sample rate, the windows and --relu_clip
alphabet.txt                     only of Coqui STT
"""

import re
from dataclasses import replace
from pathlib import Path

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.checkpoints.describe import Checkpoint, Progress, TrainedModel
from deepspeech_training.checkpoints.file import DamagedCheckpoint
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.checkpoints.tensor_bundle import TensorBundle, index_of
from deepspeech_training.config import FLAGS
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.models.deepspeech.tf1 import geometry_of, tf1_name

_POINTERS = {"last": "checkpoint", "best": "best_dev_checkpoint"}
_NAME = re.compile(r"(?P<kind>train|best_dev)-(?P<step>\d+)\.index")
# Key of the features -> the flag that fixes it.
_FEATURE_FLAGS = {
    flag.fixed_by_weights[1]: name
    for name, flag in FLAGS.items()
    if flag.fixed_by_weights and flag.fixed_by_weights[0] == "features"
}


def find_tf1_checkpoint(path: Path, kind: str = "auto") -> Path | None:
    """The prefix ("folder/train-200") of the TensorFlow 1 checkpoint that a path means.

    Args:
        path: a folder, the prefix itself, or one of the checkpoint's files.
        kind: which one of a folder: "best", "last", or "auto" for the best, without one the last.
    Returns:
        None where there is none.
    """
    if not path.is_dir():
        prefix = path.with_name(re.sub(r"\.(index|meta|data-\d{5}-of-\d{5})$", "", path.name))
        return prefix if index_of(prefix).is_file() else None
    for wanted in ("best", "last") if kind == "auto" else (kind,):
        found = _named_by_pointer(path, _POINTERS[wanted]) or _newest(path, wanted)
        if found is not None:
            return found
    return None


def _named_by_pointer(folder: Path, name: str) -> Path | None:
    try:
        with open(folder / name, encoding="utf-8", errors="replace") as file:
            match = re.search(r'^model_checkpoint_path:\s*"([^"\n]+)"', file.read(1 << 16), re.MULTILINE)
    except OSError:
        return None
    # The folder may have moved since, so only the name counts.
    prefix = folder / Path(match[1]).name if match else None
    return prefix if prefix is not None and index_of(prefix).is_file() else None


def _newest(folder: Path, wanted: str) -> Path | None:
    steps = {}
    for path in folder.glob("*.index"):
        match = _NAME.fullmatch(path.name)
        if match and (match["kind"] == "best_dev") == (wanted == "best"):
            steps[int(match["step"])] = path.with_suffix("")
    return steps[max(steps)] if steps else None


class Tf1Folder:
    """A checkpoint of DeepSpeech 0.9.3's trainer, read as `CheckpointFolder` reads ours.

    What neither the checkpoint nor flags.txt and alphabet.txt beside it say is taken from the flags.

    Args:
        path: the folder, or one of the checkpoint's files in it.
        features, relu_clip: as the flags have them; else DeepSpeech's defaults.
    """

    def __init__(self, path: Path, features: FeatureGeometry | None = None, relu_clip: float = 20.0):
        self.folder = path if path.is_dir() else path.parent
        self._path = path
        self._features, self._relu_clip = features or FeatureGeometry(), relu_clip

    def has(self, kind: str) -> bool:
        return self._find(kind) is not None

    def read_description(self, kind: str) -> tuple[Path, TrainedModel] | None:
        """Where the checkpoint is and what is known of it; None without one.

        Raises:
            DamagedCheckpoint: it cannot be read, or is no DeepSpeech model.
        """
        prefix = self._find(kind)
        if prefix is None:
            return None
        bundle = TensorBundle(prefix)
        network = _geometry(bundle)
        said = _read_flags_txt(prefix.with_name("flags.txt"))
        alphabet_path = prefix.with_name("alphabet.txt")
        alphabet = Alphabet.read(alphabet_path) if alphabet_path.is_file() else None
        if alphabet is not None and alphabet.num_classes != network.num_classes:
            raise DamagedCheckpoint(
                f"{alphabet_path}: {alphabet.size} characters; the checkpoint beside it was trained with "
                f"{network.num_classes - 1}"
            )
        step = None if (number := _number(bundle, "global_step")) is None else int(number)
        return prefix, TrainedModel(
            network=replace(network, relu_clip=float(said.get("relu_clip", self._relu_clip))),
            features=replace(
                self._features,
                n_mfcc=network.n_features,
                **{key: int(said[name]) for key, name in _FEATURE_FLAGS.items() if name in said},
            ),
            alphabet=alphabet,
            progress=Progress(step=step or 0, updates=step, learning_rate=_number(bundle, "learning_rate")),
            saved_at=bundle.index_path.stat().st_mtime,
            unsaid=tuple(sorted(name for name in _FEATURE_FLAGS.values() if name not in said)),
        )

    def load(self, kind: str) -> Checkpoint | None:
        found = self.read_description(kind)
        if found is None:
            return None
        prefix, model = found
        bundle = TensorBundle(prefix)
        weights = {name: bundle.read(tf1_name(name)) for name in model.network.weight_shapes()}
        return Checkpoint(prefix, model, weights, bundle.files)

    def _find(self, kind: str) -> Path | None:
        return find_tf1_checkpoint(self._path, {"train": "last", "best": "best"}[kind])


def folder_to_load(
    ours: CheckpointFolder, features: FeatureGeometry, relu_clip: float
) -> "CheckpointFolder | Tf1Folder":
    """The folder as what it is: of our checkpoints, or without any of TensorFlow 1's."""
    if not (ours.has("train") or ours.has("best")) and find_tf1_checkpoint(ours.folder) is not None:
        return Tf1Folder(ours.folder, features, relu_clip)
    return ours


def _geometry(bundle: TensorBundle) -> DeepSpeech:
    try:
        return geometry_of({name: variable.shape for name, variable in bundle.variables.items()})
    except ValueError as error:
        raise DamagedCheckpoint(f"{bundle.index_path}: {error}") from error


def _number(bundle: TensorBundle, name: str) -> float | None:
    """A variable that is one number; None where it is not there."""
    variable = bundle.variables.get(name)
    return bundle.read(name).item() if variable is not None and variable.shape == () else None


def _read_flags_txt(path: Path) -> dict[str, str]:
    """The flags of a flags.txt that fix the meaning of the weights; lines are `--name=value` or JSON's."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(1 << 20)
    except OSError:
        return {}
    names = "|".join((*_FEATURE_FLAGS.values(), "relu_clip"))
    found = dict(re.findall(rf'^[\s"-]*({names})"?\s*[=:]\s*([0-9]{{1,9}}(?:\.[0-9]{{0,9}})?)\b', text, re.MULTILINE))
    return {name: value for name, value in found.items() if name == "relu_clip" or value.isdigit()}
