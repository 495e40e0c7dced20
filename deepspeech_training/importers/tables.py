"""Tables with named columns inside a corpus: TSV as Common Voice writes it, CSV, and JSON lines."""

import csv
import io
import json
from collections import deque
from collections.abc import Iterator, Sequence

from deepspeech_training.errors import UserError
from deepspeech_training.importers.source import read_lines

MAX_LINES_OF_A_ROW = 100
Record = tuple[int, dict[str, str] | None, str]  # row as an editor shows it (the header is 1), fields, fault


def read_tsv(source, name: str, required: Sequence[str]) -> Iterator[Record]:
    """The rows of a TSV without quoting; one that was quoted as in a CSV (Common Voice up to 4) is unquoted.

    Raises:
        UserError: it has no header, or lacks a column.
    """
    lines = read_lines(source, name)
    header = _header(source, name, lines, "\t", required)
    for number, line in lines:
        if line is None:
            yield number, None, "the row is not UTF-8"
        elif line:
            fields = line.split("\t")
            if len(fields) != len(header):
                yield number, None, f"it has {len(fields)} fields, and the header {len(header)}"
            else:
                if '"' in line:
                    fields = map(_unquoted, fields)
                yield number, dict(zip(header, fields, strict=True)), ""


def _unquoted(field: str) -> str:
    """`\"\"\"Go!\"\" he said.\"` was written by a CSV writer; a mere quotation is left as it is."""
    inner = field[1:-1]
    if len(field) > 1 and field[0] == field[-1] == '"' and '""' in inner and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return field


def _header(source, name: str, lines, delimiter: str, required: Sequence[str]) -> list[str]:
    _, line = next(lines, (1, ""))
    if not line:
        what = "the first row is not UTF-8" if line is None else "it is empty"
        raise UserError(f"{source.describe(name)}: {what}\nThe first row must name the columns.")
    header = next(csv.reader([line], delimiter=delimiter)) if delimiter != "\t" else line.split("\t")
    missing = [column for column in required if column not in header]
    if missing:
        raise UserError(
            f"{source.describe(name)}, row 1: no column {' and no column '.join(missing)}\n  found  {', '.join(header)}"
        )
    if len(set(header)) < len(header):
        raise UserError(f"{source.describe(name)}, row 1: a column is there twice\n  found  {', '.join(header)}")
    return header


def read_csv(source, name: str, required: Sequence[str], delimiter: str = ",") -> Iterator[Record]:
    """The rows of a CSV; fields may have quotes and line breaks. A quote that never closes costs one line."""
    lines = read_lines(source, name)
    header = _header(source, name, lines, delimiter, required)
    waiting: deque[tuple[int, str | None]] = deque()
    while True:
        if not waiting and (following := next(lines, None)) is None:
            return
        number, line = waiting.popleft() if waiting else following
        if line == "":
            continue
        if line is None:
            yield number, None, "the row is not UTF-8"
            continue
        record, taken = line, 0
        while record.count('"') % 2 and taken < MAX_LINES_OF_A_ROW:
            if taken == len(waiting) and (following := next(lines, None)) is not None:
                waiting.append(following)
            if taken == len(waiting) or waiting[taken][1] is None:
                break
            record += "\n" + waiting[taken][1]
            taken += 1
        try:
            (fields,) = csv.reader(io.StringIO(record, newline=""), delimiter=delimiter, strict=True)
        except (csv.Error, ValueError) as error:
            yield number, None, f"its quotes do not match ({error})"
            continue
        for _ in range(taken):
            waiting.popleft()
        if len(fields) != len(header):
            yield number, None, f"it has {len(fields)} fields, and the header {len(header)}"
        else:
            yield number, dict(zip(header, fields, strict=True)), ""


def read_json_lines(source, name: str, required: Sequence[str]) -> Iterator[Record]:
    """The objects of a file with one JSON object on each line; numbers become text."""
    for number, line in read_lines(source, name):
        if line == "":
            continue
        try:
            values = json.loads(line) if line is not None else None
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict):
            yield number, None, "it is no JSON object in UTF-8"
            continue
        fields = {key: value if isinstance(value, str) else json.dumps(value) for key, value in values.items()}
        missing = [column for column in required if column not in fields]
        if missing:
            yield number, None, f"it has no {' and no '.join(missing)}"
        else:
            yield number, fields, ""
