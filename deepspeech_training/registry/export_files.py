"""A folder with an exported model -> what is registered of it: its files, and what its card says."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.checkpoints.inspection import Inspection, inspect
from deepspeech_training.console import Console
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.errors import UserError
from deepspeech_training.exporting.card import PARITY_FILE, read_card, read_parity
from deepspeech_training.registry.store import CARD_FILE, MODEL_FILE, RESULTS_FILE, SCORER_FILE, STATE_FILE
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.version import VERSION

TAKEN = (CARD_FILE, RESULTS_FILE, STATE_FILE)


@dataclass(frozen=True)
class ExportFiles:
    """What lies in the folder of an export.

    Args:
        folder: as it was given.
        model: the .tflite.
        scorer: the .scorer that it is to be used with, or None.
    """

    folder: Path
    model: Path
    scorer: Path | None

    @classmethod
    def find(cls, folder: Path, scorer: Path | None) -> "ExportFiles":
        """
        Args:
            scorer: instead of the one in the folder.
        Raises:
            UserError: it has not one model, or they cannot be used together.
        """
        models = sorted(folder.glob("*.tflite")) if folder.is_dir() else []
        scorers = sorted(folder.glob("*.scorer")) if folder.is_dir() else []
        if len(models) != 1:
            found = f"{len(models)} .tflite" if folder.is_dir() else "no such folder"
            raise UserError(f"{folder}: {found}; an export has one\nName the folder of an export (--export_dir).")
        if scorer is None and len(scorers) > 1:
            raise UserError(f"{folder}: it has {len(scorers)} scorers; name the one to use: --scorer FILE")
        found_scorer = scorer or (scorers[0] if scorers else None)
        file = ModelFile.read(models[0])
        if found_scorer is not None:
            Scorer.read(found_scorer).check_labels(None if file.bytes_mode else file.labels)
        return cls(folder, models[0], found_scorer)

    def contents(self) -> dict[str, Path | bytes]:
        """The files to register, by the name that they get."""
        contents: dict[str, Path | bytes] = {MODEL_FILE: self.model}
        if self.scorer is not None:
            contents[SCORER_FILE] = self.scorer
        others = [self.folder / PARITY_FILE, *sorted(self.folder.glob("*.md"))]
        return contents | {path.name: path for path in others if path.is_file() and path.name not in TAKEN}

    def checksums(self) -> dict[str, str]:
        """SHA-256 of model and scorer, by their names in the registry: what makes two exports the same.

        Raises:
            UserError: one cannot be read.
        """
        found = {}
        for name, path in ((MODEL_FILE, self.model), (SCORER_FILE, self.scorer)):
            if path is not None:
                try:
                    with open(path, "rb") as file:
                        found[name] = hashlib.file_digest(file, "sha256").hexdigest()
                except OSError as error:
                    raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        return found

    def card(self, checkpoint_dir: Path | None, console: Console) -> dict[str, Any]:
        """What card.json says of the model and of its training; empty where nothing tells it.

        Args:
            checkpoint_dir: the folder of the checkpoint that was exported; None: where it was at the export.
        Raises:
            UserError: the checkpoint is not in that folder.
        """
        parity, exported = read_parity(self.folder), inspect(self.model, console=console)
        trained = _trained(parity, checkpoint_dir, console)
        facts = exported.facts
        return {
            "program_version": VERSION,
            "exported": read_card(self.folder),
            "model": {
                **{
                    name: facts[name] for name in ("alphabet", "alphabet_of_bytes", "features", "n_steps", "beam_width")
                },
                "parameters": facts["parameters"],
                "weights": next((kind for kind, model in _models(parity).items() if model.get("exported")), None),
            },
            "scorer": None if self.scorer is None else self.scorer.name,
            "parity": {kind: _without_clips(model) for kind, model in _models(parity).items()},
            "checkpoint": None if trained is None else str(trained.path),
            "training": {} if trained is None else trained.facts["training"],
            "data": [] if trained is None else trained.facts["data"],
            "network": None if trained is None else trained.facts["network"],
            "diagnosis": (trained or exported).diagnosis.as_dict(),
        }


def _trained(parity: Mapping[str, Any], checkpoint_dir: Path | None, console: Console) -> Inspection | None:
    """The checkpoint that was exported, inspected; None where it is not known or not there any more."""
    named = Path(str(parity.get("checkpoint_file") or ""))
    if checkpoint_dir is None:
        return inspect(named, console=console) if named.suffix == ".json" and named.is_file() else None
    if not named.name:
        return inspect(checkpoint_dir, console=console)
    if not (checkpoint_dir / named.name).is_file():
        raise UserError(
            f"--checkpoint_dir {checkpoint_dir}: the export was made of {named.name}, which is not there\n"
            "Name the folder that has it, or leave the flag out: then the card does not tell how it was trained."
        )
    return inspect(checkpoint_dir / named.name, console=console)


def _models(parity: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    models = parity.get("models")
    return (
        {str(kind): model for kind, model in models.items() if isinstance(model, dict)}
        if isinstance(models, dict)
        else {}
    )


def _without_clips(model: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in model.items() if name not in ("in_clip", "transcripts_that_differ")}
