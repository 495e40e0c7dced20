"""A folder of recordings, each with its text beside it: `a/one.wav` and `a/one.txt`."""

import argparse
from collections.abc import Iterator
from pathlib import PurePosixPath

from deepspeech_training.audio.formats import is_audio_name
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError
from deepspeech_training.importers.command import import_corpus, importer_parser
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import ends_with, text_of

MAX_LINES = 100


def text_folder(speaker_level: int = 0, text_end: str = ".txt", name: str = "folder") -> Corpus:
    """Args:
    speaker_level: which folder of a path is the speaker, 1 for the first; 0: none is.
    text_end: of the names of the texts.
    """

    def rows(source) -> Iterator[CorpusRow]:
        for audio in filter(is_audio_name, source.glob("**/*")):
            path = PurePosixPath(audio)
            folders = path.parts[:-1]
            speaker = folders[speaker_level - 1] if 0 < speaker_level <= len(folders) else ""
            stem = str(path.with_suffix(""))
            names = (f"{name}{end}" for end in (text_end, text_end.upper()) for name in (stem, audio))
            if text_name := next(filter(source.has, names), None):
                text, fault = read_text(source, text_name)
            else:
                text, fault = "", f"there is no {path.stem}{text_end} beside it"
            yield CorpusRow(audio, 1, audio, text, "", speaker, fault=fault)

    return Corpus(name, rows, ends_with(f"*{text_end}"))


def read_text(source, name: str) -> tuple[str, str]:
    """A short text as one line, and why it cannot be used or ""."""
    lines = []
    file = text_of(source, name)
    for number, line in file.lines():
        if line is None:
            return "", f"{name}: {file.not_decoded}"
        if number > MAX_LINES:
            return "", f"{name} has more than {MAX_LINES} lines"
        lines.append(line)
    return " ".join(lines), ""


def parser(prog: str) -> argparse.ArgumentParser:
    parser = importer_parser(prog, "Recordings with a text beside each", example="recordings")
    parser.add_argument(
        "--speaker_level", type=int, default=0, metavar="N", help="the N-th folder of a path is the speaker; 0: none is"
    )
    parser.add_argument("--text_end", default=".txt", metavar=".END", help="of the names of the texts; else .txt")
    parser.add_argument("--name", default="folder", help="of the corpus; else folder")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    if not flags.text_end.startswith(".") or "/" in flags.text_end or flags.speaker_level < 0:
        raise FlagError("--text_end must start with a dot, and --speaker_level be 0 or more")
    import_corpus(flags, console, text_folder(flags.speaker_level, flags.text_end.lower(), flags.name))
