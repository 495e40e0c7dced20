"""The estimator against lmplz: golden ARPA files everywhere, the program itself where it can be built."""

import subprocess

import numpy as np
import pytest
from scorer.arpa_text import read_arpa

from deepspeech_training.alphabet import ByteAlphabet
from deepspeech_training.console import Console
from deepspeech_training.data.text import Cleaner
from deepspeech_training.scorer.kneser_ney import MAX_ORDER, count_ngrams, estimate
from deepspeech_training.scorer.vocabulary import Corpus, TextSource

TOLERANCE = 1e-5  # of log10


def estimated(path, order, prune=()):
    corpus = Corpus.read(TextSource((str(path),), cleaner=Cleaner(ByteAlphabet(), case="keep")).sentences(Console()))
    return estimate(corpus.tokens, corpus.vocabulary, order=order, prune=prune, console=Console())


def assert_same_model(ours, theirs):
    assert ours.vocabulary == theirs.vocabulary and ours.counts == theirs.counts
    for own, other in zip(ours.orders, theirs.orders, strict=True):
        np.testing.assert_array_equal(own.words, other.words)
        np.testing.assert_allclose(own.log10_prob, other.log10_prob, rtol=0, atol=TOLERANCE)
        np.testing.assert_allclose(own.log10_backoff, other.log10_backoff, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(("name", "order", "prune"), [("order3", 3, ()), ("order5_pruned", 5, (0, 0, 1))])
def test_the_model_of_the_golden_text_is_that_of_lmplz(golden, name, order, prune):
    assert_same_model(estimated(golden / "text.txt", order, prune), read_arpa(golden / f"{name}.arpa"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "order", "prune"),
    [
        *(("lm-corpus.en.txt", order, prune) for order in (2, 3, 4, 5) for prune in ((), (0, 0, 1)[:order])),
        ("pride-and-prejudice.txt", 6, (0, 1, 1, 2)),
        ("commonvoice-sentences.id.txt", 4, (2, 3)),
    ],
    ids=str,
)
def test_the_model_of_a_corpus_is_that_of_lmplz(kenlm_bins, test_data, tmp_path, name, order, prune):
    text = test_data / "text" / name
    command = [
        kenlm_bins / "lmplz",
        "--order",
        str(order),
        "--memory",
        "500M",
        "--temp_prefix",
        tmp_path,
        "--text",
        text,
        "--arpa",
        tmp_path / "lm.arpa",
        "--discount_fallback",
    ]
    subprocess.run([*command, *(["--prune", *map(str, prune)] if prune else [])], capture_output=True, check=True)
    assert_same_model(estimated(text, order, prune), read_arpa(tmp_path / "lm.arpa"))


def model_of(text, tmp_path, order, prune=()):
    path = tmp_path / "text.txt"
    path.write_text(text, encoding="utf-8")
    return estimated(path, order, prune)


@pytest.mark.parametrize("text", ["one\n", "a b c\n\na b\n", "\nx\n"])
@pytest.mark.parametrize("order", range(1, MAX_ORDER + 1))
def test_tiny_texts_need_no_flag_and_give_a_distribution(tmp_path, text, order):
    model = model_of(text, tmp_path, order)
    unigrams = model.orders[0]
    total = np.sum(
        10.0 ** np.delete(unigrams.log10_prob.astype(np.float64), 1)
    )  # all but <s>, which is never predicted
    assert abs(total - 1) < 1e-6
    assert all(np.isfinite(ngrams.log10_prob).all() for ngrams in model.orders)


@pytest.mark.parametrize("prune", [(), (0, 1), (1, 1, 2)], ids=str)
def test_the_words_after_each_context_have_a_sum_of_one(golden, prune):
    model = estimated(golden / "text.txt", 3, prune)
    table = {}
    for ngrams in model.orders:
        for words, prob, backoff in zip(ngrams.words.tolist(), ngrams.log10_prob, ngrams.log10_backoff, strict=True):
            table[tuple(words)] = (10.0 ** float(prob), 10.0 ** float(backoff))

    def probability(words):
        if words in table:
            return table[words][0]
        return table.get(words[:-1], (0, 1))[1] * probability(words[1:])

    contexts = [words for words in table if len(words) == 2 and words[-1] != 2][:40]
    numbers = [number for number in range(len(model.vocabulary)) if number != 1]
    for context in contexts:
        assert sum(probability((*context, word)) for word in numbers) == pytest.approx(1, abs=1e-5)


def test_counts_are_those_of_counting_one_by_one(golden):
    corpus = Corpus.read(TextSource((str(golden / "text.txt"),)).sentences(Console()))
    counted = count_ngrams(corpus.tokens, len(corpus.vocabulary), order=3, console=Console())
    expected: dict[tuple, int] = {}
    sentence: list[int] = []
    for token in corpus.tokens.tolist():
        sentence = [token] if token == 1 else [*sentence, token]
        if len(sentence) >= 3:
            expected[tuple(sentence[-3:])] = expected.get(tuple(sentence[-3:]), 0) + 1
    bigrams = list(zip(counted[1].first_word, counted[1].suffix, strict=True))  # a suffix of one word is the word
    found = {
        (first, *bigrams[suffix]): count
        for first, suffix, count in zip(counted[2].first_word, counted[2].suffix, counted[2].occurrences, strict=True)
    }
    assert found == expected
    assert [words[::-1] for words in found] == sorted(words[::-1] for words in found)
    assert [bigrams[row] for row in counted[2].context] == [words[:2] for words in found]


@pytest.mark.parametrize(("order", "prune"), [(0, ()), (7, ()), (2, (0, 0, 1)), (3, (0, 2, 1)), (2, (-1,))])
def test_an_impossible_order_or_threshold_is_refused(golden, order, prune):
    with pytest.raises(ValueError, match=r"order|threshold"):
        estimated(golden / "text.txt", order, prune)


def test_small_texts_say_once_which_orders_have_fixed_discounts(golden, capsys):
    estimated(golden / "text.txt", 3)
    (line,) = capsys.readouterr().err.splitlines()
    assert "order 1:" in line and "--discount_fallback" in line
