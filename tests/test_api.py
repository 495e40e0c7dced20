"""The Python API: what the commands do, with arguments, results and exceptions for flags, text and exit codes."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from training.processes import TIMEOUT_S, make_corpus, run_state, transcripts

import deepspeech_training as ds

ROOT = Path(__file__).resolve().parents[1]


def python(code: str, folder: Path, **popen) -> subprocess.Popen:
    """Start lines of Python in a folder, in a process of their own: TensorFlow's threads are fixed once for all."""
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r})\nimport deepspeech_training as ds\n{code}"
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **popen
    )


def ended(process: subprocess.Popen) -> tuple[str, str]:
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    return out, err


@pytest.fixture
def folder(tmp_path) -> Path:
    """A folder with train.csv (6 clips) and test.csv (2 clips)."""
    make_corpus(tmp_path, transcripts(6), name="train.csv")
    make_corpus(tmp_path, transcripts(2), name="test.csv", seed=50)
    return tmp_path


def test_the_package_is_imported_without_tensorflow(tmp_path):
    out, _ = ended(
        python(
            "print([name in dir(ds) and callable(getattr(ds, name)) for name in ds.__all__])\n"
            "print({'tensorflow', 'keras'} & set(sys.modules))",
            tmp_path,
        )
    )
    assert out.splitlines()[-1] == "set()"


WHOLE = """
import json, pathlib
from dataclasses import asdict
flags = dict(train_files=[pathlib.Path("train.csv")], dev_files="train.csv", n_hidden=8, train_batch_size=3,
             checkpoint_dir=pathlib.Path("run"), mode="cpu", log_level=3)
first = ds.train(epochs=2, **flags)
second = ds.train(epochs=3, **flags)
tested = ds.test(test_files="test.csv", checkpoint_dir=second.checkpoint_dir, mode="cpu", beam_width=None)
exported = [ds.export(checkpoint_dir="run", export_dir=name, log_level=3).exported for name in ("a", "b")]
text = ds.Model(exported[1]).stt(__import__("soundfile").read("train-00.wav", dtype="int16")[0])
print(json.dumps([asdict(first), asdict(second), [r.wer for r in tested.reports], str(tested.log), text], default=str))
"""


def test_one_process_trains_resumes_tests_exports_and_transcribes(folder):
    out, err = ended(python(WHOLE, folder))
    (line,) = out.splitlines()  # what a command prints is returned instead
    first, second, rates, log, text = json.loads(line)
    state = run_state(folder / "run")
    losses = [(entry["epoch"], entry["train_loss"]) for entry in second["history"]]
    assert losses == [(entry["epoch"], entry["train_loss"]) for entry in state["history"]]
    assert len(losses) == 3 and second["history"][:2] == first["history"]
    assert second["best_figures"] == state["schedule"]["best_figures"] and second["stopped"] == state["stopped"]
    for name in ("best_checkpoint", "last_checkpoint", "log"):
        assert (folder / second[name]).is_file(), name
    assert len(rates) == 1 and rates[0] >= 0 and isinstance(text, str)
    assert "Uses run/best-" in err and "Epoch" not in err  # log_level 3 is of the calls that were given it
    command = json.loads((folder / log).read_text())["command"]
    assert command.startswith("deepspeech_training.test(test_files='test.csv', checkpoint_dir=PosixPath('run')")


@pytest.mark.slow
def test_an_interrupt_saves_the_run_and_the_same_call_resumes_it(folder):
    code = (
        "def train(epochs):\n"
        "    return ds.train(train_files='train.csv', n_hidden=8, epochs=epochs, checkpoint_dir='run', mode='cpu')\n"
        "try: train(100_000)\n"
        "except KeyboardInterrupt as error: print('interrupted:', error, flush=True)\n"
        "epochs = len(train(1).history)\n"
        "print(epochs)"
    )
    process = python(code, folder)
    for line in process.stderr:
        if line.startswith("I Epoch"):
            process.send_signal(signal.SIGINT)
            break
    out, _ = ended(process)
    said, epochs = out.splitlines()
    assert said.startswith("interrupted: saved at step") and int(epochs) >= 1


@pytest.mark.slow
def test_in_another_thread_signals_stay_as_they_are(folder):
    code = (
        "import signal, threading\n"
        "before, found = signal.getsignal(signal.SIGINT), []\n"
        "def work():\n"
        "    found.append(ds.train(train_files='train.csv', n_hidden=8, epochs=1, checkpoint_dir='run', mode='cpu'))\n"
        "thread = threading.Thread(target=work); thread.start(); thread.join()\n"
        "print(signal.getsignal(signal.SIGINT) is before, len(found[0].history))"
    )
    assert ended(python(code, folder))[0] == "True 1\n"


@pytest.mark.parametrize(
    ("flags", "error", "words"),
    [
        ({"train_file": "a.csv"}, ds.FlagError, "unknown flag --train_file; did you mean --train_files"),
        ({"train_files": "a.csv", "epochs": 2.5}, ds.FlagError, "--epochs 2.5: must be a whole number"),
        ({"train_files": "a.csv", "shuffle": "perhaps"}, ds.FlagError, "--shuffle"),
        ({"show_resources": True}, ds.FlagError, "for the command line only"),
        ({}, ds.FlagError, "there is nothing to do"),
        ({"train_files": ["gone.csv"]}, ds.UserError, "gone.csv: cannot read the CSV"),
    ],
)
def test_what_a_person_can_mend_is_an_exception(flags, error, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    for _ in range(2):  # the folder is locked no longer
        with pytest.raises(error, match=words):
            ds.train(**flags, mode="cpu")
    assert signal.getsignal(signal.SIGINT) is before
    assert capsys.readouterr().out == ""


def test_a_call_that_tests_or_exports_trains_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ds.FlagError, match="this command only tests"):
        ds.test(train_files="a.csv", test_files="b.csv")
    with pytest.raises(ds.FlagError, match="this command only exports"):
        ds.export(train_files="a.csv", export_dir="b")
