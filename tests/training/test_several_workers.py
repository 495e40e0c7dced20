"""Two processes that train together: the same losses and weights as one; what becomes of a signal, a kill, a fault."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from training.processes import (
    Ended,
    arrays_of,
    assert_same_end,
    ended,
    is_stepping,
    log_size,
    make_corpus,
    new_events,
    run,
    run_state,
    signal_when,
    start,
    stop,
    transcripts,
)

POISONED = (sys.executable, str(Path(__file__).with_name("with_poison.py")), "train", "--mode", "cpu")
SMALL = ("--n_hidden", 8, "--intra_op_parallelism_threads", 1, "--dropout_rate", 0.3)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> tuple:
    """The flags of 9 clips to train on, and 5 to validate on."""
    folder = tmp_path_factory.mktemp("corpus")
    train = make_corpus(folder, transcripts(9), name="train.csv")
    dev = make_corpus(folder, transcripts(5), seed=50, name="dev.csv")
    return ("--train_files", train, "--dev_files", dev, *SMALL)


def addresses() -> str:
    """Two free ports of this host."""
    sockets = [socket.socket() for _ in range(2)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    found = ",".join(f"127.0.0.1:{one.getsockname()[1]}" for one in sockets)
    for one in sockets:
        one.close()
    return found


def start_both(workers: str, *flags, **popen) -> list[subprocess.Popen]:
    return [start(*flags, "--workers", workers, "--rank", rank, **popen) for rank in range(2)]


def ends_of(processes: list[subprocess.Popen]) -> list[Ended]:
    try:
        return [ended(process) for process in processes]
    finally:
        for process in processes:
            if process.poll() is None:
                stop(process)


def run_both(*flags, **popen) -> list[Ended]:
    return ends_of(start_both(addresses(), *flags, **popen))


def assert_nearly_same_end(first: Path, second: Path) -> None:
    """The losses and the weights are those of the other, but for their last digits."""

    def losses(folder: Path) -> list[list[float]]:
        return [[entry["train_loss"], entry["dev"][0]["loss"]] for entry in run_state(folder)["history"]]

    np.testing.assert_allclose(losses(first), losses(second), rtol=1e-5)
    one, other = arrays_of(first), arrays_of(second)
    assert one.keys() == other.keys()
    for name in one:
        # Adam divides by the root of the second moment: where a gradient is all but 0, its last digits are much.
        np.testing.assert_allclose(one[name], other[name], atol=2e-4, err_msg=name)


@pytest.mark.slow
def test_two_workers_train_as_one_process_does_and_leave_out_the_same_clips(tmp_path):
    texts = transcripts(9)
    make_corpus(tmp_path / "clips", texts)
    clips = tmp_path / "clips"
    for number, name in ((2, "overflow.wav"), (6, "nan.wav")):
        (clips / f"clips-{number:02}.wav").rename(clips / name)
        csv = (clips / "clips.csv").read_text().replace(f"clips-{number:02}.wav", name)
        (clips / "clips.csv").write_text(csv)
    dev = make_corpus(clips, transcripts(5), seed=50, name="dev.csv")
    flags = ("--train_files", clips / "clips.csv", "--dev_files", dev, *SMALL, "--epochs", 3)
    sizes = ("--train_batch_size", 2, "--dev_batch_size", 1)
    both = run_both(
        *flags, *sizes, "--checkpoint_dir", tmp_path / "two", "--test_files", dev, "--beam_width", 0, program=POISONED
    )
    sizes = ("--train_batch_size", 4, "--dev_batch_size", 2)
    alone = run(*flags, *sizes, "--checkpoint_dir", tmp_path / "one", program=POISONED)
    assert [one.code for one in (*both, alone)] == [0, 0, 0], both[0].err + both[1].err + alone.err
    assert_nearly_same_end(tmp_path / "one", tmp_path / "two")
    state = run_state(tmp_path / "two")
    assert state["quarantine"] == run_state(tmp_path / "one")["quarantine"] != {}
    first, second = both
    assert "worker 0 (127.0.0.1:" in first.log and "of 2, as --workers says" in first.log
    assert "Epoch   3 of 3" in first.log and "WER" in first.out
    assert "Epoch" not in second.log and second.out == ""
    assert len(list((tmp_path / "two").glob("logs/session_*.json"))) == 1
    assert len(list((tmp_path / "two").glob("worker-1/session_*.json"))) == 1


@pytest.mark.slow
def test_a_stop_of_one_stops_both_a_kill_is_told_and_all_ends_as_if_undisturbed(corpus, tmp_path):
    flags = (*corpus, "--epochs", 40, "--train_batch_size", 2, "--dev_batch_size", 1)
    undisturbed = run_both(*flags, "--checkpoint_dir", tmp_path / "undisturbed")
    assert [one.code for one in undisturbed] == [0, 0], undisturbed[0].err
    folder = tmp_path / "disturbed"
    flags, workers = (*flags, "--checkpoint_dir", folder), addresses()

    def disturbed(number: int, rank: int) -> list[Ended]:
        """What came of both where one of them gets a signal in the middle of training."""
        processes, kept = start_both(workers, *flags), log_size(folder)

        def far_enough() -> bool:
            nonlocal kept
            kept = min(kept, log_size(folder))  # it has been cut back to the checkpoint
            return new_events(folder, kept).count("epoch") >= 2

        sent = signal_when(processes[rank], number, far_enough, lambda: is_stepping(folder, kept))
        results = ends_of(processes)
        assert sent, results[0].log
        return results

    for one in disturbed(signal.SIGTERM, 1):
        assert one.code == 143, one.err
        assert f"saved at step {run_state(folder)['step']:,} in" in one.log
    survivor, killed = disturbed(signal.SIGKILL, 1)
    assert (survivor.code, killed.code) == (1, -signal.SIGKILL), survivor.err
    assert f"E Worker 1 ({workers.split(',')[1]}) has ended or cannot be reached" in survivor.log
    assert "resumes from the last checkpoint" in survivor.log
    killed, survivor = disturbed(signal.SIGKILL, 0)
    assert (survivor.code, killed.code) == (1, -signal.SIGKILL), survivor.err
    assert f"E Worker 0 ({workers.split(',')[0]}) has ended or cannot be reached" in survivor.log
    last = ends_of(start_both(workers, *flags))
    assert [one.code for one in last] == [0, 0], last[0].err
    assert_same_end(tmp_path / "undisturbed", folder)


@pytest.mark.slow
def test_workers_with_other_flags_are_refused(corpus, tmp_path):
    workers = addresses()
    flags = (*corpus, "--epochs", 1, "--checkpoint_dir", tmp_path / "checkpoints", "--workers", workers)
    other = ends_of([start(*flags, "--rank", rank, "--learning_rate", 1e-3 + rank) for rank in range(2)])
    assert {one.code for one in other} == {1}
    assert "--learning_rate is 1.001 for worker 1" in other[0].log + other[1].log


@pytest.mark.slow
def test_a_worker_that_waits_for_the_others_hears_a_signal(corpus, tmp_path):
    flags = (*corpus, "--epochs", 1, "--checkpoint_dir", tmp_path / "checkpoints")
    with open(tmp_path / "err", "wb") as err:
        process = start(*flags, "--workers", addresses(), "--rank", 0, stdout=err, stderr=err)
    assert signal_when(process, signal.SIGTERM, lambda: b"no answer of worker 1" in (tmp_path / "err").read_bytes())
    assert process.wait(60) == 143
