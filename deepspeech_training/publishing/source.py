"""What is published: the folder of an export, or a version of the registry, with what is known of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.exporting.card import read_description
from deepspeech_training.registry.export_files import ExportFiles
from deepspeech_training.registry.results import measure
from deepspeech_training.registry.store import CARD_FILE, STATE_FILE, Registry, Version
from deepspeech_training.runtime.model_file import ModelFile


@dataclass(frozen=True)
class Source:
    """A model to publish.

    Args:
        name: of the model, for titles.
        files: model and scorer, known to fit together.
        card: as the registry has it (`ExportFiles.card`), with "tests".
        description: what its author wrote of it; "" for nothing.
    """

    name: str
    files: ExportFiles
    card: Mapping[str, Any]
    description: str

    @property
    def contents(self) -> dict[str, Path]:
        """Model and scorer, by the names that they are published under."""
        found = {self.files.model.name: self.files.model}
        return found if self.files.scorer is None else {**found, self.files.scorer.name: self.files.scorer}


def find_source(
    folder: Path,
    *,
    scorer: Path | None,
    test_files: Sequence[str],
    checkpoint_dir: Path | None,
    processes: int,
    console: Console,
) -> Source:
    """
    Args:
        folder: of an export, of a registered version, or of a registered model, whose promoted version it is then.
        scorer: to decode with; None: the one in the folder, if there is one.
        test_files: CSVs to measure the model on, instead of the figures that the registry has.
        checkpoint_dir: see `ExportFiles.card`.
        processes: that transcribe at the same time.
    Raises:
        UserError: there is no model for speech to text, or a file of it cannot be used.
    """
    version = _version(folder)
    folder = folder if version is None else version.folder
    registered = None if version is None else version.check()
    files = ExportFiles.find(folder, scorer)
    if ModelFile.read(files.model).commands is not None:
        raise UserError(
            f"{files.model}: a model of spoken commands; only models for speech to text are published\n"
            "`deepspeech detect` uses it."
        )
    if registered is None:
        card = {**files.card(checkpoint_dir, console), "tests": []}
    else:
        card = (
            registered if scorer is None else {**registered, "tests": []}
        )  # the figures are those with its own scorer
    if test_files:
        measured = measure(files.model, files.scorer, test_files, processes=processes, console=console)
        card = {**card, "tests": [found.figures() for found in measured]}
    return Source(version.name if version else folder.absolute().name, files, card, read_description(folder))


def _version(folder: Path) -> Version | None:
    """The version of a registry that a folder is, or whose model it is; None where it is an export.

    Raises:
        UserError: the model has no promoted version.
    """
    folder = folder.absolute()
    if (folder / STATE_FILE).is_file():
        return Registry(folder.parent).find(folder.name)
    if (folder / CARD_FILE).is_file() and (folder.parent / STATE_FILE).is_file():
        return Registry(folder.parent.parent).find(f"{folder.parent.name}/{folder.name}")
    return None
