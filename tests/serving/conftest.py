"""Models to serve, and real servers: `deepspeech serve` as a process, on a free port of the loopback."""

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import soundfile
from models.small_models import random_model
from serving import chromium

from deepspeech_training.audio.synthetic_speech import synthesize
from deepspeech_training.commands.main import main

ROOT = Path(__file__).resolve().parents[2]
STARTS_IN_S = 300  # the machine may be busy, and the beam search be compiled
ENDS_IN_S = 60
SENTENCE = "she had your dark suit in greasy wash water all year"


class Server:
    """A running `deepspeech serve`.

    Attributes:
        url, ws_url: such as http://127.0.0.1:40123 and ws://127.0.0.1:40123.
        process: for signals and memory.
    """

    def __init__(self, *flags: object, environment: dict[str, str] | None = None):
        words = [sys.executable, "-m", "deepspeech_training", "serve", "--port", "0", *map(str, flags)]
        self.process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={**os.environ, "PYTHONUNBUFFERED": "1", **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._said: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self._threads = [threading.Thread(target=self._keep, args=(name,), daemon=True) for name in self._said]
        for thread in self._threads:
            thread.start()
        self.url = self.ws_url = ""

    def _keep(self, name: str) -> None:
        for line in getattr(self.process, name):
            self._said[name].append(line)

    def wait(self) -> "Server":
        """Until it listens."""
        deadline = time.monotonic() + STARTS_IN_S
        while time.monotonic() < deadline and self.process.poll() is None:
            found = re.search(r"Listening on (https?)(://\S+)", self.out)
            if found:
                self.url, self.ws_url = found[1] + found[2], found[1].replace("http", "ws") + found[2]
                return self
            time.sleep(0.02)
        self.kill()
        raise AssertionError(f"the server does not listen:\n{self.out}\n{self.err}")

    @property
    def out(self) -> str:
        return "".join(self._said["stdout"])

    @property
    def err(self) -> str:
        return "".join(self._said["stderr"])

    def said(self, pattern: str) -> str:
        """What stderr has at a pattern's first group, as soon as it is there."""
        deadline = time.monotonic() + ENDS_IN_S
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.err):
                return found[1]
            time.sleep(0.02)
        raise AssertionError(f"stderr has nothing like {pattern}:\n{self.err}")

    @property
    def vosk_url(self) -> str:
        """Of --vosk_port."""
        return self.said(r"Vosk: (\S+)")

    @property
    def wyoming_port(self) -> int:
        """Of --wyoming_port."""
        return int(self.said(r"Wyoming: \S+:(\d+)"))

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        """Wait for the end; the exit code."""
        try:
            self.process.wait(ENDS_IN_S)
        finally:
            self.kill()
        return self.process.returncode

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        for thread in self._threads:
            thread.join(5)
        self.process.stdout.close()
        self.process.stderr.close()


@pytest.fixture(scope="session")
def small_model(tmp_path_factory) -> Path:
    """A .tflite with random weights, n_hidden 16: it writes nonsense, quickly."""
    path = tmp_path_factory.mktemp("small") / "small.tflite"
    path.write_bytes(random_model())
    return path


@pytest.fixture(scope="session")
def spoken_model(test_data) -> Path:
    """DeepSpeech's own export, n_hidden 100, which has memorised SENTENCE of LDC93S1."""
    return test_data / "golden" / "output_graph_nodrop.tflite"


@pytest.fixture(scope="session")
def spoken_scorer(test_data) -> Path:
    """A scorer for `spoken_model`."""
    return test_data / "ldc93s1" / "pruned_lm.scorer"


@pytest.fixture(scope="session")
def spoken_clip(test_data) -> Path:
    """SENTENCE, a WAV of 2.9 s at 16 kHz."""
    return test_data / "ldc93s1" / "LDC93S1.wav"


@pytest.fixture(scope="session")
def watched_registry(tmp_path_factory, test_data) -> Path:
    """The folder of a registry with a model that has memorised a sentence, tested on 100 clips of other loudness."""
    folder = tmp_path_factory.mktemp("watched")
    (folder / "export").mkdir()
    shutil.copy(test_data / "golden" / "output_graph_nodrop.tflite", folder / "export" / "model.tflite")
    audio, rate = soundfile.read(test_data / "ldc93s1" / "LDC93S1.wav", dtype="float32")
    rows = ["wav_filename,wav_filesize,transcript"]
    for number, gain_db in enumerate(np.random.default_rng(2).normal(0, 3, 100)):
        soundfile.write(folder / f"{number}.wav", audio[: rate * 3 // 2] * 10 ** (gain_db / 20), rate)
        rows.append(f"{number}.wav,,she had your dark suit")
    (folder / "test.csv").write_text("\n".join(rows) + "\n")
    words = ["--name", "en", "--test_files", folder / "test.csv", "--proc", 1, "--dir", folder / "models"]
    assert main(["models", "register", *map(str, (folder / "export", *words))]) == 0
    return folder / "models"


@pytest.fixture(scope="session")
def speech_wav() -> bytes:
    """A WAV of 2 s of synthetic speech at 16 kHz; what `small_model` hears in it is nonsense."""
    return wav_bytes(synthesize("she had your dark suit", seed=3))


def wav_bytes(audio: np.ndarray, rate: int = 16000) -> bytes:
    """float32 [samples] as the bytes of a 16-bit WAV."""
    file = io.BytesIO()
    soundfile.write(file, audio, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def metric(server, name: str) -> float:
    """The sum of a series over its labels."""
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@pytest.fixture(scope="session")
def _servers() -> Iterator[Callable[..., Server]]:
    running: list[Server] = []

    def start(*flags: object, environment: dict[str, str] | None = None, wait: bool = True) -> Server:
        server = Server(*flags, environment=environment)
        running.append(server)
        return server.wait() if wait else server

    yield start
    for server in running:
        if server.process.poll() is None:
            server.kill()


@pytest.fixture
def make_server(_servers) -> Iterator[Callable[..., Server]]:
    """A function that starts `deepspeech serve FLAGS` on a free port and waits until it listens; the test ends it."""
    mine: list[Server] = []

    def start(*flags: object, environment: dict[str, str] | None = None, wait: bool = True) -> Server:
        mine.append(_servers(*flags, environment=environment, wait=wait))
        return mine[-1]

    yield start
    for server in mine:
        server.kill()


@pytest.fixture(scope="session")
def server(_servers, small_model) -> Server:
    """One server of `small_model` for all tests that leave it as it was."""
    return _servers("--model", small_model)


@pytest.fixture(scope="session")
def spoken_server(_servers, spoken_model, spoken_scorer) -> Server:
    """One server of `spoken_model` with its scorer."""
    return _servers("--model", spoken_model, "--scorer", spoken_scorer)


@pytest.fixture(scope="module")
def playwright():
    """Drives Chromium; while it is open no test of the module can run an event loop of its own."""
    with chromium.driven() as playwright:
        yield playwright


@pytest.fixture
def http(server) -> Iterator[httpx.Client]:
    """A client of `server`."""
    with httpx.Client(base_url=server.url, timeout=60) as client:
        yield client
