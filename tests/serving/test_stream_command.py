"""`deepspeech stream`: a recording, stdin and a microphone to the terminal, by a model or a running server."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
import types

import numpy as np
import pytest
import soundfile

from deepspeech_training.commands.main import main
from deepspeech_training.serving.stream_client import stream_url

SENTENCE = "she had your dark suit in greasy wash water all year"
STREAM = [sys.executable, "-m", "deepspeech_training", "stream"]
WAITS_S = 120


@pytest.fixture
def call(capsys):
    """A function that runs the command in this process; returns exit code, stdout and stderr."""

    def run(*words) -> tuple[int, str, str]:
        exit_code = main(["stream", *map(str, words)])
        return exit_code, *capsys.readouterr()

    return run


def on_a_terminal(*words, columns: int = 80) -> tuple[str, int]:
    """What the command writes on a terminal, and its exit code."""
    master, slave = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": str(columns)}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen([*STREAM, *map(str, words)], stdout=slave, stderr=subprocess.PIPE, env=environment)
    os.close(slave)
    written = b""
    try:
        while data := os.read(master, 65536):
            written += data
    except OSError:  # how Linux says that the other end is closed
        pass
    finally:
        os.close(master)
    process.communicate(timeout=WAITS_S)
    return written.decode(), process.returncode


# --- a model -------------------------------------------------------------------------------------------------------


def test_a_recording_is_written_as_lines(call, spoken_model, spoken_clip):
    assert call(spoken_clip, "--model", spoken_model) == (0, SENTENCE + "\n", "")


def test_json_is_a_line_for_everything_that_happens(call, spoken_model, spoken_scorer, spoken_clip):
    exit_code, out, _ = call(spoken_clip, "--model", spoken_model, "--scorer", spoken_scorer, "--json")
    messages = [json.loads(line) for line in out.splitlines()]
    kinds = [message["type"] for message in messages]
    assert exit_code == 0 and kinds[0] == "speech_start" and kinds[-1] == "final" and "partial" in kinds
    assert messages[-1]["text"] == SENTENCE and len(messages[-1]["words"]) == 11
    assert all(message["text"].startswith(message["stable"]) for message in messages if message["type"] == "partial")


def test_raw_samples_come_through_a_pipe_at_their_own_rate(spoken_model, spoken_clip):
    samples = soundfile.read(spoken_clip, dtype="int16")[0]
    for words, data in (
        ([], samples),
        (["--rate", "32000", "--channels", "2"], np.repeat(np.repeat(samples, 2)[:, None], 2, axis=1)),
    ):
        finished = subprocess.run(
            [*STREAM, "-", "--model", spoken_model, *words],
            input=data.astype("<i2").tobytes(),
            capture_output=True,
            timeout=WAITS_S,
        )
        assert finished.stdout.decode().split()[:3] == ["she", "had", "your"] and finished.stderr == b""


def test_a_file_on_stdin_that_is_no_raw_samples_is_named(spoken_model, spoken_clip):
    with open(spoken_clip, "rb") as file:
        finished = subprocess.run(
            [*STREAM, "-", "--model", spoken_model], stdin=file, capture_output=True, timeout=WAITS_S
        )
    assert finished.returncode == 1 and b"stdin is WAV and no raw samples" in finished.stderr


def test_on_a_terminal_the_text_grows_in_place_and_the_line_of_the_final_is_plain(spoken_model, spoken_clip):
    written, exit_code = on_a_terminal(spoken_clip, "--model", spoken_model, "--hangover_s", "0.5")
    assert exit_code == 0 and written.endswith(f"\r\x1b[K{SENTENCE}\r\n")
    assert "\x1b[90m" in written and written.count("\n") == 1
    narrow, _ = on_a_terminal(spoken_clip, "--model", spoken_model, columns=20)
    lines = [re.sub(r"\x1b\[\d*m", "", line) for line in narrow.split("\r\x1b[K")[1:-1]]
    assert max(map(len, lines)) <= 19 and any(line.startswith("…") for line in lines)


def test_in_real_time_no_text_comes_before_it_was_spoken(spoken_model, spoken_clip):
    began = time.monotonic()
    finished = subprocess.run(
        [*STREAM, spoken_clip, "--model", spoken_model, "--realtime"], capture_output=True, text=True, timeout=WAITS_S
    )
    assert finished.stdout == SENTENCE + "\n" and time.monotonic() - began > 2.8


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_the_last_words(spoken_model, spoken_clip, tmp_path, number):
    samples, rate = soundfile.read(spoken_clip, dtype="int16")
    soundfile.write(tmp_path / "long.wav", np.concatenate([samples, np.zeros(60 * rate, np.int16)]), rate)
    words = [tmp_path / "long.wav", "--model", spoken_model, "--realtime", "--json", "--hangover_s", "9"]
    with subprocess.Popen([*STREAM, *words], stdout=subprocess.PIPE, text=True) as process:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if "greasy" in line:
                process.send_signal(number)
                break
        lines += process.stdout.readlines()
        assert process.wait(WAITS_S) == 128 + number
    last = json.loads(lines[-1])
    assert last["type"] == "final" and last["reason"] == "finish" and "greasy" in last["text"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a.wav"], "say what is to recognise: --model FILE, or --server"),
        (["a.wav", "--server", "ws://x", "--scorer", "s"], "the server has its own"),
        (["a.wav", "--server", "localhost:80"], "must be an address such as ws://127.0.0.1:8000"),
        (["a.wav", "--model", "m", "--rate", "100"], "--rate 100: it must be from 4000"),
        (["a.wav", "--model", "m", "--hangover_s", "nan"], "--hangover_s nan: it must be from"),
        (["a.wav", "--model", "m", "--hot_words", "a:1"], "--hot_words needs --scorer"),
    ],
)
def test_flags_that_cannot_be_are_refused(call, words, said):
    exit_code, out, err = call(*words)
    assert exit_code == 2 and out == "" and said in err


def test_a_recording_that_is_none_is_named(call, spoken_model, tmp_path):
    (tmp_path / "a.wav").write_text("<html>")
    exit_code, _, err = call(tmp_path / "a.wav", "--model", spoken_model)
    assert exit_code == 1 and "a.wav: not audio but an HTML page" in err
    assert "the file does not exist" in call(tmp_path / "b.wav", "--model", spoken_model)[2]


# --- a microphone --------------------------------------------------------------------------------------------------


class Devices(types.ModuleType):
    """Stands for sounddevice: a microphone that hears a recording, and then is gone."""

    PortAudioError = type("PortAudioError", (Exception,), {})

    def __init__(self, samples: np.ndarray, rate: int):
        super().__init__("sounddevice")
        self._samples, self._rate = samples, rate

    def query_devices(self, device=None, kind=None):
        found = {"name": "Headset", "index": 3, "max_input_channels": 1, "default_samplerate": float(self._rate)}
        if kind is None:
            return [found, {"name": "Speaker", "index": 4, "max_input_channels": 0}]
        if device not in (None, 3, "Head"):
            raise ValueError(f"No input device matching {device!r}")
        return found

    def RawInputStream(self, *, samplerate, blocksize, device, channels, dtype, callback):
        assert (samplerate, device, channels, dtype) == (self._rate, 3, 1, "int16")
        samples = self._samples

        class Stream:
            active = True

            def __enter__(self):
                self.thread = threading.Thread(target=self.play)
                self.thread.start()

            def play(self):
                for start in range(0, len(samples), blocksize):
                    callback(samples[start : start + blocksize].tobytes(), blocksize, None, None)
                self.active = False

            def __exit__(self, *error):
                self.thread.join()

        return Stream()


@pytest.fixture
def headset(monkeypatch, spoken_clip):
    monkeypatch.setitem(sys.modules, "sounddevice", Devices(*soundfile.read(spoken_clip, dtype="int16")))


@pytest.mark.parametrize("device", [[], ["--device", "3"], ["--device", "Head"]])
def test_the_microphone_is_heard_until_it_is_gone(call, headset, spoken_model, device):
    exit_code, _, err = call("--model", spoken_model, *device)
    assert exit_code == 1 and "Listening to Headset; Ctrl-C ends it" in err and "'Headset' is gone" in err


def test_microphones_are_listed_and_a_wrong_name_tells_them(call, headset, spoken_model):
    assert call("--list_devices") == (0, "3 Headset\n", "")
    exit_code, _, err = call("--model", spoken_model, "--device", "webcam")
    assert exit_code == 1 and "matching 'webcam'" in err and "There are: 3 Headset" in err


def test_without_the_package_or_its_library_a_sentence_says_what_to_install(call, monkeypatch):
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    exit_code, _, err = call("--list_devices")
    assert exit_code == 1 and "pip install 'deepspeech_training[microphone]'" in err


# --- a server ------------------------------------------------------------------------------------------------------


def test_a_server_says_the_same_as_its_model(call, spoken_server, spoken_clip):
    assert call(spoken_clip, "--server", spoken_server.ws_url) == (0, SENTENCE + "\n", "")
    exit_code, out, _ = call(spoken_clip, "--server", spoken_server.url, "--json", "--beam_width", "0", "--realtime")
    messages = [json.loads(line) for line in out.splitlines()]
    assert exit_code == 0 and messages[0]["type"] == "ready" and messages[-1]["type"] == "done"
    assert [message["text"] for message in messages if message["type"] == "final"] == [SENTENCE]
    assert "words" in next(message for message in messages if message["type"] == "partial")


def test_what_the_server_refuses_is_a_sentence(call, server, speech_wav, tmp_path):
    (tmp_path / "a.wav").write_bytes(speech_wav)
    exit_code, _, err = call(tmp_path / "a.wav", "--server", f"{server.ws_url}?model=nobody")
    assert exit_code == 1 and "there is no model 'nobody'" in err
    exit_code, _, err = call(tmp_path / "a.wav", "--server", server.ws_url, "--hot_words", "a:1")
    assert exit_code == 1 and "needs a scorer" in err
    exit_code, _, err = call(tmp_path / "a.wav", "--server", f"{server.ws_url}/v1/streams")
    assert exit_code == 1 and "Its path is /v1/stream" in err
    exit_code, _, err = call(tmp_path / "a.wav", "--server", "ws://127.0.0.1:9")
    assert exit_code == 1 and "127.0.0.1:9 cannot be reached" in err and "Traceback" not in err


def test_the_key_comes_from_a_file_or_the_environment(
    call, make_server, small_model, speech_wav, tmp_path, monkeypatch
):
    server = make_server("--model", small_model, environment={"DEEPSPEECH_API_KEY": "open-sesame"})
    (tmp_path / "a.wav").write_bytes(speech_wav)
    words = [tmp_path / "a.wav", "--server", server.ws_url]
    exit_code, _, err = call(*words)
    assert exit_code == 1 and "a key is wanted" in err and "--key_file" in err
    (tmp_path / "key").write_text("open-sesame\n")
    assert call(*words, "--key_file", tmp_path / "key")[0] == 0
    monkeypatch.setenv("DEEPSPEECH_API_KEY", "open-sesame")
    assert call(*words)[0] == 0


def test_a_server_that_goes_away_is_told(make_server, spoken_model, spoken_clip):
    server = make_server("--model", spoken_model, "--grace_s", "1")
    words = [spoken_clip, "--server", server.ws_url, "--realtime", "--json"]
    with subprocess.Popen([*STREAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            if "dark" in line:
                server.kill()
                break
        _, err = process.communicate(timeout=WAITS_S)
    assert process.returncode == 1 and "has ended the stream: the connection is lost" in err and "Traceback" not in err


def test_addresses_keep_what_their_query_says():
    assert stream_url("https://h/v1/stream?model=a", {"rate": 1}) == "wss://h/v1/stream?model=a&rate=1"
