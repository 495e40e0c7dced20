"""validation.json: the best, median and worst clips of a validation."""

import json
from types import SimpleNamespace

import numpy as np

from deepspeech_training.reporting.validated import FILE_NAME, ValidatedClips, read_validated

SAID = "she had your dark suit in greasy wash water all year"


def test_the_best_the_median_and_the_worst_are_kept_with_what_was_heard(tmp_path):
    words = SAID.split()
    samples = [SimpleNamespace(path=f"/data/{number}.wav", content=SAID) for number in range(12)]
    answers = [" ".join(words[: len(words) - number]) for number in range(12)]
    clips = ValidatedClips()
    clips.add(samples[:5], np.arange(5, dtype=np.float32), answers[:5])
    clips.add(samples[5:], np.array([5, 6, 7, 8, 9, 10, np.inf], np.float32), answers[5:])
    clips.write(tmp_path, epoch=3)
    found = read_validated(tmp_path)
    assert (found["epoch"], found["of"]) == (3, 12)
    order = [(clip["part"], clip["wav_filename"]) for clip in found["clips"]]
    numbers = {"best": [0, 1, 2, 3], "median": [4, 5, 6, 7], "worst": [11, 10, 9, 8]}
    assert order == [(part, f"/data/{number}.wav") for part, group in numbers.items() for number in group]
    assert found["clips"][0]["wer"] == 0 and found["clips"][8]["loss"] is None and found["clips"][8]["res"] == ""


def test_a_validation_without_texts_leaves_no_file_and_a_file_of_another_kind_is_none(tmp_path):
    clips = ValidatedClips()
    clips.add([SimpleNamespace(path="a", content="b")], np.zeros(1), [7])
    clips.write(tmp_path, epoch=0)
    assert not (tmp_path / FILE_NAME).exists() and read_validated(tmp_path) is None
    bad = {"part": "other", "wav_filename": "a", "src": "", "res": "", "wer": 0, "cer": 0, "loss": None}
    for text in ("", "[]", "{}", json.dumps({"epoch": 1, "of": 1, "clips": [bad]}), "[" * 100_000):
        (tmp_path / FILE_NAME).write_text(text, encoding="utf-8")
        assert read_validated(tmp_path) is None, text[:20]
