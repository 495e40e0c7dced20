"""An exported model -> its folder: the model, its card, the parity report; all of it or nothing.

    output_graph.tflite      --export_file_name; .g2p of a model of words
    author_model_0.0.1.md    --export_author_id, --export_model_name, --export_model_version
    parity.json
    FOLDER.zip               beside the folder, with --export_zip

What goes into it is made and compared by the task (`tasks.base.Exports`; `speech.py` for speech to text). It is written
into a folder beside first. Then that takes its place, in one step.
"""

import contextlib
import ctypes
import json
import os
import re
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.config.groups import FLAGS, CardFlags, ExportFlags
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.exporting.card import PARITY_FILE
from deepspeech_training.runtime.model_files import MODEL_SUFFIXES
from deepspeech_training.version import VERSION

_RENAME_EXCHANGE, _AT_FDCWD = 2, -100  # linux/fs.h, fcntl.h
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same export makes the same zip


@dataclass(frozen=True)
class ExportedModel:
    """A model that computes what its checkpoint does, in memory.

    Args:
        data: the file.
        kind: "float32" or "int8".
        checkpoint: the name of the file that it was made of.
        report: for parity.json, JSON values.
        beside: further files of the folder, by name.
        scorer_path: of what `--export_zip` packs too; "" for none.
        suffix: of the file's name, one of MODEL_SUFFIXES.
        runtime: what runs it, for the card.
    """

    data: bytes
    kind: str
    checkpoint: str
    report: Mapping[str, Any]
    beside: Mapping[str, bytes] = field(default_factory=dict)
    scorer_path: str = ""
    suffix: str = ".tflite"
    runtime: str = "tflite"


