import errno
import io
import os
import subprocess
import sys

import pytest

from deepspeech_training import console as console_module
from deepspeech_training.console import DEBUG, ERROR, INFO, PLAIN_LINE_EVERY_S, WARN, Console


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 1000.0

    monkeypatch.setattr(console_module.time, "monotonic", lambda: Clock.now)
    return Clock


@pytest.mark.parametrize(("level", "shown"), [(DEBUG, "DIWE"), (INFO, "IWE"), (WARN, "WE"), (ERROR, "E")])
def test_a_level_hides_what_is_below_it(level, shown):
    stream = io.StringIO()
    console = Console(level=level, stream=stream)
    for say in (console.debug, console.info, console.warn, console.error):
        say("x")
    assert stream.getvalue() == "".join(f"{letter} x\n" for letter in shown)


def test_every_line_of_a_message_has_its_letter():
    stream = io.StringIO()
    Console(stream=stream).error("one\ntwo\n\nfour")
    assert stream.getvalue() == "E one\nE two\nE \nE four\n"


def test_results_stay_off_stdout(capsys):
    Console().info("hello")
    assert capsys.readouterr() == ("", "I hello\n")


def test_off_a_terminal_progress_is_a_plain_line_each_30_seconds(clock):
    stream = io.StringIO()
    with Console(stream=stream).progress("Epoch 1", total=3000, unit="batches", start=10) as progress:
        for _ in range(70):
            clock.now += 1
            progress.update(10, note="loss 1.5")
    assert PLAIN_LINE_EVERY_S == 30
    assert stream.getvalue() == (
        "I Epoch 1: 310 of 3,000 batches, loss 1.5\nI Epoch 1: 610 of 3,000 batches, loss 1.5\n"
    )


def test_off_a_terminal_there_is_no_carriage_return_and_no_colour(clock):
    stream = io.StringIO()
    console = Console(stream=stream)
    with console.progress("Epoch 1", total=10, unit="batches") as progress:
        for _ in range(10):
            clock.now += 31
            progress.update()
            console.warn("careful")
    assert stream.getvalue().count("\n") == 20
    assert "\r" not in stream.getvalue() and "\x1b" not in stream.getvalue()


def test_a_terminal_has_a_bar_that_log_lines_lift_out_of_the_way():
    stream = Terminal()
    console = Console(stream=stream)
    with console.progress("Epoch 1", total=10, unit="batches") as progress:
        progress.update(3, note="loss 2")
        console.info("a line")
    assert "\rEpoch 1:" in stream.getvalue() and "I a line\n" in stream.getvalue()


@pytest.mark.parametrize("options", [{"show_progressbar": False}, {"level": WARN}])
def test_no_bar_where_it_is_not_wanted(options):
    stream = Terminal()
    with Console(stream=stream, **options).progress("Epoch 1", total=10, unit="batches") as progress:
        progress.update(3)
    assert stream.getvalue() == ""


class Lost(io.StringIO):
    """A terminal that was closed: each write fails."""

    def write(self, *text):
        raise OSError(errno.EIO, "Input/output error")

    flush = write


class LostTerminal(Lost):
    def isatty(self):
        return True


@pytest.mark.parametrize("stream", [Lost(), LostTerminal()])
def test_a_stream_that_is_gone_ends_nothing(stream):
    console = Console(stream=stream)
    with console.progress("Epoch 1", total=10, unit="batches") as progress:
        for _ in range(10):
            progress.update(note="loss 1")
            console.warn("careful")


def run(program, **streams):
    command = [sys.executable, "-c", f"from deepspeech_training import console as c\n{program}"]
    return subprocess.run(command, check=False, **{"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams})


def test_what_an_encoding_lacks_is_escaped():
    done = run("c.open_streams(); print('ünïcode ש')", env={**os.environ, "PYTHONIOENCODING": "latin-1"})
    assert done.returncode == 0 and done.stdout == "ünïcode \\u05e9\n".encode("latin-1")


@pytest.mark.parametrize("number", [1, 2])
def test_a_full_disk_under_an_output_changes_no_exit_code(number):
    with open("/dev/full", "w") as full:
        name = {1: "stdout", 2: "stderr"}[number]
        done = run("c.Console().info('line'); c.print_result('text', c.Console()); c.settle_streams()", **{name: full})
    assert done.returncode == 0
    if number == 1:
        assert b"stdout cannot be written (No space left on device)" in done.stderr
