"""A new run that starts with the weights of another one: fine-tuning, and transfer to another alphabet.

`Transfer` says what a run has taken from its source. It is decided once, when the run begins, and is in each of its
checkpoints: a run that goes on takes nothing from the source again. `AncestorFolder` makes a checkpoint of
DeepSpeech's own trainer look like one of ours, so that it can be such a source, be tested and be exported.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.checkpoints.file import DamagedCheckpoint
from deepspeech_training.checkpoints.folder import Checkpoint, CheckpointFolder
from deepspeech_training.checkpoints.tf1 import (
    AncestorCheckpoint,
    find_ancestor_checkpoint,
    geometry_of,
    read_ancestor_weights,
)
from deepspeech_training.config import FLAGS
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.deepspeech.geometry import LAYERS, layer_of


@dataclass(frozen=True)
class Transfer:
    """What a run has taken from its source; JSON values only.

    Args:
        source: the checkpoint that the weights come from.
        step: its step.
        drop_source_layers: so many layers, counted from the output, were not taken.
        reuse_characters: the output layer was put together from the source's and new weights.
        source_characters: the source's alphabet then, in the order of its labels.
        shared_characters: those of them that the run's alphabet has too; their output weights were taken.
    """

    source: str
    step: int
    drop_source_layers: int = 0
    reuse_characters: bool = False
    source_characters: str = ""
    shared_characters: str = ""

    @classmethod
    def of_characters(cls, source: str, step: int, before: Alphabet, after: Alphabet) -> "Transfer":
        """The output layer put together for a run's alphabet from that of its source.

        >>> Transfer.of_characters("a.json", 7, Alphabet("ab "), Alphabet(" бa")).shared_characters
        ' a'
        """
        shared = "".join(character for character in after.characters if character in before.characters)
        return cls(
            source, step, reuse_characters=True, source_characters="".join(before.characters), shared_characters=shared
        )

    @property
    def old_layers(self) -> tuple[str, ...]:
        """The layers that come from the source as a whole.

        >>> Transfer("a.json", 7, drop_source_layers=2).old_layers
        ('layer_1', 'layer_2', 'layer_3', 'lstm')
        >>> Transfer("a.json", 7, reuse_characters=True).old_layers[-1]
        'layer_5'
        """
        return LAYERS[: len(LAYERS) - max(self.drop_source_layers, int(self.reuse_characters))]

    @property
    def description(self) -> str:
        """What was taken, in words.

        >>> Transfer("a.json", 7, drop_source_layers=1).description
        'the weights of a.json (step 7) without layer_6'
        """
        text = f"the weights of {self.source} (step {self.step:,})"
        fresh = [layer for layer in LAYERS if layer not in self.old_layers]
        if self.reuse_characters:
            count = len(self.shared_characters)
            return f"{text}; of layer_6 those of the blank and of {count} shared characters"
        return f"{text} without {', '.join(fresh)}" if fresh else text

    @classmethod
    def from_json(cls, values: dict[str, Any] | None) -> "Transfer | None":
        return None if values is None else cls(**values)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    def weights(
        self, source: Mapping[str, np.ndarray], fresh: Mapping[str, np.ndarray], alphabet: Alphabet
    ) -> dict[str, np.ndarray]:
        """The weights that the run starts with.

        Args:
            source, fresh: the source's weights and new ones, by canonical name.
            alphabet: the run's.
        Returns:
            As `fresh`, the old layers from `source`; with `reuse_characters` the columns of layer_6 that belong to
            `shared_characters` and to the blank from there too.
        """
        weights = {name: source[name] if layer_of(name) in self.old_layers else fresh[name] for name in fresh}
        if self.reuse_characters:
            before = Alphabet(self.source_characters)
            theirs = [*before.encode(self.shared_characters), before.blank]
            ours = [*alphabet.encode(self.shared_characters), alphabet.blank]
            for name in ("layer_6/weights", "layer_6/bias"):
                weights[name] = np.array(fresh[name])
                weights[name][..., ours] = source[name][..., theirs]
        return weights


class AncestorFolder:
    """A checkpoint of DeepSpeech's own trainer, read as `CheckpointFolder` reads ours.

    The checkpoint has the weights and the step. Sample rate, window and `relu_clip` are in the flags.txt beside it, if
    the trainer's folder is complete, and Coqui STT's has an alphabet.txt; what neither says is taken from the flags.

    Args:
        path: the folder, or one of the checkpoint's files in it.
        features, relu_clip: as the flags have them.
    """

    def __init__(self, path: Path, features: FeatureGeometry, relu_clip: float):
        self.folder = path if path.is_dir() else path.parent
        self._path = path
        self._features, self._relu_clip = features, relu_clip

    def has(self, kind: str) -> bool:
        return self._find(kind) is not None

    def read_description(self, kind: str) -> tuple[Path, dict[str, Any]] | None:
        """Where the checkpoint is, and what is known of it in the terms of our checkpoints; None without one.

        Its "alphabet" is None where nothing says which it is; "unsaid" has the flags of features that nothing says.

        Raises:
            DamagedCheckpoint: it cannot be read, or is no DeepSpeech model.
        """
        prefix = self._find(kind)
        if prefix is None:
            return None
        checkpoint = AncestorCheckpoint(prefix)
        try:
            network = geometry_of(checkpoint.variables)
        except ValueError as error:
            raise DamagedCheckpoint(f"{checkpoint.index_path}: {error}") from error
        said = _read_flags_txt(prefix.with_name("flags.txt"))
        features = replace(
            self._features,
            n_context=network.n_context,
            n_mfcc=network.n_features,
            **{key: int(said[name]) for key, name in _FEATURE_FLAGS.items() if name in said},
        )
        network = replace(network, relu_clip=float(said.get("relu_clip", self._relu_clip)))
        alphabet_path = prefix.with_name("alphabet.txt")
        alphabet = list(Alphabet.read(alphabet_path).characters) if alphabet_path.is_file() else None
        if alphabet is not None and len(alphabet) != network.num_classes - 1:
            raise DamagedCheckpoint(
                f"{alphabet_path}: {len(alphabet)} characters; the checkpoint beside it was trained with "
                f"{network.num_classes - 1}"
            )
        step = int(checkpoint.read("global_step")) if "global_step" in checkpoint.variables else 0
        return prefix, {
            "alphabet": alphabet,
            "features": asdict(features),
            "network": asdict(network),
            "run": {"step": step},
            "unsaid": sorted(name for name in _FEATURE_FLAGS.values() if name not in said),
        }

    def load(self, kind: str) -> Checkpoint | None:
        found = self.read_description(kind)
        if found is None:
            return None
        prefix, state = found
        _, arrays = read_ancestor_weights(AncestorCheckpoint(prefix))
        return Checkpoint(prefix, state, arrays)

    def _find(self, kind: str) -> Path | None:
        return find_ancestor_checkpoint(self._path, {"train": "last", "best": "best"}[kind])


def folder_to_load(ours: CheckpointFolder, features: FeatureGeometry, relu_clip: float):
    """The folder as what it is: of our checkpoints, or without any an ancestor's."""
    if not (ours.has("train") or ours.has("best")) and find_ancestor_checkpoint(ours.folder) is not None:
        return AncestorFolder(ours.folder, features, relu_clip)
    return ours


# Key of the features -> the flag that fixes it.
_FEATURE_FLAGS = {
    flag.fixed_by_weights[1]: name
    for name, flag in FLAGS.items()
    if flag.fixed_by_weights and flag.fixed_by_weights[0] == "features"
}


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
