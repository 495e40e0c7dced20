"""A command of the program in a process of its own: with its own memory, nicer than the service, never left behind."""

import asyncio
import contextlib
import os
import shutil
import signal
import sys
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from deepspeech_training.console import Console

NICE = "10"
LINE_BYTES = 1 << 20
ERRORS_KEPT = 40
LEVELS = ("D ", "I ", "W ", "E ")


@dataclass(frozen=True)
class Ended:
    """How a command has ended.

    Args:
        code: 0, 1 (data or run), 2 (flags), 130 or 143 (a signal, after saving); below 0: killed by that signal.
        message: what it said of it; empty where it said nothing.
    """

    code: int
    message: str


class Child:
    """Runs one command at a time; what it says appears as our own lines.

    A stop is SIGTERM, at which a training saves. It is in a group of its own: Ctrl-C in a terminal reaches it once,
    from us. If we are killed, the kernel sends it SIGTERM.

    Attributes:
        runs: whether there is one.
    """

    runs = False

    def __init__(self, console: Console):
        self._console = console
        self._process: asyncio.subprocess.Process | None = None
        self._early = 0  # a signal that came while it was being started

    async def run(self, words: Sequence[str], *, keep_open: int, variables: Mapping[str, str] | None = None) -> Ended:
        """Run a command to its end.

        Args:
            keep_open: a file that stays open, and locked, as long as it runs.
            variables: of its environment, besides ours.
        """
        self.runs, self._early = True, 0
        try:
            self._process = process = await asyncio.create_subprocess_exec(
                *_ahead(),
                *(sys.executable, "-m", "deepspeech_training", *words),
                stdin=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
                env={**os.environ, **(variables or {})},
                pass_fds=(keep_open,),
                limit=LINE_BYTES,
            )
            if self._early:
                self.signal(self._early)
            errors = await self._pass_on(process)
            code = await process.wait()
        finally:
            self.signal(signal.SIGKILL)  # nothing, unless we are cancelled
            self._process, self.runs = None, False
        return Ended(code, "\n".join([*errors, *_of_signal(code)]))

    async def _pass_on(self, process: asyncio.subprocess.Process) -> deque[str]:
        """Show its lines; -> the last errors."""
        assert process.stderr is not None
        errors: deque[str] = deque(maxlen=ERRORS_KEPT)
        while True:
            try:
                line = await process.stderr.readline()
            except ValueError:
                continue  # a line longer than any of ours
            if not line:
                return errors
            text = line.decode(errors="replace").rstrip("\n")
            if text.startswith(LEVELS):
                self._console.say("DIWE".index(text[0]), text[2:])
            elif text in ("E", "I", "W", "D"):
                self._console.say("DIWE".index(text), "")
            else:
                self._console.debug(text)
            if text.startswith("E "):
                errors.append(text[2:])

    def signal(self, number: int) -> None:
        """Send it a signal, if it runs."""
        self._early = number
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)


def _ahead() -> list[str]:
    """Programs that run it: so that it gives way to the service, and ends with us."""
    words = []
    if setpriv := shutil.which("setpriv"):
        words += [setpriv, "--pdeathsig", "TERM", "--"]
    if nice := shutil.which("nice"):
        words += [nice, "-n", NICE]
    return words


def _of_signal(code: int) -> list[str]:
    if code == -signal.SIGKILL:
        return ["the process was killed (SIGKILL): most often that is the limit of memory"]
    return [f"the process was ended by {signal.Signals(-code).name}"] if code < 0 else []
