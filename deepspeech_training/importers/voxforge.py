"""VoxForge (voxforge.org): a folder or a .tgz for each submission, `SPEAKER-DATE-ID/`, with `etc/PROMPTS`, whose lines
are `.../mfc/NAME TEXT`, and the clips in `wav/` or `flac/`."""

import argparse
from collections.abc import Iterator
from pathlib import PurePosixPath

from deepspeech_training.console import Console
from deepspeech_training.importers.command import import_corpus, importer_parser
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import ends_with, read_lines, recording_of


def rows(source) -> Iterator[CorpusRow]:
    for table in source.glob("**/etc/PROMPTS"):
        folder = PurePosixPath(table).parent.parent
        speaker = folder.name.split("-")[0]
        if speaker.lower() == "anonymous":
            speaker = folder.name  # nobody knows whether two of them are one person
        for number, line in read_lines(source, table):
            if line == "":
                continue
            name, _, text = (line or "").partition(" ")
            name = PurePosixPath(name).name
            if not (name and text):
                yield CorpusRow(table, number, "", "", "", speaker, fault="it is no name and text in UTF-8")
                continue
            audio = recording_of(source, f"{folder}/flac/{name}.flac", f"{folder}/wav/{name}.wav")
            yield CorpusRow(table, number, audio, text, "", speaker)


CORPUS = Corpus("voxforge", rows, ends_with("prompts"))


def parser(prog: str) -> argparse.ArgumentParser:
    return importer_parser(prog, "VoxForge", example="FOLDER, or all its .tgz: *.tgz")


def run(flags: argparse.Namespace, console: Console) -> None:
    import_corpus(flags, console, CORPUS)
