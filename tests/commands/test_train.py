"""The program as a person meets it: exit codes, messages, what is on stdout, and the ways to train and test."""

import csv
import json
import os
import pty
import shutil
import subprocess
import sys
import termios
from pathlib import Path

import numpy as np
import pytest
from training.processes import (
    ROOT,
    TIMEOUT_S,
    arrays_of,
    assert_log_is_whole,
    assert_tidy,
    ended,
    events,
    make_corpus,
    run,
    run_all,
    run_state,
    start,
    state_of,
    transcripts,
)

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.console import Console
from deepspeech_training.data.samples import check_sets
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.version import VERSION

SMALL = ("--n_hidden", 8, "--intra_op_parallelism_threads", 2)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    """A folder with train.csv (10 clips), and two each of dev and test (4 and 2 clips)."""
    folder = tmp_path_factory.mktemp("corpus")
    make_corpus(folder, transcripts(10), name="train.csv")
    for seed, kind in ((50, "dev"), (80, "test")):
        make_corpus(folder, transcripts(4), seed=seed, name=f"{kind}-a.csv")
        make_corpus(folder, transcripts(2), seed=seed + 10, name=f"{kind}-b.csv")
    return folder


def files(corpus: Path, kind: str) -> str:
    return f"{corpus / f'{kind}-a.csv'},{corpus / f'{kind}-b.csv'}"


@pytest.fixture(scope="module")
def trained(corpus, tmp_path_factory):
    """One call that trains, tests, exports and transcribes; its folder and what it said."""
    folder = tmp_path_factory.mktemp("trained")
    result = run(
        "--train_files",
        corpus / "train.csv",
        "--dev_files",
        files(corpus, "dev"),
        "--test_files",
        files(corpus, "test"),
        *SMALL,
        "--train_batch_size",
        4,
        "--dev_batch_size",
        2,
        "--test_batch_size",
        3,
        "--epochs",
        3,
        "--report_count",
        1,
        "--checkpoint_dir",
        folder / "checkpoints",
        "--summary_dir",
        folder / "summaries",
        "--test_output_file",
        folder / "tested.json",
        "--one_shot_infer",
        corpus / "test-a-02.wav",
        "--export_dir",
        folder / "export",
        "--export_max_wer_increase",
        9,
    )
    assert result.code == 0, result.err
    return folder, result


# --- before TensorFlow -------------------------------------------------------------------------------------------


def test_help_and_version_do_not_import_tensorflow():
    for flag in ("--help", "--helpfull", "--version"):
        command = [sys.executable, "-X", "importtime", str(ROOT / "DeepSpeech.py"), flag]
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=True)
        packages = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines()}
        assert "deepspeech_training" in packages and not packages & {"tensorflow", "keras"}
        assert done.stdout == f"{VERSION}\n" if flag == "--version" else "--train_files" in done.stdout


def test_wrong_calls_end_with_a_message_and_no_traceback(corpus, tmp_path):
    train = corpus / "train.csv"
    for flags, code, message in (
        ((), 2, "there is nothing to do: give --train_files, --voice_data_dir, --text_data, "),
        (("--train_files", train, "--epochs", 0), 2, "there is nothing to do"),
        (("--train_file", train), 2, "unknown flag --train_file; did you mean --train_files"),
        (("--train_files", train, "--epochs", "many"), 2, "--epochs many: must be a whole number"),
        (("--train_files", train, "--scorer", "kenlm.scorer"), 2, "--scorer kenlm.scorer: no such file"),
        (("--train_files", train, "--load_train", "bset"), 2, "did you mean best?"),
        (("--one_shot_infer", "gone.wav"), 2, "--one_shot_infer gone.wav: no such file"),
        (("--train_files", "gone.csv"), 1, "gone.csv: cannot read the CSV: No such file or directory"),
        (("--test_files", train), 1, "there is no checkpoint to test"),
        (("--train_files", train, "--checkpoint_dir", "/proc/none"), 1, "checkpoints cannot be saved there"),
    ):
        result = run(*flags, *(() if "--checkpoint_dir" in flags else ("--checkpoint_dir", tmp_path / "none")))
        assert result.code == code, (flags, result)
        assert result.out == ""
        assert message in result.log
        assert {line[:2] for line in result.err.splitlines()} <= {"E ", "W "}


