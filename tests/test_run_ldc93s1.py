"""The script of the smoke test, with a stub for the trainer: what it passes on, what it returns, what it keeps."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SCRIPT = ROOT / "bin" / "run-ldc93s1.sh"
SENTENCE = "she had your dark suit in greasy wash water all year"

# An interpreter that is Python for everything but DeepSpeech.py, which it plays: it notes its arguments and then does
# as $STUB says.
STUB = """#!{python}
import json, os, signal, sys, time
from pathlib import Path

if sys.argv[1:2] != ["DeepSpeech.py"]:
    os.execv("{python}", ["{python}", *sys.argv[1:]])

arguments = sys.argv[2:]
flags = {{}}
for argument, following in zip(arguments, [*arguments[1:], ""]):
    if argument.startswith("--"):
        name, equals, value = argument.partition("=")
        flags[name] = value if equals else following
note = dict(arguments=arguments, cwd=os.getcwd(), gpus=os.environ.get("CUDA_VISIBLE_DEVICES"))
doing, _, detail = os.environ["STUB"].partition(" ")
if "--checkpoint_dir" in flags:
    Path(flags["--checkpoint_dir"], "last.json").write_text("")
if doing == "wait":
    received = []

    def on_signal(number, frame):
        received.append(number)

    signal.signal(signal.SIGTERM, on_signal)
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, on_signal)
    Path(os.environ["NOTE"]).write_text(json.dumps(note))
    deadline = time.monotonic() + 30
    while not received and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.3)  # saves its checkpoint
    note["received"] = received
Path(os.environ["NOTE"]).write_text(json.dumps(note))
if doing == "wait":
    sys.exit(128 + received[0])
if doing == "exit":
    sys.exit(int(detail))
if doing == "raise":
    os.kill(os.getpid(), getattr(signal, detail))
if doing == "write":
    Path(flags["--test_output_file"]).write_text(detail)
