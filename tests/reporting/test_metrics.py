import json
from functools import cache

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_training.reporting.metrics import Result, SetReport, edit_distance, error_rate

TEXT = st.text("ab ", max_size=7)


def recursive_distance(one: str, other: str) -> int:
    """The definition, read off: the last symbol is inserted, deleted, substituted or kept."""

    @cache
    def distance(i, j):
        if i == 0 or j == 0:
            return i + j
        return min(
            distance(i - 1, j) + 1, distance(i, j - 1) + 1, distance(i - 1, j - 1) + (one[i - 1] != other[j - 1])
        )

    return distance(len(one), len(other))


@given(TEXT, TEXT)
def test_the_edit_distance_is_that_of_its_definition(one, other):
    assert edit_distance(one, other) == recursive_distance(one, other) == edit_distance(other, one)


@given(TEXT, TEXT, TEXT)
def test_the_edit_distance_is_a_metric(a, b, c):
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)
    assert (edit_distance(a, b) == 0) == (a == b)


def result(reference="a b", hypothesis="a b", loss=1.0, name="x.wav") -> Result:
    return Result(name, reference, hypothesis, loss)


def test_words_and_characters_are_counted():
    one = result("the cat sat", "the bat sat down")
    assert (one.word_distance, one.word_length, one.char_length) == (2, 3, 11)
    assert one.char_distance == 6 and one.wer == pytest.approx(2 / 3) and one.cer == pytest.approx(6 / 11)


def test_a_rate_above_one_is_shown_as_it_is():
    assert result("a", "b c d").wer == 3.0
    assert SetReport("s", (result("a", "b c d"), result("b", "b"))).wer == 1.5


@pytest.mark.parametrize(("hypothesis", "wer", "cer"), [("", 0.0, 0.0), ("ab c", 2.0, 4.0)])
def test_an_empty_reference_divides_by_nothing(hypothesis, wer, cer):
    one = result("", hypothesis)
    assert (one.wer, one.cer) == (wer, cer)
    assert error_rate(0, 0) == 0.0


def test_the_rate_of_a_set_is_of_sums_and_no_mean_of_rates():
    report = SetReport("s", (result("a", "b", 2.0), result("a b c d e f g h i", "a b c d e f g h i", 4.0)))
    assert report.wer == 0.1 and report.loss == 3.0
    assert report.cer == pytest.approx(1 / 18)
    empty = SetReport("s", ())
    assert (empty.wer, empty.cer, empty.loss) == (0.0, 0.0, 0.0)


def named(report, count) -> dict[str, list[str]]:
    return {title: [r.wav_filename for r in results] for title, results in report.picked(count).items()}


def test_best_median_and_worst_are_picked_by_wer_and_then_loss():
    report = SetReport(
        "s",
        (
            result("a", "b c", 1.0, "worst"),
            result("a", "a", 5.0, "second"),
            result("a", "a", 2.0, "first"),
            result("a", "b", 9.0, "fourth"),
            result("a", "b", 3.0, "third"),
        ),
    )
    assert named(report, 1) == {"Best": ["first"], "Median": ["third"], "Worst": ["worst"]}
    assert named(report, 2) == {
        "Best": ["first", "second"],
        "Median": ["second", "third"],
        "Worst": ["worst", "fourth"],
    }
    assert named(report, 0) == {"Best": [], "Median": [], "Worst": []}
    assert all(sorted(names) == sorted(r.wav_filename for r in report.results) for names in named(report, 9).values())


def test_the_report_reads_as_deepspeechs_does():
    line, bar = "WER: 0.500000, CER: 0.333333, loss: 7.000000", "-" * 80
    sample = [line, " - wav: x.wav", ' - src: "a b"', ' - res: "a c"']
    expected = [f"Test on t.csv - {line} (1 clips)"]
    for title in ("Best", "Median", "Worst"):
        expected += [bar, f"{title} WER:", bar, *sample]
    expected.insert(1, "Words wrong most often, and what was heard: b 1 (c)")
    report = SetReport("t.csv", (result("a b", "a c", 7.0),))
    assert report.to_text(1) == "\n".join([*expected, bar])
    assert report.to_text(0) == "\n".join([expected[0], bar])


def test_the_report_of_a_scorer_has_the_figures_without_it_beside_its_own():
    results = (
        Result("x.wav", "a b", "a b", 1.0, greedy="c d", without_scorer="a c"),
        Result("y.wav", "a q", "a b", 1.0, greedy="", without_scorer="a q"),
    )
    lines = SetReport("t.csv", results, knows=frozenset("ab").__contains__).to_text(0).splitlines()
    assert [line.split(",")[0] for line in lines[:2]] == ["Test on t.csv - WER: 0.250000", "Without the scorer"]
    assert lines[1] == "Without the scorer, at the same beam width - WER: 0.250000, CER: 0.166667"
    assert lines[2] == "Greedy, without beam and scorer - WER: 1.000000, CER: 0.833333"
    words = SetReport("t.csv", results, knows=frozenset("ab").__contains__).to_text(1)
    assert "Words that the scorer does not know: 1 of 4 - q 1" in words
    beam_alone = tuple(Result("x.wav", "a b", "a b", 1.0, greedy="c d") for _ in range(2))
    assert SetReport("t.csv", beam_alone).comparison(words_too=False) == [
        "Greedy, without beam - WER: 1.000000, CER: 0.666667"
    ]
    assert SetReport("t.csv", (result(),)).comparison(words_too=False) == []


def test_the_output_file_has_deepspeechs_fields():
    assert result("a b", "a c", 7.0).as_dict() == {
        "wav_filename": "x.wav",
        "src": "a b",
        "res": "a c",
        "loss": 7.0,
        "char_distance": 1,
        "char_length": 3,
        "word_distance": 1,
        "word_length": 2,
        "cer": 1 / 3,
        "wer": 0.5,
    }


def test_a_loss_that_is_not_finite_is_null_in_the_output_file():
    assert result(loss=float("nan")).as_dict()["loss"] is None
    assert json.loads(json.dumps(result(loss=float("inf")).as_dict(), allow_nan=False))["loss"] is None


@pytest.mark.parametrize(("wrong", "is_told"), [(2, True), (1, False)])
def test_a_network_that_never_writes_the_first_letter_is_told_from_one_that_is_wrong_elsewhere(wrong, is_told):
    heard = [("left", greedy) for greedy in ("eft", "reft")[:wrong]] + [("left", "lift"), ("right", "right"), ("a", "")]
    heard += [("up", "up"), ("down", "don"), ("stop", "stop")]
    results = tuple(Result("a.wav", text, text, 1.0, greedy) for text, greedy in heard)
    lines = SetReport("t.csv", results).comparison(words_too=False)
    told = f"Nothing but the first letter is wrong in {wrong} of {len(heard)} clips, without beam and scorer: "
    assert any(line.startswith(told) and "--leading_blanks 9" in line for line in lines) == is_told
