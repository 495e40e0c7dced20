"""What is said in the recordings of a folder: from its CSVs, from tables of other programs, from texts beside them.

In this order, and the first that names a recording counts:

    train.csv ...        any table whose columns name recordings and texts (`tables`)
    a.trans.txt          a name and a text on each line, as LibriSpeech has
    metadata.csv ...     metadata or transcripts, .csv, .tsv, .txt or JSON, with or without a header
    one.txt              beside one.wav; one.lab and one.wav.txt too
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from deepspeech_training.audio.formats import is_audio_name
from deepspeech_training.data.rows import read_rows
from deepspeech_training.data.tables import Entry, entries, names_recordings
from deepspeech_training.data.text import fault_of
from deepspeech_training.errors import UserError
from deepspeech_training.text_files import NotDecoded, TextFile, decode

METADATA_NAMES = ("metadata", "transcripts", "transcript", "manifest")
TABLE_ENDS = (".csv", ".tsv", ".jsonl", ".ndjson")  # that are looked into whatever their names
METADATA_ENDS = (*TABLE_ENDS, ".txt", ".json")
TEXT_ENDS = (".txt", ".lab")
AUDIO_FOLDERS = ("", "wavs", "wav", "clips", "audio", "audios")  # of recordings, from that of their table
MAX_TEXT_BYTES = 1 << 20  # of one recording
ROWS_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Said:
    """A transcript, from which file and row it comes, and why it cannot be used, or ""."""

    transcript: str
    path: Path
    row: int = 1
    kind: str = "text files"
    speaker: str = ""
    fault: str = ""

    @property
    def place(self) -> str:
        return f"{self.path}, row {self.row}" if self.kind != "text files" else str(self.path)


@dataclass
class Transcripts:
    """What the files of a folder say.

    Args:
        said: by the path of the recording.
        csvs: those with DeepSpeech's columns.
        texts: the other files that were read, but for texts beside recordings.
        notes: what could not be read, or names no recording.
    """

    said: dict[Path, Said] = field(default_factory=dict)
    csvs: list[Path] = field(default_factory=list)
    texts: set[Path] = field(default_factory=set)
    notes: list[str] = field(default_factory=list)


class _Recordings:
    """The recordings of a folder, by the names that tables give them."""

    def __init__(self, audio: Sequence[Path]):
        self._all = set(audio)
        self._by_stem: dict[tuple[Path, str], list[Path]] = {}
        self._anywhere: dict[str, list[Path]] = {}
        for path in audio:
            self._by_stem.setdefault((path.parent, path.stem), []).append(path)
            self._anywhere.setdefault(path.stem, []).append(path)

    def called(self, name: str, folder: Path) -> list[Path]:
        """A recording, in all its formats if `name` has none; from a table's folder, or anywhere below it.

        Raises:
            ValueError: several recordings below it are called so, or none.
        """
        for place in AUDIO_FOLDERS:
            path = Path(os.path.normpath(folder / place / name))
            if path in self._all:
                return [path]
            stem = path.stem if is_audio_name(path.name) else path.name
            if found := self._by_stem.get((path.parent, stem)):
                return found
        parts = PurePath(name).parts
        parts = (*parts[:-1], PurePath(name).stem if is_audio_name(name) else PurePath(name).name)
        found = [
            path
            for path in self._anywhere.get(parts[-1], ())
            if folder in path.parents and (*path.parts[:-1], path.stem)[-len(parts) :] == parts
        ]
        if len({path.parent for path in found}) != 1:
            raise ValueError("several recordings have this name" if found else "there is no such recording")
        return found


def read_transcripts(files: Sequence[Path], audio: Sequence[Path]) -> Transcripts:
    """Read all that the files of a folder say of its recordings.

    Raises:
        UserError: a CSV with DeepSpeech's columns cannot be read.
    """
    result, recordings = Transcripts(), _Recordings(audio)
    tables: list[Path] = []
    metadata: list[Path] = []
    for path in files:
        name, end = path.name.lower(), path.suffix.lower()
        if path in recordings._all or name.startswith("rejected."):
            continue
        if name.endswith(".trans.txt"):
            metadata.append(path)
        elif end in METADATA_ENDS and path.stem.lower() in METADATA_NAMES:
            (tables if _has_columns(path) else metadata).append(path)
        elif end in TABLE_ENDS and _has_columns(path):
            tables.append(path)
    for path in [*tables, *metadata]:
        _add(path, recordings, result)
    beside = _texts_beside(files)
    for path in audio:
        if path not in result.said:
            for name in (path.stem, path.name):
                if text := beside.get((path.parent, name.lower())):
                    result.said[path] = _read_beside(text)
                    break
    return result


def _text_file(path: Path) -> TextFile:
    return TextFile(str(path), lambda: open(path, "rb"))


def _has_columns(path: Path) -> bool:
    try:
        return names_recordings(_text_file(path))
    except UserError:  # not a text
        return False


def _add(path: Path, recordings: _Recordings, result: Transcripts) -> None:
    """Add what a table says."""
    if _is_deepspeech_csv(path):
        result.csvs.append(path)
        rows, kind = _csv_entries(path), "CSV"
    elif path.name.lower().endswith(".trans.txt"):
        rows, kind = _named_lines(path), "*.trans.txt"
    else:
        rows, kind = entries(_text_file(path), bare=True), path.name
    result.texts.add(path)
    faults: list[str] = []
    try:
        for entry in rows:
            fault = entry.fault
            if entry.start_s is not None:
                fault = "it is a part of a recording: import it with data_formatting/manifest.sh"
            try:
                named = [] if fault else recordings.called(entry.audio, path.parent)
            except ValueError as error:
                fault = f"{error}: {entry.audio[:100]}"
            if fault:
                faults.append(f"row {entry.row}: {fault}")
                continue
            said = " ".join(entry.transcript.split())
            for recording in named:
                known = Said(said, path, entry.row, kind, entry.speaker, fault_of(said))
                result.said.setdefault(recording, known)
    except UserError as error:
        result.notes.append(f"{path} is not taken: {str(error).splitlines()[0].removeprefix(f'{path}: ')}")
    if faults:
        more = f", and {len(faults) - ROWS_SHOWN:,} more rows" if len(faults) > ROWS_SHOWN else ""
        result.notes.append(f"{path}, {'; '.join(faults[:ROWS_SHOWN])}{more}")


def _is_deepspeech_csv(path: Path) -> bool:
    if path.suffix.lower() != ".csv":
        return False
    header = next((line for _, line in _text_file(path).lines()), "") or ""
    return {"wav_filename", "transcript"} <= {name.strip().strip('"') for name in header.split(",")}


def _csv_entries(path: Path) -> Iterator[Entry]:
    for row in read_rows(path):
        yield Entry(row.row, row.wav_filename, row.transcript, row.speaker or "", fault=row.fault or "")


def _named_lines(path: Path) -> Iterator[Entry]:
    text = _text_file(path)
    for number, line in text.lines():
        name, _, said = (line or "").strip().partition(" ")
        if line is None:
            yield Entry(number, fault=text.not_decoded)
        elif name:
            yield Entry(number, name, said, fault="" if said.strip() else "it is no name and text")


def _texts_beside(files: Sequence[Path]) -> dict[tuple[Path, str], Path]:
    """Texts by their folder and their name in small letters without the end."""
    found: dict[tuple[Path, str], Path] = {}
    for end in TEXT_ENDS:
        for path in files:
            if path.suffix.lower() == end:
                found.setdefault((path.parent, path.stem.lower()), path)
    return found


def _read_beside(path: Path) -> Said:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            return Said("", path, fault="it is too long for the text of one recording")
        said = " ".join(decode(path.read_bytes()).split())
        return Said(said, path, fault=fault_of(said))
    except NotDecoded as error:
        return Said("", path, error.line, fault=str(error))
    except OSError as error:
        return Said("", path, fault=f"it cannot be read: {error.strerror}")
