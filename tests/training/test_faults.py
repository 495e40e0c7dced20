"""Bad rows, bad clips, bad rates: what is refused, what is left out, and what never gets into the weights."""

import csv
import functools
import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
from training import processes
from training.processes import (
    arrays_of,
    assert_log_is_whole,
    assert_same_end,
    ended,
    events,
    is_stepping,
    make_corpus,
    run_state,
    signal_when,
    transcripts,
    write_csv,
)

from deepspeech_training.audio.synthetic_speech import synthesize
from deepspeech_training.data.sample import REASON_CODES

EPOCHS = 4
POISONED = (sys.executable, str(Path(__file__).with_name("with_poison.py")), "train", "--mode", "cpu")
start, run, kill_in = (
    functools.partial(call, program=POISONED) for call in (processes.start, processes.run, processes.kill_in)
)


def write_clip(path: Path, text: str) -> None:
    """A clip with nothing wrong in it, until `with_poison` reads it."""
    soundfile.write(path, synthesize(text), 16000)


def write_damaged(path: Path, text: str) -> None:
    """A clip with a good header that cannot be decoded."""
    soundfile.write(path, synthesize(text), 16000)
    data = bytearray(path.read_bytes())
    data[len(data) // 3 : 2 * len(data) // 3] = bytes(len(data) // 3)
    path.write_bytes(data)


@dataclass(frozen=True)
class Faulty:
    """A corpus with every fault; `rejected` are (row, reason code) of the check, `poisonous` the rows it cannot see."""

    train: str
    dev: str
    rejected: tuple[tuple[int, str], ...]
    poisonous: tuple[int, ...]

    def flags(self, checkpoint_dir, *more) -> list:
        return [
            "--train_files",
            self.train,
            "--dev_files",
            self.dev,
            "--n_hidden",
            16,
            "--train_batch_size",
            3,
            "--dev_batch_size",
            4,
            "--dropout_rate",
            0.3,
            "--epochs",
            EPOCHS,
            "--intra_op_parallelism_threads",
            2,
            "--checkpoint_dir",
            checkpoint_dir,
            *more,
        ]


@pytest.fixture(scope="module")
def faulty(tmp_path_factory) -> Faulty:
    folder = tmp_path_factory.mktemp("faulty")
    good = Path(make_corpus(folder, transcripts(12), name="good.csv"))
    with open(good, encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    (folder / "text.wav").write_text("this is no audio")
    (folder / "zero.wav").write_bytes(b"")
    soundfile.write(folder / "short.wav", synthesize("she")[:2000], 16000)
    write_clip(folder / "overflow.wav", "dark suit")
    write_clip(folder / "nan.wav", "year")
    write_damaged(folder / "damaged.flac", "greasy wash water all")
    bad = [
        ("gone.wav", 1000, "she had"),
        ("text.wav", 1000, "your dark suit"),
        ("zero.wav", 0, "in greasy"),
        (rows[0][0], 1000, " "),
        (rows[1][0], 1000, "café"),
        ("short.wav", 1000, "wash water all year"),
        ("only", "one", "field", "too", "many"),
    ]
    codes = (
        "missing_file",
        "unreadable",
        "empty_audio",
        "empty_transcript",
        "not_in_alphabet",
        "too_short",
        "bad_row",
    )
    assert set(codes) == set(REASON_CODES)
    poison = [
        ("overflow.wav", 20000, "dark suit"),
        ("nan.wav", 10000, "year"),
        ("damaged.flac", 30000, "greasy wash water all"),
    ]
    write_csv(folder / "train.csv", [*rows[:5], *bad, *rows[5:], *poison])
    write_csv(folder / "dev.csv", [*rows[:3], poison[0], poison[2]])
    return Faulty(
        str(folder / "train.csv"),
        str(folder / "dev.csv"),
        tuple((7 + place, code) for place, code in enumerate(codes)),
        (21, 22, 23),
    )


@pytest.fixture(scope="module")
def dropped(faulty, tmp_path_factory):
    """A run with --on_bad_row drop, to its end: its checkpoints and what it said."""
    folder = tmp_path_factory.mktemp("dropped") / "checkpoints"
    output = folder.parent / "tested.json"
    flags = faulty.flags(folder, "--on_bad_row", "drop", "--test_files", faulty.dev, "--test_output_file", output)
    result = run(*flags)
    assert result.code == 0, result.err
    return folder, result


def rejections(folder: Path) -> list[dict[str, str]]:
    with open(folder / "rejected.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def assert_weights_are_finite(folder: Path) -> None:
    assert all(np.isfinite(array).all() for array in arrays_of(folder).values())


def test_every_bad_row_is_named_with_its_file_and_nothing_is_trained(faulty, tmp_path):
    result = run(*faulty.flags(tmp_path / "checkpoints"))
    assert result.code == 1
    for row, _ in faulty.rejected:
        assert f"E {faulty.train}, row {row}: " in result.log
    for name in ("gone.wav", "text.wav", "zero.wav", "short.wav"):
        assert f'file        "{Path(faulty.train).parent / name}"' in result.log
    assert "E 7 of 27 rows have faults: 1 bad_row, 1 missing_file, " in result.log
    assert "TensorFlow" not in result.err
    assert not list((tmp_path / "checkpoints").glob("train-*"))


def test_bad_rows_are_dropped_and_poisonous_clips_quarantined_and_each_is_listed(faulty, dropped):
    folder, result = dropped
    listed = rejections(folder)
    assert [(int(entry["row"]), entry["reason_code"]) for entry in listed if entry["csv"] == faulty.train] == [
        *faulty.rejected,
        *((row, "quarantined") for row in faulty.poisonous),
    ]
    overflow, nan, damaged = (entry["reason"] for entry in listed[-3:])
    assert "has a loss of nan" in overflow or "has a gradient that is not finite" in overflow
    assert "has a loss of nan" in nan or "has a gradient that is not finite" in nan
    assert "cannot be read any more" in damaged
    assert f"3 clips were left out in training: {folder / 'rejected.csv'}" in result.log


def test_clips_are_quarantined_after_two_offences_and_the_run_goes_on(faulty, dropped):
    folder, _ = dropped
    offences = [e for e in events(folder) if e["event"] == "bad_clip"]
    for row in faulty.poisonous:
        mine = [e["quarantined"] for e in offences if e["sample"] == f"train.csv:{row}"]
        assert mine == [False, True]
    state = run_state(folder)
    assert state["updates"] == state["step"] == 5 * EPOCHS
    assert state["history"][-1]["train_loss"] < state["history"][0]["train_loss"]
    assert_weights_are_finite(folder)
    assert_log_is_whole(folder, EPOCHS)


def test_bad_clips_of_a_validation_are_told_and_not_counted(dropped):
    folder, _ = dropped
    assert [entry["dev"][0]["clips"] for entry in run_state(folder)["history"]] == [3] * EPOCHS
    for row, reason in ((5, "has a loss of nan"), (6, "cannot be read any more")):
        warned = [e for e in events(folder) if e["event"] == "warning" and e["message"].startswith(f"dev.csv:{row} ")]
        assert len(warned) == EPOCHS and all(reason in e["message"] for e in warned)


def test_a_test_with_a_clip_without_a_loss_writes_json_all_the_same(dropped):
    folder, result = dropped

    def refuse(constant):
        raise ValueError(f"{constant} is not JSON")

    results = json.loads((folder.parent / "tested.json").read_text(), parse_constant=refuse)
    assert [entry["loss"] is None for entry in results].count(True) == 1
    assert len(results) == 4  # the clip that cannot be decoded has none
    assert "(4 clips)" in result.out


@pytest.mark.slow
def test_the_quarantine_outlives_kills(faulty, dropped, tmp_path):
    unbroken, _ = dropped
    folder = tmp_path / "killed"
    flags = faulty.flags(folder, "--on_bad_row", "drop", "--checkpoint_secs", 1)
    for moment, epochs in (("in a validation", 1), ("in a step", 1)):
        assert kill_in(moment, folder, epochs, *flags).code == -signal.SIGKILL
    result = run(*flags)
    assert result.code == 0
    assert_same_end(unbroken, folder)
    assert run_state(folder)["quarantine"].keys() == {f"train.csv:{row}" for row in faulty.poisonous}
    assert rejections(folder) == rejections(unbroken)
    again = run(*flags)
    assert again.code == 0 and rejections(folder) == rejections(unbroken)
    assert_log_is_whole(folder, EPOCHS)


@pytest.mark.slow
def test_a_rate_that_makes_training_diverge_ends_it_with_finite_weights(tmp_path):
    train = make_corpus(tmp_path, transcripts(12))
    folder = tmp_path / "checkpoints"
    flags = (
        "--train_files",
        train,
        "--dev_files",
        train,
        "--n_hidden",
        16,
        "--train_batch_size",
        3,
        "--dev_batch_size",
        3,
        "--epochs",
        10,
        "--checkpoint_dir",
        folder,
        "--intra_op_parallelism_threads",
        2,
    )
    result = run(*flags, "--learning_rate", 1e20)
    assert result.code == 1
    assert "E 10 steps in a row had no clip with a finite loss and gradient" in result.log
    assert "training has diverged" in result.log
    assert "--force_initialize_learning_rate --learning_rate 1e+19" in result.log
    assert_weights_are_finite(folder)
    assert "No dev clip has a finite loss" in result.log
    assert run_state(folder)["quarantine"] == {}


@pytest.mark.slow
def test_poisonous_clips_that_always_share_a_batch_are_found_by_the_steps_after_them(tmp_path):
    for name in ("a", "b"):
        write_clip(tmp_path / f"overflow-{name}.wav", "dark suit")
    soundfile.write(tmp_path / "good.wav", synthesize("wash water all year"), 16000, subtype="PCM_16")
    write_csv(tmp_path / "train.csv", [("overflow-a.wav", 1, "dark suit"), ("overflow-b.wav", 2, "dark suit")])
    with open(tmp_path / "train.csv", "a") as file:
        file.write("good.wav,3,wash water all year\n")
    flags = ("--train_files", tmp_path / "train.csv", "--n_hidden", 16, "--epochs", 4, "--noshuffle")
    result = run(*flags, "--train_batch_size", 2, "--checkpoint_dir", tmp_path / "checkpoints")
    assert result.code == 0
    state = run_state(tmp_path / "checkpoints")
    assert sorted(state["quarantine"]) == ["train.csv:2", "train.csv:3"]
    assert state["updates"] == 4 and not state["suspects"]
    assert (tmp_path / "checkpoints/rejected.csv").read_text().count("quarantined") == 2


@pytest.mark.slow
def test_a_corpus_of_nothing_but_poisonous_clips_ends_the_run(tmp_path):
    for name in ("a", "b", "c", "d"):
        write_clip(tmp_path / f"overflow-{name}.wav", "dark suit")
    write_csv(tmp_path / "train.csv", [(f"overflow-{name}.wav", 1, "dark suit") for name in "abcd"])
    flags = ("--train_files", tmp_path / "train.csv", "--n_hidden", 16, "--epochs", 20)
    together = run(*flags, "--train_batch_size", 2, "--checkpoint_dir", tmp_path / "together")
    single = run(*flags, "--train_batch_size", 1, "--checkpoint_dir", tmp_path / "single")
    for result, folder in ((together, tmp_path / "together"), (single, tmp_path / "single")):
        assert result.code == 1
        assert "10 steps in a row had no clip with a finite loss and gradient" in result.log
        assert_weights_are_finite(folder)
        assert run_state(folder)["updates"] == 0
    assert "has a loss of nan" in single.log


@pytest.mark.slow
def test_a_file_that_goes_missing_is_named_at_the_next_start(tmp_path):
    train = make_corpus(tmp_path, transcripts(12))
    folder = tmp_path / "checkpoints"
    flags = (
        "--train_files",
        train,
        "--n_hidden",
        8,
        "--train_batch_size",
        3,
        "--epochs",
        400,
        "--checkpoint_dir",
        folder,
        "--intra_op_parallelism_threads",
        2,
    )

    def second_epoch_is_over_without_it():
        (tmp_path / "clips-05.wav").unlink(missing_ok=True)  # the first epoch has it in memory
        return sum(e["event"] == "epoch" for e in events_so_far(folder)) >= 4

    process = start(*flags)
    assert signal_when(process, signal.SIGTERM, lambda: is_stepping(folder, 0), second_epoch_is_over_without_it)
    assert ended(process).code == 143
    assert run_state(folder)["quarantine"] == {}
    again = run(*flags)
    assert again.code == 1 and f"{train}, row 7: the file does not exist" in again.log


def events_so_far(folder: Path) -> list[dict]:
    try:
        return events(folder)
    except ValueError:
        return []
