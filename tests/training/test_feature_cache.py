"""A run with the cache of decoded audio is the run without it, and it goes together with augmentation and resume."""

import re
import signal

import pytest
from training.processes import assert_same_end, kill_in, make_corpus, run, run_all, transcripts


@pytest.mark.slow
def test_runs_that_share_a_cache_end_as_one_without_it(tmp_path):
    train = make_corpus(tmp_path / "corpus", transcripts(24), name="train.csv", file_rates=(44100, 8000, 16000))
    dev = make_corpus(tmp_path / "corpus", transcripts(16), seed=99, name="dev.csv", file_rates=(22050,))

    def flags(name: str, *more) -> list:
        return [
            "--train_files",
            train,
            "--dev_files",
            dev,
            "--n_hidden",
            16,
            "--train_batch_size",
            2,
            "--epochs",
            5,
            "--intra_op_parallelism_threads",
            2,
            "--augment",
            "noise",
            "vtlp[p=0.5]",
            "--checkpoint_secs",
            1,
            "--checkpoint_dir",
            tmp_path / name,
            *more,
        ]

    cached = ("--feature_cache", tmp_path / "cache")
    plain, first, second = run_all(
        flags("plain"), flags("first", *cached), flags("second", *cached, "--cache_for_epochs", 2)
    )
    assert plain.code == first.code == second.code == 0, first.err + second.err
    assert_same_end(tmp_path / "plain", tmp_path / "first")
    assert_same_end(tmp_path / "plain", tmp_path / "second")
    stored = int(re.findall(r"I Cache .*/cache: (\d+) clips", first.log)[-1])
    assert stored == 16 + 16  # of 40, the 8 of 16 kHz are read as they are
    assert kill_in("in a step", tmp_path / "third", 1, *flags("third", *cached)).code == -signal.SIGKILL
    third = run(*flags("third", *cached))
    assert third.code == 0 and re.findall(r"I Cache .*/cache: (\d+) clips", third.log) == ["32", "32"]
    assert_same_end(tmp_path / "plain", tmp_path / "third")
