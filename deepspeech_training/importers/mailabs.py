"""M-AILABS (Solak 2019, caito.de/2019/01/03/the-m-ailabs-speech-dataset):
`LANGUAGE/by_book/SEX/READER/BOOK/metadata.csv` with lines `NAME|text|normalised text`, and `BOOK/wavs/NAME.wav`. In
`by_book/mix/BOOK` nobody says who reads."""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from deepspeech_training.console import Console
from deepspeech_training.importers.command import import_corpus, importer_parser
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import ends_with, read_lines, recording_of


def mailabs(skip: Sequence[str] = (), language: str = "") -> Corpus:
    """Without the folders and books whose path has one of `skip` in it."""
    notes: list[str] = []

    def rows(source) -> Iterator[CorpusRow]:
        for table in source.glob("**/metadata.csv"):
            if any(piece in table for piece in skip):
                notes.append(f"{table} is left out, as asked")
                continue
            yield from _book(source, table)

    return Corpus(f"m-ailabs_{language}" if language else "m-ailabs", rows, ends_with("metadata.csv"), notes)


def _book(source, table: str) -> Iterator[CorpusRow]:
    folder = PurePosixPath(table).parent
    parts = folder.parts
    speaker = parts[-2] if len(parts) >= 3 and parts[-3] in ("male", "female") else ""
    for number, line in read_lines(source, table):
        fields = (line or "").split("|")
        if len(fields) < 3 or not fields[0]:
            yield CorpusRow(table, number, "", "", "", speaker, fault="it is no NAME|text|normalised text in UTF-8")
        else:
            audio = recording_of(source, f"{folder}/wavs/{fields[0]}.wav")
            yield CorpusRow(table, number, audio, fields[2], "", speaker)


def language_of(paths: Sequence[str]) -> str:
    """The language of `en_US.tgz` is en.

    >>> language_of(["in/en_US.tgz"])
    'en'
    """
    found = re.match(r"([a-z]{2})_[A-Z]{2}", PurePosixPath(paths[0]).name)
    return found[1] if found else ""


def parser(prog: str) -> argparse.ArgumentParser:
    parser = importer_parser(prog, "M-AILABS", example="en_US.tgz")
    parser.add_argument(
        "--skiplist", metavar="A,B", default="", help="leave out folders or books with these in their path"
    )
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    language = flags.language or language_of(flags.source)
    corpus = mailabs([piece for piece in flags.skiplist.split(",") if piece], language)
    import_corpus(flags, console, corpus, language=language)
