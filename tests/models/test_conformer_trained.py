"""A conformer goes through everything that the LSTM goes through: the real program on a few spoken words."""

import json
from pathlib import Path

import numpy as np
import pytest
from training.processes import arrays_of, differing_arrays, kill_in, make_corpus, run, run_state, state_of

from deepspeech_training.audio.files import read_audio
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.commands.main import run as command
from deepspeech_training.console import Console
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.models.reference import softmax
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.stream import to_int16

WORDS = ["on", "no", "one", "ten", "net", "tone"]
SMALL = ["--network", "conformer", "--d_model", 16, "--layers", 2, "--heads", 2, "--kernel", 5]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """The CSV of a few words, and flags that train on them."""
    csv = make_corpus(tmp_path_factory.mktemp("words"), [f"{word} {word}" for word in WORDS], seed=3)
    flags = ["--train_files", csv, "--dev_files", csv, "--train_batch_size", 3, "--dev_batch_size", 3]
    return csv, [*flags, "--learning_rate", 0.01, "--noshow_progressbar"]


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """A run with most of what a training can do: folder of the checkpoints and of the export, and what it said."""
    csv, flags = corpus
    folder = tmp_path_factory.mktemp("conformer")
    more = ["--epochs", 10, "--normalise_features", "--ema", 0.5, "--max_grad_norm", 5, "--weight_decay", 0.01]
    more += ["--augment", "tempo[p=0.2,factor=1~0.3]", "--leading_blanks", 5, "--test_files", csv]
    export = ["--export_dir", folder / "out", "--export_max_wer_increase", 0.5]
    told = run(*SMALL, *flags, *more, *export, "--checkpoint_dir", folder / "run")
    assert told.code == 0, told.err
    return folder / "run", folder / "out", told


def refused(capsys, *flags) -> str:
    assert command("train", [*map(str, flags)]) == 2
    return capsys.readouterr().err


def test_it_trains_validates_tests_and_exports(trained):
    folder, out, told = trained
    assert "d_model 16" in told.log and "Parity on 6 clips" in told.log and "Test on" in told.out
    network = state_of(folder, "best")["network"]
    wanted = {"name": "conformer", "num_classes": 29, "d_model": 16, "layers": 2, "heads": 2, "kernel": 5}
    assert wanted.items() <= network.items() and state_of(folder)["features"]["n_mfcc"] == 40
    history = state_of(folder)["run"]["history"]
    assert history[-1]["train_loss"] < 0.8 * history[0]["train_loss"]
    report = json.loads((out / "parity.json").read_text())
    assert report["models"]["float32"]["transcripts_that_differ"] == []
    assert report["models"]["float32"]["greatest_probability_difference"]["from_equal_features"] < 1e-5


def test_the_exported_model_hears_what_the_checkpoint_does(trained, corpus):
    folder, out, _ = trained
    checkpoint = CheckpointFolder(folder, Console()).load("best")
    audio = read_audio(str(Path(corpus[0]).parent / "clips-00.wav"), sample_rate=16000)
    features = Mfcc(checkpoint.model.features)(with_last_frame(audio, checkpoint.model.features))
    logits = checkpoint.model.network.reference(checkpoint.weights, features)
    found = Model(out / "output_graph.tflite").probabilities(to_int16(audio))
    assert np.abs(found - softmax(logits)).max() < 0.2  # 8 bits


def test_checkpoint_and_export_are_inspected(trained, capsys):
    folder, out, _ = trained
    assert command("inspect", [str(folder)]) in (0, 1)
    said = capsys.readouterr().out
    assert "conformer, num_classes 29, d_model 16" in said and "block_2" in said
    assert command("inspect", [str(out)]) in (0, 1)
    assert "Diagnosis" in capsys.readouterr().out