# --- one call that does it all -----------------------------------------------------------------------------------


def test_stdout_has_a_report_for_each_test_file_and_the_transcript_and_nothing_else(corpus, trained):
    _, result = trained
    lines = result.out.splitlines()
    tests = [line for line in lines if line.startswith("Test on ")]
    assert [line.split(" - ")[0] for line in tests] == [f"Test on {corpus / f'test-{x}.csv'}" for x in "ab"]
    assert "(4 clips)" in tests[0] and "(2 clips)" in tests[1]
    last_rule = max(number for number, line in enumerate(lines) if line == "-" * 80)
    assert last_rule == len(lines) - 2  # after the last report there is one line, the transcript
    assert set(lines[-1]) <= set("abcdefghijklmnopqrstuvwxyz' ")
    assert sum(line.startswith("Greedy, without beam - WER") for line in lines) == 2
    lines = [line for line in lines if not line.startswith(("Greedy, without beam", "Words wrong"))]
    starts = ("Test on ", "-----", "Best WER", "Median WER", "Worst WER", "WER: ", " - wav: ", " - src: ", " - res: ")
    assert all(line.startswith(starts) for line in lines[:-1])


def test_a_log_that_is_no_terminal_has_plain_lines(trained):
    folder, result = trained
    assert "\r" not in result.err and "\x1b" not in result.err
    log = result.log.splitlines()
    assert log[0].startswith("I Kind      auto: the acoustic model") and "Mode      cpu: " in log[1]
    assert log[2].startswith(f"I deepspeech_training {VERSION}, tensorflow ")
    for text in (
        "I Device    CPU:0",
        "I Data      train         10 clips",
        f"I Saved in  {folder / 'checkpoints'}",
        "I Starts with new weights",
        "I Epoch   1 of 3  train loss ",
        "I Epoch   3 of 3  train loss ",
        "I Training is finished: all 3 epochs are done",
    ):
        assert len([line for line in log if line.startswith(text)]) == 1, text
    assert not any(line.startswith(("W ", "E ")) for line in log if "Mode      cpu: " not in line)


def test_each_dev_file_has_figures_of_its_own(trained):
    folder, result = trained
    for entry in (e for e in events(folder / "checkpoints") if e["event"] == "epoch"):
        assert [(dev["name"], dev["clips"]) for dev in entry["dev"]] == [("dev-a.csv", 4), ("dev-b.csv", 2)]
        mean = sum(dev["loss"] * dev["clips"] for dev in entry["dev"]) / 6
        assert entry["best_loss"] <= mean * (1 + 1e-6)
    assert "| dev dev-a.csv loss " in result.log and "| dev dev-b.csv loss " in result.log


def test_the_log_of_events_is_json_and_the_folder_is_tidy(trained):
    folder, _ = trained
    log = events(folder / "checkpoints")
    assert [log[0]["event"], log[-1]["event"]] == ["start", "outcome"]
    assert all(isinstance(e["time"], float) for e in log)
    assert_log_is_whole(folder / "checkpoints", 3)
    assert_tidy(folder / "checkpoints", max_to_keep=5)


def test_the_log_of_events_has_the_keys_of_version_0_1(trained):
    def keys(log):
        return {event["event"]: set(event) for event in log if event["event"] not in ("note", "warning")}

    folder, _ = trained
    before = (ROOT / "tests/reporting/version_0_1/events.jsonl").read_text("utf-8").splitlines()
    then, now = keys(map(json.loads, before)), keys(events(folder / "checkpoints"))
    assert now.pop("start") == then.pop("start") | {"judged_by"}
    assert "diagnosis" in now.pop("outcome")
    assert {"epoch_begin", "step", "validation_begin", "validation_step", "epoch", "finished"} <= set(now)
    assert all(now[kind] == then[kind] for kind in now)


