"""Writers that are killed or meet: nothing is ever half there, and the next one completes it."""

import subprocess
import sys
from pathlib import Path

import pytest

# Does some work for each moment at which something goes to the disk, in a child that kills itself at that moment; looks
# at what is there as a reader does; does the work to its end. Prints at how many moments it was killed.
EACH_MOMENT = """
import os, signal, sys
from pathlib import Path
from deepspeech_training.console import ERROR, Console
from deepspeech_training.registry.register import register
from deepspeech_training.registry.store import Registry
from deepspeech_training.registry.writer import writing

work, export, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
MOMENTS = ("rename", "replace", "fsync", "open", "mkdir", "unlink")


def registration(registry):
    register(registry, export, name="en", processes=1, console=Console(level=ERROR))


def changes(registry):
    # From whatever a kill has left: the last version is promoted, taken back and removed; two others stay.
    with writing(registry, Console(level=ERROR)) as writer:
        while len(registry.numbers("en")) < 3:
            writer.publish("en", {"model.tflite": os.urandom(8)}, {"tests": []})
        one, _, three = registry.versions("en")[-3:]
        for version in (one, three):
            if registry.promoted("en") != version:
                writer.promote(version, "")
        writer.rollback("en", "")
        writer.remove(three)


def in_a_child(registry, kill_at):
    child = os.fork()
    if child:
        return os.waitpid(child, 0)[1]
    left = kill_at
    def wrapped(name):
        real = getattr(os, name)
        def at_this_moment(*arguments, **options):
            nonlocal left
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*arguments, **options)
        setattr(os, name, at_this_moment)
    try:
        for name in MOMENTS:
            wrapped(name)
        globals()[work](registry)
        os._exit(0)
    except BaseException as error:
        sys.stderr.write(repr(error))
        os._exit(1)


def look(registry):
    for name in registry.names():
        state = registry.state(name)
        for version in registry.versions(name):
            version.check()
        assert state.promoted in (None, *registry.numbers(name)), state
        promoted = registry.promoted(name)
        assert promoted is None or promoted.check()


for moment in range(1, 1000):
    registry = Registry(folder / str(moment))
    status = in_a_child(registry, moment)
    look(registry)
    if status == 0:
        break
    assert os.WTERMSIG(status) == signal.SIGKILL, status
    assert in_a_child(registry, 0) == 0
    look(registry)
    if work == "registration":
        assert registry.numbers("en") == [1] and registry.state("en").promoted == 1, registry.state("en")
    else:
        assert len(registry.numbers("en")) == 2 and registry.promoted("en"), registry.state("en")
    assert not list(registry.folder.rglob("*.part")), list(registry.folder.rglob("*.part"))
print(moment - 1)
"""

# Publishes and promotes again and again beside others that do the same.
BUSY = """
import sys
from pathlib import Path
from deepspeech_training.console import ERROR, Console
from deepspeech_training.registry.store import Registry
from deepspeech_training.registry.writer import writing

registry = Registry(Path(sys.argv[1]))
for number in range(10):
    with writing(registry, Console(level=ERROR)) as writer:
        version = writer.publish("en", {"model.tflite": f"{sys.argv[2]} {number}".encode()}, {"tests": []})
        writer.promote(version, sys.argv[2])
    print(version.number)
"""


@pytest.mark.parametrize("work", ["registration", "changes"])
def test_a_writer_that_is_killed_at_any_moment_leaves_nothing_half(tmp_path, poor, work):
    done = subprocess.run(
        [sys.executable, "-c", EACH_MOMENT, work, str(poor), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 10


def test_writers_that_come_at_the_same_time_wait_for_each_other(registry):
    writers = [
        subprocess.Popen([sys.executable, "-c", BUSY, registry.folder, name], stdout=subprocess.PIPE, text=True)
        for name in ("a", "b", "c")
    ]
    numbers = [int(line) for writer in writers for line in writer.communicate(timeout=300)[0].splitlines()]
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert sorted(numbers) == registry.numbers("en") == [*range(1, 31)]
    for version in registry.versions("en"):
        version.check()
    state = registry.state("en")
    assert state.promoted == 30 and state.before == tuple(range(1, 30)) and len(state.history) == 30


def test_what_a_killed_writer_has_left_is_neither_listed_nor_kept(registry, models, poor):
    half = registry.folder / "en" / ".1.part"
    half.mkdir(parents=True)
    Path(half / "model.tflite").write_bytes(b"half")
    assert "no model is registered" in models("list")[1]
    assert models("register", poor, "--name", "en")[:2] == (0, "en/1\n")
    assert not half.exists()
