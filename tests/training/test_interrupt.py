"""Signals that come outside of training, and what foreign code may make of them."""

import json
import os
import signal

import pytest

from deepspeech_training.commands.main import run
from deepspeech_training.training import session
from deepspeech_training.training.interrupt import Interrupted, interrupts


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_that_compiled_code_turns_into_an_error_still_ends_the_program_as_a_signal(
    number, code, corpus, tmp_path, monkeypatch, capfd
):
    def stopped_while_it_traces(call):
        call.begin_log(tmp_path / "logs")
        try:
            os.kill(os.getpid(), number)
        except Interrupted:
            raise ValueError("Could not pack sequence") from None

    monkeypatch.setattr(session, "prepare", stopped_while_it_traces)
    flags = ["--train_files", str(corpus(["one"])), "--checkpoint_dir", str(tmp_path / "checkpoints")]
    assert run("train", flags) == code
    assert "Traceback" not in capfd.readouterr().err
    (log,) = (tmp_path / "logs").glob("*.json")
    assert json.loads(log.read_text())["status"] == "interrupted"


def test_an_error_without_a_signal_stays_an_error(corpus, tmp_path, monkeypatch):
    def fails(call):
        raise ValueError("a mistake")

    monkeypatch.setattr(session, "prepare", fails)
    with pytest.raises(ValueError, match="a mistake"):
        run("train", ["--train_files", str(corpus(["one"])), "--checkpoint_dir", str(tmp_path / "checkpoints")])


def test_a_signal_that_was_lost_before_training_ends_the_loop():
    interrupts.install()
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGTERM)
    interrupts.begin_training()
    assert interrupts.requested() == 143
    with pytest.raises(Interrupted):
        interrupts.end_training()


def test_in_training_the_first_signal_is_remembered_and_the_second_ends_all(capfd):
    interrupts.install()
    interrupts.begin_training()
    assert interrupts.requested() is None
    os.kill(os.getpid(), signal.SIGINT)
    assert interrupts.requested() == 130 and "the current step is finished and saved" in capfd.readouterr().err
    with pytest.raises(Interrupted):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_lost_terminal_saves_however_often_it_is_told(capfd):
    interrupts.install()
    interrupts.begin_training()
    for _ in range(3):
        os.kill(os.getpid(), signal.SIGHUP)
    assert interrupts.requested() == 129


def test_nohup_outlives_the_terminal():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    interrupts.install()
    interrupts.begin_training()
    os.kill(os.getpid(), signal.SIGHUP)
    assert interrupts.requested() is None
