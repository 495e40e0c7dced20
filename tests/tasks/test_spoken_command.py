"""Spoken commands from CSV to report: classes, rows, silence, training, resume, test, inspection."""

import csv
import json
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tasks.command_sounds import RATE, flags, make_commands, sound
from training.processes import differing_arrays, kill_in, run, run_state

from deepspeech_training.augment.recordings import AudioSource
from deepspeech_training.commands.main import main
from deepspeech_training.commands.main import run as run_command
from deepspeech_training.config.groups import DataFlags
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.registry.store import Registry
from deepspeech_training.reporting.commands import CommandReport, CommandResult, write_picture
from deepspeech_training.reporting.run_log import RunLog
from deepspeech_training.runtime import SpokenCommandModel
from deepspeech_training.tasks.spoken_command.classes import Classes, classes_of
from deepspeech_training.tasks.spoken_command.clips import checked_commands, cut_of_noise, labels_of

COMMAND = (sys.executable, "-m", "deepspeech_training")


def test_without_labels_every_label_is_a_command_and_silence_comes_last():
    assert classes_of([], ["no", "_silence_", "yes", "_unknown_"], has_noise=False).names == (
        *("no", "yes", "_unknown_", "_silence_"),
    )
    assert classes_of(["yes"], ["no", "yes"], has_noise=False).names == ("yes", "_unknown_")


@pytest.mark.parametrize(
    ("wanted", "labels", "message"),
    [
        (["yes", "ja"], ["yes", "no"], "--labels ja: no row of --train_files has that label"),
        (["_unknown_"], ["yes", "_unknown_"], "are no commands"),
        ([], ["yes", "yes"], "tells two classes apart"),
    ],
)
def test_labels_that_nothing_can_be_learnt_of_are_refused(wanted, labels, message):
    with pytest.raises(FlagError) as caught:
        classes_of(wanted, labels, has_noise=False)
    assert message in str(caught.value)


def checked(paths: dict[str, str], classes: Classes, noise: AudioSource | None, on_bad_row: str = "fail"):
    return checked_commands(
        DataFlags((paths["train"],), (paths["dev"],), (paths["test"],), on_bad_row=on_bad_row),
        trains=True,
        classes=classes,
        features=FeatureGeometry(n_mfcc=40),
        longest=RATE,
        noise=noise,
        folder=None,
        console=Console(level=3),
    )


def test_rows_get_their_class_from_the_column_label_and_silence_is_cut_from_noise(tmp_path):
    paths = make_commands(tmp_path)
    assert set(labels_of([paths["train"]])) == {"low", "high", "rising", "other"}
    noise = AudioSource(paths["noise"], sample_rate=RATE)
    found = checked(paths, Classes(("low", "high", "_unknown_", "_silence_")), noise)
    labels = [sample.label for sample in found.sets["train"][0].samples]
    assert [labels.count(name) for name in ("low", "high", "_unknown_")] == [8, 8, 16]
    assert labels.count("_silence_") == 8
    assert {s.label for s in found.sets["dev"][0].samples} == {"low", "high", "_unknown_", "_silence_"}

    cuts = [s for kind in ("train", "dev") for s in found.sets[kind][0].samples if s.cut]
    assert len({s.content for s in cuts}) == len(cuts), "the loader keeps them apart"
    whole = noise.read(0)
    for cut in cuts:
        audio = cut_of_noise(noise, cut)
        np.testing.assert_array_equal(audio, cut_of_noise(noise, cut))
        level = np.abs(audio).max() / np.abs(whole).max()
        assert len(audio) == RATE and 0.001 < level <= 1.0
        match = np.correlate(whole, audio / np.linalg.norm(audio), "valid").argmax()
        assert (match < 0.8 * len(whole)) == (cut.cut == "train"), "no noise is heard in training and in validation"


def test_a_row_whose_label_is_no_class_is_named(tmp_path):
    paths = make_commands(tmp_path)
    with pytest.raises(UserError) as caught:
        checked(paths, Classes(("low", "high", "rising")), None)
    assert "train.csv, row 5: its label 'other' is none of the classes (low, high, rising)" in str(caught.value)
    assert len(checked(paths, Classes(("low", "high", "rising")), None, "drop").rejected) == 12


