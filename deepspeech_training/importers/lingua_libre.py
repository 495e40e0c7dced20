"""Lingua Libre (lingualibre.org/datasets): `QID-ISO-Language/SPEAKER/WORD.ogg` or .wav; the file name is what is
said.
"""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from deepspeech_training.audio.formats import is_audio_name
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.importers.command import import_corpus, importer_parser
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import ends_with

_LANGUAGES = {"fra": "fr", "eng": "en", "deu": "de", "spa": "es", "ita": "it", "por": "pt", "pol": "pl", "rus": "ru"}


def lingua_libre(bogus: Sequence[re.Pattern] = ()) -> Corpus:
    """Without the recordings whose path, from the speaker on, matches one of `bogus` at its start."""
    notes: list[str] = []

    def rows(source) -> Iterator[CorpusRow]:
        left_out = 0
        for number, name in enumerate(filter(is_audio_name, source.glob("**/*")), start=1):
            path = PurePosixPath(name)
            if any(regex.match(f"{path.parent.name}/{path.name}") for regex in bogus):
                left_out += 1
            else:
                yield CorpusRow(name, number, name, path.stem.replace("_", " "), "", path.parent.name)
        if left_out:
            notes.append(f"{left_out:,} recordings are left out, as --bogus_records asks")

    return Corpus("lingua_libre", rows, ends_with(), notes)


def _bogus(path: str) -> list[re.Pattern]:
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines() if path else []
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"--bogus_records {path}: cannot be read: {error}") from error
    patterns = []
    for number, line in enumerate(lines, start=1):
        try:
            patterns += [re.compile(line.strip())] if line.strip() else []
        except re.error as error:
            raise UserError(f"{path}, line {number}: not a regular expression: {error}") from error
    return patterns


def language_of(paths: Sequence[str]) -> str:
    """The language of `Q21-fra-French.zip` is fr.

    >>> language_of(["in/Q21-fra-French.zip"])
    'fr'
    """
    found = re.match(r"Q\d+-([a-z]{3})-", PurePosixPath(paths[0]).name)
    return _LANGUAGES.get(found[1], found[1]) if found else ""


def parser(prog: str) -> argparse.ArgumentParser:
    parser = importer_parser(prog, "Lingua Libre", example="Q21-fra-French.zip")
    parser.add_argument(
        "--bogus_records", metavar="FILE", default="", help="regular expressions, one a line: SPEAKER/NAME to leave out"
    )
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    corpus = lingua_libre(_bogus(flags.bogus_records))
    import_corpus(flags, console, corpus, language=language_of(flags.source))
