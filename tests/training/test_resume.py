"""A run that is ended at any moment and started again by the same command ends as one that was never interrupted."""

import json
import random
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from training.processes import (
    arrays_of,
    assert_log_is_whole,
    assert_same_end,
    assert_sessions_are_whole,
    assert_tidy,
    differing_arrays,
    ended,
    events,
    kill_in,
    make_corpus,
    new_events,
    newest,
    run,
    run_all,
    run_state,
    signal_when,
    start,
    state_of,
    stop,
    transcripts,
)

from deepspeech_training.checkpoints.file import read_state

EPOCHS = 12
MOMENTS = ("in a step", "in a save", "in a validation")


class Corpus:
    """Clips of unequal length to train and validate on, and the command that does it."""

    def __init__(self, folder: Path):
        self.train = make_corpus(folder, transcripts(24), name="train.csv")
        self.dev = make_corpus(folder, transcripts(16), seed=99, name="dev.csv")
        self.metrics = make_corpus(folder, transcripts(4), seed=77, name="metrics.csv")

    def flags(self, checkpoint_dir, *more, epochs: int = EPOCHS) -> list:
        return [
            "--train_files",
            self.train,
            "--dev_files",
            self.dev,
            "--metrics_files",
            self.metrics,
            "--n_hidden",
            16,
            "--train_batch_size",
            2,
            "--dropout_rate",
            0.3,
            "--learning_rate",
            0.01,
            "--epochs",
            epochs,
            "--intra_op_parallelism_threads",
            2,
            "--checkpoint_secs",
            1,
            "--checkpoint_dir",
            checkpoint_dir,
            *more,
        ]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Corpus:
    return Corpus(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(scope="module")
def unbroken(corpus, tmp_path_factory) -> Path:
    """The checkpoints of a run of EPOCHS that nobody disturbed; copy them before resuming from them."""
    folder = tmp_path_factory.mktemp("unbroken") / "checkpoints"
    result = run(*corpus.flags(folder))
    assert result.code == 0, result.err
    assert_log_is_whole(folder, EPOCHS)
    assert_tidy(folder, max_to_keep=5)
    return folder


@pytest.fixture
def copied(unbroken, tmp_path) -> Path:
    """A finished run of this test's own."""
    return Path(shutil.copytree(unbroken, tmp_path / "copied"))


@pytest.fixture(scope="module")
def worsened(corpus, unbroken, tmp_path_factory) -> Path:
    """A finished run of one more epoch, at a rate that spoils it: its best checkpoint is not its last."""
    folder = Path(shutil.copytree(unbroken, tmp_path_factory.mktemp("worsened") / "checkpoints"))
    rate = ("--learning_rate", 0.5, "--force_initialize_learning_rate")
    assert run(*corpus.flags(folder, *rate, epochs=EPOCHS + 1)).code == 0
    return folder


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


# --- killed ------------------------------------------------------------------------------------------------------


def test_a_killed_run_goes_on_and_ends_with_the_same_bits(corpus, unbroken, tmp_path):
    folder = tmp_path / "killed"
    killed = kill_in("in a save", folder, 3, *corpus.flags(folder))
    assert killed.code == -signal.SIGKILL
    left = newest(folder)
    result = run(*corpus.flags(folder))
    assert result.code == 0, result.err
    assert f"I Resumes from {left}: epoch" in result.log
    assert_same_end(unbroken, folder)
    assert_log_is_whole(folder, EPOCHS)
    assert_sessions_are_whole(folder, EPOCHS)
    assert_tidy(folder, max_to_keep=5)


@pytest.mark.slow
def test_a_run_killed_again_and_again_in_steps_saves_and_validations_ends_with_the_same_bits(corpus, tmp_path):
    folder, epochs = tmp_path / "killed", 20
    chance = random.Random(20)
    kills = dict.fromkeys(MOMENTS, 0)
    for number in range(4):
        moment = MOMENTS[number % 3]
        if kill_in(moment, folder, chance.randrange(1, 4), *corpus.flags(folder, epochs=epochs)) is None:
            break
        kills[moment] += 1
    assert sum(kills.values()) >= 3 and min(kills.values()) >= 1, kills
    again, undisturbed = run_all(
        corpus.flags(folder, epochs=epochs), corpus.flags(tmp_path / "unbroken", epochs=epochs)
    )
    assert again.code == 0 and undisturbed.code == 0, again.err
    assert_same_end(tmp_path / "unbroken", folder)
    assert_log_is_whole(folder, epochs)
    assert_sessions_are_whole(folder, epochs)
    assert_tidy(folder, max_to_keep=5)


@pytest.mark.slow
def test_kills_change_nothing_for_plateau_and_early_stop(corpus, tmp_path):
    schedule = (
        "--learning_rate",
        0.05,
        "--reduce_lr_on_plateau",
        "--plateau_epochs",
        2,
        "--plateau_reduction",
        0.5,
        "--early_stop",
        "--es_epochs",
        5,
        "--es_min_delta",
        0.5,
        "--min_epochs",
        8,
        "--max_to_keep",
        2,
    )
    unbroken, folder = tmp_path / "unbroken", tmp_path / "killed"
    assert run(*corpus.flags(unbroken, *schedule, epochs=100)).code == 0
    for number in range(4):
        if kill_in(MOMENTS[number % 3], folder, 1 + number % 2, *corpus.flags(folder, *schedule, epochs=100)) is None:
            break
    else:
        assert run(*corpus.flags(folder, *schedule, epochs=100)).code == 0
    assert number >= 3
    assert "no better dev loss" in run_state(unbroken)["stopped"]
    reductions = [e["learning_rate"] for e in events(unbroken) if e["event"] == "rate_reduced"]
    assert len(reductions) >= 2
    assert [e["learning_rate"] for e in events(folder) if e["event"] == "rate_reduced"] == reductions
    assert_same_end(unbroken, folder)
    assert_log_is_whole(folder, run_state(unbroken)["epoch"])
    assert_tidy(folder, max_to_keep=2)


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_starts_its_log_again(corpus, unbroken, tmp_path):
    folder = tmp_path / "killed"
    flags = corpus.flags(folder, "--checkpoint_secs", 600)
    assert kill_in("in a step", folder, 0, *flags).code == -signal.SIGKILL
    assert not list(folder.glob("*.json"))
    assert run(*flags).code == 0
    assert [e["event"] for e in events(folder)].count("start") == 1
    assert_log_is_whole(folder, EPOCHS)
    assert run_state(folder) == run_state(unbroken) and differing_arrays(unbroken, folder) == []


@pytest.mark.slow
def test_the_same_run_with_another_seed_ends_elsewhere(corpus, unbroken, tmp_path):
    same, other = run_all(corpus.flags(tmp_path / "same"), corpus.flags(tmp_path / "other", "--random_seed", 4569))
    assert same.code == 0 and other.code == 0
    assert_same_end(unbroken, tmp_path / "same")
    weights = {name for name in arrays_of(unbroken) if name.endswith(("weights", "kernel"))}
    assert weights <= set(differing_arrays(unbroken, tmp_path / "other"))


# --- asked to stop -----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_run_that_is_asked_to_stop_saves_within_a_step_and_goes_on_with_the_same_bits(corpus, unbroken, tmp_path):
    folder = tmp_path / "stopped"
    flags = corpus.flags(folder, "--checkpoint_secs", 600)
    for number, code, moment in (
        (signal.SIGTERM, 143, "in a step"),
        (signal.SIGTERM, 143, "in a validation"),
        (signal.SIGINT, 130, "in a step"),
    ):
        result = kill_in(moment, folder, 2, *flags, number=number)
        assert result.code == code
        assert "I stopping: the current step is finished and saved" in result.log
        state = state_of(folder)["run"]
        assert result.log.splitlines()[-1] == (
            f"I saved at step {state['step']:,} in {folder}; the same command resumes there"
        )
        assert events(folder)[-1]["step"] in (state["step"], state["step"] - 1)
        if moment == "in a validation":
            assert state["validation"]["sums"] and state["step_in_epoch"] == 12
    assert run(*flags).code == 0
    assert run_state(folder) == run_state(unbroken)
    assert differing_arrays(unbroken, folder) == []
    assert_log_is_whole(folder, EPOCHS)
    assert_tidy(folder, max_to_keep=5)


def test_a_signal_before_training_ends_the_program_at_once(corpus, tmp_path):
    folder = tmp_path / "stopped"
    process = start(*corpus.flags(folder))
    assert signal_when(process, signal.SIGTERM, lambda: (folder / ".lock").exists())
    assert ended(process).code == 143
    assert not list(folder.glob("train-*"))


@pytest.mark.slow
def test_a_validation_with_other_batches_starts_again(corpus, tmp_path):
    folder = tmp_path / "stopped"
    assert kill_in("in a validation", folder, 1, *corpus.flags(folder), number=signal.SIGTERM).code == 143
    result = run(*corpus.flags(folder, "--dev_batch_size", 5, epochs=2))
    assert result.code == 0
    assert "the validation starts again" in result.log
    assert "--dev_batch_size 1 -> 5" in result.log
    figures = run_state(folder)["history"]
    assert [entry["dev"][0]["clips"] for entry in figures] == [16, 16]


# --- resuming a finished run --------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_command_of_a_finished_run_says_so_and_goes_straight_to_the_test(corpus, copied):
    before = files_of(copied)
    result = run(*corpus.flags(copied, "--test_files", corpus.dev))
    assert result.code == 0
    assert f"is of a finished run (all {EPOCHS} epochs are done)" in result.log
    assert "Epoch" not in result.log
    assert result.out.startswith(f"Test on {corpus.dev} - WER: ")
    after = files_of(copied)
    assert {name for name in after if after[name] != before[name]} <= {"flags.txt", "events.jsonl"}
    assert_log_is_whole(copied, EPOCHS)


@pytest.mark.slow
def test_more_epochs_go_on_and_end_as_if_they_had_been_asked_for_at_once(corpus, copied, tmp_path):
    more, at_once = run_all(
        corpus.flags(copied, epochs=EPOCHS + 3), corpus.flags(tmp_path / "at_once", epochs=EPOCHS + 3)
    )
    assert more.code == 0 and at_once.code == 0
    assert f"Changed since the checkpoint: --epochs {EPOCHS} -> {EPOCHS + 3}" in more.log
    assert_same_end(tmp_path / "at_once", copied)
    assert_log_is_whole(copied, EPOCHS + 3)
    assert_tidy(copied, max_to_keep=5)


@pytest.mark.slow
def test_only_as_many_last_checkpoints_are_kept_as_asked_for(corpus, copied):
    result = run(*corpus.flags(copied, "--max_to_keep", 1, "--learning_rate", 0.003, epochs=EPOCHS + 1))
    assert result.code == 0
    assert "The checkpoint's learning rate 0.01 is kept" in result.log
    assert_tidy(copied, max_to_keep=1)
    assert run_state(copied)["epoch"] == EPOCHS + 1


# --- damaged checkpoints -----------------------------------------------------------------------------------------


def truncate(state: Path, weights: Path) -> Path:
    weights.write_bytes(weights.read_bytes()[:-1000])
    return weights


def flip_a_byte(state: Path, weights: Path) -> Path:
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    return weights


def break_the_json(state: Path, weights: Path) -> Path:
    state.write_bytes(state.read_bytes()[:-100])
    return state


@pytest.mark.slow
@pytest.mark.parametrize("damage", [truncate, flip_a_byte, break_the_json])
def test_a_damaged_last_checkpoint_is_named_and_the_one_before_is_used(corpus, unbroken, copied, damage):
    last = newest(copied)
    weights = copied / read_state(last)["weights_file"]
    detached = weights.read_bytes()
    weights.unlink()  # it may share its bytes with the best one
    weights.write_bytes(detached)
    damaged = damage(last, weights)
    before = sorted(copied.glob("train-*.json"))[-2]
    result = run(*corpus.flags(copied))
    assert result.code == 0, result.err
    assert f"W Damaged checkpoint: {damaged}: " in result.log
    assert f"I Resumes from {before}" in result.log
    assert_same_end(unbroken, copied)
    assert_log_is_whole(copied, EPOCHS)
    assert_tidy(copied, max_to_keep=5)


def test_damage_to_all_checkpoints_is_told_and_nothing_is_overwritten(corpus, copied):
    for path in copied.glob("*.json"):
        path.write_text("{")
    before = files_of(copied)
    result = run(*corpus.flags(copied))
    assert result.code == 1
    assert result.log.count("Damaged checkpoint") == len(list(copied.glob("train-*.json")))
    assert "checkpoints (train-*) are damaged" in result.log
    assert files_of(copied) == before


# --- one folder, two processes; a full disk ----------------------------------------------------------------------


def test_a_second_process_in_the_same_folder_is_refused(corpus, tmp_path):
    folder = tmp_path / "shared"
    first = start(*corpus.flags(folder, epochs=10_000))
    try:
        while not (folder / ".lock").exists():
            assert first.poll() is None
        second = run(*corpus.flags(folder))
        assert second.code == 1
        assert f"E {folder}: another process is training in this folder" in second.log
        assert first.poll() is None
    finally:
        stop(first)


@pytest.mark.slow
def test_a_full_disk_is_told_and_costs_nothing_that_was_saved(corpus, unbroken, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=500k", "none", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {getattr(error, 'stderr', None) or error}")
    try:
        folder = disk / "checkpoints"
        full = run(*corpus.flags(folder))
        assert full.code == 1
        assert "no space left" in full.log.lower() and str(folder) in full.log
        assert run_state(folder)["step"] > 0
        assert arrays_of(folder)  # its checksum is right
        still_full = run(*corpus.flags(folder))
        assert still_full.code == 1
        assert arrays_of(folder)
        subprocess.run(["mount", "-o", "remount,size=10m", str(disk)], check=True)
        result = run(*corpus.flags(folder))
        assert result.code == 0, result.err
        assert_same_end(unbroken, folder)
        assert_log_is_whole(folder, EPOCHS)
        assert_tidy(folder, max_to_keep=5)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


# --- which checkpoint a run starts from --------------------------------------------------------------------------


@pytest.mark.slow
def test_weights_of_another_folder_begin_a_new_run_that_goes_on_in_its_own_folder(corpus, unbroken, copied, tmp_path):
    new = tmp_path / "new"
    before = files_of(copied)
    flags = corpus.flags("unused", "--load_checkpoint_dir", copied, "--save_checkpoint_dir", new, epochs=2)
    first = run(*flags)
    assert first.code == 0
    assert f"I Starts with the weights of {newest(copied)}" in first.log
    assert files_of(copied) == before
    state = run_state(new)
    assert (state["epoch"], state["step"]) == (2, 24)
    assert state["history"][0]["train_loss"] < run_state(unbroken)["history"][0]["train_loss"]
    second = run(*flags)
    assert second.code == 0 and "is of a finished run" in second.log
    assert run_state(new) == state


@pytest.mark.slow
def test_load_train_init_starts_anew_and_puts_what_was_there_aside(corpus, unbroken, copied):
    before = files_of(copied)
    result = run(*corpus.flags(copied, "--load_train", "init"))
    assert result.code == 0
    assert f"the checkpoints that were there are in {copied / 'replaced-1'}" in result.log
    assert_same_end(unbroken, copied)
    assert_log_is_whole(copied, EPOCHS)
    assert_tidy(copied, max_to_keep=5, also=("replaced-1",))
    aside = files_of(copied / "replaced-1")
    assert {name: before[name] for name in aside} == aside
    assert {name for name in before if name.endswith((".json", ".safetensors", ".jsonl"))} == set(aside)


@pytest.mark.slow
def test_load_train_best_goes_back_to_the_best(corpus, worsened, tmp_path):
    copied = Path(shutil.copytree(worsened, tmp_path / "copied"))
    best, last = newest(copied, "best"), newest(copied)
    epoch = read_state(best)["run"]["epoch"]
    result = run(*corpus.flags(copied, "--load_train", "best", epochs=EPOCHS + 1))
    assert result.code == 0
    assert f"I Resumes from {best}: epoch {epoch + 1}, batch 1" in result.log
    assert f"I Later checkpoints than the best one are in {copied / 'replaced-1'}" in result.log
    assert (copied / "replaced-1" / last.name).exists()
    assert run_state(copied)["history"][-1]["train_loss"] < run_state(worsened)["history"][-1]["train_loss"]
    assert_log_is_whole(copied, EPOCHS + 1)


def test_a_start_from_a_checkpoint_that_is_not_there_is_refused(corpus, tmp_path):
    for wanted in ("last", "best"):
        result = run(*corpus.flags(tmp_path / "empty", "--load_train", wanted))
        assert result.code == 1
        assert f"E {tmp_path / 'empty'}: there is no {wanted} checkpoint to start from" in result.log


@pytest.mark.slow
def test_load_evaluate_chooses_the_checkpoint_that_is_tested(corpus, worsened, tmp_path):
    copied = Path(shutil.copytree(worsened, tmp_path / "copied"))
    test = ("--test_files", corpus.metrics, "--checkpoint_dir", copied)
    auto, last = run_all(test, (*test, "--load_evaluate", "last"))
    assert auto.code == last.code == 0
    assert f"I Uses {newest(copied, 'best')} (step " in auto.log
    assert f"I Uses {newest(copied)} (step " in last.log
    assert auto.out != last.out
    for path in copied.glob("best-*.json"):
        path.unlink()
    refused = run(*test, "--load_evaluate", "best")
    assert refused.code == 1 and "there is no best checkpoint to test" in refused.log


# --- changed flags -----------------------------------------------------------------------------------------------


def test_flags_that_do_not_fit_the_weights_are_refused_with_both_values(corpus, unbroken, tmp_path):
    alphabet = tmp_path / "alphabet.txt"
    alphabet.write_text("".join(f"{c}\n" for c in " abcdefghijklmnopqrstuvwxyzé"), encoding="utf-8")
    hidden = run(*corpus.flags(unbroken, "--n_hidden", 24))
    other_alphabet = run(*corpus.flags(unbroken, "--alphabet_config_path", alphabet))
    assert hidden.code == 2
    assert "E --n_hidden 24: the checkpoint was trained with 16" in hidden.log
    assert other_alphabet.code == 2
    assert "28 characters; the checkpoint was trained with 28 (characters in one only: \"'\" 'é')" in other_alphabet.log


@pytest.mark.slow
def test_changed_flags_are_listed_and_other_batches_start_the_epoch_again(corpus, tmp_path):
    folder = tmp_path / "changed"
    assert kill_in("in a step", folder, 1, *corpus.flags(folder), number=signal.SIGTERM).code == 143
    stopped = run_state(folder)
    result = run(*corpus.flags(folder, "--train_batch_size", 3, "--dropout_rate", 0.2, epochs=3))
    assert result.code == 0
    for change in ("--train_batch_size 2 -> 3", "--dropout_rate 0.3 -> 0.2", f"--epochs {EPOCHS} -> 3"):
        assert change in result.log
    restarted = f"batches have changed: epoch {stopped['epoch'] + 1} starts again from its first batch"
    if stopped["step_in_epoch"] and stopped["validation"] is None:
        assert restarted in result.log
    state = run_state(folder)
    assert state["epoch"] == 3
    begun = [e for e in events(folder) if e["event"] == "epoch_begin"]
    assert begun[-1]["batches"] == 8 and begun[-1]["step_in_epoch"] == 0


@pytest.mark.slow
def test_a_rate_that_is_forced_is_set_once(corpus, copied):
    forced = ("--learning_rate", 0.002, "--force_initialize_learning_rate")
    assert "Learning rate set to 0.002" in run(*corpus.flags(copied, *forced, epochs=EPOCHS + 1)).log
    assert "Learning rate set" not in run(*corpus.flags(copied, *forced, epochs=EPOCHS + 2)).log
    rates = [entry["learning_rate"] for entry in run_state(copied)["history"]]
    assert rates == [0.01] * EPOCHS + [0.002] * 2


def test_new_events_passes_over_a_line_that_is_not_complete(tmp_path):
    line = json.dumps({"event": "start"}) + "\n"
    (tmp_path / "events.jsonl").write_text(line + '{"event": "ep')
    assert new_events(tmp_path, 0) == ["start"]
