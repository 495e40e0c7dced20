"""Encodings: what is read, and what is named instead of guessed at."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_training.errors import UserError
from deepspeech_training.text_files import NotDecoded, TextFile, decode, likely_encoding, read_text

LINES = ["eins", "zwei é", "", "üĊĀ", "漢字 🙂"]
MARKED = ["utf-8", "utf-8-sig", "utf-16", "utf-32"]


def lines_of(data: bytes) -> list[str | None]:
    return [line for _, line in TextFile("a.txt", lambda: io.BytesIO(data)).lines()]


@pytest.mark.parametrize("encoding", MARKED)
def test_utf_8_is_read_and_utf_16_and_utf_32_with_a_mark(encoding, tmp_path):
    data = "\r\n".join(LINES).encode(encoding)
    assert decode(data).split("\r\n") == LINES and lines_of(data) == LINES
    (tmp_path / "a.txt").write_bytes(data)
    assert read_text(str(tmp_path / "a.txt"), what="the text").split("\r\n") == LINES


@given(st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r\ufeff\ufffd"), max_size=80))
def test_every_encoding_gives_the_same_lines(text):
    expected = text.removesuffix("\n").split("\n") if text else []
    for encoding in MARKED[1:]:
        assert lines_of(text.encode(encoding)) == (expected or lines_of("".encode(encoding)))


def test_a_line_that_cannot_be_decoded_costs_that_line_and_its_encoding_is_named():
    data = b"one\ncaf\xe9 noir\nthree\n"
    assert lines_of(data) == ["one", None, "three"]
    text = TextFile("a.txt", lambda: io.BytesIO(data))
    assert text.not_decoded == "byte 0xe9 is not UTF-8; it seems to be Latin-1 or Windows-1252"
    assert lines_of("über".encode("utf-16")[:-1]) == [None]
    long = TextFile("a.txt", lambda: io.BytesIO(b"x" * 200_000 + b"\nna\xefve"))
    assert "0xef" in long.not_decoded


@pytest.mark.parametrize(
    ("text", "encoding", "name"),
    [
        ("Où est le café ?", "latin-1", "Latin-1 or Windows-1252"),
        ("Wie spät ist es – „fünf“?", "cp1252", "Latin-1 or Windows-1252"),
        ("Привет, как дела?", "cp1251", "Windows-1251"),
        ("Привет, как дела?", "koi8-r", "KOI8-R"),
        ("こんにちは、世界", "shift_jis", "Shift-JIS"),
        ("你好，世界", "gb18030", "Shift-JIS, GB18030"),
        ("hello there", "utf-16-le", "UTF-16 without"),
    ],
)
def test_encodings_are_named(text, encoding, name):
    assert name in likely_encoding(text.encode(encoding))


def test_utf_8_that_was_damaged_is_not_called_another_encoding():
    assert "UTF-8 with damaged bytes" in likely_encoding("für Bäume, Höhen und Flüsse".encode()[:-1] + b"\xff")


def test_the_message_says_where_and_how_to_mend_it(tmp_path):
    with pytest.raises(NotDecoded) as caught:
        decode(b"one\rtwo\r\n\xe9")
    assert (caught.value.line, caught.value.byte) == (3, 0xE9)
    (tmp_path / "a.txt").write_bytes(b"\xff\xfea\0\0\xd8")
    with pytest.raises(UserError, match=r"line 1: the alphabet is not UTF-8; its mark says UTF-16.*\nSave it as UTF-8"):
        read_text(str(tmp_path / "a.txt"), what="the alphabet")
