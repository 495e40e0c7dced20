"""The models that are served: found under the path of `--model`, checked, loaded, and what is known of them."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deepspeech_training.audio.synthetic_speech import synthesize_seconds
from deepspeech_training.checkpoints.answers import answers_of_model
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.errors import UserError
from deepspeech_training.exporting.card import read_card, read_parity
from deepspeech_training.machine.resources import available_memory, gigabytes
from deepspeech_training.registry.store import Version, is_registry, promoted_in
from deepspeech_training.reporting.diagnosis import VERDICTS, diagnose
from deepspeech_training.reporting.evidence import Evidence
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.profile import Profile
from deepspeech_training.runtime.stream import to_int16
from deepspeech_training.runtime.utterances import StreamSettings, transcribe
from deepspeech_training.serving.drift import Window

# Resident bytes for each byte of the file: XNNPACK's layout of int8 weights (docs/inference.md); float32 takes less.
BYTES_PER_INTERPRETER = 6


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


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model at work. One that is replaced lives on in the sessions that began with it.

    Attributes:
        reference: what its test set was like; None where its card does not tell it.
        knows: whether it can know a word: of its scorer, or of the transcripts that it was trained on; None: not known.
        window: what it has heard lately.
    """

    name: str
    model: Model
    scorer: Scorer | None
    facts: dict[str, Any] = field(repr=False)
    reference: Profile | None = None
    knows: Callable[[str], bool] | None = None
    window: Window = field(default_factory=Window, repr=False)

    @property
    def language(self) -> str:
        """As the card has it, such as "en-US"; empty where it says none."""
        return self.facts["language"]

    @property
    def sample_rate(self) -> int:
        return self.model.sampleRate()


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


def load(sources: Sequence[ModelSource], *, num_threads: int) -> list[ServedModel]:
    """Check and load models.

    Args:
        num_threads: calls of a network at the same time, each with working memory of its own.
    Raises:
        UserError: a file is damaged or of another kind, they do not fit together, or there is too little memory.
    """
    for source in sources:
        if source.registered is not None:
            source.registered.check()
    files = [ModelFile.read(source.path) for source in sources]
    check_memory(files, num_threads, free=available_memory())
    return [_load(source, file, num_threads) for source, file in zip(sources, files, strict=True)]


def _load(source: ModelSource, file: ModelFile, num_threads: int) -> ServedModel:
    model = Model(file, num_threads=num_threads)
    scorer = None
    if source.scorer is not None:
        scorer = Scorer.read(source.scorer)
        scorer.check_labels(None if file.bytes_mode else file.labels)
    reference = _reference(source.registered) if source.registered else None
    return ServedModel(source.name, model, scorer, _facts(source, model, scorer), reference, _knows(source, scorer))


def warm_up(served: ServedModel) -> None:
    """Let a model hear a second of speech as it will be decoded: compiled parts are compiled now, once on a machine."""
    audio, _ = synthesize_seconds(1.0, sample_rate=served.sample_rate)
    settings = StreamSettings(scorer=served.scorer)
    for _ in transcribe(served.model, to_int16(audio), sample_rate=served.sample_rate, settings=settings):
        pass


def check_memory(files: Sequence[ModelFile], num_threads: int, *, free: int | None) -> None:
    """Refuse models that would end the process for want of memory.

    Args:
        free: bytes that can be taken; None where that cannot be told.
    Raises:
        UserError: they need more than that.
    """
    needed = sum(len(file.data) for file in files) * (1 + BYTES_PER_INTERPRETER * num_threads)
    if free is not None and needed > free:
        raise UserError(
            f"{', '.join(file.path for file in files)}: served on {num_threads - 1} threads the model needs some "
            f"{gigabytes(needed)} of memory, and {gigabytes(free)} are free\n"
            "Give the service more, lower --threads, or export with int8 weights."
        )


def _verdict(model: Model) -> str:
    """What the diagnosis of `deepspeech inspect` says of the file alone."""
    answers, _ = answers_of_model(model, None)
    diagnosis = diagnose(Evidence(not_finite=0, answers=answers))
    reasons = "; ".join(finding.what for finding in diagnosis.findings)
    return f"{VERDICTS[diagnosis.verdict]} ({reasons})" if reasons else VERDICTS[diagnosis.verdict]


def _facts(source: ModelSource, model: Model, scorer: Scorer | None) -> dict[str, Any]:
    """What a client may know of a model; None where nothing says it."""
    file = model.file
    card = read_card(source.folder) if source.folder else {}
    return {
        "language": card.get("language", ""),
        "note": source.note,
        "version": str(source.registered.number) if source.registered else card.get("model_version"),
        "author": card.get("author"),
        "license": card.get("license"),
        "alphabet": None if file.bytes_mode else list(file.labels),
        "bytes_output_mode": file.bytes_mode,
        "sample_rate": file.geometry.sample_rate,
        "scorer": scorer.path.rsplit("/", 1)[-1] if scorer else None,
        "alpha": scorer.alpha if scorer else None,
        "beta": scorer.beta if scorer else None,
        "created": int(source.path.stat().st_mtime),
        "file": source.path.name,
        "bytes": len(file.data),
        "sha256": hashlib.sha256(file.data).hexdigest(),
        "network": {name: list(shape) for name, shape in file.state_shapes.items()},
        "verdict": _verdict(model),
        **(_compared(source.folder) if source.folder else NOT_MEASURED),
        **(_tested(source.registered) if source.registered else {}),
    }


def _reference(version: Version) -> Profile | None:
    """The profile of the test set; None where it was registered without one, or by an earlier version."""
    try:
        return Profile.from_json(version.card()["profile"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _knows(source: ModelSource, scorer: Scorer | None) -> Callable[[str], bool] | None:
    if scorer is not None:
        return None if scorer.bytes_mode else scorer.language_model.__contains__
    vocabulary = source.registered.vocabulary() if source.registered else None
    return None if vocabulary is None else vocabulary.__contains__


NOT_MEASURED = {"wer": None, "cer": None, "measured_on": None, "weights": None}


def _compared(folder: Path) -> dict[str, Any]:
    """The error rates of the parity report, where it was made on test clips."""
    facts: dict[str, Any] = dict(NOT_MEASURED)
    try:
        found = read_parity(folder)
        for kind, model in found.get("models", {}).items():
            if model["exported"]:
                facts["weights"] = kind
                if found["bounds"]["int8_wer_increase"] is not None:  # on test sets, not on the clip of the package
                    clips = len(found["clips"])
                    facts |= {"wer": model["wer"], "cer": model["cer"], "measured_on": f"{clips} clips of the test set"}
    except (KeyError, TypeError, ValueError, AttributeError):
        pass  # a report that somebody has edited: nothing is known
    return facts


def _tested(version: Version) -> dict[str, Any]:
    """The error rates of the first test set that a registered model was tested on, decoded as it is served."""
    try:
        test = version.card()["tests"][0]
        rates = {"wer": float(test["wer"]["value"]), "cer": float(test["cer"]["value"])}
        return {**rates, "measured_on": f"{int(test['clips'])} clips of the test set"}
    except (KeyError, IndexError, TypeError, ValueError):
        return {}
