"""The rows of a CSV as they are read: the first step on the way of the data. `samples` checks what they say."""

import csv
import io
import os
import re
import unicodedata
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepspeech_training.audio.sdb import is_sdb, read_samples, read_schema
from deepspeech_training.audio.shards import Stretch
from deepspeech_training.data.tables import holds_rows
from deepspeech_training.errors import UserError
from deepspeech_training.text_files import SAVE_AS_UTF8, NotDecoded, decode

SPEAKER_COLUMNS = ("client_id", "speaker")
LABEL_COLUMNS = ("label", "transcript")  # the first of them that a CSV has is what a clip is to be told apart by
SDB_COLUMNS = ("wav_filename", "wav_filesize", "transcript")
TEXT_SHOWN = 200  # characters of a transcript in a message
MAX_FIELD_CHARACTERS = 1 << 20  # far more than any transcript: a longer field is a quote that never closes
LINE_END = re.compile("\r\n|\r|\n")
_WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\0\0\xfe\xff")  # of UTF-16 and UTF-32


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a CSV as it was read; `fault` says why its fields cannot be used."""

    row: int
    wav_filename: str = ""
    wav_filesize: int = 0
    transcript: str = ""
    speaker: str | None = None
    fault: str | None = None


def audio_path(csv_path: str, wav_filename: str) -> str:
    """What `wav_filename` means: it counts from the folder of the CSV."""
    return os.path.abspath(os.path.join(os.path.dirname(csv_path), wav_filename))


def read_rows(csv_path: str | Path, *, text_columns: Sequence[str] = ("transcript",)) -> list[Row]:
    """Read a CSV with the columns `wav_filename`, `transcript`, and optionally `wav_filesize` and a speaker.

    The text is that of the first of `text_columns` that the CSV has.

    UTF-8, or UTF-16 with a byte order mark; any line ends, blank lines skipped. Transcripts are brought into NFC;
    paths stay as they are, since a file system may tell its forms apart. A row whose fields cannot be told apart
    is returned with its `fault`, and reading continues with the next line.

    Raises:
        UserError: the file or its encoding cannot be read; it is empty, or lacks a column.
    """
    return [row for row, _ in read_table(csv_path, text_columns=text_columns)[1]]


def rows_of(csv_path: str | Path) -> Iterator[Row]:
    """As `read_rows`, one by one."""
    return (row for row, _ in read_table(csv_path)[1])


def read_table(
    csv_path: str | Path, *, text_columns: Sequence[str] = ("transcript",)
) -> tuple[list[str], Iterator[tuple[Row, list[str]]]]:
    """As `read_rows`, with all columns: their names, and each row with its fields as they are in the CSV.

    The rows are read one by one; a later one may still raise a UserError. Where a row has a `fault`, its fields may be
    others than the columns. DeepSpeech's sample databases are read too; their first sample is row 2, as in a CSV.
    """
    if is_sdb(csv_path):
        return list(SDB_COLUMNS), _rows_of_sdb(csv_path)
    records = _records(_lines(csv_path))
    number, header, fault = next(records, (1, None, "the CSV is empty"))
    if header is None:
        raise UserError(
            f"{csv_path}, row {number}: {fault}\nThe first row must be: wav_filename,wav_filesize,transcript"
        )
    text_column = next((name for name in text_columns if name in header), text_columns[-1])
    index = _columns(csv_path, header, text_column)
    return header, (
        (_row(number, fields, fault, index, len(header)), fields or []) for number, fields, fault in records
    )


def count_lines(csv_path: str | Path) -> int:
    """How many lines a CSV has, roughly: what a progress bar needs."""
    if is_sdb(csv_path):
        return read_schema(csv_path).num_samples + 1
    with open(csv_path, "rb") as file:
        return sum(piece.count(b"\n") for piece in iter(lambda: file.read(1 << 20), b""))


def _rows_of_sdb(path: str | Path) -> Iterator[tuple[Row, list[str]]]:
    schema, name = read_schema(path), os.path.basename(path)
    for number, sample in enumerate(read_samples(path), start=2):
        place = str(Stretch(name, sample.offset, sample.size, schema.suffix))
        fields = [place, str(sample.size), sample.transcript]
        fault = sample.fault
        if fault is None and "\0" in sample.transcript:
            fault = "it has a NUL byte"
        transcript = unicodedata.normalize("NFC", sample.transcript)
        yield Row(number, place, sample.size, transcript, fault=fault), fields


def _lines(csv_path: str | Path) -> Iterator[str]:
    try:
        with open(csv_path, "rb") as file:
            if not file.read(4).startswith(_WIDE_MARKS):
                file.seek(0)
                try:
                    with io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
                        yield from text
                    return
                except UnicodeDecodeError:
                    pass  # `decode` says where, and what it seems to be
        data = Path(csv_path).read_bytes()
    except OSError as error:
        raise UserError(f"{csv_path}: cannot read the CSV: {error.strerror}") from error
    try:
        decoded = decode(data)
    except NotDecoded as error:
        raise UserError(
            f"{csv_path}, row {error.line}: byte 0x{error.byte:02x} is not UTF-8; {error.guess}\n{SAVE_AS_UTF8}"
        ) from error
    yield from io.StringIO(decoded, newline="")


def _records(lines: Iterator[str]) -> Iterator[tuple[int, list[str] | None, str | None]]:
    """Yield (number of the first line, fields, fault) for every record; a fault costs its first line only."""
    taken: deque[str] = deque()  # lines of the record that is being read
    again: deque[str] = deque()  # lines that a record with a fault had taken in

    def source() -> Iterator[str]:
        while (line := again.popleft() if again else next(lines, None)) is not None:
            taken.append(line)
            yield line

    number = 1
    limit = csv.field_size_limit()
    while True:
        reader = csv.reader(source(), strict=True)
        try:
            csv.field_size_limit(MAX_FIELD_CHARACTERS)
            for fields in reader:
                csv.field_size_limit(limit)
                if fields:
                    yield number, fields, None
                number += len(taken)
                taken.clear()
                csv.field_size_limit(MAX_FIELD_CHARACTERS)
            return
        except csv.Error as error:
            csv.field_size_limit(limit)
            yield number, None, f"its quotes do not match ({error})"
            number += 1
            taken.popleft()
            again.extendleft(reversed(taken))
            taken.clear()
        finally:
            csv.field_size_limit(limit)


def _columns(csv_path: str | Path, header: list[str], text_column: str) -> dict[str, int]:
    """Places of the columns by name; that of the text is called "transcript"."""
    required = ("wav_filename", text_column)
    missing = [name for name in required if name not in header]
    if missing:
        found = ",".join(header)
        raise UserError(
            f"{csv_path}, row 1: no column {' and no column '.join(missing)}\n"
            f"  found  {quote(found)}\n"
            "The first row must name the columns, separated by commas: wav_filename,wav_filesize,transcript"
        )
    twice = [name for name, number in Counter(header).items() if number > 1 and name in (*required, "wav_filesize")]
    if twice:
        raise UserError(f"{csv_path}, row 1: the column {twice[0]} is there twice\nRename one of the two.")
    index = {name: place for place, name in enumerate(header)}
    return {**index, "transcript": index[text_column]}


def _row(number: int, fields: list[str] | None, fault: str | None, index: dict[str, int], width: int) -> Row:
    if fields is None:
        return Row(number, fault=fault)
    if len(fields) != width:
        fault = f"it has {count(fields, 'field')}, and the header {width}"
        return Row(number, wav_filename=fields[0], transcript=",".join(fields[1:]), fault=fault)
    wav_filename = fields[index["wav_filename"]]
    transcript = unicodedata.normalize("NFC", fields[index["transcript"]])
    speakers = (fields[index[name]] for name in SPEAKER_COLUMNS if name in index)
    size_text = fields[index["wav_filesize"]].strip() if "wav_filesize" in index else ""
    if not size_text or (size_text.isascii() and size_text.isdigit() and len(size_text) < 19):
        size = int(size_text or 0)
    else:
        size, fault = 0, f"wav_filesize is {quote(size_text)}, not a number of bytes"
    if not wav_filename:
        fault = "wav_filename is empty"
    elif any("\0" in value for value in fields):
        fault = "it has a NUL byte"
    elif column := next((name for name, place in index.items() if holds_rows(fields[place])), ""):
        fault = quotes_fault(column, number, fields[index[column]])
    return Row(number, wav_filename, size, transcript, next(filter(None, speakers), None), fault)


def quotes_fault(column: str, row: int, value: str) -> str:
    last = row + len(LINE_END.findall(value))
    return f"{column} has a line end: its quotes open in row {row} and close in row {last}"


def show_character(character: str) -> str:
    return f"U+{ord(character):04X}" if unicodedata.combining(character) else repr(character)


def count(things: Sequence[object], noun: str) -> str:
    return f"{len(things):,} {noun}{'' if len(things) == 1 else 's'}"


def quote(text: str) -> str:
    """Text between quotes, so that spaces at its ends show, with escapes for what is invisible."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text[:TEXT_SHOWN]
    )
    return f'"{shown}"' + (f" and {len(text) - TEXT_SHOWN:,} more characters" if len(text) > TEXT_SHOWN else "")
