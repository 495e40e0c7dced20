"""TED-LIUM 1 to 3 (Hernandez and others 2018, openslr.org/51): talks as SPHERE, `sph/TALK.sph`, and their segments in
`stm/TALK.stm`: `TALK CHANNEL SPEAKER START END <LABELS> TEXT`. Release 3 trains on `data/`; its dev and test are in
`legacy/`."""

import argparse
import re
from collections.abc import Iterator
from pathlib import PurePosixPath

from deepspeech_training.console import Console
from deepspeech_training.importers.command import import_corpus, importer_parser
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import ends_with, read_lines, recording_of

# The archives and their SHA-256, as in torchaudio 2's datasets/tedlium.py.
SOURCES = {
    "release1": (
        "https://www.openslr.org/resources/7/TEDLIUM_release1.tar.gz",
        "sha256:30301975fd8c5cac4040c261c0852f57cfa8adbbad2ce78e77e4986957445f27",
    ),
    "release2": (
        "https://www.openslr.org/resources/19/TEDLIUM_release2.tar.gz",
        "sha256:93281b5fcaaae5c88671c9d000b443cb3c7ea3499ad12010b3934ca41a7b9c58",
    ),
    "release3": (
        "https://www.openslr.org/resources/51/TEDLIUM_release-3.tgz",
        "sha256:ad1e454d14d1ad550bc2564c462d87c7a7ec83d4dc2b9210f22ab4973b9eccdb",
    ),
}
_LINE = re.compile(r"(\S+) +(\S+) +(\S+) +(\d+(?:\.\d+)?) +(\d+(?:\.\d+)?) +(?:<[^>]*> *)?(.*)")
NOT_SCORED = "ignore_time_segment_in_scoring"


def rows(source) -> Iterator[CorpusRow]:
    tables = list(source.glob("**/stm/*.stm"))
    has_data = any(PurePosixPath(table).parts[-3] == "data" for table in tables if len(PurePosixPath(table).parts) > 2)
    for table in tables:
        folder = PurePosixPath(table).parent.parent
        if has_data and folder.name == "train":
            continue  # legacy/train of release 3 is part of data/
        set_name = "train" if folder.name == "data" else folder.name if folder.name in ("train", "dev", "test") else ""
        audio = recording_of(source, f"{folder}/sph/{PurePosixPath(table).stem}.sph")
        for number, line in read_lines(source, table):
            yield _row(table, number, line, audio, set_name)


def _row(table: str, number: int, line: str | None, audio: str, set_name: str) -> CorpusRow:
    found = _LINE.fullmatch((line or "").strip())
    if found is None:
        return CorpusRow(table, number, audio, line or "", set_name, fault="it is no line of an STM")
    _, _, speaker, start, end, text = found.groups()
    fault = "it is not to be scored" if NOT_SCORED in text else ""
    return CorpusRow(table, number, audio, plain(text), set_name, speaker, float(start), float(end), fault=fault)


def plain(text: str) -> str:
    """Words only: noises, fillers and numbers of pronunciations go, and what follows an apostrophe joins its word.

    >>> plain("<sil> it 's(2) {BREATH} we 'll")
    "it's we'll"
    """
    text = re.sub(r"\{[^}]*\}|<sil>|\[[^]]*\]|\(\d+\)", " ", text)
    return " ".join(re.sub(r" +'(?=\w)", "'", text).split())


CORPUS = Corpus("tedlium", rows, ends_with("*.stm"))


def parser(prog: str) -> argparse.ArgumentParser:
    return importer_parser(prog, "TED-LIUM", example="TEDLIUM_release-3.tgz", sources=tuple(SOURCES))


def run(flags: argparse.Namespace, console: Console) -> None:
    import_corpus(flags, console, CORPUS, sources=SOURCES)
