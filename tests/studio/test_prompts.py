"""What people are asked to read, and in which order."""

import string

import pytest

from deepspeech_training.studio.names import file_name
from deepspeech_training.studio.prompts import read_prompts, telling_first

SENTENCES = [
    "the boy was there when the sun rose",
    "a rod is used to catch pink salmon",
    "the source of the huge river is the clear spring",
    "the quick brown fox jumps over the lazy dog",
    "kick the ball straight and follow through",
    "a pot of tea helps to pass the evening",
    "pack my box with five dozen liquor jugs",
    "smoky fires lack flame and heat",
]


def test_a_list_has_a_text_on_each_line_and_each_text_once():
    found = read_prompts("\ufeffTurn on the light.\n\n  turn ON the light\nStop!\n", "en")
    assert found.texts == ("Turn on the light.", "Stop!")
    assert found.left_out == ()


@pytest.mark.parametrize("delimiter", [",", "\t", ";"])
def test_a_table_gives_its_texts_as_they_were_written(delimiter):
    rows = [("wav_filename", "transcript", "original"), ("1.wav", "hello", "Hello, you!"), ("2.wav", "bye", "Bye.")]
    text = "\n".join(delimiter.join(f'"{field}"' for field in row) for row in rows)
    assert read_prompts(text, "en").texts == ("Hello, you!", "Bye.")


def test_a_table_may_have_one_column_and_a_sentence_with_commas_is_no_table():
    assert read_prompts("sentence\nOne.\nTwo.", "").texts == ("One.", "Two.")
    assert read_prompts("Yes, text, and more\nNo", "").texts == ("Yes, text, and more", "No")


def test_what_nobody_knows_how_to_read_is_left_out_with_line_and_reason():
    found = read_prompts("Route 66\nfine\n...\n" + "long " * 80, "en")
    assert found.texts == ("fine",)
    assert [(entry.line, entry.text[:8]) for entry in found.left_out] == [(1, "Route 66"), (3, "..."), (4, "long lon")]
    assert "66" in found.left_out[0].reason and "as words" in found.left_out[0].reason
    assert "300 characters" in found.left_out[2].reason


def test_few_sentences_have_all_letters_and_the_order_is_the_same_each_time():
    order = telling_first(SENTENCES)
    assert sorted(order) == sorted(SENTENCES) and order == telling_first(SENTENCES)
    assert set(string.ascii_lowercase) <= set("".join(order[:2]))


def test_texts_that_add_nothing_come_last_in_their_own_order():
    assert telling_first(["ab", "abcd", "bc", "ab cd"]) == ["abcd", "ab", "bc", "ab cd"]


def test_ten_thousand_sentences_are_ordered_within_seconds():
    many = [
        f"{SENTENCES[i % 8]} {string.ascii_lowercase[i % 26]}{string.ascii_lowercase[i // 26 % 26]}"
        for i in range(10000)
    ]
    assert len(telling_first(many)) == 10000


@pytest.mark.parametrize("name", ["../../etc/passwd", "/", "..", "a\0b", "con\n", "名前", " "])
def test_a_name_that_is_typed_becomes_a_plain_file_name(name):
    found = file_name(name, [], "corpus")
    assert found and set(found) <= set(string.ascii_lowercase + string.digits + "-") and found[0] != "-"
