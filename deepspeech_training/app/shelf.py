"""The models that the app serves: the one that is named, those of the volume, or the best so far of a training."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepspeech_training.app.volume import Volume
from deepspeech_training.errors import UserError
from deepspeech_training.registry.store import is_registry, promoted_in
from deepspeech_training.serving.sources import ModelSource, find_sources

SO_FAR_DIR = "so_far"


@dataclass(eq=False)
class Shelf:
    """Looks for models each time.

    Args:
        volume: where they lie.
        named: --model; then nothing else is served.
        scorer: --scorer, for all.

    Attributes:
        so_far: the best so far of a training; served where there is no finished model.
    """

    volume: Volume
    named: Path | None
    scorer: Path | None
    so_far: ModelSource | None = None

    def show_so_far(self, folder: Path, name: str, note: str, scorer: str) -> None:
        """Serve the export in a folder until there is a finished model, under its name."""
        (source,) = find_sources(folder, self.scorer or (Path(scorer) if scorer else None))
        self.so_far = replace(source, name=name, note=note)

    def finished(self) -> Sequence[ModelSource]:
        """Models that are finished; none where there are none.

        Raises:
            UserError: --model names what is not there.
        """
        if self.named is not None:
            return find_sources(self.named, self.scorer)
        return models_of_volume(self.volume, self.scorer)

    def sources(self) -> Sequence[ModelSource]:
        """What is to be served now."""
        return self.finished() or ([self.so_far] if self.so_far is not None else [])


def models_of_volume(volume: Volume, scorer: Path | None) -> Sequence[ModelSource]:
    """The finished models of a volume: what its registry has promoted, else its exports.

    Raises:
        UserError: the registry is damaged.
    """
    if is_registry(volume.models) and promoted_in(volume.models):
        return find_sources(volume.models, scorer)
    try:
        return find_sources(volume.exports, scorer) if volume.exports.is_dir() else []
    except UserError:
        return []  # there is a folder, and no model in it


def is_export_of(folder: Path, checkpoint: Path) -> bool:
    """Whether a folder has the whole export of a checkpoint; the model is put there last, or all of it at once."""
    try:
        report = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
        exported = Path(report["checkpoint_file"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    same = (exported.parent.name, exported.name) == (checkpoint.parent.name, checkpoint.name)
    return same and any(folder.glob("*.tflite"))
