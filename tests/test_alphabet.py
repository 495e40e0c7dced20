import dataclasses
import struct
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.errors import UserError


def is_character(text: str) -> bool:
    return unicodedata.normalize("NFC", text) == text and text not in "\r\n\ufeff"


characters = st.lists(st.characters(codec="utf-8").filter(is_character), min_size=1, max_size=80, unique=True)


@pytest.fixture
def write(tmp_path):
    def write_alphabet(contents: bytes | str):
        path = tmp_path / "alphabet.txt"
        path.write_bytes(contents if isinstance(contents, bytes) else contents.encode("utf-8"))
        return path

    return write_alphabet


@given(characters)
def test_to_text_reads_back_as_the_same_alphabet(tmp_path_factory, letters):
    path = tmp_path_factory.mktemp("alphabet") / "alphabet.txt"
    path.write_bytes(Alphabet(letters).to_text().encode("utf-8"))
    assert Alphabet.read(path) == Alphabet(letters)
    assert Alphabet.read(path).characters == tuple(letters)


@given(characters, st.data())
def test_what_is_encoded_decodes_to_the_same_text(letters, data):
    alphabet = Alphabet(letters)
    text = "".join(data.draw(st.lists(st.sampled_from(letters))))
    labels = alphabet.encode(text)
    assert labels.dtype == np.int32 and labels.shape == (len(text),)
    assert alphabet.decode(labels) == text
    assert not alphabet.missing(text)


@given(characters, st.text())
def test_encode_fails_exactly_on_what_is_missing(letters, text):
    alphabet = Alphabet(letters)
    missing = alphabet.missing(text)
    assert missing == [c for i, c in enumerate(text) if c not in letters and c not in text[:i]]
    if missing:
        with pytest.raises(ValueError, match="not in the alphabet"):
            alphabet.encode(text)
    else:
        assert alphabet.decode(alphabet.encode(text)) == text


@given(characters)
def test_serialize_can_be_read_as_deepspeech_reads_it(letters):
    data = Alphabet(letters).serialize()
    assert deserialize(data) == dict(enumerate(letters))


def deserialize(data: bytes) -> dict[int, str]:
    (count,) = struct.unpack_from("<H", data)
    offset, labels = 2, {}
    for _ in range(count):
        label, length = struct.unpack_from("<HH", data, offset)
        labels[label] = data[offset + 4 : offset + 4 + length].decode("utf-8")
        offset += 4 + length
    assert offset == len(data)
    return labels


def test_serialize_is_what_deepspeech_exported(test_data):
    golden = (test_data / "golden" / "alphabet_serialized.bin").read_bytes()
    assert len(Alphabet.english().serialize()) == len(golden)
    assert deserialize(Alphabet.english().serialize()) == deserialize(golden)


def test_the_built_in_alphabet_is_deepspeechs(test_data):
    assert Alphabet.english() == Alphabet.read(test_data / "ldc93s1" / "alphabet.txt")
    assert "".join(Alphabet.english().characters) == " abcdefghijklmnopqrstuvwxyz'"
    assert (Alphabet.english().blank, Alphabet.english().num_classes) == (28, 29)


def test_the_russian_alphabet_is_read(test_data):
    alphabet = Alphabet.read(test_data / "ldc93s1" / "russian_sample_data" / "alphabet.ru")
    assert not alphabet.missing("привет мир")


def test_line_ends_byte_order_mark_comments_and_escapes_are_understood(write):
    expected = Alphabet(" a#\\b")
    for end in ("\n", "\r\n", "\r"):
        lines = end.join(["# a comment", " ", "a", "", r"\#", "\\", "#", "b"])
        assert Alphabet.read(write("\ufeff" + lines)) == expected  # no newline at the end
        assert Alphabet.read(write(lines + end)) == expected


def test_a_unicode_line_separator_is_a_character_and_no_line_end(write):
    assert Alphabet.read(write("a\n\u2028\n\x85\n")).characters == ("a", "\u2028", "\x85")


def test_decomposed_characters_are_composed(write):
    alphabet = Alphabet.read(write("e\u0301\nи\u0306\n"))
    assert alphabet.characters == ("é", "й")
    assert Alphabet(["e\u0301", "и\u0306"]) == alphabet


@pytest.mark.parametrize(
    ("contents", "expected"),
    [
        ("a\nbc\n", r"alphabet.txt, line 2: 'bc' is 2 characters \(U\+0062 U\+0063\)"),
        ("a\n\u025b\u0303\n", r"line 2: .* is 2 characters \(U\+025B U\+0303\)"),
        ("a \n", r"line 1: 'a ' is 2 characters"),
        ("a\nb\n# x\na\n", r"lines 1 and 4: 'a' is twice"),
        ("é\ne\u0301\n", r"lines 1 and 2: 'é' is twice"),
        ("# only a comment\n", "no characters"),
        ("", "no characters"),
        (b"\xef\xbb\xbfa\r\nb\r\xe9\n", r"line 3: the alphabet is not UTF-8"),
        ("a\n\ufeff\n", r"line 2: a byte order mark"),
    ],
)
def test_a_wrong_alphabet_is_reported_with_its_line(write, contents, expected):
    with pytest.raises(UserError, match=expected):
        Alphabet.read(write(contents))


def test_a_missing_file_is_a_user_error(tmp_path):
    with pytest.raises(UserError, match=r"alphabet\.txt: cannot read the alphabet: No such file"):
        Alphabet.read(tmp_path / "alphabet.txt")


@pytest.mark.parametrize("letters", [[], ["a", "a"], ["ab"], [""], ["\n"], ["\r"], ["\ufeff"], ["\ud800"]])
def test_what_no_file_could_hold_is_refused(letters):
    with pytest.raises(ValueError):
        Alphabet(letters)


def test_decode_refuses_the_blank():
    with pytest.raises(ValueError, match="label 2 is outside the alphabet of 2"):
        Alphabet("ab").decode([0, 2])


def test_an_alphabet_is_frozen_and_can_be_a_key():
    assert {Alphabet("ab"): 1}[Alphabet(["a", "b"])] == 1
    assert Alphabet("ab") != Alphabet("ba")
    with pytest.raises(dataclasses.FrozenInstanceError):
        Alphabet("ab").characters = ("c",)
