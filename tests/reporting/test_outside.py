"""Notifications and trackers: real servers of this machine, real stores, and a training that none of them stops."""

import json
import logging
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from reporting.samples_of_events import EPOCH
from reporting.webhook import TOKEN, target
from training.processes import make_corpus, run, transcripts

from deepspeech_training.config import Config, as_dict, parse_flags, to_flag_lines
from deepspeech_training.config.command_line import FlagParser
from deepspeech_training.errors import FlagError
from deepspeech_training.reporting.events import Ended, Finished, Outcome, RateReduced, SetTested, Started
from deepspeech_training.reporting.outside import process, wanted
from deepspeech_training.reporting.outside.run_file import RunFile
from deepspeech_training.reporting.outside.sink import Outside

STARTED = Started("1", {}, "CPU", "float32", 1, [], 1, "", 0.0, 1, {}, 1, {}, "", "", {"epochs": 3, "augment": []})
TESTED = SetTested("a/test.csv", 4, 1.25, {"wer": 0.5, "cer": 0.2})
OUTCOME = Outcome(2, 1, {"loss": 2.5, "wer": 0.5, "cer": 0.25}, "", "", "", "", ["It has learnt little."], "more data")
PLATEAU = RateReduced(0.0005, best_epoch=1, step=12, epochs_without_improvement=5)
DONE = (Finished("all 3 epochs are done", 12), OUTCOME, TESTED, Ended("done", 0, ""))


def notifications(warnings: list[str], *urls: str, **details) -> Outside:
    return Outside("notify", "Notifications", {"urls": urls, "name": "digits"}, warn=warnings.append, **details)


