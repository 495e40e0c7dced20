"""One clip with its transcript, and the rows of a CSV as a table of them that is mapped into memory."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from deepspeech_training.audio.parts import AudioInfo
from deepspeech_training.data.columns import TEXT, Columns, ColumnWriter
from deepspeech_training.data.rows import audio_path
from deepspeech_training.data.sample_list import Described, SampleList, Summing, line_of

_KINDS = {
    "line": TEXT,  # id, cost, size and content, as `SampleList.lines` has them
    "file": TEXT,  # wav_filename, as it is in the CSV
    "row": "<u8",
    "size": "<i8",
    "num_samples": "<i8",
    "num_frames": "<i8",  # of the file, at its own rate
    "sample_rate": "<u4",
    "speaker": "<u4",  # number of the name; 0: none
    "note": "<u4",  # number of the note on the sound; 0: none
    "path": "<u8",  # a hash of the path
    "file_size": "<i8",
    "mtime_ns": "<i8",  # of the file, or of its shard
}


class Writes(Protocol):
    """What makes labels of a transcript: an alphabet, or the classes of a task that has one label a clip."""

    @property
    def size(self) -> int: ...

    def missing(self, text: str) -> list[str]:
        """What of a text it cannot write."""

    def encode(self, text: str) -> np.ndarray:
        """Labels int32 [labels]."""


@dataclass(frozen=True, slots=True)
class SpeechSample:
    """One clip and its transcript, known to be readable, encodable and long enough.

    Args:
        id: the CSV and the row, as in "train.csv:17".
        path: absolute.
        size: bytes, from the column wav_filesize, or of the file where that is empty or 0: the key to sort by.
        transcript: in NFC.
        labels: what the alphabet makes of it.
        num_samples: length at the sample rate of the geometry.
        speaker: from the column `client_id` or `speaker`; None where there is none.
        row: as an editor numbers it: the header is row 1.
        csv_path: as it was given.
    """

    id: str
    path: str
    size: int
    transcript: str
    labels: tuple[int, ...]
    num_samples: int
    speaker: str | None
    row: int
    csv_path: str

    @property
    def content(self) -> str:
        return self.transcript

    @property
    def cost(self) -> int:
        return self.num_samples


class SampleTable(SampleList):
    """The samples of one CSV, in columns; each becomes an object when it is asked for.

    Args:
        columns: of `_KINDS`, as `TableWriter` wrote them.
        csv_path: as it was given.
        alphabet: encodes the transcripts.
    """

    def __init__(self, columns: Columns, csv_path: str, alphabet: Writes):
        self._columns, self._csv_path, self._alphabet = columns, csv_path, alphabet
        self.said = columns.said
        self.speakers: list[str] = self.said["speakers"]
        self.notes: list[str] = self.said["notes"]
        self.num_files: int = self.said["files"]

    def __len__(self) -> int:
        return len(self._columns.array("row"))

    def column(self, name: str) -> np.ndarray:
        return self._columns.array(name)

    def one(self, index: int) -> SpeechSample:
        columns = self._columns
        return self._sample(
            columns.text("line", index),
            columns.text("file", index),
            int(columns.array("row")[index]),
            int(columns.array("speaker")[index]),
        )

    def __iter__(self) -> Iterator[SpeechSample]:
        columns = self._columns
        return map(
            self._sample,
            columns.texts("line"),
            columns.texts("file"),
            map(int, columns.array("row")),
            map(int, columns.array("speaker")),
        )

    def _sample(self, line: bytes, file: bytes, row: int, speaker: int) -> SpeechSample:
        sample_id, cost, size, content = line[:-1].decode("utf-8", "surrogateescape").split("\0", 3)
        return SpeechSample(
            sample_id,
            self.path_of(file),
            int(size),
            content,
            tuple(self._alphabet.encode(content).tolist()),
            int(cost),
            self.speakers[speaker - 1] if speaker else None,
            row,
            self._csv_path,
        )

    def path_of(self, file: bytes) -> str:
        return audio_path(self._csv_path, file.decode("utf-8", "surrogateescape"))

    def files(self) -> Iterator[str]:
        """The paths of all clips."""
        return map(self.path_of, self._columns.texts("file"))

    def identity(self) -> str:
        """Of the table and of the states of all files."""
        digest = hashlib.sha256(f"{self.said['key']}{sorted(self.said['shards'].items())}".encode())
        for name in ("path", "file_size", "mtime_ns"):
            digest.update(self.column(name).tobytes())
        return digest.hexdigest()

    def info(self, index: int) -> AudioInfo:
        """What the header of a clip says, but for its channels."""
        rate, note = int(self.column("sample_rate")[index]), int(self.column("note")[index])
        return AudioInfo(int(self.column("num_frames")[index]), rate, 1, self.notes[note - 1] if note else "")

    @cached_property
    def costs(self) -> np.ndarray:
        return self._columns.array("num_samples")

    @cached_property
    def sizes(self) -> np.ndarray:
        return self._columns.array("size")

    def ids(self) -> Iterator[str]:
        return (line[: line.index(b"\0")].decode("utf-8", "surrogateescape") for line in self._columns.texts("line"))

    def lines(self) -> Iterator[bytes]:
        return self._columns.chunks("line")

    def with_ids(self, ids: set[str]) -> list[SpeechSample]:
        rows = {int(number) for number in (sample_id.rpartition(":")[2] for sample_id in ids) if number.isdigit()}
        places = np.flatnonzero(np.isin(self.column("row"), np.array(sorted(rows), np.uint64)))
        return [sample for sample in map(self.one, places.tolist()) if sample.id in ids]

    def describe(self) -> Described:
        said = self.said["described"]
        names: set[str | None] = set(self.speakers)
        nameless: set[str | None] = {None} if said["nameless"] else set()
        return Described(said["fingerprint"], said["characters"], frozenset(names | nameless))


class TableWriter:
    """Takes the samples of a CSV in its order. Use as a context manager."""

    def __init__(self) -> None:
        self._writer = ColumnWriter(_KINDS)
        self._speakers: dict[str, int] = {}
        self._notes: dict[str, int] = {}
        self._summing = Summing()

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def __len__(self) -> int:
        return self._writer.num_rows

    def add(self, sample: SpeechSample, wav_filename: str, info: AudioInfo, file_size: int, mtime_ns: int) -> None:
        """A sample, its name in the CSV, its header, and size and time of its file (in a shard: the time of that)."""
        self._summing.add(sample.path, sample.num_samples, sample.transcript, sample.speaker)
        self._writer.add(
            (
                line_of(sample),
                wav_filename.encode("utf-8", "surrogateescape"),
                sample.row,
                sample.size,
                sample.num_samples,
                info.num_frames,
                info.sample_rate,
                _number(self._speakers, sample.speaker),
                _number(self._notes, info.note),
                hash_of(sample.path),
                file_size,
                mtime_ns,
            )
        )

    def finish(
        self, csv_path: str, alphabet: Writes, *, path: Path | None, said: Mapping[str, Any], num_files: int
    ) -> SampleTable:
        """The table; `said` is kept with it. Without a path it is gone with the object.

        Raises:
            UserError: it cannot be written.
        """
        described = self._summing.result()
        whole = {
            **said,
            "speakers": list(self._speakers),
            "notes": list(self._notes),
            "files": num_files,
            "described": {
                "fingerprint": described.fingerprint,
                "characters": described.characters,
                "nameless": None in described.speakers,
            },
        }
        return SampleTable(self._writer.finish(whole, path), csv_path, alphabet)


def _number(numbers: dict[str, int], name: str | None) -> int:
    return numbers.setdefault(name, len(numbers) + 1) if name else 0


def hash_of(path: str) -> int:
    """64 bits that tell paths apart: with 10 million of them two are the same with a chance of 3 in a million."""
    return int.from_bytes(hashlib.blake2b(path.encode("utf-8", "surrogateescape"), digest_size=8).digest(), "little")