def test_the_best_checkpoint_is_exported_and_compared_on_the_clips_of_the_tests(trained):
    folder, result = trained
    report = json.loads((folder / "export" / "parity.json").read_text())
    assert len(report["clips"]) == 6 and Path(report["checkpoint_file"]).name.startswith("best-")
    assert report["models"]["float32"]["greatest_probability_difference"]["from_audio"] < 1e-3
    assert (folder / "export" / "output_graph.tflite").exists()
    assert f"I Exported {folder / 'export' / 'output_graph.tflite'}" in result.err


def test_the_test_output_file_has_every_clip_of_every_test_file(corpus, trained):
    folder, result = trained
    results = json.loads((folder / "tested.json").read_text(encoding="utf-8"))
    assert len(results) == 6
    expected = {}
    for name in ("test-a.csv", "test-b.csv"):
        with open(corpus / name, newline="") as file:
            expected |= {str(corpus / row["wav_filename"]): row["transcript"] for row in csv.DictReader(file)}
    assert {entry["wav_filename"]: entry["src"] for entry in results} == expected
    fields = {
        "wav_filename",
        "src",
        "res",
        "loss",
        "char_distance",
        "char_length",
        "word_distance",
        "word_length",
        "cer",
        "wer",
    }
    assert all(set(entry) == fields and entry["loss"] > 0 for entry in results)
    of_that_clip = [e["res"] for e in results if e["wav_filename"] == str(corpus / "test-a-02.wav")]
    assert result.out.splitlines()[-1] == of_that_clip[0]


def test_the_summaries_can_be_read_by_tensorboard(trained):
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    folder, _ = trained
    (path,) = (folder / "summaries").iterdir()
    scalars = {}
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            scalars.setdefault(value.tag, []).append(event.step)
    assert scalars["step/loss"] == list(range(1, 10))
    for tag in ("epoch/train_loss", "epoch/learning_rate", "dev-a.csv/loss", "dev-a.csv/wer", "dev-b.csv/cer"):
        assert scalars[tag] == [3, 6, 9]


def test_a_second_start_takes_what_it_knows_of_the_audio_from_the_cache(corpus, trained):
    folder, _ = trained
    checked = check_sets(
        {"train": [str(corpus / "train.csv")]},
        alphabet=Alphabet.english(),
        geometry=FeatureGeometry(),
        on_bad_row="fail",
        cache_dir=folder / "checkpoints" / "data_check",
        console=Console(level=3),
        alphabet_name="English",
    )
    assert checked.from_cache == 10


# --- other calls -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_one_shot_inference_prints_the_transcript_alone(corpus, trained):
    folder, first = trained
    alone = run("--one_shot_infer", corpus / "test-a-02.wav", "--checkpoint_dir", folder / "checkpoints")
    assert alone.code == 0
    assert alone.out == first.out.splitlines()[-1] + "\n"
    assert "--n_hidden 8, as in the checkpoint" in alone.log
    broken = corpus / "broken.wav"
    broken.write_text("no audio")
    refused = run("--one_shot_infer", broken, "--checkpoint_dir", folder / "checkpoints")
    assert refused.code == 1 and refused.out == ""
    assert f"E --one_shot_infer {broken}: not audio but text" in refused.log


@pytest.mark.slow
def test_a_terminal_gets_a_bar_and_stdout_still_only_results(corpus, tmp_path):
    terminal, program_side = pty.openpty()
    termios.tcsetwinsize(program_side, (24, 100))
    process = start(
        "--train_files",
        corpus / "train.csv",
        "--test_files",
        corpus / "test-a.csv",
        *SMALL,
        "--epochs",
        20,
        "--checkpoint_dir",
        tmp_path,
        stderr=program_side,
    )
    os.close(program_side)
    shown = b""
    while True:
        try:
            part = os.read(terminal, 65536)
        except OSError:  # what Linux says when the other side is closed
            break
        if not part:
            break
        shown += part
    os.close(terminal)
    out, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    text = shown.decode()
    assert "Traceback" not in text
    assert "\rEpoch 1 of 20:" in text and "%|" in text and "audio-s/s" in text
    assert "I Training is finished" in text
    assert out.decode().startswith(f"Test on {corpus / 'test-a.csv'}") and "\r" not in out.decode()


