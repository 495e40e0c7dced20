import contextlib
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.decoding.language_model import ScorerError, murmur_hash, word_id
from deepspeech_training.decoding.scorer import Scorer

ENGLISH = Alphabet.english().characters


@pytest.fixture(scope="module")
def words_scorer(test_data):
    return test_data / "ldc93s1" / "pruned_lm.scorer"


@pytest.fixture(scope="module")
def bytes_scorer(test_data):
    return test_data / "ldc93s1" / "pruned_lm.bytes.scorer"


def test_a_compressed_scorer_is_read(words_scorer):
    scorer = Scorer.read(words_scorer)
    assert scorer.language_model.kind == "quantised, array-compressed trie"
    assert scorer.language_model.order == 4 and scorer.language_model.counts == (3543, 13119, 17076, 17231)
    assert scorer.language_model.end == 266112
    assert (scorer.alpha, round(scorer.beta, 6), scorer.bytes_mode) == (0.75, 1.85, False)
    assert len(scorer.dictionary.states) == 3451 and len(scorer.dictionary.arcs) == 6488
    scorer.check_labels(ENGLISH)
    assert "greasy" in scorer.language_model and "<s>" in scorer.language_model
    assert word_id(scorer.language_model, "grease monkey") == 0


def test_a_plain_scorer_of_bytes_is_read(bytes_scorer):
    scorer = Scorer.read(bytes_scorer)
    assert scorer.language_model.kind == "trie" and scorer.language_model.order == 2 and scorer.bytes_mode
    scorer.check_labels(None)
    assert "a" in scorer.language_model


def test_the_words_of_the_dictionary_are_those_of_the_text(words_scorer, test_data):
    known = set((test_data / "ldc93s1" / "vocab.pruned.txt").read_text().split())
    spelt = {
        "".join(ENGLISH[label - 1] for label in word[:-1]) for word in Scorer.read(words_scorer).dictionary.words(50)
    }
    assert len(spelt) == 25 and spelt <= known


def test_a_word_is_looked_up(words_scorer, bytes_scorer):
    scorer = Scorer.read(words_scorer)
    assert all(scorer.has_word(word, ENGLISH) for word in ("she", "greasy"))
    assert not any(scorer.has_word(word, ENGLISH) for word in ("sh", "shee", "She", "she had", "", "é", "xylophone"))
    assert not Scorer.read(bytes_scorer).has_word("she had", None)


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (None, "the model writes UTF-8 bytes"),
        ([*ENGLISH[1:], " "], "do not end with the space"),
        (ENGLISH[:20], "at least 28 characters"),
        ([" ", *ENGLISH[:0:-1]], "are none of its language model"),
        ([*ENGLISH[1:], "ä"], "no space"),
    ],
)
def test_a_scorer_of_another_alphabet_is_refused(words_scorer, labels, says):
    with pytest.raises(ScorerError, match=says):
        Scorer.read(words_scorer).check_labels(labels)


def test_a_scorer_of_bytes_is_refused_for_an_alphabet(bytes_scorer):
    with pytest.raises(ScorerError, match="--bytes_output_mode"):
        Scorer.read(bytes_scorer).check_labels(ENGLISH)


@pytest.mark.parametrize(
    "cut_at", [0, 10, 100, 130, 5000, 200_000, 266_112, 266_120, 266_137, 266_200, 300_000, 439_039]
)
def test_a_scorer_that_is_cut_off_is_refused(words_scorer, tmp_path, cut_at):
    path = tmp_path / "cut.scorer"
    path.write_bytes(words_scorer.read_bytes()[:cut_at])
    with pytest.raises(ScorerError, match=r"cut\.scorer cannot be used"):
        Scorer.read(path)


@pytest.mark.parametrize(
    ("at", "written", "says"),
    [
        (0, b"\\data\\", "ARPA"),
        (0, b"TFL3", "does not begin with a KenLM"),
        (49, b"4", "another version of KenLM"),
        (60, b"\0\0\0\0", "damaged or of another machine"),
        (88, b"\x09", "order 9"),
        (96, b"\x00", "probing"),
        (96, b"\x09", "not known"),
        (100, b"\x01", "build_binary -v"),
        (108, struct.pack("<Q", 2**60), "more than the file can hold"),
        (144, struct.pack("<Q", 7), "vocabulary has 7 words"),
        (266112, b"XXXX", "no dictionary"),
        (266116, b"\x05", "version 5, not 6"),
        (266121, struct.pack("<d", np.nan), "no usable number"),
        (266137, b"XXXX", "OpenFst"),
        (266137 + 57, struct.pack("<q", -5), "damaged"),
        (266208 + 4, b"\xff\xff\xff\x7f", "arcs that are not there"),
        (439040 - 4, b"\xff\xff\xff\x7f", "leads nowhere"),
        (439040 - 16, b"\xff\xff\xff\x7f", None),
    ],
)
def test_a_damaged_scorer_is_refused_with_the_reason(words_scorer, tmp_path, at, written, says):
    content = bytearray(words_scorer.read_bytes())
    content[at : at + len(written)] = written
    path = tmp_path / "damaged.scorer"
    path.write_bytes(content)
    if says is None:  # a last arc with a larger label is in order; it is of another alphabet
        with pytest.raises(ScorerError, match="another alphabet"):
            Scorer.read(path).check_labels(ENGLISH)
    else:
        with pytest.raises(ScorerError, match=says):
            Scorer.read(path)


def test_a_scorer_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ScorerError, match=r"no\.scorer: there is no such"):
        Scorer.read(tmp_path / "no.scorer")


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_scorer_with_any_damage_is_read_or_refused(bytes_scorer, tmp_path, data):
    content = bytearray(bytes_scorer.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.scorer"
    path.write_bytes(content)
    with contextlib.suppress(ScorerError):
        Scorer.read(path).check_labels(None)


def test_the_hash_is_murmur_64a():
    # Values of MurmurHash64A with seed 0 as the vocabulary of pruned_lm.scorer has them.
    assert murmur_hash(b"") == 0
    assert murmur_hash(b"a") != murmur_hash(b"b")
