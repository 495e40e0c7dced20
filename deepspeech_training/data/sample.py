"""What plan, loader and loop know of a sample, whatever the task: the row of a CSV that it came from, and its cost."""

import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from deepspeech_training.atomic_file import write_atomically


class Sample(Protocol):
    """A row of a CSV that can be trained or tested on; each task has a class of its own for what it reads of a row."""

    @property
    def id(self) -> str:
        """The CSV and the row, as in "train.csv:17"."""

    @property
    def csv_path(self) -> str:
        """As it was given."""

    @property
    def row(self) -> int:
        """As an editor numbers it: the header is row 1."""

    @property
    def path(self) -> str:
        """Of its file, absolute; where it has none, a few words that tell it from others."""

    @property
    def content(self) -> str:
        """All else that the row says and that is trained on, such as the transcript."""

    @property
    def size(self) -> int:
        """What DeepSpeech sorts by: bytes of the file."""

    @property
    def cost(self) -> int:
        """How long a step takes with it, in a unit of the task, such as samples of audio or letters."""


REASON_CODES = (
    "bad_row",
    "missing_file",
    "unreadable",
    "empty_audio",
    "empty_transcript",
    "not_in_alphabet",
    "too_short",
)

S = TypeVar("S", bound=Sample, covariant=True)


@dataclass(frozen=True, slots=True)
class Rejection:
    """A row that cannot be used, and why; `reason_code` is one of REASON_CODES."""

    csv_path: str
    row: int
    wav_filename: str
    transcript: str
    reason_code: str
    reason: str


@dataclass(frozen=True)
class SampleSet(Generic[S]):
    """The samples of one CSV, in its order. `name` is its file name, with folders where another CSV has it as well."""

    csv_path: str
    name: str
    samples: Sequence[S]


@dataclass(frozen=True)
class CheckedData(Generic[S]):
    """What a check of all CSVs found: per set name one SampleSet for each CSV.

    `from_cache` counts the files whose header the cache knew.
    """

    sets: dict[str, list[SampleSet[S]]] = field(default_factory=dict)
    rejected: list[Rejection] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    from_cache: int = 0

    def all_sets(self) -> Iterator[tuple[str, SampleSet[S]]]:
        """Every CSV's samples with the name of the set that it belongs to."""
        for kind, sets in self.sets.items():
            for found in sets:
                yield kind, found


def labels_with_repeats(labels: Sequence[object]) -> int:
    """The frames that CTC needs at least: one for each label, and a blank between two that are the same.

    >>> labels_with_repeats([8, 5, 12, 12, 15])
    6
    """
    return len(labels) + sum(first == second for first, second in itertools.pairwise(labels))


def write_rejections(path: str | Path, rejections: Iterable[Rejection]) -> None:
    """Write the rejected rows as a CSV (csv, row, wav_filename, transcript, reason_code, reason), atomically.

    Raises:
        UserError: the file cannot be written.
    """
    text = io.StringIO()
    # Quoted, since Python 3.11 would leave a lone \r bare, which ends the row for a reader.
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(["csv", "row", "wav_filename", "transcript", "reason_code", "reason"])
    for rejection in rejections:
        writer.writerow(
            [
                rejection.csv_path,
                rejection.row,
                rejection.wav_filename,
                rejection.transcript,
                rejection.reason_code,
                rejection.reason,
            ]
        )
    write_atomically(Path(path), [text.getvalue().encode("utf-8", "surrogateescape")])
