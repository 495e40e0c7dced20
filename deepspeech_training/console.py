"""What a person sees: log lines and progress on stderr. Results go to stdout and are not this module's business.

On a terminal progress is a bar; elsewhere (a log file, `docker logs`, CI) it is a plain line every 30 seconds,
without carriage returns or colour.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

DEBUG, INFO, WARN, ERROR = range(4)  # the values of --log_level, as in DeepSpeech
PLAIN_LINE_EVERY_S = 30.0


class _Lasting:
    """A stream whose loss ends nothing: a closed terminal, a pipe without a reader, a full disk under a log."""

    def __init__(self, stream: TextIO):
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError, ValueError):  # ValueError: it was closed
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError, ValueError):
            self._stream.flush()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class Progress:
    """Progress of one piece of work; made by `Console.progress`."""

    def __init__(self, console: "Console", what: str, *, total: int, unit: str, start: int):
        self._console, self._what, self._total, self._unit = console, what, total, unit
        self._done, self._note = start, ""
        self._last_line = time.monotonic()
        self._bar = None
        if console.shows_bar:
            from tqdm import tqdm  # with all that it imports 20 ms, which is much for a command that shows no bar

            self._bar = tqdm(
                total=total,
                initial=start,
                desc=what,
                unit=f" {unit}",
                file=console.stream,
                leave=False,
                dynamic_ncols=True,
            )
            console.open_bars += 1

    def update(self, count: int = 1, *, note: str = "") -> None:
        """Say that `count` more units are done; `note` is a short text such as "loss 12.3"."""
        self._done += count
        self._note = note or self._note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
        elif time.monotonic() - self._last_line >= PLAIN_LINE_EVERY_S:
            self._last_line = time.monotonic()
            tail = f", {self._note}" if self._note else ""
            self._console.info(f"{self._what}: {self._done:,} of {self._total:,} {self._unit}{tail}")

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._console.open_bars -= 1


class Console:
    """Log lines and progress, at or above a level.

    Args:
        level: the value of `--log_level`: 0 debug, 1 info, 2 warnings, 3 errors.
        show_progressbar: draw bars where `stream` is a terminal.
        stream: where the lines go; stderr by default.
    """

    def __init__(self, *, level: int = INFO, show_progressbar: bool = True, stream: TextIO | None = None):
        self.level = level
        self.stream = cast(TextIO, _Lasting(stream if stream is not None else sys.stderr))
        self.shows_bar = show_progressbar and level <= INFO and self.stream.isatty()
        self.open_bars = 0

    def say(self, level: int, message: str) -> None:
        """Write the lines of a message, each with the letter of its level."""
        if level < self.level:
            return
        lines = [f"{'DIWE'[level]} {line}" for line in message.splitlines() or [""]]
        if self.open_bars:
            from tqdm import tqdm

            for line in lines:
                tqdm.write(line, file=self.stream)  # lifts a bar out of the way
        else:
            self.stream.write("".join(f"{line}\n" for line in lines))
        self.stream.flush()

    def debug(self, message: str) -> None:
        self.say(DEBUG, message)

    def info(self, message: str) -> None:
        self.say(INFO, message)

    def warn(self, message: str) -> None:
        self.say(WARN, message)

    def error(self, message: str) -> None:
        self.say(ERROR, message)

    @contextmanager
    def progress(self, what: str, *, total: int, unit: str, start: int = 0) -> Iterator[Progress]:
        """Show the progress of `total` units of work, of which `start` are done already."""
        progress = Progress(self, what, total=total, unit=unit, start=start)
        try:
            yield progress
        finally:
            progress.close()


@contextmanager
def stderr_without(*phrases: str) -> Iterator[None]:
    """Keep lines with any of these phrases off stderr that C++ libraries write past Python's own.

    Everything else that is written meanwhile appears afterwards. It swaps the stderr of the whole process.
    """
    import tempfile

    unwanted = [phrase.encode() for phrase in phrases]
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held_back:
        stderr = os.dup(2)
        os.dup2(held_back.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            held_back.seek(0)
            for line in held_back:
                if not any(phrase in line for phrase in unwanted):
                    with suppress(OSError):
                        os.write(2, line)


def open_streams() -> None:
    """At the start of a program: characters that stdout or stderr cannot encode are escaped, and end nothing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def settle_streams() -> None:
    """At the end of a program: what stdout or stderr cannot take any more does not become another exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError), open(os.devnull, "w") as nowhere:
                os.dup2(nowhere.fileno(), stream.fileno())


def print_result(text: str, console: Console) -> None:
    """Print a result to stdout, at once; where nobody reads it any more, that is said and the work continues."""
    try:
        print(text, flush=True)
    except OSError as error:
        console.warn(f"stdout cannot be written ({error.strerror}): a result of {len(text):,} characters is lost")
