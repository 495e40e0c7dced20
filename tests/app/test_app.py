"""`deepspeech app`: it trains where there is no model, serves where there is one, and says what it waits for."""

import signal
import time

import pytest
from app.app_process import FLAGS, App, make_volume, run_folder
from models.small_models import random_model
from training.processes import events, transcripts

QUICK = (*FLAGS, "--log_level 1")


def test_an_empty_volume_is_waited_for_and_data_that_comes_is_trained_on_and_served(start_app, tmp_path):
    app = start_app("--data", tmp_path)
    status = app.until_phase("waiting")
    app.until(lambda: "train.csv" in app.status["message"])
    assert app.get("/live").status_code == 200 and status["model_loaded"] is False
    refused = app.get("/ready")
    assert refused.status_code == 503 and refused.json()["status"] == "waiting"
    answer = app.get("/health").json()
    assert answer["status"] == "waiting" and answer["device"] == "cpu"

    make_volume(tmp_path)
    app.until_ready()
    status = app.until_phase("serving")
    assert [model["name"] for model in status["models"]] == ["speech"]
    assert status["run"]["epoch"] == 3 and status["run"]["share_done"] == 1.0 and len(status["run"]["history"]) == 3
    assert "Alphabet (made of the transcripts)" in app.said
    assert app.end() == 0

    began = time.monotonic()
    again = start_app("--data", tmp_path)
    again.until_ready()
    again.until_phase("serving")
    assert time.monotonic() - began < 60 and "Kind" not in again.said
    assert again.end(signal.SIGINT) == 130


def test_a_model_that_is_named_is_served_and_nothing_is_trained(start_app, tmp_path):
    make_volume(tmp_path)
    model = tmp_path / "mine.tflite"
    model.write_bytes(random_model())
    app = start_app("--data", tmp_path, environment={"MODEL": str(model)})
    app.until_ready()
    status = app.until_phase("serving")
    assert [found["name"] for found in status["models"]] == ["mine"] and status["run"] is None
    assert app.end() == 0 and not (tmp_path / "checkpoints").exists()


def test_sigterm_while_training_saves_and_the_next_start_resumes(start_app, tmp_path):
    volume = make_volume(tmp_path, flags=(*FLAGS[:-1], "--epochs 2000"))
    app = start_app("--data", volume)
    app.until_phase("training")
    app.until(lambda: app.status["run"]["history"])
    refused = app.get("/ready").json()
    assert refused["status"] == "training" and refused["epochs"] == 2000 and refused["model_loaded"] is False
    assert app.end() == 0
    assert "saved" in app.said
    app = start_app("--data", volume)
    app.until(lambda: "Goes on from" in app.said)
    app.until_phase("training")
    assert app.end() == 0
    epochs = [event["epoch"] for event in events(run_folder(volume)) if event["event"] == "epoch"]
    assert epochs == list(range(len(epochs)))


def test_a_fault_of_the_data_is_told_and_mended_data_is_trained_on(start_app, tmp_path):
    volume = make_volume(tmp_path, flags=(*FLAGS, f"--dev_files {tmp_path / 'corpora/tiny/train.csv'}"))
    csv = volume / "corpora" / "tiny" / "train.csv"
    whole = csv.read_text(encoding="utf-8")
    csv.write_text(whole + "missing.wav,1000,she had\n", encoding="utf-8")
    app = start_app("--data", volume)
    status = app.until_phase("failed")
    assert "missing.wav" in status["failure"]["message"] and status["failure"]["exit_code"] == 1
    assert "missing.wav" in app.get("/ready").json()["message"] and app.get("/live").status_code == 200
    csv.write_text(whole, encoding="utf-8")
    app.until_phase("training", "exporting", "serving")
    assert app.status["failure"] is None and app.end() == 0


def test_a_failure_ends_it_with_its_exit_code_where_that_is_wanted(tmp_path):
    volume = make_volume(tmp_path, flags=("--n_hiden 3",))
    app = App("--data", volume, "--exit_on_failure")
    assert app.ended() == 2
    assert "did you mean --n_hidden" in app.said


def test_of_two_apps_on_one_volume_one_trains_and_the_other_serves_its_model(start_app, tmp_path):
    volume = make_volume(tmp_path, flags=(*FLAGS[:-1], "--epochs 30"))
    one = start_app("--data", volume)
    one.until(lambda: one.status["phase"] in ("checking", "training"))
    other = start_app("--data", volume)
    other.until(lambda: "another app trains" in other.status["message"])
    for app in (one, other):
        app.until_ready()
        app.until_phase("serving")
    assert one.status["models"] == other.status["models"]
    assert one.end() == other.end() == 0


@pytest.mark.slow
def test_what_was_trained_writes_the_words_of_a_clip_that_it_has_learnt(start_app, tmp_path):
    flags = ("--mode cpu", "--n_hidden 64", "--train_batch_size 1", "--learning_rate 0.003", "--epochs 150")
    volume = make_volume(tmp_path, flags=(*flags, "--dropout_rate 0"), clips=3)
    app = start_app("--data", volume)
    app.until_ready()
    heard = [app.text_of(volume / "corpora" / "tiny" / f"train-{number:02}.wav") for number in range(3)]
    assert heard == transcripts(3)
    assert app.end() == 0
