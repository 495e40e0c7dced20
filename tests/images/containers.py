"""The real Docker engine: run containers, wait for moments in them, clean up."""

import os
import pty
import socket
import subprocess
import time
import uuid
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCKER = os.environ.get("DOCKER", "docker")
INSIDE = "/DeepSpeech/persistent-data"
TIMEOUT_S = 600  # of a busy machine


def docker(*words, timeout_s: float = TIMEOUT_S, **more) -> subprocess.CompletedProcess:
    """Run the client; stdin is empty."""
    command = [DOCKER, *map(str, words)]
    return subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, **more)


def run(*words, timeout_s: float = TIMEOUT_S) -> subprocess.CompletedProcess:
    """`docker run --rm ...` to its end."""
    return docker("run", "--rm", *words, timeout_s=timeout_s)


def run_on_terminal(*words, typed: str) -> str:
    """`docker run --rm -it ...` as a person has it, with what is typed; returns all that the terminal has shown."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [DOCKER, "run", "--rm", "-it", *words], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    os.write(ours, typed.encode())
    shown = b""
    try:
        while chunk := os.read(ours, 4096):
            shown += chunk
    except OSError:  # the other side is closed
        pass
    os.close(ours)
    process.wait(TIMEOUT_S)
    return shown.decode().replace("\r\n", "\n")


def bind(folder: Path) -> tuple[str, str]:
    return ("--mount", f"type=bind,source={folder},target={INSIDE}")


def named(volume: str) -> tuple[str, str]:
    return ("--mount", f"type=volume,source={volume},target={INSIDE}")


class Container:
    """A container in the background, `docker run -d`."""

    def __init__(self, *words):
        self.name = f"deepspeech-test-{uuid.uuid4().hex[:12]}"
        started = docker("run", "-d", "--name", self.name, *words)
        assert started.returncode == 0, started.stderr

    def inspect(self, template: str) -> str:
        return docker("inspect", "--format", template, self.name).stdout.strip()

    @property
    def is_running(self) -> bool:
        return self.inspect("{{.State.Status}}") in ("running", "restarting")

    @property
    def exit_code(self) -> int:
        return int(self.inspect("{{.State.ExitCode}}"))

    def logs(self) -> str:
        found = docker("logs", self.name)
        return found.stdout + found.stderr

    def wait_until(self, moment: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_S
        while not moment():
            assert self.is_running, f"ended before its moment came:\n{self.logs()}"
            assert time.monotonic() < deadline, f"the moment has not come:\n{self.logs()}"
            time.sleep(0.05)

    def wait(self) -> int:
        """Until it has ended for good; returns its exit code."""
        deadline = time.monotonic() + TIMEOUT_S
        while self.is_running:
            assert time.monotonic() < deadline, self.logs()
            time.sleep(0.2)
        return self.exit_code

    def remove(self) -> None:
        docker("rm", "--force", "--volumes", self.name)


def fill(volume: str, folder: Path, to: str) -> None:
    """Copy a folder into a volume, as a person does, where the volume has no such folder yet."""
    copied = run(
        *named(volume),
        "--mount",
        f"type=bind,source={folder},target=/in,readonly",
        "deepspeech:cpu",
        "cp",
        "-r",
        "/in",
        f"persistent-data/{to}",
    )
    assert copied.returncode == 0, copied.stderr


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_until(moment, told, timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not moment():
        assert time.monotonic() < deadline, told()
        time.sleep(0.5)
