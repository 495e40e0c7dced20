"""The real program in real processes: start it, kill it at a chosen moment, look at what it left behind."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from deepspeech_training.audio.synthetic_speech import synthesize
from deepspeech_training.checkpoints.file import read_arrays, read_state
from deepspeech_training.console import Console
from deepspeech_training.reporting.sessions import find_sessions, runs_of

ROOT = Path(__file__).resolve().parents[2]
SENTENCE = "she had your dark suit in greasy wash water all year do not ask me to carry an oily rag like that"
TIMEOUT_S = 180
TIMES = {
    "seconds",
    "seconds_waited",
    "audio_seconds_per_second",
    "speed",
    "waited_share",
}  # the only figures that may differ


@dataclass(frozen=True)
class Ended:
    """How a process ended and what it said; `log` has the program's own lines of stderr, without TensorFlow's."""

    code: int
    out: str
    err: str

    @property
    def log(self) -> str:
        return "\n".join(line for line in self.err.splitlines() if line[:2] in ("D ", "I ", "W ", "E "))


def transcripts(count: int) -> list[str]:
    """One to three words each, so that clips are of unequal length."""
    words = SENTENCE.split()
    return [" ".join(words[3 * i % 20 :][: 1 + i % 3]) for i in range(count)]


def make_corpus(folder: Path, texts, *, seed: int = 0, name: str = "clips.csv", file_rates=(16000,)) -> str:
    """Write a WAV for each text and the CSV of them; returns the path of the CSV."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, text in enumerate(texts):
        rate = file_rates[i % len(file_rates)]
        path = folder / f"{Path(name).stem}-{i:02}.wav"
        soundfile.write(path, synthesize(text, seed=seed + i, sample_rate=rate), rate)
        rows.append((path.name, path.stat().st_size, text))
    write_csv(folder / name, rows)
    return str(folder / name)


def write_csv(path: Path, rows) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("wav_filename", "wav_filesize", "transcript"), *rows])


PROGRAM = (sys.executable, str(ROOT / "DeepSpeech.py"))


def start(*flags, program: Sequence[str] = PROGRAM, **popen) -> subprocess.Popen:
    """Start the program, on the CPU unless `flags` say more; its stdin is empty, its output goes to pipes."""
    if program is PROGRAM:
        program = (*PROGRAM, "--mode", "cpu")
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | popen
    return subprocess.Popen([*program, *map(str, flags)], cwd=ROOT, **streams)


def ended(process: subprocess.Popen) -> Ended:
    """Wait for the end of a process."""
    try:
        out, err = process.communicate(timeout=TIMEOUT_S)
    except subprocess.TimeoutExpired:
        stop(process)
        raise
    assert b"Traceback" not in err, err.decode()
    return Ended(process.returncode, out.decode(), err.decode())


def run(*flags, program: Sequence[str] = PROGRAM) -> Ended:
    return ended(start(*flags, program=program))


