"""`deepspeech serve`: what it says, what it refuses to start with, and how it ends."""

import socket

import httpx
import pytest
from models.small_models import random_model

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.commands import main


def refused(capsys, *flags: object) -> tuple[int, str]:
    """The exit code and what is said, of a server that never listens."""
    code = main.run("serve", ["--port", "0", "--access_log", "none", *map(str, flags)])
    printed = capsys.readouterr()
    assert "Listening" not in printed.out and "Traceback" not in printed.err
    return code, printed.err


def test_it_says_where_it_listens_and_ends_with_0_when_it_is_told_to(make_server, small_model):
    server = make_server("--model", small_model)
    assert server.out.splitlines() == [f"Listening on {server.url}"]
    assert httpx.get(f"{server.url}/live").json() == {"status": "live"}
    assert server.stop() == 0
    assert "max_sessions 64" in server.err and "Model small" in server.err


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path, "there is no such file or folder"),
        (lambda path: path.mkdir() or path, "no .tflite or .g2p in it"),
        (lambda path: (path.write_bytes(b"") and None) or path, "the file is empty"),
        (lambda path: path.write_bytes(random_model()[:-3000]) and path, "damaged"),
    ],
)
def test_a_path_that_is_no_model_is_refused_before_anything_is_served(capsys, tmp_path, make, said):
    code, err = refused(capsys, "--model", make(tmp_path / "x"))
    assert code == 1 and said in err and str(tmp_path / "x") in err


def test_a_scorer_of_another_alphabet_is_refused(capsys, tmp_path, spoken_scorer):
    (tmp_path / "x.tflite").write_bytes(random_model(alphabet=Alphabet([" ", "x", "y"])))
    code, err = refused(capsys, "--model", tmp_path / "x.tflite", "--scorer", spoken_scorer)
    assert code == 1 and "alphabet" in err


def test_a_port_that_is_taken_is_told(capsys, small_model):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        code, err = refused(capsys, "--model", small_model, "--vosk_port", number)
        assert code == 1 and f"--vosk_port {number}" in err and "in use" in err


@pytest.mark.parametrize(
    "flags",
    [
        ("--max_sessions", 0),
        ("--vosk_port", 70000),
        ("--max_upload_mb", -1),
        ("--idle_s", "nan"),
        ("--access_log", "/none/x"),
        ("--wyoming_mdns",),
        ("--threads", 0),
        ("--certificate", "/none/x"),
    ],
)
def test_flags_out_of_bounds_are_named(capsys, small_model, flags):
    code, err = refused(capsys, "--model", small_model, *flags)
    assert code == 2 and flags[0] in err
