"""A run that resumes with other dev clips, or with early stopping that it did not have before."""

import json
import shutil

import pytest
from training import processes

SHORT = ("--n_hidden", 8, "--learning_rate", 0.01)


@pytest.fixture
def train(corpus, tmp_path):
    """A function that trains in one folder up to an epoch; -> (what was said, the state of the last checkpoint)."""
    csv_path = corpus(["one", "two", "one two"])

    def run(epochs, *flags):
        folder = tmp_path / "run"
        ended = processes.run("--train_files", csv_path, *SHORT, "--checkpoint_dir", folder, "--epochs", epochs, *flags)
        assert ended.code == 0, ended.err
        (newest, *_) = sorted(folder.glob("train-*.json"), reverse=True)
        return ended.err, json.loads(newest.read_text())["state"]["run"]

    return run


def test_other_dev_clips_under_the_same_name_begin_best_figures_and_patience_anew(train, corpus):
    dev, other = corpus(["one", "two"], name="dev.csv"), corpus(["two one", "two"], name="other.csv")
    _, before = train(3, "--dev_files", dev)
    shutil.copy(other, dev)
    said, after = train(4, "--dev_files", dev)
    assert "The dev clips have changed" in said
    assert before["schedule"]["best_epoch"] < 3 and after["schedule"]["best_epoch"] == 3
    assert [len(entry["dev"]) for entry in after["history"]] == [0, 0, 0, 1]  # figures that can be compared
    assert "The dev clips have changed" not in train(5, "--dev_files", dev)[0]


def test_the_same_dev_clips_in_another_place_count_on(train, corpus, tmp_path):
    dev = corpus(["one", "two"], name="dev.csv")
    _, before = train(2, "--dev_files", dev)
    shutil.copytree(tmp_path / "dev_wavs", tmp_path / "moved" / "dev_wavs")
    shutil.copy(dev, tmp_path / "moved" / "renamed.csv")
    said, after = train(3, "--dev_files", tmp_path / "moved" / "renamed.csv")
    assert "The dev clips have changed" not in said
    assert after["schedule"]["best_loss"] <= before["schedule"]["best_loss"]


def test_early_stopping_that_is_added_counts_from_there_and_says_its_own_reason(train, corpus):
    never_better = ("--dev_files", corpus(["one"], name="dev.csv"), "--es_min_delta", 1000)
    _, before = train(3, *never_better)
    assert before["schedule"]["epochs_without_improvement"] == 2
    said, after = train(9, *never_better, "--early_stop", "--es_epochs", 2)
    (advice,) = {line.split("Do:")[1].strip() for line in said.splitlines() if "Do:" in line}
    assert f"I Next      {advice}\n" in said
    assert "--early_stop counts from epoch 4 on" in said
    assert after["epoch"] == 5 and "no better dev loss for 2 epochs" in after["stopped"]
