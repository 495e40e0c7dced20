import json
import sys
from dataclasses import asdict

import numpy as np
import pytest
from checkpoints.tensor_bundle import model_arrays, write_bundle
from models.small_models import random_model, random_weights

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.checkpoints.transfer import Transfer
from deepspeech_training.commands.main import run
from deepspeech_training.config import FLAGS, Config, as_dict
from deepspeech_training.console import Console
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.training.loop import RunState

NETWORK = DeepSpeech(num_classes=29, n_hidden=8)


def exported(quantize: bool) -> bytes:
    return random_model(n_hidden=NETWORK.n_hidden, quantize=quantize)


def history_entry(epoch: int, train_loss: float, dev_loss: float, cer: float) -> dict:
    dev = [{"name": "dev.csv", "loss": dev_loss, "wer": min(1.0, 2 * cer), "cer": cer, "clips": 10}]
    return {"epoch": epoch, "train_loss": train_loss, "dev": dev, "metrics": [], "seconds": 60.0}


def save(
    folder, *, kind="train", epochs_done=3, epochs=75, losses=None, weights=None, transfer=None, flags=None, **run
) -> None:
    """Write a checkpoint as the trainer does, with a history of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    losses = losses or [90 * 0.8**n for n in range(epochs_done)]
    state = RunState(learning_rate=0.001, epoch=epochs_done, step=100 * epochs_done, updates=100 * epochs_done)
    state.history = [history_entry(n, losses[n], losses[n], min(1.0, losses[n] / 90)) for n in range(epochs_done)]
    state.schedule.best_epoch, state.schedule.best_loss = epochs_done - 1, losses[epochs_done - 1]
    state.schedule.best_figures = {"loss": losses[epochs_done - 1], "wer": 1.0, "cer": 0.5}
    described = {
        "version": "0",
        "task": "speech_to_text",
        "alphabet": list(Alphabet.english().characters),
        "features": asdict(FeatureGeometry()),
        "network": asdict(NETWORK),
        "precision": "float32",
        "run": state.as_json() | run,
        "flags": as_dict(Config()) | {"epochs": epochs} | (flags or {}),
        "transfer": transfer and transfer.as_json(),
        "saved_at": 1.7e9,
        "data": [{"set": "train", "csv": "train.csv", "clips": 10, "hours": 0.1, "characters": 99, "fingerprint": "0"}],
    }
    checkpoints = CheckpointFolder(folder, Console())
    arrays = weights or random_weights(NETWORK)
    if kind == "best":
        checkpoints.save_best(state.step, described, lambda: arrays)
    else:
        checkpoints.save(state.step, described, lambda: arrays, max_to_keep=5)


def inspected(capsys, *argv) -> tuple[int, dict]:
    code = run("inspect", [*map(str, argv), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_where_the_weights_came_from_is_told(tmp_path, capsys):
    save(tmp_path / "run", transfer=Transfer("old/train-7.json", 7, NETWORK.groups, drop_source_layers=1))
    assert run("inspect", [str(tmp_path / "run")]) == 0
    told = capsys.readouterr().out
    assert "Began     with the weights of old/train-7.json (step 7) without layer_6\n" in told


def test_a_checkpoint_is_described_and_diagnosed(tmp_path, capsys):
    save(tmp_path / "run")
    code, found = inspected(capsys, tmp_path / "run")
    assert code == 0 and found["kind"] == "checkpoint" and found["path"].endswith("train-000000300.json")
    assert {file["name"]: file["bytes"] > 1000 for file in found["files"]} == {
        "train-000000300.json": True,
        "train-000000300.safetensors": True,
    }
    training = found["training"]
    assert (training["epoch"], training["epochs"], training["step"], training["updates"]) == (3, 75, 300, 300)
    assert training["saved_at"] == 1.7e9 and training["seconds"] == 180 and training["learning_rate"] == 0.001
    assert found["data"][0]["clips"] == 10 and len(found["alphabet"]) == 28
    assert found["parameters"] == NETWORK.num_parameters
    assert [entry["name"] for entry in found["weights"]] == list(NETWORK.weight_shapes())
    assert found["answers"]["difference"] > 0.01 and set(found["answers"]["dead"]) == {
        "layer_1",
        "layer_2",
        "layer_3",
        "layer_5",
    }
    assert found["diagnosis"]["verdict"] == "undertrained" and not found["diagnosis"]["healthy"]


def test_the_words_say_what_the_json_says(tmp_path, capsys):
    save(tmp_path / "run")
    assert run("inspect", [str(tmp_path / "run")]) == 0
    text = capsys.readouterr().out
    for words in (
        "after epoch 3 of 75, step 300",
        "learning rate 0.001",
        "28 characters: space a b c",
        "n_hidden 8",
        "train.csv",
        "saved at epoch 3 of 75, and the run has not finished: undertrained",
        "in 8 bits",
        "trained for 3:00 min",
    ):
        assert words in text, words


def test_strict_ends_with_1_where_it_is_not_healthy(tmp_path, capsys):
    save(tmp_path / "young")
    assert run("inspect", [str(tmp_path / "young"), "--strict"]) == 1
    losses = [90 * 0.8**n for n in range(25)] + [0.3] * 25
    save(tmp_path / "grown", epochs_done=50, epochs=50, losses=losses, stopped="all 50 epochs are done")
    assert run("inspect", [str(tmp_path / "grown"), "--strict"]) == 0
    assert "HEALTHY" in capsys.readouterr().out


def test_of_a_folder_the_best_is_inspected_with_the_history_of_the_whole_run(tmp_path, capsys):
    losses = [90 * 0.8**n for n in range(25)] + [0.3] * 25
    save(tmp_path, kind="best", epochs_done=10, epochs=50, losses=losses)
    _, found = inspected(capsys, tmp_path)
    assert len(found["history"]) == 10 and found["diagnosis"]["verdict"] == "undertrained"
    save(tmp_path, epochs_done=50, epochs=50, losses=losses, stopped="all 50 epochs are done")
    _, found = inspected(capsys, tmp_path)
    assert found["path"].endswith("best-000001000.json") and len(found["history"]) == 50
    assert found["training"]["stopped"] == "all 50 epochs are done" and found["diagnosis"]["verdict"] == "healthy"
    _, found = inspected(capsys, tmp_path, "--which", "last")
    assert found["path"].endswith("train-000005000.json")
    _, found = inspected(capsys, tmp_path / "best-000001000.safetensors")
    assert found["path"].endswith("best-000001000.json")


def test_weights_that_are_not_finite_are_counted(tmp_path, capsys):
    weights = random_weights(NETWORK)
    weights["lstm/bias"] = np.array([np.nan, np.inf] + [0] * 30, np.float32)
    save(tmp_path / "run", weights=weights)
    code, found = inspected(capsys, tmp_path / "run", "--strict")
    assert code == 1 and found["diagnosis"]["verdict"] == "broken" and found["answers"] is None
    assert {e["name"]: e["not_finite"] for e in found["weights"] if e["not_finite"]} == {"lstm/bias": 2}
    assert run("inspect", [str(tmp_path / "run")]) == 0 and "2 weights are NaN or infinite" in capsys.readouterr().out


def test_a_network_whose_units_are_dead_is_told(tmp_path, capsys):
    weights = random_weights(NETWORK) | {"layer_3/bias": np.full(8, -1e6, np.float32)}
    save(tmp_path / "run", weights=weights)
    _, found = inspected(capsys, tmp_path / "run")
    assert found["answers"]["dead"]["layer_3"] == 1.0 and found["diagnosis"]["verdict"] == "collapsed"
    assert "all units of layer_3 are dead" in json.dumps(found["diagnosis"])


def test_an_export_is_inspected(tmp_path, capsys):
    path = tmp_path / "model.tflite"
    for quantize in (False, True):
        path.write_bytes(exported(quantize))
        _, found = inspected(capsys, tmp_path)
        assert found["kind"] == "export" and found["path"] == str(path) and len(found["alphabet"]) == 28
        assert (found["network"]["state"], found["network"]["stride"]) == (16, 1) and found["answers"][
            "difference"
        ] > 0.01
        layer_1 = next(entry for entry in found["weights"] if entry["name"] == "layer_1/weights")
        assert layer_1["deviation"] == pytest.approx(float(random_weights(NETWORK)["layer_1/weights"].std()), rel=0.01)


def test_the_estimate_of_the_export_is_near_the_size(tmp_path):
    for quantize in (False, True):
        assert NETWORK.export_bytes(quantized=quantize) == pytest.approx(len(exported(quantize)), rel=0.1)


def test_deepspeechs_checkpoint_is_inspected(tmp_path, capsys):
    network = DeepSpeech(num_classes=29, n_hidden=8)
    write_bundle(tmp_path / "train-70", model_arrays(network))
    code, found = inspected(capsys, tmp_path)
    assert code == 0 and found["kind"] == "TensorFlow 1 checkpoint"
    assert found["training"]["step"] == 70 and found["parameters"] == network.num_parameters
    assert run("inspect", [str(tmp_path / "train-70.index")]) == 0 and "at step 70" in capsys.readouterr().out


def test_deepspeechs_own_checkpoint_and_export_answer_alike(test_data, capsys):
    clip = test_data / "ldc93s1/LDC93S1.wav"
    for path in ("ckpt_n100_nodrop", "output_graph_nodrop.tflite"):
        _, found = inspected(capsys, test_data / "golden" / path, "--clip", clip)
        assert found["answers"]["text"] == "she had your dark suit in greasy wash water all year"
        assert found["diagnosis"]["verdict"] == "healthy"


def test_how_the_weights_were_trained_is_told(tmp_path, capsys):
    transfer = Transfer("old/train-7.json", 7, NETWORK.groups)
    flags = {
        "freeze_layers": ["layer_1"],
        "source_learning_rate_factor": 0.1,
        "ema": 0.99,
        "leading_blanks": 9,
        "lr_schedule": "cosine",
        "weight_decay": 0.01,
    }
    save(tmp_path / "run", transfer=transfer, flags=flags)
    assert run("inspect", [str(tmp_path / "run")]) == 0
    assert (
        "Trained   with --leading_blanks 9 --lr_schedule cosine --weight_decay 0.01 --ema 0.99 "
        "--freeze_layers layer_1 --source_learning_rate_factor 0.1\n"
    ) in capsys.readouterr().out
    _, found = inspected(capsys, tmp_path / "run")
    assert {name: found["training"]["flags"][name] for name in flags} == flags
    assert found["training"]["flags"].keys() == {name for name, flag in FLAGS.items() if flag.describes_training}
    save(tmp_path / "plain")
    assert run("inspect", [str(tmp_path / "plain")]) == 0 and "Trained" not in capsys.readouterr().out


def test_an_average_says_what_it_is_of_and_has_no_figures(tmp_path, capsys):
    losses = [90 * 0.8**n for n in range(8)]
    for number in (7, 8):
        weights = random_weights(NETWORK) | {"layer_6/bias": np.full(29, number, np.float32)}
        save(tmp_path / "run", epochs_done=number, epochs=8, losses=losses, weights=weights)
    assert run("average", [str(tmp_path / "run"), "--last", "2", "--output", str(tmp_path / "mean")]) == 0
    capsys.readouterr()
    _, found = inspected(capsys, tmp_path / "mean")
    paths = [str(tmp_path / f"run/train-00000{step}.json") for step in ("0700", "0800")]
    training = found["training"]
    assert training["average_of"] == paths
    assert (training["train_loss"], training["dev"], training["best_epoch"], training["best_figures"]) == (
        None,
        [],
        None,
        None,
    )
    assert found["diagnosis"]["verdict"] == "unknown"
    assert run("inspect", [str(tmp_path / "mean")]) == 0
    text = capsys.readouterr().out
    assert "best-000000800.json: an average of checkpoints\n" in text and all(path in text for path in paths)
    assert "Losses    not known" in text and "Best " not in text and "with --epochs" not in text
    assert f"these are of the run up to {paths[1]}, none is the average's" in text


def test_the_export_of_an_average_does_not_advise_to_go_on_in_its_folder(tmp_path, capsys):
    save(tmp_path / "run")
    assert run("average", [str(tmp_path / "run"), "--last", "1", "--output", str(tmp_path / "mean")]) == 0
    said = {}
    for name in ("run", "mean"):
        export = ["--checkpoint_dir", str(tmp_path / name), "--export_dir", str(tmp_path / f"{name}-export")]
        assert run("export", export) == 0
        said[name] = capsys.readouterr().err
    assert "UNDERTRAINED" in said["run"] and "resume: the same command" in said["run"]
    assert "Diagnosis: UNKNOWN" in said["mean"] and "the average of 1 checkpoint" in said["mean"]
    assert "UNDERTRAINED" not in said["mean"] and "resume: the same command" not in said["mean"]


def test_what_cannot_be_inspected_is_told(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("x")
    save(tmp_path / "deeper/run")
    for path, words in (
        ("empty", "no usable checkpoint or export"),
        ("notes.txt", "neither a checkpoint nor an exported model"),
        ("nowhere", "no such file or folder"),
        ("deeper", "One of these?"),
    ):
        assert run("inspect", [str(tmp_path / path)]) == 1
        assert words in capsys.readouterr().err
    (tmp_path / "bad.tflite").write_bytes(b"TFL3" * 10)
    assert run("inspect", [str(tmp_path / "bad.tflite")]) == 1
    assert run("inspect", [str(tmp_path / "deeper/run"), "--clip", str(tmp_path / "notes.txt")]) == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("key", ["run", "flags", "network", "alphabet", "weights_file", "features", "version"])
def test_a_state_that_lacks_something_is_damaged_not_a_traceback(tmp_path, capsys, key):
    from deepspeech_training.checkpoints.file import read_state, write_state

    save(tmp_path)
    path = tmp_path / "train-000000300.json"
    state = read_state(path)
    for value in (None, {"n_hidden": "x"}, 7):
        write_state(path, {**state, key: value} if value is not None else {k: v for k, v in state.items() if k != key})
        code = run("inspect", [str(path)])
        assert code == 1 or key == "version"
    assert "not the state of a checkpoint" in capsys.readouterr().err or key == "version"


def test_a_damaged_best_is_named_and_the_last_inspected(tmp_path, capsys):
    save(tmp_path)
    (tmp_path / "best-000000200.json").write_text("{")
    code, found = inspected_with_stderr(capsys, tmp_path)
    assert code == 0 and found["path"].endswith("train-000000300.json")


def inspected_with_stderr(capsys, *argv) -> tuple[int, dict]:
    code = run("inspect", [*map(str, argv), "--json"])
    captured = capsys.readouterr()
    assert "Damaged checkpoint" in captured.err
    return code, json.loads(captured.out)


def test_our_own_files_need_no_tensorflow(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    save(tmp_path)
    assert run("inspect", [str(tmp_path)]) == 0 and "UNDERTRAINED" in capsys.readouterr().out