def test_a_report_has_precision_recall_and_confusions(tmp_path):
    pairs = [("yes", "yes")] * 6 + [("yes", "no")] * 2 + [("no", "no")] * 4
    results = tuple(CommandResult(f"{n}.wav", wanted, heard, 0.9, 0.5) for n, (wanted, heard) in enumerate(pairs))
    report = CommandReport("test.csv", results, ("yes", "no", "_silence_"))
    assert report.figures() == {"accuracy": 10 / 12}
    assert (report.recall(0), report.precision(0), report.recall(1), report.precision(1)) == (0.75, 1.0, 1.0, 4 / 6)
    assert report.recall(2) is None and report.precision(2) is None
    text = report.to_text(1)
    assert "accuracy: 0.8333 (10 of 12 clips)" in text and "yes taken for no (90%): 6.wav" in text
    rows = {line.split()[0]: line.split()[1:] for line in text.splitlines()[2:5]}
    assert rows["yes"] == ["8", "75.0%", "100.0%", "6", "2", "."]
    write_picture(report, tmp_path / "confusion.png", Console(level=3))
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")


def assert_it_is_exported_and_hears(paths, folder, export, capsys):
    capsys.readouterr()
    files = ["--dev_files", paths["dev"], "--test_files", paths["test"], "--other_speech_files", paths["speech"]]
    checkpoint = ["--checkpoint_dir", str(folder), "--silence_noise", paths["noise"]]
    wanted = ["--false_alarms_per_hour", "100", "--export_dir", str(export)]
    assert run_command("export", [*checkpoint, *files, *wanted]) == 0
    said = capsys.readouterr().err
    assert "Listens to 6 commands and 2 clips of other speech (1 left out)" in said
    assert "tell little of 100 false alarms an hour" in said
    report = json.loads((export / "parity.json").read_text())
    assert report["models"]["int8"]["exported"] and report["models"]["float32"]["accuracy"] > 0.6
    rule = report["detection"]["rule"]
    chosen = next(point for point in report["detection"]["points"] if point["threshold"] == rule["threshold"])
    assert chosen["false_alarms_per_hour"] <= 100

    model = str(export / "output_graph.tflite")
    assert SpokenCommandModel(model).rule.threshold == rule["threshold"]
    clip, long = str(Path(paths["test"]).with_name("test-low-0.wav")), str(export / "long.wav")
    assert run_command("detect", ["--model", model, "--clips", clip, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["label"] in ("low", "high", "rising", "_unknown_", "_silence_")
    quiet = np.zeros(RATE, np.float32)
    soundfile.write(long, np.concatenate([quiet, *(s for i in (7, 8) for s in (sound("high", i, 0.8), quiet))]), RATE)
    assert run_command("detect", ["--model", model, "--threshold", "0.3", long]) == 0
    times = [float(line.split("\t")[0]) for line in capsys.readouterr().out.splitlines()]
    assert times == sorted(times)
    assert run_command("inspect", [str(export), "--json"]) == 0
    inspected = json.loads(capsys.readouterr().out)
    assert inspected["classes"] == ["low", "high", "rising", "_unknown_", "_silence_"]
    assert inspected["detection"]["rule"] == rule
    assert inspected["answers"]["text"] in inspected["classes"] and inspected["alphabet"] is None
    assert run_command("evaluate", ["--model", model, "--csv", paths["test"], "--report_count", "0"]) == 0
    evaluated = capsys.readouterr().out
    held_out = ["--other_speech_files", paths["speech"], "--picture", str(export.parent / "alarms.png")]
    assert run_command("evaluate", ["--model", model, "--csv", paths["test"], "--report_count", "0", *held_out]) == 0
    *table, sentence = capsys.readouterr().out.removeprefix(evaluated).splitlines()
    assert table[0].split() == ["threshold", "misses", "false", "alarms", "an", "hour"]
    assert sentence.startswith(f"Threshold {rule['threshold']:.8g}: ") and "of 6 commands missed" in sentence
    assert (export.parent / "alarms.png").read_bytes().startswith(b"\x89PNG")
    assert run_command("inspect", [str(export)]) == 0
    assert "In a stream, at its export:\nthreshold " in capsys.readouterr().out
    assert evaluated.startswith(f"Test on {paths['test']} - accuracy: ") and "precision" in evaluated
    registered = ["models", "register", str(export), "--name", "sounds", "--dir", str(export.parent / "models")]
    assert main([*registered, "--test_files", paths["test"], "--checkpoint_dir", str(folder)]) == 0
    assert capsys.readouterr().out == "sounds/1\n"
    (test,) = Registry(export.parent / "models").version("sounds", 1).card()["tests"]
    assert 1 - test["wer"]["value"] == pytest.approx(float(evaluated.split()[5]), abs=1e-4)
    assert run_command("transcribe", ["--model", model, clip]) == 1
    assert "a model of spoken commands" in capsys.readouterr().err


def test_commands_are_trained_tested_exported_and_inspected(tmp_path, capsys):
    paths, folder = make_commands(tmp_path), tmp_path / "run"
    augment = ("--augment", "time_mask[p=0.5,n=1,size=50]", "--augment", "gain[db=0~6]")
    trained = run(*flags(paths, "--epochs", 12, "--checkpoint_dir", folder, *augment))
    assert trained.code == 0, trained.err
    assert trained.out.startswith(f"Test on {paths['test']} - accuracy: "), trained.out
    assert "auto: a model of spoken commands, as" in trained.err
    assert float(trained.out.split()[5]) > 0.6  # five classes, eight clips of each
    assert (folder / "confusion-test.png").exists()

    tested = run("--test_files", paths["test"], "--silence_noise", paths["noise"], "--checkpoint_dir", folder)
    assert tested.code == 0 and tested.out == trained.out, tested.err
    refused = run("--labels", "low,high", "--test_files", paths["test"], "--checkpoint_dir", folder)
    assert refused.code == 2 and "--labels low,high: the checkpoint was trained with low,high,rising" in refused.log
    inspected = run("inspect", folder, "--json", program=COMMAND)
    found = json.loads(inspected.out)
    assert found["classes"] == ["low", "high", "rising", "_unknown_", "_silence_"]
    assert_it_is_exported_and_hears(paths, folder, tmp_path / "export", capsys)
    assert found["answers"]["text"] in found["classes"] and "accuracy" in json.dumps(found["history"])
    log = RunLog(folder / "events.jsonl")
    log.read()
    told = [line["text"] for line in log.lines()]
    assert any("accuracy" in text for text in told if text.startswith("Epoch  12 of 12")), told


@pytest.mark.slow
def test_a_training_that_is_killed_resumes_exactly(tmp_path):
    paths, whole, killed = make_commands(tmp_path), tmp_path / "whole", tmp_path / "killed"
    command = flags(paths, "--epochs", 4, "--augment", "noise[p=0.5]", "--checkpoint_secs", 1)
    assert run(*command, "--checkpoint_dir", whole).code == 0
    for moment in ("in a step", "in a validation"):
        ended = kill_in(moment, killed, 1, *command, "--checkpoint_dir", killed)
        assert ended is None or ended.code == -signal.SIGKILL
    assert run(*command, "--checkpoint_dir", killed).code == 0
    for kind in ("train", "best"):
        assert run_state(killed, kind) == run_state(whole, kind)
        assert differing_arrays(killed, whole, kind) == []


@pytest.mark.parametrize("flag", [("--cr_ctc", "0.2"), ("--leading_blanks", "9"), ("--bytes_output_mode",)])
def test_flags_of_speech_to_text_are_refused_before_anything_is_computed(flag, tmp_path, capsys):
    words = flags(make_commands(tmp_path), "--checkpoint_dir", tmp_path / "run", "--mode", "cpu", *flag)
    assert run_command("train", list(map(str, words))) == 2
    assert f"{flag[0]}: not with --task spoken_command" in capsys.readouterr().err


def test_a_csv_without_a_column_of_labels_is_refused(tmp_path):
    paths = make_commands(tmp_path)
    with open(paths["dev"], "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("wav_filename", "wav_filesize"), ("a.wav", 0)])
    with pytest.raises(UserError) as caught:
        labels_of([paths["dev"]])
    assert "no column transcript" in str(caught.value)
