"""Checkpoint -> folder, by the command line: what is written, compared, refused, and never half replaced."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from models.small_models import SENTENCE, golden_weights, random_weights, save_checkpoint

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.audio.files import AudioError
from deepspeech_training.checkpoints.file import write_atomically
from deepspeech_training.commands.main import run as run_command
from deepspeech_training.exporting import folder as folder_module
from deepspeech_training.exporting import parity
from deepspeech_training.exporting import speech as speech_module
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.runtime.model import Model

ROOT = Path(__file__).resolve().parents[2]
FILES = ["author_model_0.0.1.md", "output_graph.tflite", "parity.json"]


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    """A folder with a checkpoint of a tiny network with random weights."""
    network = DeepSpeech(29, 8)
    save_checkpoint(
        tmp_path / "checkpoint",
        random_weights(network),
        alphabet=Alphabet.english(),
        features=FeatureGeometry(),
        network=network,
    )
    return tmp_path / "checkpoint"


@pytest.fixture
def export(checkpoint, tmp_path, capsys):
    """A function that exports into tmp_path/out, and returns the exit code and the log."""

    def run(*flags, command="export"):
        code = run_command(
            command, ["--checkpoint_dir", str(checkpoint), "--export_dir", str(tmp_path / "out"), *map(str, flags)]
        )
        captured = capsys.readouterr()
        assert captured.out == ""
        return code, captured.err

    return run


def names(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def test_the_model_the_report_and_the_card_are_written(export, tmp_path):
    code, log = export()
    assert code == 0 and names(tmp_path / "out") == FILES and names(tmp_path) == ["checkpoint", "out"]
    report = json.loads((tmp_path / "out/parity.json").read_text())
    assert report["models"]["int8"]["exported"] and not report["models"]["float32"]["exported"]
    size = (tmp_path / "out/output_graph.tflite").stat().st_size
    assert report["models"]["int8"]["file_bytes"] == size < report["models"]["float32"]["file_bytes"]
    assert report["models"]["float32"]["greatest_probability_difference"]["from_equal_features"] < 1e-5
    assert report["bounds"]["int8_wer_increase"] is None  # the model was not made for the clip of the package
    assert "greatest difference" in log and f"Exported {tmp_path / 'out/output_graph.tflite'}" in log


def test_the_program_that_trains_exports_alone_too_without_tensorflow(checkpoint, tmp_path):
    script = (
        "import sys; sys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        "from deepspeech_training.commands.main import train; sys.exit(train())"
    )
    command = [sys.executable, "-c", script, "--checkpoint_dir", checkpoint, "--export_dir", tmp_path / "deep/er/out"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "deep/er/out") == FILES
    assert {line[:2] for line in done.stderr.splitlines()} == {"I "}  # LiteRT's own lines are kept out
    done = subprocess.run(
        [sys.executable, ROOT / "bin/export", "--help"], capture_output=True, text=True, timeout=60, check=True
    )
    assert "--export_dir" in done.stdout


def test_a_trained_model_is_compared_on_the_test_set(test_data, tmp_path, capsys):
    weights = golden_weights(test_data / "golden")
    save_checkpoint(
        tmp_path / "checkpoint",
        weights,
        alphabet=Alphabet.english(),
        features=FeatureGeometry(),
        network=DeepSpeech(29, 100),
    )
    flags = [
        "--checkpoint_dir",
        tmp_path / "checkpoint",
        "--test_files",
        test_data / "ldc93s1/ldc93s1.csv",
        "--export_dir",
        tmp_path / "out",
        "--export_max_wer_increase",
        0,
    ]
    assert run_command("export", list(map(str, flags))) == 0, capsys.readouterr().err
    report = json.loads((tmp_path / "out/parity.json").read_text())
    assert report["clips"] == ["ldc93s1.csv:2"] and report["checkpoint"]["wer"] == 0
    for model in report["models"].values():
        assert model["wer"] == 0 and model["transcripts_that_differ"] == []
        assert model["greatest_probability_difference"]["streaming_against_whole_file"] == 0
    assert report["models"]["float32"]["greatest_probability_difference"]["from_audio"] < 1e-4
    assert report["models"]["int8"]["greatest_probability_difference"]["from_audio"] < 0.1


def test_a_clip_that_cannot_be_read_any_more_is_named_and_left_out(export, corpus, tmp_path, monkeypatch):
    path = corpus(["one", "two"])
    real = speech_module.read_audio

    def read(name, *, sample_rate):
        if name.endswith("0.wav") or len(broken) > 1:
            raise AudioError("damaged")
        return real(name, sample_rate=sample_rate)

    broken = ["0"]
    monkeypatch.setattr(speech_module, "read_audio", read)
    code, log = export("--test_files", path, "--export_max_wer_increase", 9)
    assert code == 0 and "train.csv:2" in log and "is left out of the comparison: damaged" in log
    assert json.loads((tmp_path / "out/parity.json").read_text())["clips"] == ["train.csv:3"]
    broken.append("1")
    code, log = export("--test_files", path, "--remove_export")
    assert code == 1 and "None of the clips of --test_files can be read" in log


def test_the_card_has_the_fields_of_deepspeech(export, tmp_path):
    code, _ = export(
        "--export_author_id",
        "me",
        "--export_model_name",
        "small",
        "--export_model_version",
        "1.2",
        "--export_language",
        "ru-Cyrl-RU",
        "--export_license",
        "MPL-2.0",
        "--export_min_ds_version",
        "0.9.3",
        "--export_description",
        "Learned from: one clip.",
        "--export_contact_info",
        "me@example.org # work",
    )
    assert code == 0
    lines = (tmp_path / "out/me_small_1.2.md").read_text().splitlines()
    assert lines[0] == lines[-2] == "---" and lines[-1] == "Learned from: one clip."
    for line in ("author: me", 'model_version: "1.2"', "license: MPL-2.0", "language: ru-Cyrl-RU", "runtime: tflite"):
        assert line in lines
    assert 'contact_info: "me@example.org # work"' in lines and 'min_ds_version: "0.9.3"' in lines
    assert "max_ds_version: <maximum DeepSpeech version (inclusive)>" in lines


def test_names_weights_and_zip_follow_the_flags(export, tmp_path):
    code, log = export("--noexport_quantize", "--export_file_name", "heard", "--export_zip")
    assert code == 0 and "heard.tflite" in names(tmp_path / "out")
    model = (tmp_path / "out/heard.tflite").read_bytes()
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        assert sorted(archive.namelist()) == names(tmp_path / "out")
        assert archive.read("heard.tflite") == model
    report = json.loads((tmp_path / "out/parity.json").read_text())
    assert report["models"]["float32"]["exported"] and report["models"]["float32"]["file_bytes"] == len(model)
    assert f"Packed as {tmp_path / 'out.zip'}" in log


def test_an_export_that_is_there_is_replaced_only_if_asked(export, tmp_path):
    assert export()[0] == 0
    before = {name: (tmp_path / "out" / name).read_bytes() for name in FILES}
    code, log = export("--export_beam_width", 7)
    assert code == 2 and "it has been exported there already (output_graph.tflite" in log
    assert {name: (tmp_path / "out" / name).read_bytes() for name in FILES} == before
    (tmp_path / "out/old.tflite").write_bytes(b"old")
    assert export("--export_beam_width", 7, "--remove_export")[0] == 0
    assert names(tmp_path / "out") == FILES and names(tmp_path) == ["checkpoint", "out"]
    assert (tmp_path / "out/output_graph.tflite").read_bytes() != before["output_graph.tflite"]


def test_other_files_stay_and_a_folder_that_is_no_export_is_never_emptied(export, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/thesis.txt").write_text("years of work")
    code, log = export("--remove_export")
    assert code == 2 and "none of them is an exported model, so it is left alone" in log
    assert export()[0] == 0
    assert names(tmp_path / "out") == [*FILES, "thesis.txt"]
    (tmp_path / "out/more").mkdir()
    assert export("--remove_export")[0] == 2
    assert (tmp_path / "out/thesis.txt").read_text() == "years of work"


@pytest.mark.parametrize("exchange", [True, False], ids=["in one step", "where folders cannot be exchanged"])
@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_failure_while_writing_leaves_the_old_model_or_the_new_one(export, tmp_path, monkeypatch, exchange, fails_at):
    assert export()[0] == 0
    before = (tmp_path / "out/output_graph.tflite").read_bytes()
    if not exchange:
        monkeypatch.setattr(folder_module, "_exchange", lambda one, other: False)
    written = []

    def fails(path, chunks):
        where = [p for p in written if p.parent == path.parent]
        if len(where) == fails_at and (exchange or path.parent.name == "out"):
            raise OSError(28, "No space left on device")
        written.append(path)
        return write_atomically(path, chunks)

    monkeypatch.setattr(folder_module, "write_atomically", fails)
    code, log = export("--remove_export", "--export_beam_width", 9)
    assert code == 1 and "cannot be written there: No space left on device" in log
    assert (tmp_path / "out/output_graph.tflite").read_bytes() == before
    assert names(tmp_path) == ["checkpoint", "out"] and set(FILES) <= set(names(tmp_path / "out"))


def test_a_model_that_differs_from_its_checkpoint_is_not_exported(export, tmp_path, monkeypatch):
    name, real = "probabilities_of_features", Model.probabilities_of_features
    monkeypatch.setattr(Model, name, lambda self, features: real(self, features) + np.float32(2e-5))
    code, log = export()
    assert code == 1 and names(tmp_path) == ["checkpoint"]
    assert "float32: the clip of the package: a probability from equal features differs by 2e-05" in log
    monkeypatch.setattr(Model, name, lambda self, features: real(self, features) * np.float32(np.nan))
    assert export()[0] == 1


def test_the_bound_of_the_wer_holds_for_the_model_with_8_bits(test_data, tmp_path):
    weights, network = golden_weights(test_data / "golden"), DeepSpeech(29, 100)
    good = speech_module.write_tflite(
        weights,
        alphabet=Alphabet.english(),
        features=FeatureGeometry(),
        network=network,
        settings=speech_module.ExportSettings(),
    )
    deaf = speech_module.write_tflite(
        weights | {"layer_6/bias": np.eye(29, dtype=np.float32)[28] * 100},
        alphabet=Alphabet.english(),
        features=FeatureGeometry(),
        network=network,
        settings=speech_module.ExportSettings(),
    )
    audio = speech_module.read_audio(str(test_data / "ldc93s1/LDC93S1.wav"), sample_rate=16000)

    def faults(model, **changed):
        arguments = {"exported": "int8", "max_wer_increase": 0.05, "wer_is_judged": True} | changed
        return parity.compare(
            {"int8": model},
            [parity.Clip("clip", audio, SENTENCE)],
            weights=weights,
            alphabet=Alphabet.english(),
            features=FeatureGeometry(),
            network=network,
            **arguments,
        ).faults

    assert faults(good) == [] and faults(good, max_wer_increase=0.0) == []
    (fault,) = faults(deaf)
    assert fault.startswith("int8: WER 1.0000 against 0.0000 of the checkpoint on 1 clips: 1.0000 more")
    assert faults(deaf, max_wer_increase=1.0) == faults(deaf, exported="float32") == []
    assert faults(deaf, wer_is_judged=False) == []


def test_calls_that_cannot_be_meant_are_refused(export, tmp_path):
    for flags, code, message in (
        (("--train_files", "a.csv"), 2, "this command only exports"),
        (("--noexport_tflite",), 2, "models are exported as .tflite only"),
        (("--checkpoint_dir", tmp_path / "none"), 1, "there is no checkpoint to test or export"),
        (("--export_dir=",), 2, "this command only exports"),
        (("--n_hidden", 9), 2, "--n_hidden 9: the checkpoint was trained with 8"),
    ):
        found, log = export(*flags)
        assert found == code and message in log, log
    (tmp_path / "out").write_text("")
    code, log = export(command="train")
    assert code == 2 and "this is a file, not a folder" in log
