"""AN4 (Acero and Stern 1990, speech.cs.cmu.edu/databases/an4): `etc/an4_train.transcription` and
`an4_test.transcription`, whose lines are `<s> TEXT </s> (NAME)`, `.fileids` that name the folder of each clip,
and SPHERE or WAV under `wav/`.
"""

import argparse
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from deepspeech_training.console import Console
from deepspeech_training.importers.command import import_corpus, importer_parser
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import ends_with, read_lines, recording_of

_LINE = re.compile(r"(?:<s>)?(.*?)(?:</s>)?\s*\(([^()]+)\)\s*")


def rows(source) -> Iterator[CorpusRow]:
    for table in source.glob("**/an4_*.transcription"):
        set_name = PurePosixPath(table).stem.removeprefix("an4_")
        root = PurePosixPath(table).parent.parent
        folders = _folders(source, str(PurePosixPath(table).with_suffix(".fileids")))
        for number, line in read_lines(source, table):
            found = _LINE.fullmatch(line or "")
            if found is None:
                yield CorpusRow(table, number, "", "", set_name, fault="it is no text and (NAME)")
                continue
            text, name = found[1].strip(), found[2]
            speaker = name.split("-")[1] if name.count("-") >= 2 else ""
            stem = f"{root}/wav/{folders.get(name, '')}{name}"
            audio = recording_of(source, f"{stem}.sph", f"{stem}.wav", f"{stem}.raw")
            yield CorpusRow(table, number, audio, text, set_name, speaker)


def _folders(source, table: str) -> dict[str, str]:
    """The folder of each clip: `an4_clstk/fash/an251-fash-b` is in `an4_clstk/fash/`."""
    if not source.has(table):
        return {}
    names = (PurePosixPath(line) for _, line in read_lines(source, table) if line)
    return {name.name: f"{name.parent}/" for name in names}


CORPUS = Corpus("an4", rows, ends_with("*.transcription", "*.fileids"))


def parser(prog: str) -> argparse.ArgumentParser:
    return importer_parser(prog, "AN4", example="an4_sphere.tar.gz")


def run(flags: argparse.Namespace, console: Console) -> None:
    import_corpus(flags, console, CORPUS)
