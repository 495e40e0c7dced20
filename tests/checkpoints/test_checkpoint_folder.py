import fcntl
import io
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError


@pytest.fixture
def log():
    return io.StringIO()


@pytest.fixture
def folder(tmp_path, log):
    return CheckpointFolder(tmp_path, Console(stream=log))


def arrays_of(value: float):
    return lambda: {"w": np.full(4, value, np.float32)}


def names(folder, pattern="*") -> list[str]:
    return sorted(path.name for path in folder.folder.glob(pattern) if path.is_file())


def state_of(step: int) -> dict:
    network = {"num_classes": 2, "n_hidden": 1}
    return {"network": network, "features": {}, "alphabet": ["a"], "run": {"step": step}}


def save(folder, step, *, value=None, max_to_keep=5):
    arrays = arrays_of(step if value is None else value)
    return folder.save(step, state_of(step), arrays, max_to_keep=max_to_keep)


def value_of(checkpoint) -> float:
    return float(checkpoint.arrays["w"][0])


def damage(path):
    data = bytearray(path.read_bytes())
    data[-3] ^= 0x55
    path.write_bytes(data)


def test_what_was_saved_is_loaded(folder):
    assert folder.load("train") is None and folder.read_description("train") is None and not folder.has("train")
    save(folder, 7)
    loaded = folder.load("train")
    assert loaded.path.name == "train-000000007.json" and loaded.model.progress.step == 7 and value_of(loaded) == 7
    assert folder.has("train") and not folder.has("best")
    assert folder.read_description("train") == (loaded.path, loaded.model)


def test_the_last_n_are_kept_and_the_best_besides(folder):
    for step in (10, 20, 30, 40, 50):
        if step == 20:
            folder.save_best(step, state_of(step), arrays_of(step))
        save(folder, step, max_to_keep=2)
    assert names(folder) == [
        f"{name}.{suffix}"
        for name in ("best-000000020", "train-000000040", "train-000000050")
        for suffix in ("json", "safetensors")
    ]
    assert value_of(folder.load("best")) == 20 and value_of(folder.load("train")) == 50


def test_a_better_best_takes_the_place_of_the_one_before(folder):
    for step in (10, 20):
        folder.save_best(step, state_of(step), arrays_of(step))
        assert value_of(folder.load("best")) == step
        save(folder, step)
    assert names(folder, "best*") == ["best-000000020.json", "best-000000020.safetensors"]


def test_best_and_last_of_a_step_share_one_file_of_weights(folder):
    calls = []

    def arrays():
        calls.append(1)
        return arrays_of(3)()

    folder.save_best(3, state_of(3), arrays)
    folder.save(3, state_of(3), arrays, max_to_keep=2)
    folder.save(3, state_of(3), arrays, max_to_keep=2)
    assert len(calls) == 1
    assert os.path.samefile(folder.folder / "best-000000003.safetensors", folder.folder / "train-000000003.safetensors")


