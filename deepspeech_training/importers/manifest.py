"""Any corpus that has a table: a CSV, TSV or file of JSON lines that names recordings and what is said in them."""

import argparse
import dataclasses
import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.importers.command import add_common_flags, run_importer
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import ends_with
from deepspeech_training.importers.tables import read_csv, read_json_lines, read_tsv

# What other programs call these columns; the first that is there is taken.
AUDIO_COLUMNS = ("wav_filename", "audio_filepath", "audio", "path", "file", "filename", "file_name", "wav")
TEXT_COLUMNS = ("transcript", "text", "sentence", "transcription", "normalized_text")
SPEAKER_COLUMNS = ("client_id", "speaker", "speaker_id")
SET_COLUMNS = ("set", "split")
SET_NAMES = {"validation": "dev", "valid": "dev", "val": "dev", "training": "train", "testing": "test"}


@dataclass(frozen=True)
class Columns:
    """The names of the columns; "" looks for the usual ones. The last two are optional and in seconds."""

    audio: str = ""
    text: str = ""
    speaker: str = ""
    set_name: str = ""
    start: str = ""
    end: str = ""


def manifest(names: list[str], columns: Columns, *, set_names: dict[str, str] | None = None) -> Corpus:
    """A corpus of one or more tables, named from the top of the source; recordings count from their table's folder.

    Args:
        set_names: the set of a table by its name, for those that are a set each; else the column says, or none.
    """

    def rows(source) -> Iterator[CorpusRow]:
        for name in names:
            if not source.has(name):
                raise UserError(f"{source.label}: there is no {name} in it")
            yield from _table_rows(source, name, columns, (set_names or {}).get(name, ""))

    return Corpus("manifest", rows, ends_with("*.csv", "*.tsv", "*.txt", "*.jsonl", "*.json", "*.ndjson"))


def _table_rows(source, name: str, columns: Columns, set_name: str) -> Iterator[CorpusRow]:
    folder = str(PurePosixPath(name).parent)
    folder = "" if folder == "." else f"{folder}/"
    found: Columns | None = None
    for number, fields, fault in _records(source, name):
        if fields is None:
            yield CorpusRow(name, number, "", "", set_name, fault=fault)
            continue
        if found is None:
            found = _find_columns(source, name, fields, columns)
        yield _row(name, number, fields, found, folder, set_name)


def _records(source, name: str):
    end = PurePosixPath(name).suffix.lower()
    if end in (".json", ".jsonl", ".ndjson"):
        return read_json_lines(source, name, ())
    if end == ".tsv":
        return read_tsv(source, name, ())
    return read_csv(source, name, ())


def _find_columns(source, name: str, fields: dict, columns: Columns) -> Columns:
    def find(named: str, usual: tuple[str, ...], what: str) -> str:
        if named and named not in fields:
            raise UserError(f"{source.describe(name)}: no column {named}\n  found  {', '.join(fields)}")
        chosen = named or next((column for column in usual if column in fields), "")
        if not chosen and what:
            raise UserError(
                f"{source.describe(name)}: no column is called {' or '.join(usual)}\n  found  {', '.join(fields)}\n"
                f"Name the one that has the {what} with --{what}_column."
            )
        return chosen

    return Columns(
        find(columns.audio, AUDIO_COLUMNS, "audio"),
        find(columns.text, TEXT_COLUMNS, "text"),
        find(columns.speaker, SPEAKER_COLUMNS, ""),
        find(columns.set_name, SET_COLUMNS, ""),
        find(columns.start, (), "") if columns.start else "",
        find(columns.end, (), "") if columns.end else "",
    )


