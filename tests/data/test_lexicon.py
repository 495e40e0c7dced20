"""Lexicons are read in every form that they come in, and every row that is wrong is named."""

import pytest

from deepspeech_training.data.lexicon import read_lexicon
from deepspeech_training.data.pronunciations import Pair, are_spaced, read_lexicons, set_aside
from deepspeech_training.data.spelling import LETTERS, PHONES, SPACED_PHONES, Spelling, phones_of
from deepspeech_training.errors import UserError


@pytest.fixture
def write(tmp_path):
    def write(text: str, name: str = "train.tsv") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return write


def found(path: str) -> list:
    return [(entry.row, entry.word, *entry.pronunciations) for entry in read_lexicon(path)]


@pytest.mark.parametrize(
    ("text", "entries"),
    [
        ("read\tɹ iː d\nread\tɹ ɛ d\n", [(1, "read", "ɹ iː d"), (2, "read", "ɹ ɛ d")]),  # WikiPron
        ("read\t/ɹiːd/, /ɹɛd/\r\n\r\nthe\t/ðə/\r\n", [(1, "read", "ɹiːd", "ɹɛd"), (3, "the", "ðə")]),  # ipa-dict
        ('Word,IPA\nread,[ɹiːd]\n"a,b",eɪ\n', [(2, "read", "ɹiːd"), (3, "a,b", "eɪ")]),
        ("ipa\tfrequency\tword\nðə\t9\tthe\n", [(2, "the", "ðə")]),
        (";;; CMUdict\nREAD  R IY1 D\nREAD(1)  R EH1 D\n", [(2, "READ", "R IY1 D"), (3, "READ", "R EH1 D")]),
        ("abbe ae b iy # place\n", [(1, "abbe", "ae b iy")]),
        ("cafe\u0301\tk a f e\n", [(1, "café", "k a f e")]),
    ],
)
def test_each_form_of_a_lexicon_is_read(write, text, entries):
    assert found(write(text)) == entries


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has no rows"),
        ("wav_filename,wav_filesize,transcript\na.wav,1,the\n", "row 1: 3 columns, and no names"),
        ("a\tb\tc\n", "row 1: 3 columns, and no names"),
    ],
)
def test_what_is_no_lexicon_is_refused(write, text, message):
    with pytest.raises(UserError, match=message):
        read_lexicon(write(text))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("cat", "1 of 2 fields"),
        ("cat\tk æ t\tx", "3 of 2 fields"),
        ("\tk æ t", "the word is empty"),
        ("cat\t", "the pronunciation is empty"),
        ("cat\t/kæt/, //", "the pronunciation is empty"),
        ("с\u0430t\tk æ t", r"letters of another script.* 'с' \(U\+0441\).*CYRILLIC, not LATIN"),
        ("cat\tk а t", r"the pronunciation has letters of another script.*U\+0430"),
        ("ca\x07t\tk æ t", r"no text, U\+0007"),
        ("c" * 201 + "\tk", "201 characters"),
    ],
)
def test_a_bad_row_is_named_and_can_be_left_out(write, row, reason):
    good = "".join(f"cat{letter}\tk æ t θ\n" for letter in "abcdefghijklmnopqrstuvw")
    path = write(f"{good}{row}\n")
    with pytest.raises(UserError, match=rf"train.tsv, row 24: .*{reason}") as error:
        read_lexicons({"train": [path]}, on_bad_row="fail")
    assert "1 of 24 row has a fault" in str(error.value) and "--on_bad_row drop" in str(error.value)
    kept = read_lexicons({"train": [path]}, on_bad_row="drop")
    assert len(kept.pairs("train")) == 23 and [rejected.row for rejected in kept.rejected] == [24]


def test_copies_words_in_two_sets_and_letters_seen_once_are_told(write):
    train = write("cat\tk æ t\ncat\tk æ t\ncot\tk ɒ t\nquo\tk w oʊ\n")
    dev = write("cat\tk a t\ncot\tk ɔ t\n", "dev.tsv")
    found = read_lexicons({"train": [train], "dev": [dev]}, on_bad_row="fail")
    copies, both, once = found.notes
    assert "train.tsv: copies" in copies and len(found.pairs("train")) == 3
    assert "2 words are in train and in dev" in both and "cat (train.tsv:1, dev.tsv:1)" in both
    assert "'q' (train.tsv:4)" in once and "'c'" not in once
    assert are_spaced(found.pairs("train"))
    words = write("a priori\tˈaː prɪˈuːrɪ\nab\tab\nba\tba\n", "words.tsv")
    assert not are_spaced(read_lexicons({"train": [words]}, on_bad_row="fail").pairs("train"))


def pairs_of(text: str) -> list[Pair]:
    words = (word.split("=") for word in text.split())
    return [Pair(f"t:{row}", "t", row, word, ipa) for row, (word, ipa) in enumerate(words, start=1)]


def test_words_are_set_aside_whole_and_in_any_order_the_same():
    pairs = [pair for i in range(200) for pair in pairs_of(f"w{i}=a w{i}=b{i}")]
    train, dev = set_aside(pairs, share=0.05, seed=1, homophones_too=False)
    words = {pair.word for pair in dev}
    assert len(words) == 10 and len(dev) == 20 and words.isdisjoint(pair.word for pair in train)
    assert {pair.word for pair in set_aside(pairs[::-1], share=0.05, seed=1, homophones_too=False)[1]} == words
    assert {pair.word for pair in set_aside(pairs, share=0.05, seed=2, homophones_too=False)[1]} != words


def test_homophones_stay_together_where_the_pronunciation_is_given():
    pairs = pairs_of("meet=mit meat=mit mete=mit read=rid read=rɛd red=rɛd reed=rid " + " ".join(["abcdefg=x"]))
    pairs += pairs_of(" ".join(f"w{i}=p{i}" for i in range(20)))
    for seed in range(20):
        train, dev = set_aside(pairs, share=0.2, seed=seed, homophones_too=True)
        assert dev and train
        assert {pair.pronunciation for pair in train}.isdisjoint(pair.pronunciation for pair in dev)
        assert {pair.word for pair in train}.isdisjoint(pair.word for pair in dev)


def test_phones_are_told_apart_without_spaces():
    assert phones_of("ˈt͡ʃʰæn̩ː") == ("ˈ", "t͡ʃʰ", "æ", "n̩ː")
    assert Spelling.of(PHONES, ["kæt"]).units("k æ t") == ("k", "æ", "t")


def test_hangul_is_taken_apart_into_letters_and_put_together_again():
    words = Spelling.of(LETTERS, ["한국어", "né"])
    assert len(words.symbols) == 2 + 8 and len(words.units("한né")) == 3 + 2
    assert words.text(words.numbers("한국né")) == "한국né"


def test_a_spelling_comes_back_from_what_a_checkpoint_says_and_nothing_else_does():
    for kind in (LETTERS, PHONES, SPACED_PHONES):
        spelling = Spelling.of(kind, ["k æ t", "a b"])
        assert Spelling.from_description(spelling.describe()) == spelling
    for broken in ({"kind": "runes", "symbols": ["a"]}, {"kind": LETTERS, "symbols": ["a", "a"]}):
        with pytest.raises(ValueError):
            Spelling.from_description(broken)