"""


def json_of(*, result: str = SENTENCE) -> str:
    errors = sum(said != heard for said, heard in zip(SENTENCE.split(), result.split(), strict=True))
    sample = {
        "wav_filename": "LDC93S1.wav",
        "src": SENTENCE,
        "res": result,
        "loss": 0.5,
        "char_distance": errors,
        "char_length": len(SENTENCE),
        "word_distance": errors,
        "word_length": 11,
        "cer": errors / len(SENTENCE),
        "wer": errors / 11,
    }
    return json.dumps([sample])


LEARNED = "write " + json_of()


class Smoke:
    """Starts the script with the stub in a directory of its own."""

    def __init__(self, tmp_path: Path):
        self.interpreter = tmp_path / "python stub"
        self.interpreter.write_text(STUB.format(python=sys.executable))
        self.interpreter.chmod(0o755)
        self.data, self.scratch, self.cwd = tmp_path / "the data", tmp_path / "scratch", tmp_path / "elsewhere"
        self.note_path = tmp_path / "note.json"
        self.scratch.mkdir()
        self.cwd.mkdir()

    def start(self, *arguments: str, stub: str = LEARNED, **environment: str) -> subprocess.Popen:
        environment = {
            "PYTHON": str(self.interpreter),
            "LDC93S1_DIR": str(self.data),
            "LDC93S1_SOURCE": "synthetic",  # never the network
            "TMPDIR": str(self.scratch),
            "STUB": stub,
            "NOTE": str(self.note_path),
        } | environment
        return subprocess.Popen(
            [SCRIPT, *arguments],
            cwd=self.cwd,
            env=os.environ | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments: str, **keywords: str) -> subprocess.CompletedProcess:
        with self.start(*arguments, **keywords) as process:
            stdout, stderr = process.communicate(timeout=60)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    @property
    def note(self) -> dict:
        return json.loads(self.note_path.read_text())

    @property
    def left(self) -> list[str]:
        return sorted(path.name for path in self.scratch.rglob("*") if path.is_file() and path.name != "started")


@pytest.fixture
def smoke(tmp_path) -> Smoke:
    return Smoke(tmp_path)


def test_a_learned_clip_gives_0_and_leaves_no_checkpoints(smoke):
    done = smoke.run()
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert "WER 0" in done.stderr
    assert list(smoke.scratch.iterdir()) == []
    assert (smoke.data / "ldc93s1.csv").is_file()


def test_the_trainer_runs_in_the_project_root_with_the_flags_of_the_smoke_test(smoke):
    assert smoke.run().returncode == 0
    csv_path = str(smoke.data / "ldc93s1.csv")
    arguments = smoke.note["arguments"]
    flags = dict(zip(arguments[::2], arguments[1::2], strict=True))
    scratch = Path(flags.pop("--checkpoint_dir")).parent
    assert scratch.parent == smoke.scratch
    assert flags.pop("--test_output_file") == str(scratch / "test_output.json")
    assert flags.pop("--ephemeral") == "true"  # in a container it may all go with it
    assert flags == {
        "--train_files": csv_path,
        "--test_files": csv_path,
        "--train_batch_size": "1",
        "--test_batch_size": "1",
        "--n_hidden": "100",
        "--epochs": "300",
        "--dropout_rate": "0",
        "--beam_width": "0",
        "--report_count": "1",
    }
    assert smoke.note["cwd"] == str(ROOT)


def test_further_arguments_come_last_as_they_are(smoke):
    assert smoke.run("--epochs", "3", "--augment", "pitch[p=0.1,pitch=1 ~0.2]", "").returncode == 0
    assert smoke.note["arguments"][-5:] == ["--epochs", "3", "--augment", "pitch[p=0.1,pitch=1 ~0.2]", ""]


@pytest.mark.parametrize("devices", [None, "", "3"])
def test_one_gpu_is_seen_unless_the_person_says_which(smoke, monkeypatch, devices):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    smoke.run(**({} if devices is None else {"CUDA_VISIBLE_DEVICES": devices}))
    assert smoke.note["gpus"] == ("0" if devices is None else devices)


@pytest.mark.parametrize("flag", ["checkpoint_dir", "save_checkpoint_dir", "load_checkpoint_dir"])
@pytest.mark.parametrize("with_equals", [False, True])
def test_a_checkpoint_directory_of_the_person_replaces_the_fresh_one(smoke, tmp_path, flag, with_equals):
    own = tmp_path / "own"
    own.mkdir()
    arguments = [f"--{flag}={own}"] if with_equals else [f"--{flag}", str(own)]
    assert smoke.run(*arguments).returncode == 0
    assert smoke.note["arguments"][-len(arguments) :] == arguments
    names = [argument.partition("=")[0] for argument in smoke.note["arguments"]]
    assert [name for name in names if name.endswith("checkpoint_dir")] == [f"--{flag}"]
    assert own.is_dir()


@pytest.mark.parametrize("with_equals", [False, True])
def test_a_test_output_file_of_the_person_is_the_one_that_decides(smoke, tmp_path, with_equals):
    own = tmp_path / "own output.json"
    arguments = [f"--test_output_file={own}"] if with_equals else ["--test_output_file", str(own)]
    assert smoke.run(*arguments).returncode == 0
    assert own.is_file()
    wrong = "write " + json_of(result=SENTENCE.replace("dark", "bark"))
    assert smoke.run(*arguments, stub=wrong).returncode == 1


def test_a_word_error_gives_1_and_names_the_checkpoints_that_are_kept(smoke):
    done = smoke.run(stub="write " + json_of(result=SENTENCE.replace("dark", "bark")))
    assert done.returncode == 1
    assert "WER 0.0909 instead of 0" in done.stderr
    assert f'heard    "{SENTENCE.replace("dark", "bark")}"' in done.stderr
    assert smoke.left == ["last.json", "test_output.json"]
    [kept] = smoke.scratch.iterdir()
    assert f"exit code 1; its files are kept in {kept}" in done.stderr


@pytest.mark.parametrize(
    "content", ["[]", "{}", '[{"wer": 0}]', "not JSON", '[{"word_distance": 0, "word_length": 0}]']
)
def test_an_output_that_shows_nothing_gives_1_with_a_sentence(smoke, content):
    done = smoke.run(stub=f"write {content}")
    assert done.returncode == 1
    assert "is not a test output" in done.stderr or "has no words" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_trainer_that_writes_no_output_gives_1(smoke):
    done = smoke.run(stub="exit 0")
    assert done.returncode == 1
    assert "wrote no test output" in done.stderr


def test_an_output_of_an_earlier_run_does_not_count(smoke, tmp_path):
    own = tmp_path / "own.json"
    own.write_text(json_of())
    os.utime(own, (1e9, 1e9))
    done = smoke.run("--test_output_file", str(own), stub="exit 0")
    assert done.returncode == 1
    assert own.is_file()


@pytest.mark.parametrize("code", [1, 2, 77])
def test_the_exit_code_of_the_trainer_is_passed_on_and_its_files_kept(smoke, code):
    done = smoke.run(stub=f"exit {code}")
    assert done.returncode == code
    assert smoke.left == ["last.json"]
    assert "kept in" in done.stderr


@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV"])
def test_a_trainer_that_is_killed_gives_128_and_the_signal(smoke, name):
    assert smoke.run(stub=f"raise {name}").returncode == 128 + getattr(signal, name)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
@pytest.mark.parametrize("to_group", [False, True], ids=["to the script", "to its process group"])
def test_a_signal_reaches_the_trainer_once_and_its_exit_code_comes_back(smoke, number, code, to_group):
    with smoke.start(stub="wait") as process:
        deadline = time.monotonic() + 30
        while not smoke.note_path.exists():
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()
            time.sleep(0.02)
        time.sleep(0.1)
        # To the group: as a terminal sends Ctrl-C.
        (os.killpg if to_group else os.kill)(process.pid, number)
        _, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert smoke.note["received"] == [number]
    assert "kept in" in stderr
    assert smoke.left == ["last.json"]


def test_a_data_directory_that_cannot_be_made_stops_it_before_the_trainer(smoke, tmp_path):
    (tmp_path / "file").write_text("")
    done = smoke.run(LDC93S1_DIR=str(tmp_path / "file"))
    assert done.returncode == 1
    assert "cannot import the clip" in done.stderr
    assert not smoke.note_path.exists()
    assert list(smoke.scratch.iterdir()) == []


def test_an_interpreter_that_does_not_exist_gives_127(smoke):
    assert smoke.run(PYTHON="/nowhere/python").returncode == 127
