"""Bytes that somebody saved as text -> text. Every file of text of the project is read here.

UTF-8 is read, with or without a byte order mark, and UTF-16 and UTF-32 with one. Any other encoding is named and never
guessed at: a wrong guess, or U+FFFD in place of letters, would be learned.
"""

import codecs
import functools
import io
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from deepspeech_training.errors import UserError

# The mark of UTF-32-LE begins with that of UTF-16-LE.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
MAX_LINE_CHARACTERS = 1 << 20
SAMPLE_BYTES = 1 << 16  # that an encoding is told by
_LINE_END = re.compile("\r\n|\r|\n")


class NotDecoded(ValueError):
    """Bytes that are in none of the encodings that are read; the message says where and what they seem to be.

    Args:
        line: where the first bad byte is, from 1.
        byte: that byte.
        guess: what the file seems to be, in words.
    """

    def __init__(self, line: int, byte: int, guess: str):
        super().__init__(f"line {line}: byte 0x{byte:02x} is not UTF-8; {guess}")
        self.line, self.byte, self.guess = line, byte, guess


def decode(data: bytes) -> str:
    r"""The text of a whole file.

    Raises:
        NotDecoded: it is in another encoding, or damaged.

    >>> decode("é".encode("utf-8-sig")), decode("é".encode("utf-16"))
    ('é', 'é')
    >>> decode(b"one\ncaf\xe9")
    Traceback (most recent call last):
    deepspeech_training.text_files.NotDecoded: line 2: byte 0xe9 is not UTF-8; it seems to be Latin-1 or Windows-1252
    """
    codec, start = _codec(data)
    try:
        return data[start:].decode(codec)
    except UnicodeDecodeError as error:
        line = len(_LINE_END.split(data[start : start + error.start].decode(codec, "replace")))
        raise NotDecoded(line, error.object[error.start], _guess(data, codec)) from None


def read_text(path: str, *, what: str) -> str:
    """The text of a small file that a person named; `what` it is stands in the messages.

    Raises:
        UserError: it cannot be read, or is in an encoding that is not read.
    """
    try:
        with open(path, "rb") as file:
            return decode(file.read())
    except NotDecoded as error:
        raise UserError(f"{path}, line {error.line}: {what} is not UTF-8; {error.guess}\n{SAVE_AS_UTF8}") from error
    except OSError as error:
        raise UserError(f"{path}: cannot read {what}: {error.strerror}") from error


SAVE_AS_UTF8 = "Save it as UTF-8 (in a shell: iconv -f ENCODING -t UTF-8 OLD > NEW)."


class TextFile:
    """A text that is read line by line, so that it may be larger than the memory.

    Args:
        label: what messages call it.
        open_file: opens it for reading bytes; called once for each pass.
    """

    def __init__(self, label: str, open_file: Callable[[], BinaryIO]):
        self.label, self._open = label, open_file

    def lines(self) -> Iterator[tuple[int, str | None]]:
        """(number, text without its end) of each line; None for a line that cannot be decoded (`not_decoded`).

        Raises:
            UserError: it cannot be read, or has a line that never ends.
        """
        try:
            file = self._open()
        except OSError as error:
            raise UserError(f"{self.label}: cannot be read: {error.strerror}") from error
        with file:
            for number, line in numbered_lines(file, limit=MAX_LINE_CHARACTERS + 1):
                if line is not None and len(line) > MAX_LINE_CHARACTERS:
                    raise UserError(f"{self.label}, row {number}: a line of more than 1 MiB: not a text")
                yield number, line

    @functools.cached_property
    def not_decoded(self) -> str:
        """What is the matter with the lines that cannot be decoded."""
        with self._open() as file:
            data = file.read(SAMPLE_BYTES)
            codec, start = _codec(data)
            decoder, data = codecs.getincrementaldecoder(codec)(), data[start:]
            while data:
                following = file.read(SAMPLE_BYTES)
                try:
                    decoder.decode(data, final=not following)
                except UnicodeDecodeError as error:
                    return f"byte 0x{error.object[error.start]:02x} is not UTF-8; {_guess(data, codec)}"
                data = following
        return "it is not UTF-8"  # it has changed meanwhile


def numbered_lines(file: BinaryIO, *, limit: int = -1) -> Iterator[tuple[int, str | None]]:
    """The lines of an open file, as `TextFile.lines` gives them; one that is longer than `limit` ends there."""
    line = file.readline(limit)
    codec, start = _codec(line)
    if codec != "utf-8":
        wide = io.TextIOWrapper(io.BufferedReader(_Joined(line[start:], file)), codec, errors="replace", newline="\n")
        for number, text in enumerate(iter(lambda: wide.readline(limit), ""), start=1):
            yield number, None if "\ufffd" in text else text.rstrip("\r\n")
        return
    number = 0
    while line:
        number += 1
        try:
            yield number, line[start:].decode().rstrip("\r\n")
        except UnicodeDecodeError:
            yield number, None
        line, start = file.readline(limit), 0


class _Joined(io.RawIOBase):
    """What was read of a file already, and then its rest."""

    def __init__(self, start: bytes, file: BinaryIO):
        self._start, self._file = start, file

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._start[: len(buffer)] or self._file.read(len(buffer))
        self._start = self._start[len(buffer) :]
        buffer[: len(data)] = data
        return len(data)


def _codec(start: bytes) -> tuple[str, int]:
    """The codec of a file by its first bytes, and how many of them are the mark."""
    return next(((codec, len(mark)) for mark, codec in _MARKS if start.startswith(mark)), ("utf-8", 0))


def _guess(data: bytes, codec: str) -> str:
    if codec != "utf-8":
        return f"its mark says {codec[:6].upper()}, and what follows is not: it is damaged or cut off"
    return f"it seems to be {likely_encoding(data)}"


def likely_encoding(data: bytes) -> str:
    r"""What bytes that are not UTF-8 seem to be, in words: the family by how many bytes are high, and which.

    >>> likely_encoding("Où est le café?".encode("latin-1")), likely_encoding("Привет, мир".encode("cp1251"))
    ('Latin-1 or Windows-1252', 'Windows-1251 or another 8-bit encoding')
    """
    data = data[:SAMPLE_BYTES]
    if data.count(0) * 4 > len(data):
        return "UTF-16 without a byte order mark"
    high = [byte for byte in data if byte >= 0x80]
    decoded = data.decode("utf-8", "ignore")
    if sum(not character.isascii() for character in decoded) * 2 > len(high) / 2:
        return "UTF-8 with damaged bytes"
    if len(high) * 2 < len(data):
        return "Latin-1 or Windows-1252"
    if sum(byte >= 0xE0 for byte in high) > 0.7 * len(high):  # where the small letters of these scripts are
        return "Windows-1251 or another 8-bit encoding"
    if sum(0xC0 <= byte < 0xE0 for byte in high) > 0.7 * len(high):
        return "KOI8-R or another 8-bit encoding"
    return "an encoding such as Shift-JIS, GB18030 or Big5"
