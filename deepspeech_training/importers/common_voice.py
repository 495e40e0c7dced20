"""Common Voice, releases 4 to 25 and deltas, and its Spontaneous Speech: a folder, or the archive as it is downloaded.

Columns by release: https://github.com/common-voice/cv-dataset. All that is needed is `path` and `sentence`;
`client_id` names the speaker, and clip_durations.tsv (since 15) tells a truncated clip. Spontaneous Speech has one
table, ss-corpus-LANGUAGE.tsv, with `audio_file` (in audios/), `transcription`, `split` and `duration_ms`.
"""

import argparse
import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from deepspeech_training.console import Console
from deepspeech_training.data.tables import read_tsv
from deepspeech_training.errors import UserError
from deepspeech_training.importers.command import import_corpus, importer_parser
from deepspeech_training.importers.corpus import Corpus, CorpusRow
from deepspeech_training.importers.source import FolderSource, ends_with, text_of

SETS = ("test", "dev", "train", "validated", "other")  # DeepSpeech's, and its order
NOT_TAKEN = ("invalidated",)
SPONTANEOUS = "ss-corpus-*.tsv"
# Tags of Spontaneous Speech for what is no word, such as [disfluency] and [noise], but for those of words that nobody
# wrote down.
_TAG = re.compile(r"\[[^\[\]]{1,40}\]")
_UNWRITTEN = re.compile(r"\[(?:unclear|inaudible|unintelligible|crosstalk|foreign)[^\]]*\]", re.IGNORECASE)


def common_voice(*, language: str = "", audio_dir: str = "", spontaneous: bool = False) -> Corpus:
    """The corpus of one language; `spontaneous` only names its output folder.

    Args:
        language: which one, where an archive or folder has several.
        audio_dir: of the clips, inside the corpus; else `clips` beside the TSVs, or where the TSVs are.
    """
    notes: list[str] = []

    def rows(source) -> Iterator[CorpusRow]:
        folder = find_tsv_dir(source, language)
        clips = _clips_dir(folder, audio_dir)
        tables = {PurePosixPath(name).stem.lower(): name for name in source.glob(f"{folder}*.tsv")}
        for set_name in SETS:
            if name := tables.get(set_name):
                yield from _set_rows(source, name, set_name, clips)
        for name in source.glob(folder + SPONTANEOUS):
            yield from _spontaneous_rows(source, name, f"{folder}{audio_dir.rstrip('/') or 'audios'}/")
        for set_name in NOT_TAKEN:
            if name := tables.get(set_name):
                count = sum(1 for _ in read_tsv(text_of(source, name), ()))
                notes.append(f"{set_name}.tsv: {count:,} rows are not taken: listeners voted them down")

    def lengths(source) -> Iterator[tuple[str, float]]:
        folder = find_tsv_dir(source, language)
        name, clips = f"{folder}clip_durations.tsv", _clips_dir(folder, audio_dir)
        if source.has(name):
            for _, fields, _ in read_tsv(text_of(source, name), ("clip", "duration[ms]")):
                if fields and fields["duration[ms]"].isdecimal() and len(fields["duration[ms]"]) < 12:
                    yield clips + fields["clip"], int(fields["duration[ms]"]) / 1000
        for name in source.glob(folder + SPONTANEOUS):
            for _, fields, _ in read_tsv(text_of(source, name), ("audio_file",)):
                if fields and (milliseconds := fields.get("duration_ms", "")).isdecimal() and len(milliseconds) < 12:
                    audios = f"{folder}{audio_dir.rstrip('/') or 'audios'}/"
                    yield audios + fields["audio_file"], int(milliseconds) / 1000

    kind = "spontaneous_speech" if spontaneous else "common_voice"
    return Corpus(f"{kind}_{language}" if language else kind, rows, ends_with("*.tsv"), notes, lengths)


