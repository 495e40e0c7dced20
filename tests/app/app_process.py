"""`deepspeech app` as a process on a free port of the loopback, and volumes for it."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
from training.processes import ROOT, make_corpus, transcripts

WITHIN_S = 180  # the machine may be busy
FLAGS = ("--mode cpu", "--n_hidden 32", "--train_batch_size 3", "--learning_rate 0.003", "--epochs 3")


class App:
    """A running app; `url` is there once it listens."""

    def __init__(self, *flags: object, environment: dict[str, str] | None = None):
        words = [sys.executable, "-m", "deepspeech_training", "app", "--port", "0", *map(str, flags)]
        kept = {name: value for name, value in os.environ.items() if name not in ("TRAIN_FLAGS", "MODEL")}
        self.process = subprocess.Popen(
            words,
            cwd=ROOT,
            env={**kept, "PYTHONUNBUFFERED": "1", **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        key = (environment or {}).get("DEEPSPEECH_API_KEY")
        self._client = httpx.Client(headers={"Authorization": f"Bearer {key}"} if key else {}, timeout=60)
        self._lines: list[str] = []
        self._reader = threading.Thread(target=self._keep, daemon=True)
        self._reader.start()
        found = self.until(lambda: re.search(r"Listening on (http\S+)", self.said))
        self.url = found[1]

    def _keep(self) -> None:
        self._lines.extend(self.process.stdout)

    @property
    def said(self) -> str:
        return "".join(self._lines)

    def until(self, moment: Callable[[], Any]) -> Any:
        """Wait for something to be true."""
        deadline = time.monotonic() + WITHIN_S
        while time.monotonic() < deadline:
            if found := moment():
                return found
            if self.process.poll() is not None:
                break
            time.sleep(0.05)
        self.kill()
        raise AssertionError(f"the moment has not come:\n{self.said}")

    def get(self, path: str) -> httpx.Response:
        return self._client.get(self.url + path)

    @property
    def status(self) -> dict[str, Any]:
        return self.get("/v1/status").json()

    def until_phase(self, *phases: str) -> dict[str, Any]:
        """Wait for a phase; -> the whole status then."""

        def there() -> dict[str, Any] | None:
            found = self.status
            return found if found["phase"] in phases else None

        return self.until(there)

    def until_ready(self) -> None:
        self.until(lambda: self.get("/ready").status_code == 200)

    def text_of(self, clip: Path) -> str:
        with open(clip, "rb") as file:
            url = f"{self.url}/v1/audio/transcriptions"
            answer = self._client.post(url, files={"file": file})
        assert answer.status_code == 200, answer.text
        return answer.json()["text"]

    def end(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.ended()

    def ended(self) -> int:
        try:
            self.process.wait(WITHIN_S)
        finally:
            self.kill()
        return self.process.returncode

    def kill_all(self) -> None:
        """As a container is killed: the app, and the processes that it has started, none of which is warned."""
        os.kill(self.process.pid, signal.SIGSTOP)  # so that it starts no other one meanwhile
        for pid in [*children_of(self.process.pid), self.process.pid]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.kill()

    def kill(self) -> None:
        self._client.close()
        self.process.kill()
        self.process.wait()
        self._reader.join(10)
        self.process.stdout.close()


def children_of(pid: int) -> list[int]:
    """The processes below a process."""
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *children_of(child)]
    return found


def make_volume(folder: Path, *, flags: tuple[str, ...] = FLAGS, clips: int = 6) -> Path:
    """A volume with a corpus of synthetic clips and a train.flags."""
    folder.mkdir(exist_ok=True)
    make_corpus(folder / "corpora" / "tiny", transcripts(clips), name="train.csv")
    (folder / "train.flags").write_text("\n".join(flags) + "\n", encoding="utf-8")
    return folder


def run_folder(volume: Path) -> Path:
    """The one folder of checkpoints of a volume."""
    (folder,) = (path for path in (volume / "checkpoints").iterdir() if path.name.startswith("speech-"))
    return folder