def _row(name: str, number: int, fields: dict, columns: Columns, folder: str, set_name: str) -> CorpusRow:
    start = end = None
    fault = ""
    missing = [column for column in (columns.audio, columns.text) if column not in fields]
    if missing:
        return CorpusRow(name, number, "", "", set_name, fault=f"it has no {' and no '.join(missing)}")
    if columns.start and columns.end:
        try:
            start, end = float(fields.get(columns.start, "")), float(fields.get(columns.end, ""))
            if not 0 <= start < end < 1e6:
                raise ValueError
        except ValueError:
            start, end, fault = (
                None,
                None,
                f"{columns.start} and {columns.end} are no seconds, the first before the second",
            )
    if columns.set_name and not set_name:
        set_name = fields.get(columns.set_name, "").strip().lower()
        set_name = SET_NAMES.get(set_name, set_name)
        if not set_name.isidentifier() or len(set_name) > 40:
            set_name, fault = "", fault or (f"the set is called {set_name[:40]!r}" if set_name else "")
    audio = fields[columns.audio]
    audio = audio if audio.startswith("/") else folder + audio
    if "../" in audio and not (inside := posixpath.normpath(audio)).startswith(".."):
        audio = inside  # what leads out of the corpus is left as it is, and refused by the engine
    speaker = fields.get(columns.speaker, "") if columns.speaker else ""
    return CorpusRow(
        name,
        number,
        audio,
        fields[columns.text],
        set_name,
        speaker,
        start,
        end,
        fault=fault or ("" if fields[columns.audio] else f"the column {columns.audio} is empty"),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command `bin/import_manifest.py`."""
    parser = argparse.ArgumentParser(
        prog="import_manifest.py",
        description="Any CSV, TSV or JSON lines with named columns: bin/import_manifest.py folder all.csv; with its "
        "own sets: bin/import_manifest.py corpus.zip --train train.tsv --dev dev.tsv --test test.tsv",
        allow_abbrev=False,
    )
    parser.add_argument(
        "source", metavar="SOURCE", help="a folder, an archive (.tar.gz, .tar, .zip), or its http address"
    )
    parser.add_argument("tables", metavar="TABLE", nargs="*", help="tables inside it, to be split by speaker")
    parser.add_argument("--train", metavar="TABLE", action="append", default=[], help="a table that is the set train")
    parser.add_argument("--dev", metavar="TABLE", action="append", default=[], help="one that is the set dev")
    parser.add_argument("--test", metavar="TABLE", action="append", default=[], help="one that is the set test")
    parser.add_argument("--name", metavar="NAME", default="", help="of the corpus; else that of the source")
    parser.add_argument("--audio_column", default="", metavar="C", help=f"else the first of {', '.join(AUDIO_COLUMNS)}")
    parser.add_argument("--text_column", default="", metavar="C", help=f"else the first of {', '.join(TEXT_COLUMNS)}")
    parser.add_argument(
        "--speaker_column", default="", metavar="C", help=f"else the first of {', '.join(SPEAKER_COLUMNS)}"
    )
    parser.add_argument("--set_column", default="", metavar="C", help="else set or split; its values name the sets")
    parser.add_argument(
        "--start_column", default="", metavar="C", help="seconds where the clip starts in its recording"
    )
    parser.add_argument("--end_column", default="", metavar="C", help="seconds where it ends")
    add_common_flags(parser)
    return run_importer(parser, argv, _corpus)


def _corpus(flags: argparse.Namespace) -> Corpus:
    set_names = {
        _name_inside(flags.source, name): part for part in ("train", "dev", "test") for name in getattr(flags, part)
    }
    tables = [*(_name_inside(flags.source, name) for name in flags.tables), *set_names]
    if not tables:
        raise FlagError("name at least one TABLE inside the source, or --train, --dev and --test")
    if bool(flags.start_column) != bool(flags.end_column):
        raise FlagError("--start_column and --end_column go together")
    columns = Columns(
        flags.audio_column,
        flags.text_column,
        flags.speaker_column,
        flags.set_column,
        flags.start_column,
        flags.end_column,
    )
    name = flags.name or Path(flags.source.rstrip("/")).name.split(".")[0] or "corpus"
    return dataclasses.replace(manifest(tables, columns, set_names=set_names), name=name)


def _name_inside(source: str, table: str) -> str:
    """The name of a table inside the source, also where it was given as a path, as a shell completes it."""
    inside, folder = Path(table).resolve(), Path(source).resolve()
    if not os.path.isfile(f"{source}/{table}") and inside.is_file() and inside.is_relative_to(folder):
        return inside.relative_to(folder).as_posix()
    return table