def run_all(*commands) -> list[Ended]:
    """Run commands that do not depend on each other side by side."""
    processes = [start(*flags) for flags in commands]
    try:
        return [ended(process) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                stop(process)


def stop(process: subprocess.Popen) -> None:
    process.kill()
    process.communicate()


# --- moments -----------------------------------------------------------------------------------------------------


def log_size(folder: Path) -> int:
    path = folder / "events.jsonl"
    return path.stat().st_size if path.exists() else 0


def new_events(folder: Path, size: int) -> list[str]:
    """Kinds of the events that were logged after the log had `size` bytes; its last line may not be complete yet."""
    path = folder / "events.jsonl"
    text = path.read_bytes()[size:] if path.exists() else b""
    return [json.loads(line)["event"] for line in text.splitlines(keepends=True) if line.endswith(b"\n")]


def is_stepping(folder: Path, size: int) -> bool:
    return new_events(folder, size)[-1:] in (["epoch_begin"], ["step"])


def is_validating(folder: Path, size: int) -> bool:
    kinds = new_events(folder, size)
    return bool(kinds) and kinds[-1] in ("validation_begin", "validation_step")


def is_saving(folder: Path) -> bool:
    return any(name.endswith(".part") for name in os.listdir(folder)) if folder.exists() else False


def signal_when(process: subprocess.Popen, number: int, *moments) -> bool:
    """Send a signal once all moments have come, one after the other; False if the process has ended before."""
    deadline = time.monotonic() + TIMEOUT_S
    for moment in moments:
        while not moment():
            if process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                stop(process)
                raise AssertionError("the moment has not come")
            time.sleep(0.0003)
    process.send_signal(number)
    return True


def kill_in(
    kind: str,
    folder: Path,
    epochs: int,
    *flags,
    number: int = signal.SIGKILL,
    program: Sequence[str] = PROGRAM,
) -> Ended | None:
    """Run for `epochs` more, then end it "in a step", "in a save" or "in a validation"; None if it has ended by itself.

    The moment is where the program is when it is first seen there, so it differs from call to call.
    """
    process = start(*flags, program=program)
    kept = log_size(folder)  # less once the program has cut its log back; what is behind that is of this process

    def far_enough() -> bool:
        nonlocal kept
        kept = min(kept, log_size(folder))
        kinds = new_events(folder, kept)
        return kinds.count("epoch_begin") > 0 and kinds.count("epoch") >= epochs

    moment = {
        "in a step": lambda: is_stepping(folder, kept),
        "in a save": lambda: is_saving(folder),
        "in a validation": lambda: is_validating(folder, kept),
    }[kind]
    sent = signal_when(process, number, far_enough, moment)
    result = ended(process)
    return result if sent else None


# --- what is left behind -----------------------------------------------------------------------------------------


def newest(folder: Path, kind: str = "train") -> Path:
    return max(folder.glob(f"{kind}-*.json"))


def state_of(folder: Path, kind: str = "train") -> dict:
    return read_state(newest(folder, kind))


def run_state(folder: Path, kind: str = "train") -> dict:
    """The state of the run without times."""

    def without_times(value):
        if isinstance(value, dict):
            return {key: without_times(inner) for key, inner in value.items() if key not in TIMES}
        return [without_times(inner) for inner in value] if isinstance(value, list) else value

    return without_times(state_of(folder, kind)["run"])


def arrays_of(folder: Path, kind: str = "train") -> dict[str, np.ndarray]:
    state = state_of(folder, kind)
    return read_arrays(folder / state["weights_file"], sha256=state["weights_sha256"])


def differing_arrays(first: Path, second: Path, kind: str = "train") -> list[str]:
    """Names of weights and moments that are not the same bit for bit."""
    one, other = arrays_of(first, kind), arrays_of(second, kind)
    return [
        name
        for name in sorted(one.keys() | other.keys())
        if name not in one or name not in other or one[name].tobytes() != other[name].tobytes()
    ]


def assert_same_end(first: Path, second: Path) -> None:
    """The last and the best checkpoint of two runs are the same, weights and moments bit for bit."""
    assert run_state(first) == run_state(second)
    assert differing_arrays(first, second) == []
    assert {name.split("/")[0] for name in arrays_of(first)} >= {"adam_m", "adam_v", "lstm"}
    if list(first.glob("best-*.json")) or list(second.glob("best-*.json")):
        assert run_state(first, "best") == run_state(second, "best")
        assert differing_arrays(first, second, "best") == []


def events(folder: Path) -> list[dict]:
    """The whole log; every line must be JSON as the standard has it, without NaN."""

    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    lines = (folder / "events.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


def assert_log_is_whole(folder: Path, epochs: int) -> None:
    """Every epoch ends once in the log, and no step is repeated."""
    log = events(folder)
    assert [e["epoch"] for e in log if e["event"] == "epoch"] == list(range(epochs))
    steps = [e["step"] for e in log if e["event"] == "step"]
    assert steps == sorted(set(steps))


def assert_sessions_are_whole(folder: Path, epochs: int) -> None:
    """Every session log can be read, killed or not, and together they have every epoch of the one run."""
    sessions = find_sessions(folder, Console())
    assert len(sessions) == len(list((folder / "logs").glob("session_*.json")))
    assert {session.status for session in sessions} <= {"killed", "interrupted", "done"}
    run = runs_of(sessions)[-1]  # one that was killed before its first checkpoint is a run of its own
    assert [epoch.number for epoch in run.epochs] == list(range(1, epochs + 1))


def assert_tidy(folder: Path, *, max_to_keep: int, also: tuple[str, ...] = ()) -> None:
    """Nothing but `max_to_keep` last checkpoints, one best, and what belongs there."""
    names = {path.name for path in folder.iterdir()} - {
        "data_check",
        "logs",
        ".lock",
        "events.jsonl",
        "flags.txt",
        "validation.json",
        *also,
    }
    last, best = sorted(folder.glob("train-*.json")), sorted(folder.glob("best-*.json"))
    assert len(last) <= max_to_keep and len(best) == 1
    expected = {path.name for path in last + best} | {read_state(path)["weights_file"] for path in last + best}
    assert names == expected
    assert all(path.suffix == ".jsonl" for path in (folder / "data_check").iterdir())
