"""Where the models that are to be served lie: found under the path of `--model`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.errors import UserError
from deepspeech_training.registry.store import Version, is_registry, promoted_in
from deepspeech_training.runtime.model_files import MODEL_SUFFIXES
from deepspeech_training.runtime.pronunciation_file import SUFFIX


@dataclass(frozen=True)
class ModelSource:
    """Where a model lies.

    Args:
        name: what requests call it.
        path: of the exported model.
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

    A file, `.tflite` or `.g2p`, is one model, called as the file. A folder with one of them is an export, called as the
    folder. In any other folder each of them, and each folder with one in it, is a model by its own name. A `.scorer`
    beside a model in an export folder is its scorer, unless `scorer` names one for all. Of a registry, which is checked
    first, it is the promoted version of each model.

    Raises:
        UserError: there is none.
    """
    if path.is_file():
        return [_of_file(path, scorer)]
    if not path.exists():
        raise UserError(
            f"--model {path}: there is no such file or folder (looked for {path.absolute()})\n"
            "Name an exported model, the folder of an export (--export_dir), or a folder of several."
        )
    if is_registry(path):
        return _promoted(path, scorer)
    files = _models_in(path)
    exports = sorted(folder for folder in path.iterdir() if folder.is_dir() and len(_models_in(folder)) == 1)
    if len(files) == 1 and not exports:
        return [_in_folder(path.absolute(), scorer)]
    sources = [_of_file(file, scorer) for file in files]
    sources += [_in_folder(folder, scorer) for folder in exports if not folder.name.startswith(".")]
    if not sources:
        raise UserError(
            f"--model {path}: no {' or '.join(MODEL_SUFFIXES)} in it, and none in its folders\n"
            "Export a checkpoint: deepspeech export --checkpoint_dir DIR --export_dir DIR."
        )
    names = [source.name for source in sources]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"--model {path}: files or folders are both called {twice[0]}: rename one")
    return sources


def _models_in(folder: Path) -> list[Path]:
    return sorted(path for suffix in MODEL_SUFFIXES for path in folder.glob(f"*{suffix}"))


def _of_file(path: Path, scorer: Path | None) -> ModelSource:
    """A model without a folder of its own; one of words is never decoded with a scorer."""
    return ModelSource(path.stem, path, None, None if path.suffix == SUFFIX else scorer)


def _in_folder(folder: Path, scorer: Path | None) -> ModelSource:
    (path,) = _models_in(folder)
    if path.suffix == SUFFIX:
        return ModelSource(folder.name, path, folder, None)
    scorers = sorted(folder.glob("*.scorer"))
    if scorer is None and len(scorers) > 1:
        raise UserError(f"{folder}: it has {len(scorers)} scorers; keep the one that the model is to be used with")
    return ModelSource(folder.name, path, folder, scorer or (scorers[0] if scorers else None))


def _promoted(path: Path, scorer: Path | None) -> list[ModelSource]:
    versions = promoted_in(path)
    if not versions:
        raise UserError(
            f"--model {path}: of the models that are registered there, no version is promoted\n"
            f"Promote one: deepspeech models promote NAME/VERSION (deepspeech models list --dir {path})."
        )
    return [ModelSource(v.name, v.model_path, v.folder, scorer or v.scorer_path, registered=v) for v in versions]
