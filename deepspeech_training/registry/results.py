"""What a model writes for the clips of test sets: measured with the runtime, kept beside the model, compared later."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.console import Console
from deepspeech_training.data.rows import LABEL_COLUMNS, read_rows
from deepspeech_training.errors import UserError
from deepspeech_training.registry.bootstrap import Interval, interval, units_of
from deepspeech_training.registry.store import RESULTS_FILE, DamagedModel, Version, read_json
from deepspeech_training.reporting.metrics import Result
from deepspeech_training.runtime.beam import BeamOptions
from deepspeech_training.runtime.evaluate import evaluate
from deepspeech_training.runtime.evaluate_commands import evaluate_commands
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.version import VERSION

KIND = f"deepspeech_training {VERSION}"  # of what an earlier version heard nothing is taken
MAX_RESULTS_BYTES = 1 << 28


@dataclass(frozen=True)
class SetResults:
    """Of one test set.

    Args:
        csv: its path, as it was given.
        fingerprint: of its audio and transcripts: the same for the same set elsewhere.
        speakers: of each result; None where the CSV names none.
    """

    csv: str
    fingerprint: str
    results: tuple[Result, ...]
    speakers: tuple[str | None, ...]

    def as_json(self) -> dict[str, Any]:
        clips = [
            {"wav_filename": result.wav_filename, "speaker": speaker, "src": result.reference, "res": result.hypothesis}
            for result, speaker in zip(self.results, self.speakers, strict=True)
        ]
        return {"csv": self.csv, "fingerprint": self.fingerprint, "clips": clips}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "SetResults":
        clips = values["clips"]
        results = tuple(Result(str(c["wav_filename"]), str(c["src"]), str(c["res"]), 0.0) for c in clips)
        return cls(values["csv"], values["fingerprint"], results, tuple(c["speaker"] for c in clips))

    def figures(self) -> dict[str, Any]:
        """WER and CER with their intervals, as a card has them."""
        scores = Scores.of([self])
        return {
            "csv": self.csv,
            "fingerprint": self.fingerprint,
            "clips": len(self.results),
            "speakers": len(set(self.speakers) - {None}) or None,
            "drawn": scores.drawn,
            **{name: vars(rate) for name, rate in (("wer", scores.wer), ("cer", scores.cer))},
        }


@dataclass(frozen=True)
class Scores:
    """Errors and lengths of each clip, int [clips], in words and in characters.

    Args:
        units, drawn: of `bootstrap.units_of`.
    """

    word_errors: np.ndarray
    words: np.ndarray
    char_errors: np.ndarray
    chars: np.ndarray
    units: np.ndarray
    drawn: str

    @classmethod
    def of(cls, sets: Sequence[SetResults]) -> "Scores":
        """All sets as one."""
        results = [result for found in sets for result in found.results]
        lengths = [(r.word_distance, r.word_length, r.char_distance, r.char_length) for r in results]
        word_errors, words, char_errors, chars = np.array(lengths, np.int64).reshape(-1, 4).T
        units, drawn = units_of([speaker for found in sets for speaker in found.speakers])
        return cls(word_errors, words, char_errors, chars, units, drawn)

    @cached_property
    def wer(self) -> Interval:
        return interval(self.word_errors, self.words, self.units)

    @cached_property
    def cer(self) -> Interval:
        return interval(self.char_errors, self.chars, self.units)


def measure(
    model: Path, scorer: Path | None, csv_paths: Iterable[str], *, processes: int, console: Console
) -> list[SetResults]:
    """Let a model hear test sets, decoded as it is served.

    The references and hypotheses of a model of commands are classes, so that its WER is the share of wrong answers.

    Raises:
        UserError: the model or a CSV cannot be used.
    """
    file = ModelFile.read(model)
    if file.commands is not None:
        return [_of_commands(file, csv_path, console) for csv_path in csv_paths]
    beam = BeamOptions(None if scorer is None else str(scorer))
    measured = []
    for csv_path in csv_paths:
        report = evaluate(str(model), csv_path, processes=processes, console=console, beam=beam)
        speakers = {row.wav_filename: row.speaker for row in read_rows(csv_path)}
        spoken_by = tuple(speakers.get(result.wav_filename) for result in report.results)
        measured.append(SetResults(csv_path, fingerprint(csv_path), report.results, spoken_by))
    return measured


def _of_commands(file: ModelFile, csv_path: str, console: Console) -> SetResults:
    found = evaluate_commands(file, csv_path, console=console).results
    speakers = {row.wav_filename: row.speaker for row in read_rows(csv_path, text_columns=LABEL_COLUMNS)}
    return SetResults(
        csv_path,
        fingerprint(csv_path, text_columns=LABEL_COLUMNS),
        tuple(Result(one.wav_filename, one.wanted, one.heard, one.loss) for one in found),
        tuple(speakers.get(one.wav_filename) for one in found),
    )


def fingerprint(csv_path: str, *, text_columns: Sequence[str] = ("transcript",)) -> str:
    """Tells whether two CSVs are the same test set: of the texts and the bytes of the audio, in their order.

    Raises:
        UserError: the CSV cannot be used.
    """
    digest = hashlib.sha256(KIND.encode())
    for row in read_rows(csv_path, text_columns=text_columns):
        digest.update(f"\0{row.transcript}\0".encode())
        try:
            with open(Path(csv_path).parent / row.wav_filename, "rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except (OSError, ValueError):
            digest.update(b"none")  # named where it is heard
    return digest.hexdigest()


def kept(version: Version) -> list[SetResults]:
    """The results that lie beside a registered model.

    Raises:
        DamagedModel: they are none.
    """
    path = version.folder / RESULTS_FILE
    if not path.exists():
        return []
    try:
        return [SetResults.from_json(values) for values in read_json(path, most_bytes=MAX_RESULTS_BYTES)["sets"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedModel(f"{path}: not the results of a test ({error!r})") from error


def check_same(a: Sequence[SetResults], b: Sequence[SetResults]) -> None:
    """Refuse results of other clips, which cannot be compared one by one.

    Raises:
        UserError: they are such.
    """
    for one, other in zip(a, b, strict=True):
        if [result.reference for result in one.results] != [result.reference for result in other.results]:
            raise UserError(
                f"{other.csv}: the two models were not tested on the same clips ({len(one.results):,} and "
                f"{len(other.results):,})\nThe files have changed meanwhile? Compare again."
            )