def find_tsv_dir(source, language: str) -> str:
    """The folder of the TSVs inside the source, with a slash at its end ("" is the top).

    Raises:
        UserError: there is none, or several and no language that tells.
    """
    folders: list[str] = []
    for pattern in ("*.tsv", "*/*.tsv", "*/*/*.tsv"):
        names = map(PurePosixPath, source.glob(pattern))
        folders = sorted({str(name.parent) for name in names if _is_table(name)})
        if folders:  # further down are the clips, which take time to list
            break
    if language and len(folders) > 1:
        folders = [folder for folder in folders if PurePosixPath(folder).name == language] or folders
    if not folders:
        raise UserError(f"{source.label}: there are no TSVs of Common Voice in it, such as validated.tsv or train.tsv")
    if len(folders) > 1:
        if len({PurePosixPath(folder).name for folder in folders}) < len(folders):
            raise UserError(f"{source.label}: it has several releases: {', '.join(folders[:30])}\nGive one of them.")
        listed = ", ".join(PurePosixPath(folder).name or "." for folder in folders[:30])
        raise UserError(f"{source.label}: it has several languages: {listed}\nName one of them with --language.")
    return "" if folders[0] == "." else f"{folders[0]}/"


def _is_table(name: PurePosixPath) -> bool:
    return name.stem.lower() in SETS or name.match(SPONTANEOUS)


def _clips_dir(folder: str, audio_dir: str) -> str:
    if audio_dir:
        return f"{folder}{audio_dir.rstrip('/')}/"
    return f"{folder}clips/"


def _set_rows(source, name: str, set_name: str, clips: str) -> Iterator[CorpusRow]:
    table = PurePosixPath(name).name
    for number, fields, fault in read_tsv(text_of(source, name), ("path", "sentence")):
        if fields is None:
            yield CorpusRow(table, number, "", "", set_name, fault=fault)
            continue
        path = fields["path"]
        if not os.path.splitext(path)[1]:
            path += ".mp3"  # the first releases left it away
        audio = path if path.startswith("/") else clips + path
        fault = "" if fields["path"] else "the column path is empty"
        yield CorpusRow(
            table,
            number,
            audio,
            fields["sentence"],
            set_name,
            fields.get("client_id", ""),
            name=path,
            fault=fault,
        )


def _spontaneous_rows(source, name: str, audios: str) -> Iterator[CorpusRow]:
    table = PurePosixPath(name).name
    for number, fields, fault in read_tsv(text_of(source, name), ("audio_file", "transcription")):
        if fields is None:
            yield CorpusRow(table, number, "", "", fault=fault)
            continue
        text, audio = fields["transcription"], fields["audio_file"]
        if unwritten := _UNWRITTEN.search(text):
            fault = f"{unwritten[0]} stands for words that nobody wrote down"
        yield CorpusRow(
            table,
            number,
            audio if audio.startswith("/") else audios + audio,
            _TAG.sub(" ", text),
            fields.get("split", "").strip().lower(),
            fields.get("client_id", ""),
            name=audio,
            fault=fault or ("" if audio else "the column audio_file is empty"),
        )


def parser(prog: str) -> argparse.ArgumentParser:
    parser = importer_parser(
        prog, "Common Voice", example="cv-corpus-17.0-2024-03-15-id.tar.gz (or its folder)", source="TSV_DIR"
    )
    parser.add_argument(
        "--audio_dir", metavar="DIR", default="", help="of the clips, counted from the TSVs; else clips (or audios)"
    )
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    language = flags.language or language_of(flags.source)
    spontaneous = PurePosixPath(flags.source).name.startswith("sps-")
    corpus = common_voice(language=language, audio_dir=flags.audio_dir, spontaneous=spontaneous)
    import_corpus(flags, console, corpus, language=language)


def language_of(path: str) -> str:
    """The language that the name of an archive or folder of Common Voice, or of the only one in it, ends with, or "".

    >>> language_of("in/cv-corpus-17.0-2024-03-15-zh-CN.tar.gz"), language_of("cv-corpus-6.1-2020-12-11/id/")
    ('zh-CN', 'id')
    """
    if os.path.isdir(path):
        with contextlib.suppress(UserError):
            path = f"{path}/{find_tsv_dir(FolderSource(Path(path)), '')}"
    name = re.sub(r"(\.tar)?\.\w+$", "", PurePosixPath(path).name)
    found = re.search(r"(?:^|-)([a-z]{2,3}(?:-[A-Z]{2})?)$", name)
    return found[1] if found else ""
