"""An export becomes a version of the registry, and is promoted unless it is worse than what is.

Measuring takes minutes and needs no lock; if meanwhile another version was promoted, the judgement is made again.
Registering the same files again completes what was cut off, and adds nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepspeech_training.console import Console
from deepspeech_training.registry.bootstrap import difference
from deepspeech_training.registry.export_files import ExportFiles
from deepspeech_training.registry.reference import measure_reference, vocabulary_of
from deepspeech_training.registry.results import Scores, SetResults, check_same, kept, measure
from deepspeech_training.registry.store import (
    RESULTS_FILE,
    VOCABULARY_FILE,
    DamagedModel,
    Registry,
    Version,
    checked_name,
)
from deepspeech_training.registry.writer import as_bytes, writing
from deepspeech_training.runtime.model_file import ModelFile

Promote = Literal["better", "always", "never"]


@dataclass(frozen=True)
class Registered:
    """What became of an export.

    Args:
        is_new: False: these files were a version already.
        promoted: it is the one that is served.
        why: of that.
    """

    version: Version
    is_new: bool
    promoted: bool
    why: str


@dataclass(frozen=True)
class Verdict:
    """Whether a version is to be promoted, and why."""

    promote: bool
    why: str


def register(
    registry: Registry,
    export_dir: Path,
    *,
    name: str | None = None,
    scorer: Path | None = None,
    test_files: Sequence[str] = (),
    checkpoint_dir: Path | None = None,
    promote: Promote = "better",
    processes: int,
    console: Console,
) -> Registered:
    """Register the model in the folder of an export.

    Args:
        name: of the model; None: that of the folder.
        scorer: to decode with; None: the one in the folder, if there is one.
        test_files: CSVs to measure it on, and to compare it with the promoted version on.
        checkpoint_dir: see `ExportFiles.card`.
        promote: "better": unless it is worse.
        processes: that transcribe at the same time.
    Raises:
        UserError: a file cannot be used, or the registry not be written.
    """
    name = checked_name(export_dir.absolute().name if name is None else name)
    export = ExportFiles.find(export_dir, scorer)
    checksums = export.checksums()
    version = _same(registry, name, checksums)
    if version is not None and registry.state(name).why(version.number) is not None and promote != "always":
        return _as_it_is(registry, version)
    card = export.card(checkpoint_dir, console)
    measured = measure(export.model, export.scorer, test_files, processes=processes, console=console)
    contents = export.contents()
    if measured:
        contents[RESULTS_FILE] = as_bytes({"sets": [found.as_json() for found in measured]})
    card["tests"] = [found.figures() for found in measured]
    vocabulary = vocabulary_of(card)
    if vocabulary is not None:
        contents[VOCABULARY_FILE] = "\n".join(sorted(vocabulary)).encode()
    file = ModelFile.read(export.model)
    if test_files and file.commands is None:
        card["profile"] = measure_reference(
            export.model, export.scorer, test_files, vocabulary, processes=processes, console=console
        )
    while True:
        against = _promoted(registry, name)
        verdict = _judge(against, file, measured, promote, processes, console)
        with writing(registry, console) as writer:
            if _promoted(registry, name) != against:
                continue
            version, is_new = _same(registry, name, checksums), False
            if version is None:
                version, is_new = writer.publish(name, contents, card), True
            elif version == against:
                return _as_it_is(registry, version)
            if verdict.promote:
                writer.promote(version, verdict.why)
            else:
                writer.keep(version, verdict.why)
            return Registered(version, is_new, verdict.promote, verdict.why)


def _same(registry: Registry, name: str, checksums: Mapping[str, str]) -> Version | None:
    """The last version with the same model and scorer, and whole: a damaged one is registered again."""
    for version in reversed(registry.versions(name)):
        try:
            files = version.card()["files"]
            if {file: entry["sha256"] for file, entry in files.items() if file.startswith("model.")} == checksums:
                version.check()
                return version
        except DamagedModel:
            continue
    return None


def _promoted(registry: Registry, name: str) -> Version | None:
    """The promoted version, there or not: a new one takes the place of one that is missing or damaged."""
    number = registry.state(name).promoted
    return None if number is None else registry.version(name, number)


def _as_it_is(registry: Registry, version: Version) -> Registered:
    state = registry.state(version.name)
    event = state.why(version.number)
    return Registered(version, False, state.promoted == version.number, event.why if event else "")


def _judge(
    against: Version | None,
    file: ModelFile,
    measured: Sequence[SetResults],
    promote: Promote,
    processes: int,
    console: Console,
) -> Verdict:
    """The gate: on the same test sets the new model must not make more errors than the promoted one, of words or, where
    it hears commands, of clips."""
    if promote == "never":
        return Verdict(False, "it was asked for: --promote never")
    if promote == "always":
        return Verdict(True, "it was asked for: --promote always")
    if against is None:
        return Verdict(True, "no version was promoted before")
    try:
        against.check()
    except DamagedModel as error:
        return Verdict(True, f"version {against.number} cannot be used: {str(error).splitlines()[0]}")
    before_file = ModelFile.read(against.model_path)
    if (before_file.commands is None) != (file.commands is None):
        return Verdict(True, f"version {against.number} has another task")
    if file.commands is not None and before_file.labels != file.labels:
        return Verdict(True, f"version {against.number} hears other commands: {', '.join(before_file.labels[:12])}")
    if not measured:
        return Verdict(False, f"no --test_files to compare it with version {against.number} on, which is promoted")
    before = _results_of(against, measured, processes, console)
    check_same(before, measured)
    old, new = Scores.of(before), Scores.of(measured)
    found = difference(old.word_errors, new.word_errors, new.words, new.units)
    rate = "WER" if file.commands is None else "wrong answers"
    promoted = f"{old.wer.value:.4f} of version {against.number}"
    figures = f"{rate} {new.wer.value:.4f} against {promoted} on {len(new.words):,} clips"
    if found.value > 0:
        sure = "more than chance makes" if found.is_certain else "which chance may have made"
        return Verdict(False, f"{figures}: worse by {found}, {sure}")
    return Verdict(True, f"{figures}: {'as good' if found.value == 0 else f'better by {found}'}")


def _results_of(version: Version, measured: Sequence[SetResults], processes: int, console: Console) -> list[SetResults]:
    """What the promoted version writes for the same test sets: kept from its own registration, or heard now."""
    known = {found.fingerprint: found for found in kept(version)}
    results = []
    for new in measured:
        if new.fingerprint not in known:
            console.info(f"{version} is promoted and was not tested on {new.csv}: it is tested now, to compare")
            found = measure(version.model_path, version.scorer_path, [new.csv], processes=processes, console=console)
            known[new.fingerprint] = found[0]
        results.append(known[new.fingerprint])
    return results
