"""The Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset):
`recordings/DIGIT_SPEAKER_NUMBER.wav`.

Its own split shares all speakers, so it is split by speaker here.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath

from deepspeech_training.audio.formats import is_audio_name
from deepspeech_training.importers.command import importer_parser, run_importer
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command `bin/import_fsdd.py`."""
    parser = importer_parser("import_fsdd.py", "Spoken digits to CSVs: bin/import_fsdd.py free-spoken-digit-dataset")
    return run_importer(parser, argv, lambda flags: CORPUS)
