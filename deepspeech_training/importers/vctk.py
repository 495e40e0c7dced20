"""VCTK 0.80 and 0.92 (Yamagishi and others, datashare.ed.ac.uk/handle/10283/3443): `txt/SPEAKER/SPEAKER_NUMBER.txt`,
and `wav48_silence_trimmed/SPEAKER/SPEAKER_NUMBER_mic1.flac` (0.92, two microphones) or
`wav48/SPEAKER/SPEAKER_NUMBER.wav`."""

import argparse
from collections.abc import Iterator
from pathlib import PurePosixPath

from deepspeech_training.console import Console
from deepspeech_training.importers.command import import_corpus, importer_parser
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import ends_with, recording_of
from deepspeech_training.importers.text_folder import read_text

# The SHA-256 as in torchaudio 2's datasets/vctk.py.
SOURCES = {
    "vctk-0.92": (
        "https://datashare.ed.ac.uk/bitstream/handle/10283/3443/VCTK-Corpus-0.92.zip",
        "sha256:f96258be9fdc2cbff6559541aae7ea4f59df3fcaf5cf963aae5ca647357e359c",
    )
}


def vctk(microphone: int = 1) -> Corpus:
    def rows(source) -> Iterator[CorpusRow]:
        for table in source.glob("**/txt/*/*.txt"):
            path = PurePosixPath(table)
            speaker, root = path.parent.name, path.parent.parent.parent
            text, fault = read_text(source, table)
            new = root / "wav48_silence_trimmed" / speaker / f"{path.stem}_mic{microphone}.flac"
            old = root / "wav48" / speaker / f"{path.stem}.wav"
            audio = recording_of(source, str(new), str(old))
            yield CorpusRow(table, 1, audio, text, "", speaker, fault=fault)

    return Corpus("vctk", rows, ends_with("*.txt"))


def parser(prog: str) -> argparse.ArgumentParser:
    parser = importer_parser(prog, "VCTK", example="VCTK-Corpus-0.92.zip", sources=tuple(SOURCES))
    parser.add_argument("--mic", type=int, choices=(1, 2), default=1, help="of 0.92, which has two; else 1")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    import_corpus(flags, console, vctk(flags.mic), sources=SOURCES)