def test_what_a_checkpoint_fixes_is_refused_and_what_is_left_out_comes_from_it(trained, corpus, capsys):
    folder, (_, flags) = trained[0], corpus
    common = [*flags, "--checkpoint_dir", folder, "--epochs", 11]
    assert "--d_model 256: the checkpoint was trained with 16" in refused(capsys, "--conformer_size", "m", *common)
    assert "--n_hidden: not with --network conformer" in refused(capsys, "--n_hidden", 8, *common)
    told = refused(capsys, "--freeze_layers", "lstm", *common)
    assert "must be some of input, block_1, block_2, output" in told


def test_nothing_of_it_is_reused_in_another_kind_of_network(trained, corpus, tmp_path, capsys):
    folder, (_, flags) = trained[0], corpus
    source = ["--load_checkpoint_dir", folder, "--save_checkpoint_dir", tmp_path / "new", *flags]
    told = refused(capsys, "--network", "deepspeech", "--drop_source_layers", 1, *source)
    assert "--network deepspeech: the checkpoint was trained with conformer" in told
    assert "nothing of one can be used in the other" in told


def test_a_wrong_geometry_is_refused_before_anything_is_read(corpus, tmp_path, capsys):
    _, flags = corpus
    common = [*flags, "--network", "conformer", "--checkpoint_dir", tmp_path]
    assert "--heads 3: must divide --d_model 176" in refused(capsys, "--heads", 3, *common)
    assert "--kernel 4: must be odd" in refused(capsys, "--kernel", 4, *common)
    told = refused(capsys, "--n_steps", 5, "--export_dir", tmp_path / "out", *common)
    assert "--n_steps 5" in told and "multiple of 2" in told


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(corpus, tmp_path):
    _, flags = corpus
    flags = [*SMALL, *flags, "--heads", 2, "--epochs", 6, "--dropout_rate", 0.2]
    flags += ["--augment", "time_mask[p=0.5,start=0.3]", "--cr_ctc", 0.2, "--inter_ctc", 0.3]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(*flags, "--checkpoint_dir", whole).code == 0
    for moment in ("in a step", "in a save"):
        kill_in(moment, killed, 1, *flags, "--checkpoint_dir", killed)
    assert run(*flags, "--checkpoint_dir", killed).code == 0
    assert run_state(whole) == run_state(killed) and differing_arrays(whole, killed) == []


@pytest.mark.slow
def test_its_weights_begin_other_runs_and_are_averaged(trained, corpus, tmp_path, capsys):
    """Another alphabet, a frozen block, 16 bits and two devices; then the average of the checkpoints of that run."""
    folder, (csv, flags) = trained[0], corpus
    (tmp_path / "alphabet.txt").write_text("\n".join([" ", *"enot", "x"]) + "\n")
    new = tmp_path / "new"
    more = ["--load_checkpoint_dir", folder, "--save_checkpoint_dir", new, "--reuse_characters", "--epochs", 2]
    more += ["--alphabet_config_path", tmp_path / "alphabet.txt", "--freeze_layers", "block_1", "--logical_cpus", 2]
    more += ["--automatic_mixed_precision", "--train_batch_size", 2, "--max_to_keep", 2, "--checkpoint_secs", 1]
    told = run("--network", "conformer", *flags, *more)
    assert told.code == 0, told.err
    before, after = arrays_of(folder), arrays_of(new)  # a run of another begins with its last weights
    frozen = [name for name in after if name.startswith("block_1/")]
    assert frozen and all((before[name] == after[name]).all() for name in frozen)
    assert after["output/second/weights"].shape == (16, 7)
    assert (before["block_2/ff_1/expand/weights"] != after["block_2/ff_1/expand/weights"]).any()
    assert command("average", [str(new), "--last", "2", "--output", str(tmp_path / "mean")]) == 0
    test = ["--checkpoint_dir", tmp_path / "mean", "--test_files", csv]
    assert command("test", [*map(str, test)]) == 0
    assert "Test on" in capsys.readouterr().out
