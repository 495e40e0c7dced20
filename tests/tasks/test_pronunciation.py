"""Words to pronunciations and back, the real way: lexicon, training, kill, resume, test, inspection."""

import json
import random
import signal

import pytest
from training.processes import differing_arrays, kill_in, run, run_state

from deepspeech_training import api
from deepspeech_training.checkpoints.inspection import inspect
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.tasks.pronunciation.metrics import WordErrors
from deepspeech_training.tasks.pronunciation.samples import WordSample

SOUNDS = {"a": "ɑː", "b": "b", "c": "k", "d": "d", "e": "ɛ", "sh": "ʃ", "u": "ʊ"}
SMALL = "--mode cpu --d_model 32 --layers 1 --heads 2 --dropout_rate 0 --train_batch_size 16 --learning_rate 0.01"


def lexicon(folder, count: int = 120) -> str:
    """Words that are written as they are spoken, but for sh."""
    letters, rows = random.Random(0), {}
    while len(rows) < count:
        units = letters.choices(list(SOUNDS), k=letters.randint(1, 4))
        rows["".join(units)] = " ".join(SOUNDS[unit] for unit in units)
    path = folder / "words.tsv"
    path.write_text("".join(f"{word}\t{ipa}\n" for word, ipa in rows.items()), encoding="utf-8")
    return str(path)


def test_word_and_phone_error_rates_are_those_of_the_nearest_right_answer():
    right = (("ɹ", "iː", "d"), ("ɹ", "ɛ", "d"))
    sample = WordSample("t:1", "t", 1, "read", "ɹ iː d", (1, 2), (1, 2), right)
    errors = WordErrors()
    for answer in (("ɹ", "ɛ", "d"), ("ɹ", "ɛ", "t", "s"), ()):
        errors.add(sample, answer)
    assert (errors.wrong, errors.words, errors.distance, errors.symbols) == (2, 3, 5, 9)
    assert errors.figures() == {"wer": 2 / 3, "per": 5 / 9}


def refused(*words) -> str:
    """What a training that cannot begin says."""
    given = dict(zip(words[::2], words[1::2], strict=True))
    with pytest.raises(UserError) as error:
        api.train(log_level=3, mode="cpu", **given)
    return str(error.value)


def test_a_transformer_learns_to_pronounce_and_says_what_it_was_trained_on(tmp_path):
    path, folder = lexicon(tmp_path), tmp_path / "run"
    command = ["--task", "word_to_ipa", "--train_files", path, *SMALL.split(), "--dev_share", 0.1, "--epochs", 30]
    trained = run(
        *command, "--test_files", path, "--checkpoint_dir", folder, "--test_output_file", tmp_path / "out.json"
    )
    assert trained.code == 0, trained.err
    for figures in ("train 108 pairs", "dev 12 words", "given 8 letters", "wanted 7 spaced phones"):
        assert figures in " ".join(trained.log.split())
    entries = json.loads((tmp_path / "out.json").read_text())
    assert len(entries) == 120 and 0 < entries[0]["answers"][0]["probability"] <= 1
    right = sum(entry["answers"][0]["text"] in entry["right"] for entry in entries)
    assert right > 90 and f"WER: {1 - right / 120:.6f}" in trained.out
    inspected = inspect(folder, console=Console())
    assert inspected.facts["network"]["name"] == "transformer" and inspected.history[0].number == 1

    of_words = ("task", "word_to_ipa", "train_files", path, "checkpoint_dir")
    other = str(tmp_path / "other")
    said = refused(*of_words, other, "network", "conformer")
    assert "--network conformer: not with --task word_to_ipa" in said
    assert "--augment: not with --task word_to_ipa" in refused(*of_words, other, "augment", ["gain"])
    assert "--d_model 36: must be" in refused(*of_words, other, "d_model", 36, "heads", 8)
    (tmp_path / "more.tsv").write_text("xabc\tk\n", encoding="utf-8")
    said = refused("train_files", [path, tmp_path / "more.tsv"], "checkpoint_dir", folder)
    assert "more.tsv, row 1: " in said and "the checkpoint does not know: 'x'" in said


@pytest.mark.slow
@pytest.mark.parametrize(("task", "network"), [("word_to_ipa", "transformer"), ("ipa_to_word", "lstm")])
def test_a_killed_training_ends_with_the_weights_of_one_that_was_not(tmp_path, task, network):
    path, sizes = lexicon(tmp_path, 60), {"transformer": ["--d_model", 16, "--layers", 1], "lstm": ["--n_hidden", 16]}
    command = ["--task", task, "--network", network, *sizes[network], "--train_files", path, "--epochs", 8]
    command += ["--train_batch_size", 8, "--checkpoint_secs", 1, "--dropout_rate", 0.2]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(*command, "--checkpoint_dir", whole).code == 0
    for moment in ("in a step", "in a validation"):
        ended = kill_in(moment, killed, 1, *command, "--checkpoint_dir", killed)
        assert ended is None or ended.code == -signal.SIGKILL
    assert run(*command, "--checkpoint_dir", killed).code == 0
    for kind in ("train", "best"):
        assert run_state(killed, kind) == run_state(whole, kind)
        assert differing_arrays(killed, whole, kind) == []
    tested = run("--test_files", path, "--checkpoint_dir", whole, "--test_output_file", tmp_path / "out.json")
    assert tested.code == 0 and "WER" in tested.out
    entries = json.loads((tmp_path / "out.json").read_text())
    assert {"source", "right", "answers", "greedy", "loss"} <= entries[0].keys()
