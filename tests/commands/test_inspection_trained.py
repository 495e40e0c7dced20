"""The diagnosis of models that have really been trained, each in the way that its name says."""

import json

import pytest
from training.processes import make_corpus, run

from deepspeech_training.commands.main import run as command

pytestmark = pytest.mark.slow
WORDS = ["she", "had", "your", "dark", "suit", "water", "all", "year"]


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpora")
    texts = [" ".join(WORDS[(3 * i + k) % 8] for k in range(1 + i % 2)) for i in range(64)]
    return {
        "train": make_corpus(folder / "train", texts),
        "dev": make_corpus(folder / "dev", texts[:16], seed=1000),
        "few": make_corpus(folder / "few", ["she had", "your dark", "oily rag", "ask me"]),
        "others": make_corpus(folder / "others", ["greasy wash", "carry that", "all year", "do not"], seed=100),
    }


def diagnosis(capsys, corpora, folder, train, dev, *flags) -> dict:
    run(
        "--train_files",
        corpora[train],
        "--dev_files",
        corpora[dev],
        "--checkpoint_dir",
        folder,
        "--n_hidden",
        48,
        "--train_batch_size",
        8,
        "--dev_batch_size",
        16,
        *flags,
    )
    code = command("inspect", [str(folder), "--json", "--strict"])
    found = json.loads(capsys.readouterr().out)["diagnosis"]
    assert (code == 0) == found["healthy"]
    return found


def test_a_model_that_writes_its_words_is_healthy(capsys, corpora, tmp_path):
    found = diagnosis(capsys, corpora, tmp_path, "train", "dev", "--epochs", 120, "--learning_rate", 0.003)
    assert found["verdict"] == "healthy", found


def test_three_epochs_are_undertrained(capsys, corpora, tmp_path):
    found = diagnosis(capsys, corpora, tmp_path, "train", "dev", "--epochs", 3)
    assert found["verdict"] == "undertrained"
    assert "saved at epoch 3 of 3: all epochs are done, and the loss was still falling" in found["findings"][0]["what"]


def test_four_clips_learnt_by_heart_are_overfitted(capsys, corpora, tmp_path):
    found = diagnosis(
        capsys, corpora, tmp_path, "few", "others", "--epochs", 150, "--learning_rate", 0.003, "--dropout_rate", 0
    )
    assert found["verdict"] == "overfitted" and "the best is kept" in found["findings"][0]["what"]


def test_a_rate_that_is_much_too_high_has_collapsed(capsys, corpora, tmp_path):
    found = diagnosis(capsys, corpora, tmp_path, "train", "dev", "--epochs", 5, "--learning_rate", 1)
    assert found["verdict"] == "collapsed"