@pytest.mark.slow
def test_8_khz_models_are_trained_and_tested_from_files_of_any_rate(tmp_path):
    train = make_corpus(tmp_path, transcripts(8), name="train.csv", file_rates=(8000, 16000))
    flags = ("--train_files", train, "--dev_files", train, "--epochs", 40, "--learning_rate", 0.01, *SMALL)
    folder = tmp_path / "checkpoints"
    result = run(*flags, "--train_batch_size", 4, "--audio_sample_rate", 8000, "--checkpoint_dir", folder)
    assert result.code == 0
    history = run_state(folder)["history"]
    assert history[-1]["train_loss"] < 0.7 * history[0]["train_loss"]
    assert state_of(folder)["features"]["sample_rate"] == 8000
    tested, refused = run_all(
        ("--test_files", train, "--one_shot_infer", tmp_path / "train-01.wav", "--checkpoint_dir", folder),
        ("--test_files", train, "--audio_sample_rate", 16000, "--checkpoint_dir", folder),
    )
    assert tested.code == 0 and "--audio_sample_rate 8000, as in the checkpoint" in tested.log
    loss = float(tested.out.split("loss: ")[1].split()[0])
    best = run_state(folder)["schedule"]["best_epoch"]
    assert abs(loss - history[best]["dev"][0]["loss"]) < 1e-3
    assert refused.code == 2
    assert "E --audio_sample_rate 16000: the checkpoint was trained with 8000" in refused.log


@pytest.mark.slow
def test_two_devices_have_the_losses_of_one_with_twice_the_batch(corpus, tmp_path):
    flags = (
        "--train_files",
        corpus / "train.csv",
        "--dev_files",
        corpus / "dev-a.csv",
        *SMALL,
        "--dropout_rate",
        0.3,
        "--epochs",
        4,
    )
    one, two = run_all(
        (*flags, "--train_batch_size", 4, "--dev_batch_size", 4, "--checkpoint_dir", tmp_path / "one"),
        (
            *flags,
            "--train_batch_size",
            2,
            "--dev_batch_size",
            2,
            "--checkpoint_dir",
            tmp_path / "two",
            "--logical_cpus",
            2,
        ),
    )
    assert one.code == 0 and two.code == 0, two.err
    assert "(2 devices)" in two.log
    losses = [
        [(entry["train_loss"], entry["dev"][0]["loss"]) for entry in run_state(tmp_path / name)["history"]]
        for name in ("one", "two")
    ]
    np.testing.assert_allclose(*losses, rtol=1e-4)


@pytest.mark.slow
def test_order_limits_and_batches_by_seconds(corpus, tmp_path):
    ways = {
        "forward": ("--noshuffle",),
        "reverse": ("--noshuffle", "--reverse_train"),
        "shuffled": (),
        "limited": ("--limit_train", 5),
        "seconds": ("--batch_seconds", 3),
        "blanks": ("--leading_blanks", 5),
    }

    def flags(way: str) -> tuple:
        return (
            "--train_files",
            corpus / "train.csv",
            *SMALL,
            "--train_batch_size",
            1,
            "--epochs",
            2,
            "--dropout_rate",
            0,
            "--summary_dir",
            tmp_path / f"{way}-summaries",
            "--checkpoint_dir",
            tmp_path / way,
            *ways[way],
        )

    for part in (("forward", "reverse"), ("shuffled", "limited"), ("seconds", "blanks")):
        assert [result.code for result in run_all(*map(flags, part))] == [0] * len(part)
    steps = {way: [loss for _, loss in losses_of(tmp_path / f"{way}-summaries")] for way in ways}
    assert [len(steps[way]) for way in ("forward", "reverse", "shuffled", "limited")] == [20, 20, 20, 10]
    assert [found["clips"] for found in state_of(tmp_path / "limited")["data"] if found["set"] == "train"] == [5]
    assert 0 < len(steps["seconds"]) < 14
    # Long transcripts have larger losses: the order shows in them.
    assert steps["forward"][0] < steps["forward"][9] and steps["forward"][10] < steps["forward"][19]
    assert steps["reverse"][0] > steps["reverse"][9] and steps["reverse"][10] > steps["reverse"][19]
    assert steps["shuffled"][10:] != sorted(steps["shuffled"][10:])
    assert len(steps["blanks"]) == 20 and steps["blanks"][0] > steps["shuffled"][0] + 0.1  # the same clip


