"""A classifier and a task without audio go through all that speech to text goes through, without a line for them."""

import csv
import json
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tasks.other_tasks import LETTERS
from training.processes import differing_arrays, kill_in, run, run_state

PROGRAM = (sys.executable, str(Path(__file__).with_name("with_other_tasks.py")))
EPOCHS = 12


def flags(task: str, files: dict[str, str], *others) -> list:
    named = [word for kind, path in files.items() for word in (f"--{kind}_files", path)]
    size = [] if task == "spelling" else ["--n_hidden", 16]  # that task has a default of its own
    training = [*size, "--epochs", EPOCHS, "--train_batch_size", 4, "--learning_rate", 0.05, "--mode", "cpu"]
    return ["train", "--task", task, *named, *training, "--checkpoint_secs", 1, *others]


def write(path, rows) -> str:
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("given", "wanted"), *rows])
    return str(path)


def sounds(folder) -> dict[str, str]:
    """Tones, noise and clicks."""
    generator = np.random.default_rng(0)
    files = {}
    for kind, count in (("train", 24), ("dev", 9), ("test", 9)):
        rows = []
        for number in range(count):
            label, length = ("tone", "noise", "clicks")[number % 3], 4000 + 300 * number
            audio = {
                "tone": 0.3 * np.sin(np.arange(length) * 0.1),
                "noise": 0.1 * generator.standard_normal(length),
                "clicks": 0.8 * (np.arange(length) % 1000 == 0),
            }[label]
            soundfile.write(folder / f"{kind}{number}.wav", audio, 16000)
            rows.append((f"{kind}{number}.wav", label))
        files[kind] = write(folder / f"{kind}.csv", rows)
    return files


def words(folder) -> dict[str, str]:
    """Each letter becomes the next one of the alphabet."""
    letters = random.Random(0)
    files = {}
    for kind, count in (("train", 32), ("dev", 8), ("test", 8)):
        given = ["".join(letters.choices(LETTERS, k=letters.randint(1, 9))) for _ in range(count)]
        after = {letter: LETTERS[(place + 1) % len(LETTERS)] for place, letter in enumerate(LETTERS)}
        files[kind] = write(folder / f"{kind}.csv", [(word, "".join(map(after.get, word))) for word in given])
    return files


@pytest.mark.parametrize(
    ("task", "make", "figure", "is_good", "unit"),
    [
        ("sounds", sounds, "accuracy", lambda value: value > 0.9, "audio-s/s"),
        ("spelling", words, "wrong", lambda value: value < 0.1, "letters/s"),
    ],
)
def test_another_task_is_trained_killed_resumed_tested_and_inspected(tmp_path, task, make, figure, is_good, unit):
    files = make(tmp_path)
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    command = flags(task, files)
    trained = run(*command, "--checkpoint_dir", whole, program=PROGRAM)
    assert trained.code == 0, trained.err
    assert unit in trained.log and f" {figure}" in trained.log and "WER" not in trained.log
    assert trained.out.startswith(f"Test on {files['test']}: {figure} ")
    assert is_good(float(trained.out.split()[4]))
    used = (whole / "flags.txt").read_text().splitlines()
    assert {"--n_hidden=16", "--train_batch_size=4"} <= set(used), "a default of the task, and a flag that is given"

    for moment in ("in a step", "in a validation"):
        ended = kill_in(moment, killed, 1, *command, "--checkpoint_dir", killed, program=PROGRAM)
        assert ended is None or ended.code == -signal.SIGKILL
    assert run(*command, "--checkpoint_dir", killed, program=PROGRAM).code == 0
    for kind in ("train", "best"):
        assert run_state(killed, kind) == run_state(whole, kind)
        assert differing_arrays(killed, whole, kind) == []
    state = run_state(whole)
    best = max if figure == "accuracy" else min
    assert state["schedule"]["best_figures"][figure] == best(entry["dev"][0][figure] for entry in state["history"])

    tested = run("test", "--test_files", files["test"], "--checkpoint_dir", whole, program=PROGRAM)
    assert tested.code == 0 and tested.out == trained.out
    found = run("inspect", whole, "--json", program=PROGRAM)
    assert found.code == 0, found.err
    inspected = json.loads(found.out)
    assert figure in json.dumps(inspected) and "wer" not in json.dumps(inspected["history"])
    assert run("inspect", whole, program=PROGRAM).code == 0


def test_what_a_task_cannot_do_is_said_before_anything_is_computed(tmp_path):
    files = words(tmp_path)
    for others, message in (
        (("--export_dir", tmp_path / "export"), "--export_dir: not with --task spelling"),
        (("--one_shot_infer", files["test"]), "--one_shot_infer: not with --task spelling"),
        (("--augment", "gain"), "--augment: this task has no audio"),
        (("--best_by", "cer"), "--best_by cer: "),
        (("--task", "speling"), "spelling; did you mean spelling?"),
    ):
        refused = run(*flags("spelling", files, "--checkpoint_dir", tmp_path / "run", *others), program=PROGRAM)
        assert refused.code == 2 and message in refused.log, refused.err
    write(tmp_path / "train.csv", [("abc", "xyz")])
    refused = run(*flags("spelling", files, "--checkpoint_dir", tmp_path / "run"), program=PROGRAM)
    assert refused.code == 1 and "train.csv, row 2: letters that are not known: xyz" in refused.log
