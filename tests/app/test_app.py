"""`deepspeech app`: it trains where there is no model, serves where there is one, and says what it waits for."""

import signal
import time

import httpx
import pytest
from app.app_process import FLAGS, App, make_volume, run_folder
from models.small_models import random_model
from reporting.webhook import TOKEN, target
from training.processes import assert_same_end, events, transcripts


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


def test_a_model_that_is_missing_or_damaged_is_told_and_one_that_is_whole_goes_live(start_app, tmp_path):
    model = tmp_path / "mine.tflite"
    app = start_app("--data", tmp_path, "--model", model)
    status = app.until_phase("failed")
    assert f"--model {model}: there is no such file" in status["failure"]["message"]
    model.write_bytes(random_model()[:1000])
    app.until(lambda: "damaged" in app.get("/ready").json()["message"])

    def answer() -> httpx.Response:
        return httpx.post(f"{app.url}/v1/audio/transcriptions", files={"file": b"RIFF"}, timeout=30)

    app.until(lambda: "damaged" in answer().json()["error"]["message"])
    assert answer().status_code == 503 and answer().json()["error"]["code"] == "model_not_ready"
    assert answer().headers["retry-after"] == "300"
    model.write_bytes(random_model())
    app.until_ready()
    assert app.until_phase("serving")["failure"] is None and app.end() == 0


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
    app.until(lambda: "Resumes from" in app.said)
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
    app.until_phase("checking")
    assert app.status["failure"] is None and app.end() == 0


def test_a_failure_ends_it_with_its_exit_code_where_that_is_wanted(tmp_path):
    volume = make_volume(tmp_path, flags=("--n_hiden 3",))
    app = App("--data", volume, "--exit_on_failure")
    assert app.ended() == 2
    assert "did you mean --n_hidden" in app.said


@pytest.mark.slow
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


@pytest.mark.slow
def test_a_kill_in_every_phase_ends_with_the_same_model_and_the_same_answers(start_app, tmp_path):
    flags = ("--mode cpu", "--n_hidden 64", "--train_batch_size 2", "--learning_rate 0.003", "--epochs 80")
    unbroken, killed = (make_volume(tmp_path / name, flags=flags, clips=24) for name in ("unbroken", "killed"))
    app = start_app("--data", unbroken)
    app.until_ready()
    wanted = app.status["models"]
    clip = unbroken / "corpora" / "tiny" / "train-00.wav"
    text = app.text_of(clip)
    assert app.end() == 0

    for phase in ("checking", "training", "training", "testing", "exporting", "registering"):
        app = start_app("--data", killed)
        app.until_phase(phase)
        if phase == "training":
            known = app.status["run"]["epoch"]
            app.until(lambda known=known, app=app: app.status["run"]["epoch"] > known)
        app.kill_all()
    app = start_app("--data", killed)
    app.until_ready()
    assert app.status["models"] == wanted and app.text_of(clip) == text
    assert app.end() == 0
    assert_same_end(run_folder(unbroken), run_folder(killed))
    assert [path.name for path in (killed / "models" / "speech").iterdir() if path.is_dir()] == ["1"]


@pytest.mark.slow
def test_the_best_so_far_is_served_while_training_and_its_facts_say_so(start_app, tmp_path):
    volume = make_volume(tmp_path, flags=(*FLAGS[:-1], "--epochs 300"), clips=24)
    app = start_app("--data", volume, "--serve_while_training")
    app.until_ready()
    status = app.status
    assert status["phase"] == "training" and "so far" in status["models"][0]["note"]
    assert app.get("/ready").json()["status"] == "training"
    facts = app.get("/v1/models").json()["data"][0]["facts"]
    assert "the training continues" in facts["note"]
    assert isinstance(app.text_of(volume / "corpora" / "tiny" / "train-00.wav"), str)
    assert app.end() == 0


@pytest.mark.slow
def test_an_app_that_is_killed_alone_leaves_a_training_that_saves_and_keeps_the_volume_locked_meanwhile(
    start_app, tmp_path
):
    volume = make_volume(tmp_path, flags=(*FLAGS[:-1], "--epochs 3000"))
    app = start_app("--data", volume)
    app.until_phase("training")
    app.until(lambda: app.status["run"]["history"])
    app.kill()
    again = start_app("--data", volume)
    again.until(lambda: "Resumes from" in again.said)
    assert "another process is training" not in again.said
    assert again.end() == 0


@pytest.mark.slow
def test_new_data_is_trained_on_with_retrain_while_the_model_before_is_served(start_app, tmp_path):
    volume = make_volume(tmp_path)
    app = start_app("--data", volume)
    app.until_ready()
    assert app.end() == 0
    app = start_app("--data", volume, "--retrain")
    app.until_phase("serving")
    assert app.get("/ready").status_code == 200 and "Starts with new weights" not in app.said
    (volume / "train.flags").write_text(
        "\n".join((*FLAGS[:-1], "--epochs 150", "--random_seed 7")) + "\n", encoding="utf-8"
    )
    app.until_phase("training")
    assert app.get("/ready").status_code == 200
    app.until(lambda: len(list((volume / "models" / "speech").glob("[0-9]*"))) == 2)
    app.until_phase("serving")
    assert "no --test_files to compare it with version 1" in app.said
    assert app.end() == 0


def test_a_failure_is_told_once_to_notify_and_its_url_shows_nowhere(start_app, tmp_path):
    (tmp_path / "train.flags").write_text("--epochs many\n", encoding="utf-8")
    with target() as hook:
        app = start_app("--data", tmp_path, environment={"DEEPSPEECH_NOTIFY": hook.url})
        status = app.until_phase("failed")
        app.until(lambda: hook.got)
        assert hook.got[0]["title"] == "speech has failed" and "--epochs many" in hook.got[0]["message"]
        assert TOKEN not in str(status)
        assert app.end() == 0 and len(hook.got) == 1 and TOKEN not in app.said