def losses_of(summaries: Path) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    (path,) = summaries.iterdir()
    return [
        (event.step, value.tensor.float_val[0])
        for event in EventFileLoader(str(path)).Load()
        for value in event.summary.value
        if value.tag == "step/loss"
    ]


@pytest.mark.slow
def test_a_checkpoint_of_mixed_precision_goes_on_in_float32(corpus, tmp_path):
    flags = ("--train_files", corpus / "train.csv", *SMALL, "--checkpoint_dir", tmp_path)
    mixed = run(*flags, "--epochs", 2, "--automatic_mixed_precision")
    assert mixed.code == 0
    low = state_of(tmp_path)["precision"] == "bfloat16"
    assert ("bfloat16 products, float32 weights" if low else "no bfloat16 in this hardware") in mixed.log
    assert {array.dtype for array in arrays_of(tmp_path).values()} == {np.dtype("float32")}
    plain = run(*flags, "--epochs", 4)
    assert plain.code == 0
    assert ("Other precision than before (bfloat16 -> float32)" in plain.log) == low
    history = run_state(tmp_path)["history"]
    assert len(history) == 4 and history[-1]["train_loss"] < history[0]["train_loss"]


@pytest.mark.slow
def test_what_cannot_be_written_at_the_end_is_told_at_the_start(corpus, trained, tmp_path):
    folder, _ = trained
    output = corpus / "train.csv" / "tested.json"  # below a file
    flags = ("--test_files", corpus / "test-b.csv", "--checkpoint_dir", folder / "checkpoints")
    result = run(*flags, "--test_output_file", output)
    assert result.code == 1
    assert f"E {output} cannot be written: there is no folder {output.parent}" in result.log
    assert "Test on " not in result.out  # found before the work


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="no /dev/shm, a folder that is in memory everywhere")
def test_in_an_image_training_refuses_a_folder_that_goes_with_the_container(tmp_path):
    folder = Path("/dev/shm/deepspeech-test") / str(os.getpid())
    flags = ("--train_files", make_corpus(tmp_path, ["she had"]), "--checkpoint_dir", folder)
    in_image = {"env": os.environ | {"DEEPSPEECH_IMAGE": "cpu"}}
    refused = ended(start(*flags, **in_image))
    assert refused.code == 2 and not folder.exists()
    assert "--mount type=volume,source=deepspeech-data" in refused.err and "--ephemeral" in refused.err
    other = ended(start(*flags, "--ephemeral", "--load_train", "best", **in_image))  # continues to the next fault
    assert other.code == 1 and "there is no best checkpoint" in other.err
    shutil.rmtree(folder)


def test_a_full_disk_under_stdout_costs_the_report_and_not_the_export(corpus, tmp_path):
    csv_path = corpus / "train.csv"
    with open("/dev/full", "w") as full:
        flags = ["--train_files", csv_path, "--test_files", csv_path, "--epochs", 1, "--n_hidden", 8, "--beam_width", 0]
        folders = ["--checkpoint_dir", tmp_path / "run", "--export_dir", tmp_path / "export"]
        process = start(*flags, *folders, stdout=full)
        _, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0, err
    assert b"stdout cannot be written" in err and (tmp_path / "export" / "output_graph.tflite").is_file()