def test_where_links_are_refused_the_best_is_a_copy(folder, monkeypatch):
    def refuse(source, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    folder.save_best(3, state_of(3), arrays_of(3))
    save(folder, 3)
    assert value_of(folder.load("best")) == 3
    assert names(folder, ".*") == []


def test_a_kill_between_best_and_last_leaves_both_usable(folder, log):
    save(folder, 10)
    folder.save_best(20, state_of(20), arrays_of(20))  # here it was killed
    again = CheckpointFolder(folder.folder, Console(stream=log))
    assert value_of(again.load("train")) == 10 and value_of(again.load("best")) == 20
    again.save_best(20, state_of(20), arrays_of(20))
    save(again, 20)
    assert value_of(again.load("train")) == 20 and value_of(again.load("best")) == 20
    used = {again.load(kind).files[1].name for kind in ("train", "best")} | {"train-000000010.safetensors"}
    assert set(names(again, "*.safetensors")) == used
    assert log.getvalue() == ""


@pytest.mark.parametrize("suffix", ["json", "safetensors"])
def test_a_damaged_checkpoint_is_named_and_passed_over(folder, log, suffix):
    save(folder, 10)
    save(folder, 20)
    damage(folder.folder / f"train-000000020.{suffix}")
    assert value_of(folder.load("train")) == 10
    assert f"train-000000020.{suffix}" in log.getvalue() and "W Damaged checkpoint" in log.getvalue()


def test_weights_that_are_missing_count_as_damage(folder, log):
    save(folder, 10)
    save(folder, 20)
    (folder.folder / "train-000000020.safetensors").unlink()
    assert value_of(folder.load("train")) == 10


def test_when_all_are_damaged_nothing_is_made_up(folder):
    for step in (10, 20):
        save(folder, step)
        damage(folder.folder / f"train-{step:09}.json")
    assert folder.read_description("train") is None
    with pytest.raises(UserError, match="all 2 checkpoints") as caught:
        folder.load("train")
    assert "--load_train init" in str(caught.value)


@pytest.mark.parametrize("max_to_keep", [1, 2, 3])
def test_a_damaged_later_checkpoint_does_not_crowd_out_what_is_saved_after_it(folder, log, max_to_keep):
    save(folder, 10)
    save(folder, 30)
    damage(folder.folder / "train-000000030.safetensors")
    again = CheckpointFolder(folder.folder, Console(stream=log))
    assert value_of(again.load("train")) == 10  # the run resumes from here
    for step in (15, 20, 25):
        save(again, step, max_to_keep=max_to_keep)
        assert value_of(again.load("train")) == step
        assert len(names(again, "train*.json")) <= max_to_keep
    save(again, 30, value=31, max_to_keep=max_to_keep)
    assert value_of(again.load("train")) == 31


def test_going_back_to_the_best_at_the_same_step_overwrites_no_file_in_use(folder):
    folder.save_best(20, state_of(20), arrays_of(1))
    save(folder, 20, value=1)
    save(folder, 40, value=2)  # in the middle of an epoch, say, at its very end
    in_use = (folder.folder / "train-000000040.safetensors").read_bytes()
    folder.forget_weights()
    seen = []

    def arrays():
        seen.append((folder.folder / "train-000000040.safetensors").read_bytes() == in_use)
        return arrays_of(1)()

    folder.save(40, state_of(40), arrays, max_to_keep=5)
    assert seen == [True]
    loaded = folder.load("train")
    assert value_of(loaded) == 1 and loaded.files[1].name == "train-000000040-2.safetensors"
    assert names(folder, "train-000000040*") == ["train-000000040-2.safetensors", "train-000000040.json"]
    save(folder, 40, value=99)  # the same weights as just saved
    assert value_of(folder.load("train")) == 1


def test_a_save_that_fails_leaves_all_that_was_there(folder):
    save(folder, 10)
    before = names(folder)

    def broken():
        raise MemoryError

    with pytest.raises(MemoryError):
        folder.save(20, state_of(20), broken, max_to_keep=1)
    assert names(folder) == before and value_of(folder.load("train")) == 10


def test_leftovers_of_a_killed_save_are_removed(folder):
    folder.lock()
    save(folder, 10)
    for name in (".train-000000020.safetensors.77.part", "train-000000019.safetensors"):
        (folder.folder / name).write_bytes(b"half")
    (folder.folder / "mine.safetensors").write_bytes(b"of somebody else")
    folder._lock.close()
    again = CheckpointFolder(folder.folder, Console(stream=io.StringIO()))
    again.lock()
    assert names(again, ".*") == [".lock"]
    save(again, 20)
    assert names(again, "*.safetensors") == [
        "mine.safetensors",
        "train-000000010.safetensors",
        "train-000000020.safetensors",
    ]
    again._lock.close()


LOCKER = """
import sys
import threading
from pathlib import Path
from deepspeech_training.console import Console
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.errors import UserError
folder = CheckpointFolder(Path(sys.argv[1]), Console())
try:
    folder.lock()
except UserError as error:
    print(error)
    sys.exit(1)
print("locked", flush=True)
sys.stdin.read()
"""


def test_a_second_process_cannot_train_in_the_folder_until_the_first_is_dead(tmp_path, log):
    command = [sys.executable, "-c", LOCKER, str(tmp_path / "new" / "folder")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "locked\n"
        second = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert second.returncode == 1 and "another process is training in this folder" in second.stdout
        first.kill()
    folder = CheckpointFolder(tmp_path / "new" / "folder", Console(stream=log))
    folder.lock()
    folder._lock.close()


def test_a_folder_that_cannot_be_made_is_told(tmp_path, log):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="checkpoints cannot be saved there"):
        CheckpointFolder(tmp_path / "file" / "x", Console(stream=log)).lock()


def test_setting_aside_loses_nothing(folder):
    (folder.folder / "events.jsonl").write_text("{}\n")
    folder.save_best(10, state_of(10), arrays_of(10))
    for step in (10, 20):
        save(folder, step)
    assert folder.set_aside(later_than=20) is None
    later = folder.set_aside(later_than=10)
    assert (
        later.name == "replaced-1" and (later / "events.jsonl").exists() and (folder.folder / "events.jsonl").exists()
    )
    assert value_of(folder.load("train")) == 10 and value_of(folder.load("best")) == 10
    everything = folder.set_aside()
    assert everything.name == "replaced-2"
    assert names(folder) == [] and not folder.has("train") and not folder.has("best")
    for path, kind, value in ((later, "train", 20), (everything, "train", 10), (everything, "best", 10)):
        assert value_of(CheckpointFolder(path, Console(stream=io.StringIO())).load(kind)) == value
    assert folder.set_aside() is None


def test_a_file_name_in_a_state_cannot_lead_out_of_the_folder(folder, tmp_path):
    from deepspeech_training.checkpoints.file import read_state, write_state

    path = save(folder, 10)
    write_state(path, {**read_state(path), "weights_file": "../../train-000000010.safetensors"})
    assert value_of(folder.load("train")) == 10


def test_who_looks_whether_it_is_locked_keeps_nobody_from_training(tmp_path, log):
    (tmp_path / ".lock").touch()
    with open(tmp_path / ".lock") as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        timer = threading.Timer(0.02, fcntl.flock, (looking, fcntl.LOCK_UN))
        timer.start()
        folder = CheckpointFolder(tmp_path, Console(stream=log))
        folder.lock()
        folder.unlock()
        timer.join()
