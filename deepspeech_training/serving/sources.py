"""Where the models that are to be served lie: found under the path of `--model`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.errors import UserError
from deepspeech_training.registry.store import Version, is_registry, promoted_in


@dataclass(frozen=True)
class ModelSource:
    """Where a model lies.

    Args:
        name: what requests call it.
        path: the .tflite.
        folder: the export folder, with the card and the parity report; None for a file alone.
        scorer: the .scorer that it is decoded with, or None.
        note: what is to be known of it, such as that its training continues.
        registered: the version of a registry that it is, or None; it is checked before it is served.
    """

    name: str
    path: Path
    folder: Path | None
    scorer: Path | None
    note: str = ""
    registered: Version | None = None

    def signature(self) -> tuple[Any, ...]:
        """Changes when one of the files does; () while one is missing."""
        try:
            stats = [path.stat() for path in (self.path, self.scorer) if path is not None]
        except OSError:
            return ()
        return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns) for s in stats)


def find_sources(path: Path, scorer: Path | None = None) -> list[ModelSource]:
    """The models under a path, by name.

    A `.tflite` is one model, called as the file. A folder with one `.tflite` is an export, called as the folder. In
    any other folder each `.tflite`, and each folder with one in it, is a model by its own name. A `.scorer` beside a
    model in an export folder is its scorer, unless `scorer` names one for all. Of a registry, which is checked first,
    it is the promoted version of each model.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        return [ModelSource(path.name.removesuffix(".tflite"), path, None, scorer)]
    if not path.exists():
        raise UserError(
            f"--model {path}: there is no such file or folder (looked for {path.absolute()})\n"
            "Name a .tflite, the folder of an export (--export_dir), or a folder of several."
        )
    if is_registry(path):
        return _promoted(path, scorer)
    files = sorted(path.glob("*.tflite"))
    exports = sorted(folder for folder in path.iterdir() if folder.is_dir() and len(list(folder.glob("*.tflite"))) == 1)
    if len(files) == 1 and not exports:
        return [_in_folder(path.absolute(), scorer)]
    sources = [ModelSource(file.name.removesuffix(".tflite"), file, None, scorer) for file in files]
    sources += [_in_folder(folder, scorer) for folder in exports if not folder.name.startswith(".")]
    if not sources:
        raise UserError(
            f"--model {path}: no .tflite in it, and none in its folders\n"
            "Export a checkpoint: deepspeech export --checkpoint_dir DIR --export_dir DIR."
        )
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"--model {path}: a file and a folder are both called {twice[0]}: rename one")
    return sources


def _in_folder(folder: Path, scorer: Path | None) -> ModelSource:
    scorers = sorted(folder.glob("*.scorer"))
    if scorer is None and len(scorers) > 1:
        raise UserError(f"{folder}: it has {len(scorers)} scorers; keep the one that the model is to be used with")
    return ModelSource(folder.name, next(folder.glob("*.tflite")), folder, scorer or (scorers[0] if scorers else None))


def _promoted(path: Path, scorer: Path | None) -> list[ModelSource]:
    versions = promoted_in(path)
    if not versions:
        raise UserError(
            f"--model {path}: of the models that are registered there, no version is promoted\n"
            f"Promote one: deepspeech models promote NAME/VERSION (deepspeech models list --dir {path})."
        )
    return [ModelSource(v.name, v.model_path, v.folder, scorer or v.scorer_path, registered=v) for v in versions]