@contextmanager
def third_party_warnings() -> Iterator[None]:
    """Their own deprecations are none of ours; their handlers of logs close files that are gone."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.getLogger("apprise").propagate = True


def test_an_end_is_told_with_figures_time_diagnosis_and_advice_and_a_plateau_once(tmp_path):
    warnings: list[str] = []
    with target() as hook:
        sink = notifications(warnings, hook.url, run_file=RunFile(tmp_path))
        for event in (STARTED, PLATEAU, EPOCH, PLATEAU, *DONE):
            sink.take(event)
        sink.close()
        assert warnings == [] and [message["title"] for message in hook.got] == [
            "digits has stopped improving",
            "digits has ended",
        ]
        told = hook.got[1]["message"]
        for part in ("all 3 epochs are done", "epoch 2: dev loss 2.5000 WER 0.500", "Test      test.csv: WER 0.500"):
            assert part in told
        assert "It has learnt little." in told and "Next      more data" in told and "Time" in told
        resumed = notifications(warnings, hook.url, run_file=RunFile(tmp_path))
        resumed.take(STARTED)
        resumed.take(PLATEAU)
        resumed.take(Ended("failed", 1, "the disk is full"))
        assert [message["title"] for message in hook.got[2:]] == ["digits has failed"]
        assert "the disk is full" in hook.got[2]["message"] and hook.got[2]["type"] == "failure"


def test_a_training_that_was_killed_is_told_and_one_that_ctrl_c_has_ended_is_not():
    with target() as hook:
        killed = notifications([], hook.url)
        killed.take(STARTED)
        killed.close()
        assert [message["title"] for message in hook.got] == ["digits was killed"]
        notifications([], hook.url).take(Ended("interrupted", 130, ""))
        assert len(hook.got) == 1


def test_a_failure_that_another_process_tells_is_not_told_twice_and_an_end_is():
    with target() as hook:
        settings = {"urls": [hook.url], "name": "digits", "failures": False}
        for events in ((STARTED, Ended("failed", 1, "the disk is full")), (STARTED,), (STARTED, *DONE)):
            sink = Outside("notify", "Notifications", settings, warn=print)
            for event in events:
                sink.take(event)
            sink.close()
        assert [message["title"] for message in hook.got] == ["digits has ended"]


def test_a_server_that_hangs_or_refuses_is_one_warning_without_its_token_and_holds_up_nothing():
    warnings: list[str] = []
    with target(500) as refuses:
        sink = notifications(warnings, refuses.url)
        sink.take(PLATEAU)
        sink.take(Ended("done", 0, ""))
        sink.close()
    assert len(warnings) == 1 and "could not be delivered (JSON)" in warnings[0] and TOKEN not in warnings[0]
    with target(hangs=True) as hangs:
        sink = notifications(warnings, hangs.url, wait_s=1.0)
        for _ in range(3000):
            sink.take(EPOCH)  # more than wait in the queue
        began = time.monotonic()
        sink.take(Ended("done", 0, ""))
        assert time.monotonic() - began < 20
    assert len(warnings) == 2 and TOKEN not in warnings[1]


def test_wandb_offline_has_the_figures_and_a_resumed_run_the_same_id(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    warnings: list[str] = []
    for _ in range(2):
        settings = {"project": "digits", "name": "first", "folder": str(tmp_path)}
        sink = Outside("wandb", "W&B", settings, warn=warnings.append, run_file=RunFile(tmp_path), wait_s=60)
        for event in (STARTED, EPOCH, *DONE):
            sink.take(event)
        sink.close()
    assert warnings == []
    run_id = RunFile(tmp_path).get("wandb")
    files = list((tmp_path / "wandb").glob(f"offline-run-*-{run_id}/run-{run_id}.wandb"))
    assert files and len(list((tmp_path / "wandb").glob("offline-run-*"))) == len(files)
    assert b"dev.csv/wer" in files[0].read_bytes() and b"all 3 epochs are done" in files[0].read_bytes()


@pytest.mark.slow  # making the tables of the store takes seconds
def test_a_local_store_of_mlflow_has_figures_and_params_and_a_resumed_run_is_the_same(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    warnings: list[str] = []
    for _ in range(2):
        sink = Outside(
            "mlflow",
            "MLflow",
            {"uri": uri, "name": "first"},
            warn=warnings.append,
            run_file=RunFile(tmp_path),
            wait_s=120,
        )
        for event in (STARTED, EPOCH, *DONE):
            sink.take(event)
        sink.close()
    assert warnings == []
    # In a process of its own: MLflow takes over handlers of logs, and its own deprecations are none of ours.
    read = (
        "import json, sys; from mlflow.tracking import MlflowClient; client = MlflowClient(tracking_uri=sys.argv[1]); "
        "ids = [found.experiment_id for found in client.search_experiments()]; runs = client.search_runs(ids); "
        "print(json.dumps([[r.info.run_id, r.info.status, r.data.metrics, r.data.params] for r in runs]))"
    )
    found = subprocess.run([sys.executable, "-c", read, uri], capture_output=True, text=True, check=True, timeout=120)
    ((run_id, status, figures, params),) = json.loads(found.stdout)
    assert (run_id, status) == (RunFile(tmp_path).get("mlflow"), "FINISHED")
    assert figures["dev.csv/wer"] == 0.5 and figures["test/test.csv/cer"] == 0.2
    assert figures["epoch/learning_rate"] == 0.001 and figures["epoch/waited_share"] == 0.02
    assert params["epochs"] == "3"


def test_what_a_receiver_raises_is_said_without_the_address_it_was_given():
    said: list[dict[str, str]] = []
    first = {"receiver": "mlflow", "settings": {"uri": f"https://user:{TOKEN}@host", "name": "x"}}
    with third_party_warnings(), pytest.MonkeyPatch.context() as patch:

        def refuses(settings, keep):
            raise OSError(f"cannot reach {settings['uri']}, password {TOKEN}")

        patch.setattr("deepspeech_training.reporting.outside.mlflow_run.receiver", refuses)
        process.serve([json.dumps(first)], said.append)
    assert len(said) == 1 and "cannot reach ***" in said[0]["fault"] and TOKEN not in said[0]["fault"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"notify": (f"nosuch://{TOKEN}",)}, "--notify nosuch://...: Apprise knows no such service"),
        ({"mlflow": "/data/mlruns"}, "sqlite:///mlflow.db"),
        ({"mlflow": f"ftp://{TOKEN}@host"}, "--mlflow ftp://...: must be the address"),
        ({"mlflow": f"me:{TOKEN}@host"}, "--mlflow: must be the address"),
        ({"notify": (f"me:{TOKEN}@x://y",)}, "--notify: Apprise knows no such service"),
        ({"wandb": "a/b/c"}, "--wandb a/b/c: is no name of a project; it is PROJECT or TEAM/PROJECT"),
        ({"wandb": f"slack://{TOKEN}"}, "--wandb slack://...: is no name"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_without_being_shown(values, message):
    with third_party_warnings(), pytest.raises(FlagError) as caught:
        wanted.check(values)
    assert message in str(caught.value) and TOKEN not in str(caught.value)


@pytest.mark.parametrize(("flag", "value"), [("notify", ("json://h",)), ("wandb", "p"), ("mlflow", "http://h")])
def test_a_missing_package_is_a_flag_error_that_says_how_to_install_it(flag, value, monkeypatch):
    monkeypatch.setattr(wanted, "find_spec", lambda name: None)
    with pytest.raises(FlagError) as caught:
        wanted.check({flag: value})
    assert f"pip install 'deepspeech_training[{flag}]'" in str(caught.value)


def test_an_address_that_is_no_value_of_a_flag_is_not_shown():
    with pytest.raises(FlagError) as caught:
        parse_flags(["--notify", "json://a", "--early_stop", f"slack://{TOKEN}"])
    assert "slack://..." in str(caught.value) and TOKEN not in str(caught.value)


def test_a_signal_to_all_processes_of_a_service_leaves_time_to_tell_of_it():
    command = [sys.executable, "-m", "deepspeech_training.reporting.outside.process"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as receiver:
        receiver.stdin.write(json.dumps({"receiver": "notify", "settings": {"urls": [], "name": "a"}}) + "\n")
        receiver.stdin.flush()
        deadline = time.monotonic() + 60
        status = Path(f"/proc/{receiver.pid}/status")
        while not int(re.search(r"SigIgn:\s*(\w+)", status.read_text())[1], 16) & 1 << (signal.SIGTERM - 1):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        receiver.send_signal(signal.SIGTERM)
        receiver.stdin.close()
        assert receiver.wait(60) == 0


def test_addresses_are_in_no_record_of_the_flags():
    words = ["--notify", f"json://{TOKEN}", "json://b", "--mlflow", f"https://{TOKEN}@h", "--epochs=3", "--wandb=p"]
    parsed = parse_flags(words)
    assert parsed.config.reporting.notify == (f"json://{TOKEN}", "json://b")
    assert not {"notify", "mlflow", "wandb"} & set(as_dict(Config()))
    assert as_dict(parsed.config) == as_dict(parse_flags(["--epochs=3"]).config)
    assert TOKEN not in "\n".join(to_flag_lines(parsed.config))
    assert (
        FlagParser("deepspeech train", description="").parse_args(words).command_line == "deepspeech train --epochs=3"
    )


def test_a_training_tells_of_itself_and_leaves_no_token_in_its_folder(tmp_path):
    train = make_corpus(tmp_path / "data", transcripts(4))
    folder = tmp_path / "checkpoints"
    flags = ("--n_hidden", 8, "--train_batch_size", 2, "--skip_batch_test", "--checkpoint_dir", folder)
    with target() as hook, target(500) as refuses:
        tell = ("--notify", hook.url, refuses.url)
        done = run("--train_files", train, "--dev_files", train, "--epochs", 1, *flags, *tell)
        assert done.code == 0, done.err
        assert [message["title"] for message in hook.got] == ["checkpoints has ended"]
        assert "Best      epoch 1" in hook.got[0]["message"] and "Next" in hook.got[0]["message"]
        assert "W Notifications: ConnectionError: a message could not be delivered (JSON)" in done.log
        bad = run("--train_files", tmp_path / "gone.csv", *flags, *tell)
        assert bad.code == 1 and "gone.csv" in hook.got[-1]["message"] and "has failed" in hook.got[-1]["title"]
    for path in folder.rglob("*"):
        assert path.is_dir() or TOKEN.encode() not in path.read_bytes(), path
    assert TOKEN not in done.err + bad.err
    assert run("--train_files", train, "--notify", "nosuch://x", *flags).code == 2
