"""Transcripts: DeepSpeech's rules, and what is refused with what reason."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.importers.transcripts import Refusal, TranscriptRules, load_validator


def deepspeech(label: str) -> str | None:
    """validate_label_eng of DeepSpeech 0.9.3 (training/deepspeech_training/util/importers.py), in short."""
    if re.search(r"[0-9]|[(<\[\]&*{]", label):
        return None
    label = re.sub("[ ]{2,}", " ", label.replace("-", " ").replace("_", " "))
    label = re.sub('[.,;?!:"]', "", label).strip().lower()
    return label or None


@settings(deadline=None)
@given(st.text(alphabet="abcXYZ 019'-_.,;?!:\"()<[]&*{", max_size=30))
def test_the_english_rules_are_those_of_deepspeech_but_for_single_spaces(text):
    ours, theirs = TranscriptRules()(text), deepspeech(text)
    if isinstance(ours, Refusal):
        assert theirs is None or not theirs.strip() or ")" in text
    else:
        assert ours == " ".join(theirs.split())


@settings(deadline=None)
@given(st.text(max_size=60))
def test_whatever_is_taken_is_composed_trimmed_and_encodable(text):
    result = TranscriptRules()(text)
    if not isinstance(result, Refusal):
        assert result == " ".join(result.split()) != ""
        assert Alphabet(tuple(dict.fromkeys(result))).missing(result) == []


@pytest.mark.parametrize(
    ("text", "code", "value"),
    [
        ("", "empty_transcript", ""),
        ("?!", "empty_transcript", "?!"),
        ("room 101", "label_refused", "101"),
        ("a (b)", "label_refused", "( )"),
        ("a\x00b", "bad_row", "U+0000"),
        ("x" * 10_001, "bad_row", "10001"),
    ],
)
def test_a_refusal_says_what_was_found(text, code, value):
    refusal = TranscriptRules()(text)
    assert (refusal.code, refusal.value) == (code, value)


def test_every_language_keeps_its_letters():
    samples = {"fr": "L’été, c'est ça !", "de": "„Über’m Fluß“", "tr": "IŞIK, İyi", "es": "¿Qué?", "zh": "你好，世界。"}
    wanted = {"fr": "l'été c'est ça", "de": "überm fluß", "tr": "ışık iyi", "es": "qué", "zh": "你好世界"}
    for language, text in samples.items():
        assert TranscriptRules(language=language)(text) == wanted[language]
    assert TranscriptRules(language="zh-CN", space_after_every_character=True)("你好。") == "你 好"


def test_numbers_become_words_of_the_language():
    assert TranscriptRules(language="de", numbers="words")("Um 21 Uhr") == "um einundzwanzig uhr"
    assert TranscriptRules(numbers="words")("1234567890123456")[:7] == "one two"
    with pytest.raises(FlagError, match="does not know the language xx"):
        TranscriptRules(language="xx", numbers="words")


def test_an_alphabet_and_normalisation():
    rules = TranscriptRules(alphabet=Alphabet.english())
    assert rules("café") == Refusal("not_in_alphabet", "characters that are not in the alphabet", "é")
    assert TranscriptRules(alphabet=Alphabet.english(), normalize=True)("café") == "cafe"


def test_a_validator_of_the_users_own(tmp_path):
    path = tmp_path / "rules.py"
    path.write_text("def validate_label(text):\n    return None if 'x' in text else 1 / len(text) and text + '!'\n")
    rules = TranscriptRules(validator=load_validator(path))
    assert rules("Abc 7") == "Abc 7!"
    assert TranscriptRules(validator=load_validator(path), lowercase=True)("Abc") == "abc!"
    assert rules("x").code == "label_refused"
    path.write_text("def validate_label(text):\n    raise KeyError(text)\n")
    assert "KeyError" in TranscriptRules(validator=load_validator(path))("a").reason
    for content, message in (("1 +", "SyntaxError"), ("x = 1", "no function validate_label")):
        path.write_text(content)
        with pytest.raises(UserError, match=message):
            load_validator(path)
    assert not (tmp_path / "__pycache__").exists()
