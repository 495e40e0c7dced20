"""Multilingual LibriSpeech (Pratap and others 2020, openslr.org/94): `mls_LANGUAGE/SET/transcripts.txt`, whose lines
are `SPEAKER_BOOK_NUMBER<tab>TEXT`, and `SET/audio/SPEAKER/BOOK/SPEAKER_BOOK_NUMBER.flac` (or .opus)."""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from deepspeech_training.console import Console
from deepspeech_training.importers.command import import_corpus, importer_parser
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import ends_with, read_lines, recording_of

LANGUAGES = {
    "english": "en",
    "german": "de",
    "dutch": "nl",
    "french": "fr",
    "spanish": "es",
    "italian": "it",
    "portuguese": "pt",
    "polish": "pl",
}


def rows(source) -> Iterator[CorpusRow]:
    for table in source.glob("**/transcripts.txt"):
        folder = PurePosixPath(table).parent
        set_name = folder.name if folder.name in ("train", "dev", "test") else ""
        for number, line in read_lines(source, table):
            name, _, text = (line or "").partition("\t")
            speaker, _, book = name.partition("_")
            book = book.partition("_")[0]
            if not (text and book):
                yield CorpusRow(
                    table, number, "", "", set_name, fault="it is no SPEAKER_BOOK_NUMBER, tab, text in UTF-8"
                )
                continue
            audio = recording_of(source, f"{folder}/audio/{speaker}/{book}/{name}.flac")
            yield CorpusRow(table, number, audio, text, set_name, speaker)


def language_of(paths: Sequence[str]) -> str:
    """The language of `mls_polish_opus.tar.gz` is pl.

    >>> language_of(["in/mls_polish_opus.tar.gz"])
    'pl'
    """
    found = re.search(r"mls_([a-z]+)", PurePosixPath(paths[0]).name)
    return LANGUAGES.get(found[1], "") if found else ""


def parser(prog: str) -> argparse.ArgumentParser:
    return importer_parser(prog, "Multilingual LibriSpeech", example="mls_polish.tar.gz")


def run(flags: argparse.Namespace, console: Console) -> None:
    language = flags.language or language_of(flags.source)
    corpus = Corpus(f"mls_{language}" if language else "mls", rows, ends_with("transcripts.txt"))
    import_corpus(flags, console, corpus, language=language)
