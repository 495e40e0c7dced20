"""Tables that say what is said in which recording, as other programs write them.

CSV, TSV and JSON with named columns (Common Voice, NeMo, Hugging Face, DeepSpeech), and lines without a header whose
fields stand between bars or tabs (LJSpeech, Coqui, VITS). `entries` reads any of them.
"""

import csv
import io
import json
import math
import re
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import PurePosixPath
from typing import Any

from deepspeech_training.audio.formats import is_audio_name
from deepspeech_training.errors import UserError
from deepspeech_training.text_files import TextFile

MAX_LINES_OF_A_ROW = 100
JSON_ENDS = (".json", ".jsonl", ".ndjson")
MAX_LIST_CHARACTERS = 1 << 30  # of a JSON list, which is read whole
ROWS_THAT_TELL_COLUMNS = 1000  # of a table without a header
# Row as an editor shows it (the header is 1), its fields, or None and the fault. In JSON a field may be no text.
Record = tuple[int, dict[str, Any] | None, str]

# What programs call these columns; the first that is there is taken.
AUDIO_COLUMNS = (
    *("wav_filename", "audio_filepath", "audio", "path", "file", "filename", "file_name", "wav", "audio_file"),
    *("audio_path", "file_path", "filepath", "wav_path", "clip"),
)
TEXT_COLUMNS = ("transcript", "text", "sentence", "transcription", "normalized_text", "normalised_text", "utterance")
SPEAKER_COLUMNS = ("client_id", "speaker", "speaker_id", "speaker_name", "spk")
SET_COLUMNS = ("set", "split", "subset")
SET_NAMES = {"validation": "dev", "valid": "dev", "val": "dev", "training": "train", "testing": "test"}
# Where a clip starts in its recording, and where it ends or how long it is.
DURATION_COLUMNS = ("duration", "duration_s", "duration_ms")
PART_COLUMNS = (
    ("offset", "duration"),
    ("offset", "end"),
    ("start", "end"),
    ("start", "duration"),
    ("start_time", "end_time"),
    ("start_s", "end_s"),
    ("start_ms", "end_ms"),
    ("begin", "end"),
)


