"""LibriSpeech (Panayotov and others 2015, openslr.org/12): `LibriSpeech/SUBSET/SPEAKER/CHAPTER/`, FLAC and one
`SPEAKER-CHAPTER.trans.txt`, whose lines are `SPEAKER-CHAPTER-NUMBER TEXT`."""

import argparse
from collections.abc import Iterator
from pathlib import PurePosixPath

from deepspeech_training.console import Console
from deepspeech_training.importers.command import import_corpus, importer_parser
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import ends_with, read_lines, recording_of

# The archives and their SHA-256, as in torchaudio 2.0's datasets/librispeech.py.
SOURCES = {
    subset: (f"https://www.openslr.org/resources/12/{subset}.tar.gz", f"sha256:{digest}")
    for subset, digest in {
        "dev-clean": "76f87d090650617fca0cac8f88b9416e0ebf80350acb97b343a85fa903728ab3",
        "dev-other": "12661c48e8c3fe1de2c1caa4c3e135193bfb1811584f11f569dd12645aa84365",
        "test-clean": "39fde525e59672dc6d1551919b1478f724438a95aa55f874b576be21967e6c23",
        "test-other": "d09c181bba5cf717b3dee7d4d592af11a3ee3a09e08ae025c5506f6ebe961c29",
        "train-clean-100": "d4ddd1d5a6ab303066f14971d768ee43278a5f2a0aa43dc716b0e64ecbbbf6e2",
        "train-clean-360": "146a56496217e96c14334a160df97fffedd6e0a04e66b9c5af0d40be3c792ecf",
        "train-other-500": "ddb22f27f96ec163645d53215559df6aa36515f26e01dd70798188350adcb6d2",
    }.items()
}


def rows(source) -> Iterator[CorpusRow]:
    for table in source.glob("**/*.trans.txt"):
        folder = PurePosixPath(table).parent
        subset, speaker = folder.parts[-3:-1] if len(folder.parts) >= 3 else ("", folder.parts[0])
        for number, line in read_lines(source, table):
            name, _, text = (line or "").partition(" ")
            fault = "" if line and text else "it is no name and text in UTF-8"
            audio = recording_of(source, f"{folder}/{name}.flac")
            yield CorpusRow(table, number, audio, text, set_of(subset), speaker, fault=fault)


def set_of(subset: str) -> str:
    """All train-* are one; dev-clean and test-clean are dev and test, and the harder ones CSVs of their own.

    >>> [set_of(subset) for subset in ("train-other-500", "dev-clean", "test-other", "mine")]
    ['train', 'dev', 'test-other', '']
    """
    if subset.startswith("train-"):
        return "train"
    return {"dev-clean": "dev", "test-clean": "test"}.get(subset, subset if subset in SOURCES else "")


CORPUS = Corpus("librispeech", rows, ends_with("*.trans.txt"))


def parser(prog: str) -> argparse.ArgumentParser:
    return importer_parser(
        prog,
        "LibriSpeech",
        example="train-clean-100.tar.gz dev-clean.tar.gz test-clean.tar.gz; the names without .tar.gz download them",
        sources=tuple(SOURCES),
    )


def run(flags: argparse.Namespace, console: Console) -> None:
    import_corpus(flags, console, CORPUS, sources=SOURCES)
