"""A run with every augmentation that is killed ends with the same bits, however many threads read for it."""

import random
import re
import signal

import numpy as np
import pytest
import soundfile
from training.processes import (
    arrays_of,
    assert_log_is_whole,
    assert_same_end,
    differing_arrays,
    kill_in,
    make_corpus,
    run,
    run_all,
    run_state,
    transcripts,
)

from deepspeech_training.augment.catalogue import AUGMENTATIONS

EPOCHS = 8


def every_augmentation(folder) -> list[str]:
    """A `--augment` for each kind and domain there is, with values that change over the run."""
    folder.mkdir()
    for number in range(3):
        recording = 0.1 * np.random.default_rng(number).standard_normal(4000 + 1000 * number)
        soundfile.write(folder / f"{number}.wav", recording, 16000)
    changing = {
        "noise": "snr=40:10~5,slope=-3:3~2",
        "gain": "db=0:-10~10",
        "pitch": "pitch=1:1.1~0.1",
        "tempo": "factor=1:1.1~0.1",
        "frequency_mask": "n=1:4,size=1:5",
        "add": "stddev=0:0.1",
        "multiply": "stddev=0:0.1",
        "vtlp": "factor=1:1~0.12",
    }
    words = []
    for name, kind in AUGMENTATIONS.items():
        parameters = ["p=0.3", *([changing[name]] if name in changing else [])]
        parameters += [f"source={folder}"] if "source" in kind.parameters else []
        words += ["--augment", f"{name}[{','.join(parameters)}]"]
        words += [f"{name}[p=0.2,domain={domain}]" for domain in kind.domains[1:] if name not in ("add", "multiply")]
    return words


@pytest.mark.slow
def test_a_run_with_averages_a_cosine_decay_and_normalisation_that_is_killed_ends_with_the_same_bits(tmp_path):
    train = make_corpus(tmp_path / "corpus", transcripts(24), name="train.csv")
    dev = make_corpus(tmp_path / "corpus", transcripts(16), seed=99, name="dev.csv")

    def flags(folder, *more) -> list:
        return [
            "--train_files",
            train,
            "--dev_files",
            dev,
            "--n_hidden",
            16,
            "--train_batch_size",
            2,
            "--learning_rate",
            0.01,
            "--epochs",
            EPOCHS,
            "--intra_op_parallelism_threads",
            2,
            "--checkpoint_secs",
            1,
            "--checkpoint_dir",
            folder,
            "--dropout_rate",
            0.2,
            "--logical_cpus",
            2,
            "--ema",
            0.9,
            "--lr_schedule",
            "cosine",
            "--warmup_epochs",
            1.5,
            "--leading_blanks",
            3,
            "--weight_decay",
            0.1,
            "--normalise_features",
            "--augment",
            "gain[db=-5~10]",
            "--augment",
            "noise[p=0.7]",
            "--augment",
            "vtlp[factor=1~0.12]",
            *more,
        ]

    folder, chance, kills = tmp_path / "killed", random.Random(3), 0
    for moment in ("in a step", "in a save", "in a validation"):
        kills += kill_in(moment, folder, chance.randrange(1, 3), *flags(folder)) is not None
    assert kills >= 2
    again, undisturbed = run_all(flags(folder), flags(tmp_path / "unbroken", "--test_files", dev))
    assert again.code == 0 and undisturbed.code == 0, again.err
    assert_same_end(tmp_path / "unbroken", folder)
    assert_log_is_whole(folder, EPOCHS)
    arrays = arrays_of(folder)
    assert {name.split("/")[0] for name in arrays} >= {"trained", "ema", "normalisation"}
    assert not np.array_equal(arrays["lstm/kernel"], arrays["trained/lstm/kernel"])
    rates = [entry["learning_rate"] for entry in run_state(folder)["history"]]
    assert rates[0] < 0.01 and rates[1] > 0.009 and rates[1:] == sorted(rates[1:], reverse=True) and rates[-1] < 1e-4
    tested = float(re.search(r"loss: ([0-9.]+)", undisturbed.out)[1])  # the folded averages, as they are exported
    best = min(run_state(folder)["history"], key=lambda entry: (entry["dev"][0]["cer"], entry["dev"][0]["loss"]))
    assert tested == pytest.approx(best["dev"][0]["loss"], rel=1e-3)
    refused = run(*flags(folder, "--nonormalise_features"))
    assert refused.code == 2 and "--normalise_features false: the checkpoint was trained with true" in refused.log


