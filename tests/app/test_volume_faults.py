"""A fault that a person can fix is reported by /ready and the status, and work resumes by itself once it is fixed."""

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from app.app_process import App, children_of
from training.processes import make_corpus, transcripts, write_csv

from deepspeech_training.commands.main import main

SMALL = ("--mode cpu", "--n_hidden 32", "--train_batch_size 3", "--epochs 3")


def test_a_port_that_is_taken_is_told_and_ends_it(tmp_path, capsys):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert main(["app", "--data", str(tmp_path), "--port", str(port)]) == 1
    assert f"--port {port}: cannot listen there: Address already in use" in capsys.readouterr().err


@pytest.fixture
def disk(tmp_path) -> Iterator[Path]:
    """A volume on a disk of 2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    try:
        mount("-t", "tmpfs", "-o", "size=2m", "none", folder)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {getattr(error, 'stderr', None) or error}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)  # the app may still hold it


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


def fails_with(app: App, *parts: str) -> None:
    """Wait until /ready and the status have a fault."""
    app.until(lambda: all(part in app.get("/ready").json()["message"] for part in parts))
    ready, status = app.get("/ready"), app.status
    assert ready.status_code == 503 and ready.json()["status"] == "failed" and app.get("/live").status_code == 200
    assert all(part in status["failure"]["message"] for part in parts) and status["failure"]["again_in_s"] > 0


@pytest.mark.slow
def test_each_fault_of_a_volume_is_told_and_work_resumes_when_it_is_fixed(start_app, disk):
    corpus, flags = disk / "corpora" / "tiny", disk / "train.flags"

    def set_flags(*lines: str) -> None:
        flags.write_text("\n".join(lines) + "\n", encoding="utf-8")

    app = start_app("--data", disk)
    app.until(lambda: "waiting for a model or for data: put train.csv" in app.get("/ready").json()["message"])

    csv = Path(make_corpus(corpus, transcripts(6), name="train.csv"))
    whole = csv.read_text(encoding="utf-8")
    csv.unlink()
    fails_with(app, "6 recordings, and no transcript for any of them", "Put one.txt beside one.wav")

    csv.write_text(whole + "gone.wav,1000,she had\n", encoding="utf-8")
    fails_with(app, "1 of 7 rows cannot be used", "row 8: gone.wav", "--on_bad_row drop")

    write_csv(csv, [row.split(",") for row in whole.splitlines()[1:]])
    set_flags(*SMALL, "--epochs three")
    fails_with(app, "train.flags, line 5", "--epochs", "three")

    set_flags(*SMALL, "--n_hidden 1000000")
    fails_with(app, "n_hidden 1,000,000 needs about", "GB are free")

    set_flags(*SMALL[1:], "--mode gpu", "--min_gpu_memory 100000")
    fails_with(app, "the mode gpu demands a GPU that there is not")

    mount("-o", "remount,ro", disk)
    with pytest.raises(OSError):
        set_flags(*SMALL)
    mount("-o", "remount,rw", disk)
    set_flags(*SMALL)
    mount("-o", "remount,ro", disk)
    fails_with(app, "Read-only file system", "Mount the volume for writing")

    mount("-o", "remount,rw", disk)
    with contextlib.suppress(OSError), open(disk / "filler", "wb") as file:
        while True:
            file.write(bytes(1024))
            file.flush()
    os.utime(flags)
    fails_with(app, "o space left on")

    (disk / "filler").unlink()
    mount("-o", "remount,size=64m", disk)
    set_flags("--mode cpu", "--network conformer", "--conformer_size xs", "--train_batch_size 3", "--epochs 2000")
    app.until_phase("checking", "training")
    for pid in children_of(app.process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    fails_with(app, "the process was killed (SIGKILL)", "lower --train_batch_size or --d_model")
    os.utime(flags)
    app.until_phase("checking", "training")
    assert app.status["failure"] is None and "Traceback" not in app.said
    assert app.end() == 0
