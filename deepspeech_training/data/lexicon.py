"""Files of words and pronunciations -> entries: CSV, TSV as WikiPron and ipa-dict write it, and CMUdict's form."""

import csv
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepspeech_training.errors import UserError
from deepspeech_training.text_files import read_text

WORD_COLUMNS = ("word", "words", "grapheme", "graphemes", "text", "orthography")
PRONUNCIATION_COLUMNS = ("ipa", "pronunciation", "pronunciations", "phonemes", "phones", "transcription")
HOW_TO_WRITE = (
    "A lexicon has a word and its pronunciation in each row: CSV or TSV, with or without a first row such as word,ipa "
    "(more columns need one), or CMUdict's form, WORD  P AH0 Z."
)
MAX_CHARACTERS = 200  # of a word or a pronunciation: more is no word
_LINE_END = re.compile("\r\n|\r|\n")
_VARIANT = re.compile(r"\(\d+\)$")  # READ(1)
_BETWEEN = re.compile(r"[/\]]\s*,\s*(?=[/\[])")  # /ə/, /eɪ/
_COMMENT = ";;;"


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of a lexicon, in NFC; `fault` says why it cannot be read.

    Args:
        row: as an editor numbers it.
    """

    row: int
    word: str = ""
    pronunciations: tuple[str, ...] = ()
    fault: str = ""


def read_lexicon(path: str | Path) -> list[Entry]:
    """All rows of a lexicon; comments, empty lines and the names of columns are none.

    Raises:
        UserError: it cannot be read, has no rows, or names columns that are not those of a lexicon.
    """
    lines = _LINE_END.split(read_text(str(path), what="the lexicon"))
    first = next((line for line in lines if line.strip() and not line.startswith((_COMMENT, "#"))), "")
    if "\t" in first:
        entries = list(_of_table(path, _split_at_tabs(lines)))
    elif "," in first and "  " not in first:
        entries = list(_of_table(path, _split_at_commas(lines)))
    else:
        entries = list(_of_cmudict(lines))
    if not entries:
        raise UserError(f"{path}: the lexicon has no rows\n{HOW_TO_WRITE}")
    return entries


def _split_at_tabs(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, line.split("\t")


def _split_at_commas(lines: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            yield number, next(csv.reader([line]))  # a quote that never closes costs its own row alone


def _of_table(path: str | Path, rows: Iterator[tuple[int, list[str]]]) -> Iterator[Entry]:
    places, width = (0, 1), 2
    for order, (number, fields) in enumerate(rows):
        if order == 0:
            found = _columns(path, number, fields)
            if found is not None:
                places, width = found, len(fields)
                continue
        if len(fields) != width:
            what = "are there" if len(fields) != 1 else "is there"
            yield Entry(number, fields[0], fault=f"{len(fields)} of {width} fields {what}")
            continue
        yield _entry(number, *(fields[place] for place in places))


def _columns(path: str | Path, number: int, fields: list[str]) -> tuple[int, int] | None:
    """The columns of word and pronunciation where the first row names them; None where it is an entry."""
    names = [name.strip().lower() for name in fields]
    word, pronunciation = (
        next((names.index(name) for name in known if name in names), None)
        for known in (WORD_COLUMNS, PRONUNCIATION_COLUMNS)
    )
    if word is not None and pronunciation is not None:
        return word, pronunciation
    if len(fields) > 2 or "wav_filename" in names:
        raise UserError(
            f"{path}, row {number}: {len(fields)} columns, and no names for those of the word and its pronunciation\n"
            f"  found  {','.join(fields)[:200]}\n"
            f"Name them in the first row: one of {', '.join(WORD_COLUMNS)}, and one of "
            f"{', '.join(PRONUNCIATION_COLUMNS)}."
        )
    return None


def _of_cmudict(lines: Sequence[str]) -> Iterator[Entry]:
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith((_COMMENT, "# ")):
            continue
        word, _, phones = line.strip().partition(" ")
        yield _entry(number, _VARIANT.sub("", word), phones.split(" #")[0])


def _entry(row: int, word: str, pronunciations: str) -> Entry:
    word = unicodedata.normalize("NFC", word.strip())
    parts = (part.strip().strip("/[]").strip() for part in _BETWEEN.split(pronunciations.strip()))
    found = tuple(" ".join(unicodedata.normalize("NFC", part).split()) for part in parts)
    return Entry(row, word, found, fault=_fault(word, found))


def _fault(word: str, pronunciations: tuple[str, ...]) -> str:
    """What makes a row unreadable; that something is empty is found elsewhere."""
    for text in (word, *pronunciations):
        if len(text) > MAX_CHARACTERS:
            return f"it has {len(text):,} characters, and {MAX_CHARACTERS} are the most: a quote may never close"
        odd = next((c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Co", "Cn") or c == "\ufffd"), "")
        if odd:
            return f"it has a character that is no text, U+{ord(odd):04X}"
    return ""