@pytest.mark.slow
def test_a_run_with_every_augmentation_that_is_killed_ends_with_the_same_bits(tmp_path):
    train = make_corpus(tmp_path / "corpus", transcripts(24), name="train.csv")
    dev = make_corpus(tmp_path / "corpus", transcripts(16), seed=99, name="dev.csv")
    augment = every_augmentation(tmp_path / "noise")

    def flags(folder, *more) -> list:
        return [
            "--train_files",
            train,
            "--dev_files",
            dev,
            "--n_hidden",
            16,
            "--train_batch_size",
            2,
            "--learning_rate",
            0.01,
            "--epochs",
            EPOCHS,
            "--intra_op_parallelism_threads",
            2,
            "--checkpoint_secs",
            1,
            "--checkpoint_dir",
            folder,
            *augment,
            *more,
        ]

    folder, chance, kills = tmp_path / "killed", random.Random(7), 0
    for number, moment in enumerate(("in a step", "in a save", "in a validation")):
        killed = kill_in(moment, folder, chance.randrange(1, 2), *flags(folder, "--loader_threads", 1 + number))
        if killed is None:
            break
        assert killed.code == -signal.SIGKILL
        kills += 1
    assert kills >= 2
    again, undisturbed = run_all(flags(folder), flags(tmp_path / "unbroken", "--loader_threads", 7))
    assert again.code == 0 and undisturbed.code == 0, again.err
    assert_same_end(tmp_path / "unbroken", folder)
    assert_log_is_whole(folder, EPOCHS)
    plain = run(*flags(tmp_path / "plain")[: -len(augment)])
    assert plain.code == 0 and differing_arrays(tmp_path / "unbroken", tmp_path / "plain")


def test_a_wrong_augmentation_and_a_source_that_is_not_there_are_told_before_training(tmp_path):
    train = make_corpus(tmp_path, transcripts(2), name="train.csv")
    flags = ["--train_files", train, "--checkpoint_dir", tmp_path / "checkpoints", "--augment"]
    wrong, missing = run_all([*flags, "gain[p=7]"], [*flags, f"noise[source={tmp_path / 'none'}]"])
    assert wrong.code == missing.code == 2
    assert wrong.log.endswith("E --augment gain[p=7]: p=7 must be at least 0 and at most 1; the nearest is 1")
    assert (
        f"noise[p=1,snr=30~20,slope=0,source={tmp_path / 'none'}]: {tmp_path / 'none'}: there is no such" in missing.log
    )
    assert "tensorflow" not in missing.err.lower()


@pytest.mark.slow
def test_what_has_no_effect_or_has_changed_is_said(tmp_path):
    csv = make_corpus(tmp_path / "corpus", transcripts(4))
    noise = tmp_path / "noise"
    noise.mkdir()
    soundfile.write(noise / "a.wav", 0.1 * np.random.default_rng(1).standard_normal(4000), 16000)
    flags = (
        "--train_files",
        csv,
        "--n_hidden",
        8,
        "--train_batch_size",
        2,
        "--checkpoint_dir",
        tmp_path / "run",
        "--augment",
        f"noise[source={noise}]",
        "--augment",
        "resample[rate=16000]",
        "--lr_schedule",
        "cosine",
        "--warmup_epochs",
        1,
        "--weight_decay",
        0.1,
        "--ema",
        0.9,
    )
    first = run(*flags, "--epochs", 1)
    assert first.code == 0, first.err
    assert "resample[p=1,rate=16000]: no effect, since only a rate below --audio_sample_rate 16000" in first.log
    assert "0.001 falling along a cosine after 1 epochs of warm-up" in first.log
    assert "weight decay 0.1, average of the weights 0.9" in first.log and "all of them trained" in first.log
    same = run(*flags, "--epochs", 2)
    assert same.code == 0 and "others than before" not in same.log
    soundfile.write(noise / "b.wav", 0.1 * np.random.default_rng(2).standard_normal(4000), 16000)
    other = run(*flags, "--epochs", 3)
    assert other.code == 0 and f"The recordings of --augment in {noise} are others than before" in other.log
