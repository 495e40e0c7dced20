"""Any corpus that has a table: a CSV, TSV, file of JSON or of bars that names recordings and what is said in them."""

import argparse
import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from deepspeech_training.audio.formats import is_audio_name
from deepspeech_training.console import Console
from deepspeech_training.data.tables import (
    AUDIO_COLUMNS,
    PART_COLUMNS,
    SPEAKER_COLUMNS,
    TEXT_COLUMNS,
    Columns,
    entries,
)
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.importers.command import add_common_flags, import_corpus
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import USUAL_ENDS, ends_with, text_of

AUDIO_FOLDERS = ("", "wavs/", "wav/", "clips/", "audio/", "audios/")  # of recordings, from that of their table


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
    locate = _locator(source, str(PurePosixPath(name).parent))
    for entry in entries(text_of(source, name), columns):
        yield CorpusRow(
            name,
            entry.row,
            "" if entry.fault else locate(entry.audio),
            entry.transcript,
            set_name or entry.set_name,
            entry.speaker,
            entry.start_s,
            entry.end_s,
            fault=entry.fault,
        )


def _locator(source, folder: str) -> Callable[[str], str]:
    """A function that turns the name of a recording in a table into its name in the source; it remembers what did.

    A name counts from the folder of the table; as it stands if there is nothing.
    """
    parent = "" if folder == "." else f"{folder}/"
    worked = ("", "")

    def locate(name: str) -> str:
        nonlocal worked
        if name.startswith("/"):
            return name
        place, end = worked
        first = os.path.normpath(parent + name) if "../" in name else parent + name
        if not (place or end) and source.has(first):
            return first
        ends = [""] if is_audio_name(name) else ["", *USUAL_ENDS]
        for place, end in (worked, *((place, end) for place in AUDIO_FOLDERS for end in ends)):
            if source.has(found := f"{parent}{place}{name}{end}"):
                worked = (place, end)
                return found
        return name if parent and source.has(name) else first

    return locate


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Any CSV, TSV or JSON lines with named columns to CSVs.",
        epilog=f"Example: {prog} folder all.csv; with its own sets: {prog} corpus.zip --train train.tsv --dev dev.tsv "
        "--test test.tsv",
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
        "--start_column",
        default="",
        metavar="C",
        help="seconds where the clip starts in its recording; else those of "
        + ", ".join(" and ".join(pair) for pair in PART_COLUMNS),
    )
    parser.add_argument("--end_column", default="", metavar="C", help="seconds where it ends")
    parser.add_argument("--duration_column", default="", metavar="C", help="or how long it is")
    add_common_flags(parser)
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    import_corpus(flags, console, _corpus(flags))


def _corpus(flags: argparse.Namespace) -> Corpus:
    set_names = {
        _name_inside(flags.source, name): part for part in ("train", "dev", "test") for name in getattr(flags, part)
    }
    tables = [*(_name_inside(flags.source, name) for name in flags.tables), *set_names]
    if not tables:
        raise FlagError("name at least one TABLE inside the source, or --train, --dev and --test")
    if bool(flags.start_column) != bool(flags.end_column or flags.duration_column):
        raise FlagError("--start_column and --end_column (or --duration_column) go together")
    columns = Columns(
        flags.audio_column,
        flags.text_column,
        flags.speaker_column,
        flags.set_column,
        flags.start_column,
        flags.end_column,
        flags.duration_column,
    )
    name = flags.name or Path(flags.source.rstrip("/")).name.split(".")[0] or "corpus"
    return dataclasses.replace(manifest(tables, columns, set_names=set_names), name=name)


def _name_inside(source: str, table: str) -> str:
    """The name of a table inside the source, also where it was given as a path, as a shell completes it."""
    inside, folder = Path(table).resolve(), Path(source).resolve()
    if not os.path.isfile(f"{source}/{table}") and inside.is_file() and inside.is_relative_to(folder):
        return inside.relative_to(folder).as_posix()
    return table