@dataclass(frozen=True)
class Columns:
    """The names of the columns; "" looks for the usual ones.

    Args:
        start, end, duration: of a part of a recording, in seconds, or in ms where the name ends so; a start needs an
            end or a duration.
    """

    audio: str = ""
    text: str = ""
    speaker: str = ""
    set_name: str = ""
    start: str = ""
    end: str = ""
    duration: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row: what is said in a recording, or in the part of it from `start_s` to `end_s`.

    Args:
        row: as an editor shows it.
        set_name: "train", "dev", "test", or another; "" if the table does not say.
        fault: why the row cannot be used.
    """

    row: int
    audio: str = ""
    transcript: str = ""
    speaker: str = ""
    set_name: str = ""
    start_s: float | None = None
    end_s: float | None = None
    fault: str = ""


def entries(text: TextFile, columns: Columns | None = None, *, bare: bool = False) -> Iterator[Entry]:
    """The rows of a table; how it is written is told by its name and its first line.

    Args:
        bare: lines with tabs have no header unless it is plain that they have; else only if they begin with the name
            of a recording. Lines with bars never need one.
    Raises:
        UserError: it has no columns for audio and text, or lacks one that is named.
    """
    columns = columns or Columns()
    known: dict[tuple[str, ...], Columns | str] = {}
    for row, fields, fault in _records(text, columns, bare):
        if fields is None:
            yield Entry(row, fault=fault)
            continue
        names = tuple(fields)
        if names not in known:
            try:
                known[names] = _find_columns(fields, columns)
            except UserError as error:
                if not known:
                    raise UserError(f"{text.label}: {error}") from error
                known[names] = str(error).splitlines()[0]  # of JSON, where each row has columns of its own
        found = known[names]
        yield Entry(row, fault=found) if isinstance(found, str) else _entry(row, fields, found)


def names_recordings(text: TextFile) -> bool:
    """Whether a table has columns whose names say that they are of recordings and of texts."""
    line = next((line for _, line in text.lines() if line and line.strip()), "")
    if PurePosixPath(text.label).suffix.lower() in JSON_ENDS:
        _, fields, _ = next(read_json(text), (1, None, ""))
        return fields is not None and _is_header(list(fields), Columns())
    return any(_is_header([name.strip('"') for name in line.split(sign)], Columns()) for sign in "\t,;|")


def _records(text: TextFile, columns: Columns, bare: bool) -> Iterator[Record]:
    end = PurePosixPath(text.label).suffix.lower()
    if end in JSON_ENDS:
        return read_json(text)
    line = next((line for _, line in text.lines() if line), "")
    usual = "\t" if end == ".tsv" else ","
    delimiter = max("\t,;|", key=lambda sign: (line.count(sign), sign == usual))
    first, *_ = fields = line.split(delimiter)
    if (delimiter == "|" or (delimiter == "\t" and (bare or is_audio_name(first)))) and not _is_header(fields, columns):
        return _without_header(text, delimiter)
    return read_csv(text, (), delimiter) if delimiter in ",;" else read_tsv(text, (), delimiter)


def _is_header(fields: list[str], columns: Columns) -> bool:
    names = {name.strip().lower() for name in fields}
    named = {name.lower() for name in (columns.audio, columns.text) if name}
    return bool(named & names or (names & {*AUDIO_COLUMNS} and names & {*TEXT_COLUMNS}))


def _find_columns(fields: Mapping[str, Any], columns: Columns) -> Columns:
    """The names of the columns of a row with these fields."""
    there = {name.strip().lower(): name for name in reversed(list(fields))}

    def find(named: str, usual: Iterable[str]) -> str:
        if named and named not in fields:
            raise UserError(f"no column {named}\n  found  {', '.join(fields)}")
        return named or next((there[name] for name in usual if name in there), "")

    def demand(named: str, usual: Sequence[str], what: str) -> str:
        if not (name := find(named, usual)):
            raise UserError(
                f"no column is called {' or '.join(usual)}\n  found  {', '.join(fields)}\n"
                f"Name the one that has the {what} with --{what}_column."
            )
        return name

    found = Columns(
        demand(columns.audio, AUDIO_COLUMNS, "audio"),
        demand(columns.text, TEXT_COLUMNS, "text"),
        find(columns.speaker, SPEAKER_COLUMNS),
        find(columns.set_name, SET_COLUMNS),
    )
    if columns.start:
        duration = find(columns.duration, () if columns.end else DURATION_COLUMNS)
        return replace(found, start=find(columns.start, ()), end=find(columns.end, ()), duration=duration)
    for start, end in PART_COLUMNS:
        # Other programs' columns of these names may hold dates.
        if start in there and end in there and all(_is_time(fields[there[name]]) for name in (start, end)):
            key = "duration" if end in DURATION_COLUMNS else "end"
            return replace(found, start=there[start], **{key: there[end]})
    return found


def _is_time(value: Any) -> bool:
    return value == "" or (isinstance(value, str) and seconds(value) is not None)


def seconds(text: str) -> float | None:
    """A time as a number, or as hours, minutes and seconds; None if it is neither.

    >>> seconds("1.5"), seconds("00:01:02.5"), seconds("1,5"), seconds("2020-01-01")
    (1.5, 62.5, 1.5, None)
    """
    try:
        parts = [float(part) for part in text.strip().replace(",", ".").split(":")]
    except ValueError:
        return None
    if len(parts) > 3 or not all(map(math.isfinite, parts)):
        return None
    return sum(part * 60**place for place, part in enumerate(reversed(parts)))


def _entry(row: int, fields: dict[str, Any], columns: Columns) -> Entry:
    audio = fields[columns.audio]
    if isinstance(audio, dict):  # as Hugging Face's data sets say it
        audio = audio.get("path") or ""
    values = {"audio": audio, "text": fields[columns.text]}
    values |= {name: fields.get(column, "") for name, column in (("speaker", columns.speaker),) if column}
    wrong = [name for name, value in values.items() if not isinstance(value, str)]
    if wrong:
        what = type(values[wrong[0]]).__name__
        return Entry(row, fault=f"the column {getattr(columns, wrong[0])} has no text but a {what}")
    set_name, fault = _set_name(fields.get(columns.set_name, "")) if columns.set_name else ("", "")
    start_s = end_s = None
    if columns.start and not fault:
        start_s, end_s, fault = _part(fields, columns)
    if not audio:
        fault = f"the column {columns.audio} is empty"
    return Entry(row, _slashed(audio), values["text"], values.get("speaker", ""), set_name, start_s, end_s, fault=fault)


def _slashed(name: str) -> str:
    """A name as it is written here: Windows has backslashes in it."""
    if "\\" in name and "/" not in name:
        name = name.replace("\\", "/")
    return name.removeprefix("file://")


def _set_name(value: Any) -> tuple[str, str]:
    name = str(value).strip().lower()
    name = SET_NAMES.get(name, name)
    if not name or (name.isidentifier() and len(name) <= 40):
        return name, ""
    return "", f"the set is called {name[:40]!r}"


def _part(fields: Mapping[str, Any], columns: Columns) -> tuple[float | None, float | None, str]:
    """From where to where, in seconds, and why that cannot be; None for the whole recording."""
    second = columns.end or columns.duration
    start, end = (str(fields.get(name, "")).strip() for name in (columns.start, second))
    if not start or (not end and seconds(start) == 0):
        return None, None, ""
    if not end:
        return None, None, f"it has {columns.start} {start} and no {second}"
    start_s, end_s = seconds(start), seconds(end)
    if start_s is not None and end_s is not None:
        start_s, end_s = start_s * _unit_s(columns.start), end_s * _unit_s(second)
        end_s += 0 if columns.end else start_s
        if 0 <= start_s < end_s < 1e6:
            return start_s, end_s, ""
    what = "the first before the second" if columns.end else "the second above 0"
    return None, None, f"{columns.start} and {second} are no seconds, {what}"


def _unit_s(column: str) -> float:
    return 0.001 if column.lower().endswith("_ms") else 1.0


# --- the forms -----------------------------------------------------------------------------------------------------


def read_tsv(text: TextFile, required: Sequence[str], delimiter: str = "\t") -> Iterator[Record]:
    """The rows of a table without quoting; one that was quoted as in a CSV (Common Voice up to 4) is unquoted.

    Raises:
        UserError: it has no header, or lacks a column.
    """
    lines = text.lines()
    header = _header(text, lines, delimiter, required)
    for number, line in lines:
        if line is None:
            yield number, None, text.not_decoded
        elif line:
            fields = line.split(delimiter)
            if len(fields) != len(header):
                yield number, None, f"it has {len(fields)} fields, and the header {len(header)}"
            else:
                if '"' in line:
                    fields = [_unquoted(field) for field in fields]
                yield number, dict(zip(header, fields, strict=True)), ""


def _unquoted(field: str) -> str:
    """`\"\"\"Go!\"\" he said.\"` was written by a CSV writer; a mere quotation is left as it is."""
    inner = field[1:-1]
    if len(field) > 1 and field[0] == field[-1] == '"' and '""' in inner and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return field


def _header(text: TextFile, lines, delimiter: str, required: Sequence[str]) -> list[str]:
    _, line = next(lines, (1, ""))
    if not line:
        what = text.not_decoded if line is None else "it is empty"
        raise UserError(f"{text.label}: {what}\nThe first row must name the columns.")
    header = next(csv.reader([line], delimiter=delimiter)) if delimiter in ",;" else line.split(delimiter)
    missing = [column for column in required if column not in header]
    if missing:
        raise UserError(
            f"{text.label}, row 1: no column {' and no column '.join(missing)}\n  found  {', '.join(header)}"
        )
    if len(set(header)) < len(header):
        raise UserError(f"{text.label}, row 1: a column is there twice\n  found  {', '.join(header)}")
    return header


def read_csv(text: TextFile, required: Sequence[str], delimiter: str = ",") -> Iterator[Record]:
    """The rows of a CSV; fields may have quotes and line breaks.

    A quote that never closes, or that closes in a row that follows, costs the line that it stands in.
    """
    lines = text.lines()
    header = _header(text, lines, delimiter, required)
    waiting: deque[tuple[int, str | None]] = deque()
    while True:
        if not waiting:
            if (first := next(lines, None)) is None:
                return
            waiting.append(first)
        number, line = waiting.popleft()
        if line == "":
            continue
        if line is None:
            yield number, None, text.not_decoded
            continue
        record, taken = line, 0
        while record.count('"') % 2 and taken < MAX_LINES_OF_A_ROW:
            if taken == len(waiting) and (following := next(lines, None)) is not None:
                waiting.append(following)
            if taken == len(waiting) or (more := waiting[taken][1]) is None:
                break
            record += "\n" + more
            taken += 1
        try:
            (fields,) = csv.reader(io.StringIO(record, newline=""), delimiter=delimiter, strict=True)
        except (csv.Error, ValueError) as error:
            yield number, None, f"its quotes do not match ({error})"
            continue
        if taken and any(holds_rows(field, delimiter, fields[0]) for field in fields):
            yield number, None, f"its quotes do not match (they close in row {number + taken}, and take in other rows)"
            continue
        for _ in range(taken):
            waiting.popleft()
        if len(fields) != len(header):
            yield number, None, f"it has {len(fields)} fields, and the header {len(header)}"
        else:
            yield number, dict(zip(header, fields, strict=True)), ""


def holds_rows(field: str, delimiter: str = ",", first: str = "") -> bool:
    r"""Whether what follows a line end in a field looks like rows of the table, and not like text.

    Args:
        first: the first field of the row: other rows begin with something of its kind.

    >>> holds_rows("she had\nb.wav,your dark"), holds_rows("she had,\nyour dark, dark suit")
    (True, False)
    """
    if "\n" not in field and "\r" not in field:
        return False
    kind = _DIGITS.sub("0", first)
    for line in re.split("\r\n|\r|\n", field)[1:]:
        names = line.split(delimiter)[:-1]
        if any(map(is_audio_name, names)) or ("0" in kind and names and _DIGITS.sub("0", names[0]) == kind):
            return True
    return False


_DIGITS = re.compile(r"\d+")


def read_json(text: TextFile) -> Iterator[Record]:
    """The objects of a file with one JSON object on each line, or with one list of them.

    Numbers become text; what has no value (null, NaN) becomes ""; lists, objects and booleans stay what they are.
    """
    start = next((line.strip() for _, line in text.lines() if line and line.strip()), "")
    if start.startswith("["):
        yield from _json_list(text)
        return
    for number, line in text.lines():
        if line == "":
            continue
        try:
            values = json.loads(line) if line is not None else None
        except (ValueError, RecursionError):
            values = None
        if isinstance(values, dict):
            yield number, {key: _json_value(value) for key, value in values.items()}, ""
        else:
            yield number, None, text.not_decoded if line is None else "it is no JSON object"


def _json_list(text: TextFile) -> Iterator[Record]:
    whole, length = [], 0
    for _, line in text.lines():
        whole.append(line if line is not None else "\ufffd")
        length += len(whole[-1]) + 1
        if length > MAX_LIST_CHARACTERS:
            raise UserError(f"{text.label}: the list is too large\nWrite one JSON object on each line.")
    content = "\n".join(whole)
    decoder, place, row = json.JSONDecoder(), content.index("[") + 1, 1
    counted = 0
    while (found := _NEXT_VALUE.search(content, place)) and found[0] != "]":
        start = found.start()
        row, counted = row + content.count("\n", counted, start), start
        try:
            values, place = decoder.raw_decode(content, start)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{text.label}, row {row}: the list is no JSON: {error}") from error
        if isinstance(values, dict):
            yield row, {key: _json_value(value) for key, value in values.items()}, ""
        else:
            yield row, None, "it is no JSON object"


_NEXT_VALUE = re.compile(r"[^\s,]")


def _json_value(value: Any) -> Any:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return json.dumps(value)
    return value


# --- without a header ----------------------------------------------------------------------------------------------


def _without_header(text: TextFile, delimiter: str) -> Iterator[Record]:
    """`NAME|text`, `NAME|text|normalised text`, `NAME|text|normalised text|speaker`, `NAME|speaker|text`, ..."""
    rows = (line.split(delimiter) for _, line in text.lines() if line)
    roles = _roles(list(islice(rows, ROWS_THAT_TELL_COLUMNS)))
    for number, line in text.lines():
        if line is None:
            yield number, None, text.not_decoded
        elif line.strip():
            fields = [field.strip() for field in line.split(delimiter)]
            if len(fields) < 2 or len(fields) > roles.width:
                yield number, None, f"it has {len(fields)} fields, and most rows {roles.width}"
                continue
            fields += [""] * (roles.width - len(fields))
            said = fields[roles.text] or fields[roles.as_written]
            speaker = {"speaker": fields[roles.speaker]} if roles.speaker else {}
            yield number, {"audio": fields[0], "text": said, **speaker}, ""


@dataclass(frozen=True)
class _Roles:
    """Which field is what, in rows of `width` fields; the name is the first. `speaker` is 0 where there is none."""

    width: int
    text: int
    as_written: int
    speaker: int


def _roles(rows: list[list[str]]) -> _Roles:
    """A text has several words, its normalised form has much the same ones, and what is left is the speaker."""
    width = max(2, Counter(map(len, rows)).most_common(1)[0][0] if rows else 2)
    rows = [row for row in rows if len(row) == width]
    words = {place: sum(len(row[place].split()) for row in rows) for place in range(1, width)}
    with_letters = [place for place in words if any(re.search(r"[^\W\d]", row[place]) for row in rows)]
    texts = with_letters or list(words)  # numbers are those of speakers
    as_written = next(place for place in texts if 2 * words[place] >= max(words[place] for place in texts))
    alike = [place for place in words if _share_words(rows, as_written, place)]
    others = (place for place in words if place not in alike and words[place])
    return _Roles(width, max(alike), min(alike), next(others, 0))


def _share_words(rows: list[list[str]], one: int, other: int) -> bool:
    """Whether two fields of most rows have words in common, as a text and its normalised form have."""
    both = [[set(re.findall(r"\w+", row[place].lower())) for place in (one, other)] for row in rows]
    alike = [2 * len(first & second) >= min(len(first), len(second)) for first, second in both if first and second]
    return one == other or 2 * sum(alike) > len(alike)
