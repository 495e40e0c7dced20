"""Two versions on the same test set."""

import json

import pytest


@pytest.fixture
def two(models, poor, good):
    """Version 1 of "en" writes nonsense, version 2 knows the sentence."""
    models("register", poor, "--name", "en")
    models("register", good, "--name", "en", "--promote", "always")


def test_both_hear_the_test_set_and_every_clip_that_changed_is_counted(models, two, test_csv):
    code, out, _ = models("compare", "en/1", "en", "--test_files", test_csv, "--json")
    found = json.loads(out)
    assert code == 0 and (found["a"]["version"], found["b"]["version"]) == ("en/1", "en/2")
    assert found["b"]["wer"] == {"value": 0.0, "low": 0.0, "high": 0.0} and found["a"]["wer"]["value"] >= 1
    assert found["difference"]["wer"]["value"] == -found["a"]["wer"]["value"]
    assert found["difference"]["wer"]["high"] < 0 and found["difference"]["wer"]["p"] < 0.001
    assert found["clips"] == 12 and len(found["changes"]) == 12 and found["drawn"] == "clips"
    assert found["changes"][0]["errors_b"] == 0 and found["changes"][0]["b"] == found["changes"][0]["reference"]
    assert all(found[side]["real_time_factor_on_one_core"] > 0 for side in "ab")
    assert found["b"]["model_bytes"] > found["a"]["model_bytes"] and found["b"]["scorer_bytes"] == 0

    code, out, _ = models("compare", "en/1", "en/2", "--test_files", test_csv)
    assert code == 0 and "B is better than A: more than chance makes" in out
    assert "12 of 12 clips changed: 12 better in B, 0 worse" in out and "2 more; --json lists them" in out


def test_without_a_test_set_it_is_what_they_wrote_when_they_were_registered(models, poor, good, test_csv):
    models("register", poor, "--name", "en", "--test_files", test_csv)
    models("register", good, "--name", "en", "--test_files", test_csv)
    code, out, said = models("compare", "en/2", "en/1")
    assert code == 0 and "A is better than B" in out and "Testing on" not in said


def test_without_any_test_that_both_had_it_is_refused(models, two, test_csv):
    code, _, said = models("compare", "en/1", "en/2")
    assert code == 1 and "were not tested on the same clips" in said and "--test_files" in said


def test_a_model_and_itself_differ_by_nothing(models, two, test_csv):
    out = models("compare", "en/2", "en/2", "--test_files", test_csv)[1]
    assert "B minus A: WER +0.0000 (+0.0000 to +0.0000), p 1" in out and "0 of 12 clips changed" in out


def test_a_damaged_model_is_not_compared(models, two, registry, test_csv):
    registry.version("en", 1).model_path.write_bytes(b"x")
    code, _, said = models("compare", "en/1", "en/2", "--test_files", test_csv)
    assert code == 1 and "damaged or exchanged" in said
