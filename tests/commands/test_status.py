"""`deepspeech status`: what a terminal, a pipe and a program get to know of the trainings on a volume."""

import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from contextlib import suppress
from pathlib import Path

import pytest
from reporting.samples_of_events import epoch_done, step_done

from deepspeech_training.app.runs import find_runs
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.commands.main import main
from deepspeech_training.console import Console
from deepspeech_training.reporting.events import (
    Ended,
    EpochBegun,
    Estimated,
    Event,
    Finished,
    GpusRead,
    GpuUse,
    Outcome,
    ValidationBegun,
    WarningNote,
)
from deepspeech_training.reporting.json_log import JsonLines
from deepspeech_training.reporting.session_log import SessionLog

OLD_RUN = Path(__file__).resolve().parents[1] / "checkpoints" / "version_0_1"
WITHIN_S = 60
BEGUN = EpochBegun(epoch=2, epochs=30, batches=6, step_in_epoch=0, step=12)
FINISHED = Finished("all 30 epochs are done", step=180)
OUTCOME = Outcome(30, 1, {"loss": 2.5}, "best", "last", "", "", ["Diagnosis LEARNT: it writes"], "deepspeech export x")


@pytest.fixture
def volume(tmp_path, monkeypatch):
    """A folder in which runs are written; the terminal has 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")
    return tmp_path


def append(folder: Path, *events: Event) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    log = JsonLines(folder / "events.jsonl")
    for event in events:
        log.take(event)
    log.close()


def write_run(volume: Path, name: str, *events: Event, ended: Ended | None = None, written: float = 0) -> Path:
    """A run with two epochs, and the log of its session, which says that it runs unless it has `ended`."""
    folder = volume / "checkpoints" / name
    append(folder, epoch_done(epoch=0, learning_rate=0.004, train_loss=9.5), epoch_done(), BEGUN, *events)
    session = SessionLog(folder / "logs", command="deepspeech train", work=["train"], flags={})
    if ended is not None:
        session.take(ended)
    session.close()
    if written:
        os.utime(folder / "events.jsonl", (written, written))
    return folder


def status_of(capsys, *words: object) -> str:
    assert main(["status", *map(str, words)]) == 0
    return capsys.readouterr().out


def test_a_running_training_is_shown_with_progress_curves_speed_gpus_and_its_log(volume, capsys):
    folder = write_run(
        volume,
        "words",
        step_done(15, epoch=2),
        Estimated(epoch_seconds=10, epochs_left=28, left_seconds=280, with_validation=True, speed=5.0),
        GpusRead(15, [GpuUse(0, "H200", busy=0.5, memory_used=7 * 10**9, memory_total=10**11, temperature_c=61)]),
        ValidationBegun("dev.csv", batches=8, done=3, step=18),
        WarningNote("clip\x1b[2J.wav is quiet\nsecond line"),
    )
    running = CheckpointFolder(folder, Console())
    running.lock()
    try:
        said = status_of(capsys, "--data", volume)
    finally:
        running.unlock()
    for part in (
        r"words: running",
        r"█+░+ +8%  epoch 3 of 30, 4:3\d min left",
        r"validation: 3 of 8 batches",
        r"train loss +9\.5000 █▁ +3\.2500",
        r"WER +0\.500 ▁▁",
        r"Speed +5 audio-s/s, waited for data 2%",
        r"GPU 0 +50% busy, 7\.0 of 100\.0 GB, 61 °C  H200",
        r"Best +epoch 2: loss 2\.5000 WER 0\.500 CER 0\.250 \(by cer\)",
        r" 1 +9\.5000 +2\.5000 +0\.500 +0\.250 +0\.004 +1:15 min",
        r"W clip\?\[2J\.wav is quiet second line",
    ):
        assert re.search(part, said), f"{part} is not in\n{said}"
    assert max(map(len, said.splitlines())) <= 80


@pytest.mark.parametrize(
    ("events", "ended", "said"),
    [
        (
            (FINISHED, OUTCOME),
            Ended("done", 0, ""),
            "ended .*all 30 epochs are done.*LEARNT.*Next +deepspeech export x",
        ),
        ((), Ended("failed", 1, "no space left\non the disk"), "failed .*no space left on the disk"),
        ((), Ended("crashed", 1, ""), "failed .*it has crashed; "),
        ((), Ended("interrupted", 143, ""), "stopped .*has saved; the same command resumes"),
        ((), None, "stopped .*its process was killed"),
    ],
)
def test_a_training_that_does_not_run_any_more_says_how_it_ended(events, ended, said, volume, capsys):
    folder = write_run(volume, "words", *events, ended=ended)
    (folder / ".lock").touch()
    shown = status_of(capsys, "--checkpoint_dir", folder)
    assert re.search(f"words: {said}", " ".join(shown.split())), shown  # what is long is folded


def test_the_newest_is_shown_in_detail_and_the_others_have_a_line_each(volume, capsys):
    for number, name in enumerate(("oldest", "newest", "older")):
        folder = write_run(volume, name, FINISHED, written=1.7e9 + (number % 2) * 1000 + number)
        (folder / ".lock").touch()
    first, *_, last_but_one, last = status_of(capsys, "--data", volume).splitlines()
    assert first.startswith("newest: ended")
    assert last_but_one.startswith("older: ended, epoch 3 of 30, best epoch 2 loss 2.5000 WER 0.500")
    assert last.startswith("oldest: ended")
    told = json.loads(status_of(capsys, "--data", volume, "--json"))
    assert [run["name"] for run in told] == ["newest", "older", "oldest"]
    assert told[0]["state"] == "ended" and told[0]["share_done"] == 1 and len(told[0]["history"]) == 2


def test_the_log_of_version_0_1_is_read(volume, capsys):
    assert re.search(r"version_0_1: \w+ .*\nBest +epoch", status_of(capsys, "--checkpoint_dir", OLD_RUN), re.DOTALL)


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--data", "."], 1, "checkpoints: no training has written a log"),
        (["--checkpoint_dir", "none"], 1, "none: no training has written a log"),
        (["--follow", "--json"], 2, "leave one of them out"),
    ],
)
def test_without_a_training_there_is_a_sentence_and_an_exit_code(words, code, said, volume, capsys, monkeypatch):
    monkeypatch.chdir(volume)
    assert main(["status", *words]) == code
    assert said in capsys.readouterr().err


def test_a_pipe_that_follows_gets_a_line_when_something_changes(volume):
    folder = write_run(volume, "words")
    command = [sys.executable, "-m", "deepspeech_training", "status", "--data", str(volume), "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as follows:
        try:
            assert follows.stdout is not None
            assert "epoch 3 of 30" in follows.stdout.readline()
            append(folder, WarningNote("of no concern here"), epoch_done(epoch=2, best_epoch=2))
            assert "best epoch 3" in follows.stdout.readline()
            follows.send_signal(signal.SIGINT)
            assert follows.wait(WITHIN_S) == 130
            assert follows.stdout.read() == ""
        finally:
            follows.kill()


def test_a_terminal_that_follows_is_drawn_within_its_size_until_ctrl_c(volume):
    write_run(volume, "words", *(WarningNote(f"line {number} " + "long " * 30) for number in range(30)))
    terminal, of_program = pty.openpty()
    fcntl.ioctl(of_program, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    command = [sys.executable, "-m", "deepspeech_training", "status", "--data", str(volume), "--follow"]
    program = subprocess.Popen(
        command, stdin=of_program, stdout=of_program, stderr=of_program, env=environment, start_new_session=True
    )
    try:
        os.close(of_program)
        said, until = b"", time.monotonic() + WITHIN_S
        while said.count(b"\x1b[J") < 2 and time.monotonic() < until:
            said += os.read(terminal, 1 << 16)
        program.send_signal(signal.SIGINT)
        with suppress(OSError):  # the end of a terminal
            while more := os.read(terminal, 1 << 16):
                said += more
        assert program.wait(WITHIN_S) == 130
    finally:
        program.kill()
        program.wait()
        os.close(terminal)
    drawing, left_behind = said.decode().split("\x1b[?1049l")
    picture = drawing.split("\x1b[H")[1].removesuffix("\x1b[J").replace("\x1b[K", "").splitlines()
    assert len(picture) <= 23 and max(map(len, picture)) <= 80
    assert "words: " in picture[0] and "line 29" in picture[-1]
    assert "words: " in left_behind and "Traceback" not in left_behind


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to become another user")
def test_a_folder_that_only_another_user_may_read_is_passed_over(tmp_path, monkeypatch):
    (tmp_path / "checkpoints" / "theirs").mkdir(parents=True)
    (tmp_path / "checkpoints" / "theirs").chmod(0o700)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    os.seteuid(65534)
    try:
        assert find_runs(Path("checkpoints")) == []
    finally:
        os.seteuid(0)
