"""Text is cleaned one way: for folders, importers and scorers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.data.text import APOSTROPHES, Cleaner, fault_of, invisible_in, tidied
from deepspeech_training.importers.transcripts import TranscriptRules
from deepspeech_training.scorer.vocabulary import TextSource

ENGLISH = Alphabet.english()
TURKISH = Alphabet(" abcçdefgğhıijklmnoöprsştuüvyz")


def every_way(text: str, alphabet: Alphabet, **rules) -> set[str]:
    """What a folder, an importer with that alphabet and a scorer make of a text."""
    scorer = TextSource((), cleaner=Cleaner(alphabet, case="lower"))
    return {
        Cleaner(alphabet)(text),
        TranscriptRules(alphabet=alphabet, **rules)(text),
        " ".join(scorer._words(text, "a.txt", 1)),
    }


@pytest.mark.parametrize(
    ("text", "alphabet", "expected"),
    [
        ("Don’t stop, it’s fine", ENGLISH, "don't stop it's fine"),
        ("don`t ‛e ʼn´ ′s＇", ENGLISH, "don't 'e 'n' 's'"),
        ("don't", Alphabet("dont ’"), "don’t"),
        ("дев'ять", Alphabet("девятьʼ"), "девʼять"),
        ("don’t", Alphabet("dont "), "dont"),
        ("oʻzbek", Alphabet("oʻzbek'"), "oʻzbek"),
        ("ISPARTA ILIK İstanbul I\u0307", TURKISH, "ısparta ılık istanbul i"),
        ("İstanbul", ENGLISH, "istanbul"),
        ("ılık iyi", Alphabet("ILKİY "), "ILIK İYİ"),
        ("“Hello” — she said: «no»…", ENGLISH, "hello she said no"),
        ("up-to-date", Alphabet("updateo-"), "up-to-date"),
        ("\u202bhello\u202c \u2067there\u2069 \u061cyou\u200f", ENGLISH, "hello there you"),
        ("so\u00adft\ufeff he\u200bllo\ufe0f \U000e0041x\u2063", ENGLISH, "soft hello x"),
        ("the ﬁrst ＷＯＲＤ", ENGLISH, "the first word"),
        ("می\u200cروم", Alphabet("می\u200cرو"), "می\u200cروم"),
    ],
)
def test_a_text_is_the_same_everywhere(text, alphabet, expected):
    assert every_way(text, alphabet) == {expected}


@given(st.text("aAiIİı’'-,. éﬁ\u202b\u200b\u0307", max_size=20), st.sampled_from([ENGLISH, TURKISH]))
def test_folders_importers_and_scorers_agree_on_every_text_that_can_be_written(text, alphabet):
    found = Cleaner(alphabet)(text)
    if found and not alphabet.missing(found):
        assert every_way(text, alphabet) == {found}


@given(st.text(max_size=40), st.sampled_from([ENGLISH, TURKISH, None, ByteAlphabet()]))
def test_what_was_cleaned_stays_as_it_is(text, alphabet):
    clean = Cleaner(alphabet)
    once = clean(text)
    assert clean(once) == once == tidied(once)


@given(st.text("".join(TURKISH.characters), max_size=30))
def test_what_the_alphabet_writes_is_left_alone(text):
    assert Cleaner(TURKISH)(text) == " ".join(text.split())


def test_words_that_somebody_says_are_not_dropped():
    assert Cleaner(ENGLISH)("50 % & (more) €5") == "50 % & (more) €5"


def test_a_language_decides_where_no_alphabet_does():
    assert TranscriptRules(language="az-AZ")("ISIQ İşıq") == "ısıq işıq"
    assert TranscriptRules(language="de")("geht’s") == "gehts"
    assert TranscriptRules(language="de", alphabet=Alphabet("geht's"))("geht’s") == "geht's"
    assert TranscriptRules(normalize=True)("don’t – ünder") == "don't under"
    assert Cleaner(ByteAlphabet(), "tr", case="lower")("IŞIK’ta, ya") == "ışık'ta, ya"


def test_the_alphabet_of_bytes_keeps_all_but_what_nobody_sees():
    assert Cleaner(ByteAlphabet())("“Don’t” \u202bstop\u202c, I") == "“Don't” stop, I"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a\0b", "U+0000"),
        ("a\x92b", "U+0092"),
        ("one\u2028two", "U+2028"),
        ("caf\ufffd", "letters were lost"),
        ("cafÃ© donâ€™t", "'café don’t'"),
    ],
)
def test_what_is_no_text_is_said(text, words):
    assert words in fault_of(text)
    assert text == "one\u2028two" or TranscriptRules()(text).code == "bad_row"  # there it is a space


@pytest.mark.parametrize("text", ["café", "NÃO", "don’t", "Ångström", "BRÁÐ”", "漢字", "\u200cab", "â"])
def test_what_is_text_has_no_fault(text):
    assert fault_of(text) == ""


def test_an_alphabet_may_have_odd_characters():
    assert fault_of("a\u2028", "a\u2028") == "" and invisible_in("a\u200b\u202b", "\u200b") == ["\u202b"]


def test_every_apostrophe_has_one_form():
    assert {Cleaner()(f"don{sign}t") for sign in APOSTROPHES} == {"don't"}
