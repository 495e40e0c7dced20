import fcntl
import json
import os

import pytest

from deepspeech_training.commands.main import run
from deepspeech_training.console import Console
from deepspeech_training.reporting.sessions import find_sessions, runs_of

HOST = os.uname().nodename


def figures(epoch: int, loss: float, cer: float) -> dict:
    dev = [{"name": "dev.csv", "loss": loss, "wer": min(1.0, 2 * cer), "cer": cer, "clips": 9}]
    return {"epoch": epoch, "step": 10 * epoch, "train_loss": loss + 1, "dev": dev, "seconds": 2.0}


def write(folder, session: str, *, run: str = "", epochs=(), **fields) -> None:
    """A log as a session leaves it; `epochs` are (number from 0, dev loss, CER)."""
    (folder / "logs").mkdir(parents=True, exist_ok=True)
    values = {
        "format": 1,
        "id": session,
        "run": run or session,
        "continues": None,
        "status": "done",
        "started": 1.7e9,
        "updated": 1.7e9 + 60,
        "ended": 1.7e9 + 61,
        "exit_code": 0,
        "host": HOST,
        "pid": 2**22 + 1,
        "versions": {"python": "3.11"},
        "git_revision": "",
        "command": f"DeepSpeech.py --x {session}",
        "work": ["train"],
        "flags": {"epochs": 5, "dropout_rate": 0.05},
        "data": [],
        "tests": [],
        "exports": [],
        "epochs": [figures(*epoch) for epoch in epochs],
        "messages": [],
        "messages_left_out": 0,
    }
    (folder / "logs" / f"session_{session}.json").write_text(json.dumps(values | fields))


@pytest.fixture
def volume(tmp_path):
    """Run a: killed in its third epoch and gone on; run b: one session with other flags."""
    write(
        tmp_path / "a", "20260101_000000", epochs=[(0, 9, 1.0), (1, 8, 0.9), (2, 7, 0.8)], status="running", ended=None
    )
    write(
        tmp_path / "a",
        "20260101_010000",
        run="20260101_000000",
        continues="20260101_000000",
        started=1.7e9 + 3600,
        epochs=[(2, 7.5, 0.7), (3, 6, 0.5)],
        messages=[{"time": 1.7e9, "level": "info", "event": "note", "message": "hi"}],
    )
    write(
        tmp_path / "b",
        "20260102_000000",
        epochs=[(0, 5, 0.4)],
        started=1.7e9 + 7200,
        flags={"epochs": 5, "dropout_rate": 0.3},
        tests=[{"csv": "t.csv", "wer": 0.5, "cer": 0.25}],
    )
    return tmp_path


def output(capsys, *argv) -> str:
    assert run("sessions", list(map(str, argv))) == 0
    return capsys.readouterr().out


def test_the_list_has_every_session_and_joins_those_of_a_run(volume, capsys):
    text = output(capsys, "--dir", volume)
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[1:3]] == ["20260101_000000", "20260101_010000"]
    assert "killed" in lines[1] and " 1-3 " in lines[1] and "0.800" in lines[1]
    assert "one run of 2 sessions, 4 epochs" in lines[3]
    assert "20260102_000000" in lines[4] and str(volume / "b") in lines[4]


def test_an_epoch_that_was_trained_again_counts_once_as_it_was_last(volume):
    run = runs_of(find_sessions(volume, Console()))[0]
    assert [(epoch.number, epoch.values["cer"]) for epoch in run.epochs] == [(1, 1.0), (2, 0.9), (3, 0.7), (4, 0.5)]


def test_a_session_tells_its_story(volume, capsys):
    text = output(capsys, "--dir", volume, "show", "20260101_01")
    assert "resumed from session 20260101_000000" in text and "Epoch     4" in text and "info     hi" in text
    assert "20260102_000000: done, exit code 0" in output(capsys, "--dir", volume, "show", "last")


def test_a_comparison_shows_flags_that_differ_and_figures(volume, capsys):
    text = output(capsys, "--dir", volume, "compare", "20260101_01", "20260102")
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "0.05" in rows["--dropout_rate"] and "0.3" in rows["--dropout_rate"] and "--epochs" not in rows
    assert rows["epochs"].split() == ["epochs", "4", "1"]
    assert rows["best CER"].split() == ["best", "CER", "0.500", "0.400"]
    assert "WER 0.500 CER 0.250" in rows["tests"]


def test_a_session_runs_while_its_folder_is_locked(volume, capsys):
    path = volume / "a/logs/session_20260101_010000.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps(values | {"status": "running", "ended": None}))
    with open(volume / "a/.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        lines = output(capsys, "--dir", volume).splitlines()
        assert "running" in lines[2]
    assert "killed" in output(capsys, "--dir", volume).splitlines()[2]


def test_curves_are_drawn_as_picture_and_as_page(volume, capsys, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib (extra tools) is not installed")
    for name in ("curves.png", "curves.html"):
        assert "2 runs, 5 epochs" in output(capsys, "--dir", volume, "plot", "--output", tmp_path / name)
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "curves.html").read_text()
    assert "data:image/png;base64," in page and "20260102_000000" in page and "http" not in page
    assert "1 runs, 4 epochs" in output(
        capsys, "--dir", volume, "plot", "20260101_000000", "--output", tmp_path / "one.png"
    )


def test_what_cannot_be_done_is_told(volume, capsys, tmp_path):
    (tmp_path / "empty").mkdir()
    for argv, words in (
        (["--dir", volume, "show", "1999"], "no session has this id"),
        (["--dir", volume, "show", "2026"], "3 sessions begin so"),
        (["--dir", tmp_path / "empty"], "no session logs"),
        (["--dir", tmp_path / "nowhere"], "no such folder"),
        (["--dir", volume, "plot", "--output", "x.pdf"], "must end in .html or .png"),
    ):
        assert run("sessions", list(map(str, argv))) == 1
        assert words in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"id": 7}', '{"id": "x", "run": "x", "command": 3}'])
def test_a_damaged_log_is_named_and_the_others_are_listed(volume, capsys, text):
    (volume / "b/logs/session_20260103_000000.json").write_text(text)
    assert run("sessions", ["--dir", str(volume)]) == 0
    captured = capsys.readouterr()
    assert "session_20260103_000000.json: not a session log" in captured.err and "20260102_000000" in captured.out
