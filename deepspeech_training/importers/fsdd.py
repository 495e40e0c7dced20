"""The Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset):
`recordings/DIGIT_SPEAKER_NUMBER.wav`.

Its own split shares all speakers, so it is split by speaker here.
"""

import argparse
from collections.abc import Iterator
from pathlib import PurePosixPath

from deepspeech_training.audio.formats import is_audio_name
from deepspeech_training.console import Console
from deepspeech_training.importers.command import import_corpus, importer_parser
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import ends_with

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def rows(source) -> Iterator[CorpusRow]:
    for number, name in enumerate(filter(is_audio_name, source.glob("**/recordings/*")), start=1):
        digit, _, rest = PurePosixPath(name).stem.partition("_")
        speaker = rest.rpartition("_")[0]
        is_digit = len(digit) == 1 and digit in "0123456789" and speaker
        fault = "" if is_digit else "its name is not DIGIT_SPEAKER_NUMBER.wav"
        yield CorpusRow(name, number, name, DIGITS[int(digit)] if is_digit else "", "", speaker, fault=fault)


CORPUS = Corpus("fsdd", rows, ends_with())


def parser(prog: str) -> argparse.ArgumentParser:
    return importer_parser(prog, "Spoken digits", example="free-spoken-digit-dataset")


def run(flags: argparse.Namespace, console: Console) -> None:
    import_corpus(flags, console, CORPUS)
