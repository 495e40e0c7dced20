"""What is heard, for a person or a program: messages of a stream -> lines of stdout, live on a terminal."""

import json
import os
import shutil
import unicodedata
from collections.abc import Mapping
from typing import Any, TextIO

_CLEAR, _GREY, _PLAIN = "\r\x1b[K", "\x1b[90m", "\x1b[0m"


class LiveText:
    """Writes finals as lines; on a terminal also what is heard of the next one: what is stable plain, the rest grey.

    Args:
        stdout: where to.
        as_json: every message as a line of JSON instead.
    """

    def __init__(self, stdout: TextIO, *, as_json: bool = False):
        self._stdout, self._as_json = stdout, as_json
        self._is_live = not as_json and stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._colours = "NO_COLOR" not in os.environ
        self._is_shown = False  # a line that is not final

    def show(self, message: Mapping[str, Any]) -> None:
        """A message of /v1/stream."""
        if self._as_json:
            self._stdout.write(json.dumps(message, ensure_ascii=False) + "\n")
        elif message["type"] == "final":
            self.clear()
            self._stdout.write(_printable(message["text"]) + "\n")
        elif message["type"] == "partial" and self._is_live:
            self._show_partial(_printable(message["stable"]), _printable(message["text"]))
        self._stdout.flush()

    def clear(self) -> None:
        """Take back what is not final."""
        if self._is_shown:
            self._stdout.write(_CLEAR)
            self._stdout.flush()
            self._is_shown = False

    def _show_partial(self, stable: str, text: str) -> None:
        rest = text[len(stable) :]
        # One line of it, its end: a terminal cannot take back what has wrapped.
        columns = max(shutil.get_terminal_size().columns - 1, 10)
        rest = _end(rest, columns)
        stable = _end(stable, columns - _width(rest))
        if self._colours and rest:
            rest = f"{_GREY}{rest}{_PLAIN}"
        self._stdout.write(f"{_CLEAR}{stable}{rest}")
        self._is_shown = True


def _printable(text: str) -> str:
    """Without what moves the cursor: the text may be a server's.

    >>> _printable("a\\x1b[2Jb")
    'a\\ufffd[2Jb'
    """
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def _width(text: str) -> int:
    """Columns that it takes.

    >>> _width("ab"), _width("中文"), _width("e\\u0301")
    (2, 4, 1)
    """
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _end(text: str, columns: int) -> str:
    """As much of the end as fits.

    >>> _end("a long text", 6), _end("short", 6)
    ('…text', 'short')
    """
    if _width(text) <= columns:
        return text
    if columns < 1:
        return ""
    left, start = columns - 1, len(text)
    while start > 0 and _columns(text[start - 1]) <= left:
        start -= 1
        left -= _columns(text[start])
    return "…" + text[start:].lstrip()