class ExportFolder:
    """The folder that `--export_dir` names."""

    def __init__(self, export: ExportFlags, card: CardFlags, console: Console):
        self._export, self._card, self._console = export, card, console
        self._folder = Path(os.path.abspath(export.export_dir))
        self._card_file = f"{card.export_author_id}_{card.export_model_name}_{card.export_model_version}.md"
        self._zip = self._folder.with_name(f"{self._folder.name}.zip")

    def check(self) -> None:
        """Refuse, before any work, to write over what is there.

        Raises:
            FlagError: it holds an export and `--remove_export` is not given, or what `--remove_export` would remove
                is no export.
        """
        folder = self._folder
        if folder.exists() and not folder.is_dir():
            raise FlagError(f"--export_dir {self._export.export_dir}: this is a file, not a folder")
        names = sorted(entry.name for entry in folder.iterdir()) if folder.is_dir() else []
        if self._export.remove_export:
            if names and not any(name.endswith((*MODEL_SUFFIXES, ".pb", ".pbmm")) for name in names):
                raise FlagError(
                    f"--remove_export: {folder} has {len(names)} files, and none of them is an exported model, so it "
                    "is left alone\nName another folder with --export_dir, or empty this one."
                )
            folders = [name for name in names if (folder / name).is_dir()]
            if folders:
                raise FlagError(
                    f"--remove_export: {folder} has folders in it ({', '.join(folders[:3])}), so it is left alone\n"
                    "Name another folder with --export_dir, or empty this one."
                )
            return
        models = [self._export.export_file_name + suffix for suffix in MODEL_SUFFIXES]
        there = [name for name in (*models, self._card_file, PARITY_FILE) if name in names]
        if self._export.export_zip:
            there += [str(self._zip)] if self._zip.exists() else []
            if names and not there:
                there = names  # they would be in the zip as well
        if there:
            raise FlagError(
                f"--export_dir {self._export.export_dir}: it has been exported there already ({', '.join(there[:3])})\n"
                "Name another folder, or replace what is there: --remove_export."
            )

    def write(self, made: ExportedModel) -> Path:
        """Put a model that has been found good in its place, with its card and its report.

        Returns:
            The path of the model.
        Raises:
            UserError: it cannot be written.
        """
        report = {"version": VERSION, "checkpoint_file": made.checkpoint, **made.report}
        model_file = self._export.export_file_name + made.suffix
        contents = {
            self._card_file: self._card_text(made.runtime).encode(),
            PARITY_FILE: (json.dumps(report, ensure_ascii=False, indent=1) + "\n").encode(),
            **made.beside,
            model_file: made.data,
        }
        self._publish(contents)
        if self._export.export_zip:
            self._pack(contents, made.scorer_path)
            self._console.info(f"Packed as {self._zip}")
        path = self._folder / model_file
        self._console.info(f"Exported {path} ({len(made.data) / 1e6:.2f} MB, {made.kind})")
        return path

    def _pack(self, contents: Mapping[str, bytes], scorer_path: str) -> None:
        """Write the zip: the files of the folder, and the scorer under its own name."""
        scorer = [Path(scorer_path)] if scorer_path else []
        if scorer and scorer[0].name in contents:
            raise UserError(f"--scorer {scorer_path}: the export has a file of that name; rename the scorer")
        with tempfile.TemporaryFile(dir=self._zip.parent) as file:  # a scorer may be larger than memory
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, content in contents.items():
                    archive.writestr(zipfile.ZipInfo(name, _ZIP_TIME), content, compress_type=zipfile.ZIP_DEFLATED)
                for path in scorer:
                    entry = zipfile.ZipInfo(path.name, _ZIP_TIME)
                    entry.compress_type = zipfile.ZIP_DEFLATED
                    with open(path, "rb") as source, archive.open(entry, "w", force_zip64=True) as packed:
                        shutil.copyfileobj(source, packed)
            file.seek(0)
            write_atomically(self._zip, iter(lambda: file.read(2**20), b""))

    def _card_text(self, runtime: str) -> str:
        """The card, with the fields that DeepSpeech's has, in its order."""

        def value(name: str) -> str:
            return getattr(self._card, name) or FLAGS[name].placeholder

        fields = {
            "author": value("export_author_id"),
            "model_name": value("export_model_name"),
            "model_version": value("export_model_version"),
            "contact_info": value("export_contact_info"),
            "license": value("export_license"),
            "language": value("export_language"),
            "runtime": runtime,
            "min_ds_version": value("export_min_ds_version"),
            "max_ds_version": value("export_max_ds_version"),
            "min_stt_version": value("export_min_stt_version"),
            "max_stt_version": value("export_max_stt_version"),
            "acoustic_model_url": "<replace this with a publicly available URL of the acoustic model>",
            "scorer_url": "<replace this with a publicly available URL of the scorer, if present>",
        }
        lines = [f"{name}: {_yaml_text(text)}" for name, text in fields.items()]
        return "\n".join(["---", *lines, "---", value("export_description"), ""])

    # --- putting it in place -------------------------------------------------------------------------------------

    def _publish(self, contents: Mapping[str, bytes]) -> None:
        """Put the files in place. A folder that is missing or is to be replaced changes in one step.

        One that has other files, or that cannot be renamed (a mount point), gets them one by one, the model last.
        """
        folder = self._folder
        exists = folder.is_dir()
        replaced = exists and (self._export.remove_export or not any(folder.iterdir()))
        beside = folder.with_name(f".{folder.name}.{os.getpid()}.part")
        try:
            try:
                folder.parent.mkdir(parents=True, exist_ok=True)
                if not exists or replaced:
                    shutil.rmtree(beside, ignore_errors=True)
                    beside.mkdir()
                    for name, content in contents.items():
                        write_atomically(beside / name, [content])
                    if not exists:
                        os.rename(beside, folder)
                        return
                    if folder != Path.cwd() and _exchange(beside, folder):  # a shell would be left in the old one
                        return
            finally:
                shutil.rmtree(beside, ignore_errors=True)
            old = {entry.name for entry in folder.iterdir()} if self._export.remove_export else set()
            for name, content in contents.items():
                write_atomically(folder / name, [content])
            for name in old - set(contents):
                (folder / name).unlink(missing_ok=True)
        except OSError as error:
            raise UserError(
                f"--export_dir {folder}: the model cannot be written there: {error.strerror}\n"
                "Name a folder that can be written; the checkpoint is safe, and --export_dir alone exports it."
            ) from error


def _exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step (renameat2); False where the system cannot."""
    with contextlib.suppress(AttributeError, OSError):
        rename = ctypes.CDLL(None, use_errno=True).renameat2
        return rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0
    return False


def _yaml_text(text: str) -> str:
    """A text as YAML has it: plain where that is unmistakable, else quoted as in JSON.

    >>> _yaml_text("author"), _yaml_text("0.10"), _yaml_text("a: b")
    ('author', '"0.10"', '"a: b"')
    """
    plain = re.fullmatch(r"[A-Za-z<][^:#\"'\\\[\]{},&*!|>%@`\n]*[>\w)]", text) and text.lower() not in (
        "true",
        "false",
        "yes",
        "no",
        "on",
        "off",
        "null",
    )
    return text if plain else json.dumps(text, ensure_ascii=False)
