"""What several test files share: where the recordings are, and builders of tiny WAVs and corpora."""

import csv
import os
import signal
import sys
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import soundfile

from deepspeech_training.training.interrupt import EXIT_CODES, interrupts

TESTS = Path(__file__).parent

# A busy machine makes any test slow once; how long one takes is no fault.
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")

# Under nohup, or after `&` in a script, signals are ignored that the tests send to themselves and to what they start.
for _number, _default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _default)


# Folders whose tests start the program again and again, the longest first.
LONG = ("training", "app", "models", "tasks", "test_api.py", "registry")


def pytest_collection_modifyitems(items):
    """Begins with what takes long, so that no process works on it alone at the end (a file stays in one process)."""

    def rank(item: pytest.Item) -> int:
        name = item.path.relative_to(TESTS).parts[0] if item.path.is_relative_to(TESTS) else ""
        return LONG.index(name) if name in LONG else len(LONG)

    items.sort(key=rank)


def pytest_collection_finish():
    """Gives TensorFlow the threads of a training before any test computes with it: later it refuses them."""
    if "tensorflow" in sys.modules:
        from deepspeech_training.config.groups import PerformanceFlags
        from deepspeech_training.training.backends.tensorflow.devices import set_up

        set_up(PerformanceFlags())


@pytest.fixture(autouse=True)
def handlers():
    """Gives the signals that a command has taken over back to the tests' own process."""
    before = {number: signal.getsignal(number) for number in EXIT_CODES}
    yield
    interrupts.leave()
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real recordings: $DEEPSPEECH_TEST_DATA, or shared/data beside the project."""
    named = os.environ.get("DEEPSPEECH_TEST_DATA")
    path = Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"no recordings to test with: {path} is not there; set DEEPSPEECH_TEST_DATA to their folder")
    return path


@pytest.fixture(scope="session")
def compiled_beam():
    """The beam search is compiled, so that a test neither waits for that nor reads the line that says so."""
    from deepspeech_training.decoding.beam import compile_beam

    compile_beam()


@pytest.fixture
def make_wav():
    """A function that writes a file with a tone, another pitch in each channel, and returns its path as text."""

    def make(path, seconds=1.0, rate=16000, channels=1, subtype="PCM_16") -> str:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        time_s = np.arange(round(seconds * rate)) / rate
        audio = 0.5 * np.sin(2 * np.pi * 220 * np.outer(time_s, np.arange(1, channels + 1)))  # [frames, channels]
        soundfile.write(path, audio, rate, subtype=subtype)
        return str(path)

    return make


@pytest.fixture
def corpus(tmp_path, make_wav):
    """A function that writes one WAV for each transcript and a CSV of them, and returns the path of the CSV as text."""

    def build(transcripts, *, name="train.csv", seconds=1.0, speakers=None) -> str:
        csv_path = tmp_path / name
        csv_path.parent.mkdir(parents=True, exist_ok=True)
        with open(csv_path, "w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["wav_filename", "wav_filesize", "transcript"] + (["client_id"] if speakers else []))
            for number, transcript in enumerate(transcripts):
                wav_filename = f"{csv_path.stem}_wavs/{number}.wav"
                path = make_wav(csv_path.parent / wav_filename, seconds)
                row = [wav_filename, os.path.getsize(path), transcript]
                writer.writerow(row + ([speakers[number]] if speakers else []))
        return str(csv_path)

    return build
