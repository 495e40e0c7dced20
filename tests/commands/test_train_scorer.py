"""DeepSpeech.py with beams, scorers and bytes as labels: test, one-shot inference, export, the runtime."""

import csv
import json
import re
import shutil
import zipfile

import pytest
import soundfile
from training.processes import run, write_csv

from deepspeech_training.audio.synthetic_speech import synthesize
from deepspeech_training.config.groups import DEEPSPEECH_WEIGHTS
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.runtime import Model
from deepspeech_training.scorer.package import set_alpha_beta

SENTENCE = "she had your dark suit in greasy wash water all year"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def learned(test_data, tmp_path_factory):
    """A copy of the checkpoint of DeepSpeech's own trainer that knows LDC93S1; a CSV of it; the scorer."""
    folder = tmp_path_factory.mktemp("learned")
    shutil.copytree(test_data / "golden" / "ckpt_n100_nodrop", folder / "checkpoint")
    with open(folder / "test.csv", "w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["wav_filename", "wav_filesize", "transcript"])
        rows.writerow([test_data / "ldc93s1" / "LDC93S1.wav", 93638, SENTENCE])
    return folder, test_data / "ldc93s1" / "pruned_lm.scorer"


def test_a_scorer_decodes_in_tests_and_one_shot_inference_and_is_in_the_zip(learned, test_data, tmp_path):
    folder, scorer = learned
    result = run(
        "--checkpoint_dir",
        folder / "checkpoint",
        "--test_files",
        folder / "test.csv",
        "--scorer",
        scorer,
        "--beam_width",
        64,
        "--test_output_file",
        tmp_path / "tested.json",
        "--one_shot_infer",
        test_data / "ldc93s1" / "LDC93S1.wav",
        "--export_dir",
        tmp_path / "export",
        "--export_zip",
    )
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[0].startswith(f"Test on {folder / 'test.csv'} - WER: 0.000000, CER: 0.000000, loss: 1.26")
    assert lines[1].startswith("Without the scorer, at the same beam width - WER: 0.000000")
    assert lines[2].startswith("Greedy, without beam and scorer - WER: 0.000000") and lines[-1] == SENTENCE
    (clip,) = json.loads((tmp_path / "tested.json").read_text(encoding="utf-8"))
    assert clip["res"] == SENTENCE and clip["word_distance"] == 0
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".scorer")]
        assert archive.read(name) == scorer.read_bytes()


def test_deepspeechs_default_weights_count_instead_of_the_scorers_when_they_are_given(learned, test_data, tmp_path):
    folder, scorer = learned
    path = tmp_path / "my.scorer"
    path.write_bytes(scorer.read_bytes())
    set_alpha_beta(path, alpha=0, beta=-1000)  # each word costs more than all of the clip
    call = (
        "--checkpoint_dir",
        folder / "checkpoint",
        "--scorer",
        path,
        "--beam_width",
        64,
        "--one_shot_infer",
        test_data / "ldc93s1" / "LDC93S1.wav",
    )
    defaults = [f"--{name}={value}" for name, value in DEEPSPEECH_WEIGHTS.items()]
    assert run(*call, *defaults).out.strip() == SENTENCE
    result = run(*call)
    assert result.code == 0 and result.out.strip() != SENTENCE


def test_a_scorer_of_the_training_transcripts(tmp_path):
    write_csv(tmp_path / "train.csv", [("a.wav", 0, "red"), ("a.wav", 0, "red Blue green"), ("a.wav", 0, "red")])
    soundfile.write(tmp_path / "a.wav", synthesize("red and green"), 16000)
    (tmp_path / "alphabet.txt").write_text("".join(f"{c}\n" for c in "Bdegnrlu "), encoding="utf-8")
    own = ("--alphabet_config_path", tmp_path / "alphabet.txt", "--n_hidden", 8)
    tested = (
        "--checkpoint_dir",
        tmp_path / "run",
        "--test_files",
        tmp_path / "train.csv",
        "--train_scorer",
        "--beam_width",
        8,
    )
    result = run(
        *own,
        *tested,
        "--train_files",
        tmp_path / "train.csv",
        "--epochs",
        1,
        "--export_dir",
        tmp_path / "export",
        "--export_zip",
    )
    assert result.code == 0, result.err
    assert "Without the scorer, at the same beam width" in result.out
    (counts,) = re.findall(r"n-grams of order 1, 2, ...: (.*)", result.err)
    assert int(counts.split(", ")[3]) > 0  # of little text, what occurs once is kept
    scorer = Scorer.read(tmp_path / "run" / "train.scorer")
    assert all(word in scorer.language_model for word in ("red", "Blue", "green"))
    assert "yellow" not in scorer.language_model and "blue" not in scorer.language_model
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        assert archive.read("train.scorer") == (tmp_path / "run" / "train.scorer").read_bytes()
    again = run(*tested)  # without --train_files it is the one that is there
    assert again.code == 0 and again.out == result.out
    (tmp_path / "run" / "train.scorer").unlink()
    absent = run(*tested)
    assert absent.code == 1 and "train.scorer" in absent.err and "Traceback" not in absent.err
    resumed = run("--flagfile", tmp_path / "run" / "flags.txt", "--epochs", 2, "--remove_export")
    assert resumed.code == 0, resumed.err


def test_a_word_that_the_scorer_does_not_know_is_named(learned, tmp_path):
    folder, scorer = learned
    text = (folder / "test.csv").read_text(encoding="utf-8").replace("greasy", "qwxz")
    (tmp_path / "test.csv").write_text(text, encoding="utf-8")
    result = run(
        "--checkpoint_dir",
        folder / "checkpoint",
        "--test_files",
        tmp_path / "test.csv",
        "--scorer",
        scorer,
        "--beam_width",
        64,
    )
    assert result.code == 0 and "qwxz" in result.out.split("----")[0]


def test_a_scorer_that_does_not_fit_ends_the_run_before_it_starts(learned, tmp_path):
    folder, scorer = learned
    (tmp_path / "cut.scorer").write_bytes(scorer.read_bytes()[:1000])
    call = ("--checkpoint_dir", folder / "checkpoint", "--test_files", folder / "test.csv", "--scorer")
    for path, says in ((tmp_path / "cut.scorer", "cut.scorer"), (scorer.with_name("pruned_lm.bytes.scorer"), "bytes")):
        result = run(*call, path)
        assert result.code == 1 and says in result.err and "Traceback" not in result.err


def test_a_model_of_bytes_is_trained_tested_exported_and_run(tmp_path):
    csv_path, rows = tmp_path / "train.csv", []
    for number, (sound, text) in enumerate([("no", "né"), ("yes sir", "日")] * 2):
        path = tmp_path / f"train-{number:02}.wav"
        soundfile.write(path, synthesize(sound, seed=number), 16000)
        rows.append((path.name, path.stat().st_size, text))
    write_csv(csv_path, rows)
    trained = run(
        "--train_files",
        csv_path,
        "--test_files",
        csv_path,
        "--bytes_output_mode",
        "--n_hidden",
        32,
        "--epochs",
        60,
        "--train_batch_size",
        4,
        "--test_batch_size",
        4,
        "--dropout_rate",
        0,
        "--learning_rate",
        0.01,
        "--beam_width",
        16,
        "--checkpoint_dir",
        tmp_path / "checkpoints",
        "--export_dir",
        tmp_path / "export",
        "--noexport_quantize",
        "--test_output_file",
        tmp_path / "tested.json",
        "--export_max_wer_increase",
        9,
    )
    assert trained.code == 0, trained.err
    heard = [clip["res"] for clip in json.loads((tmp_path / "tested.json").read_text(encoding="utf-8"))]
    again = run(
        "--checkpoint_dir", tmp_path / "checkpoints", "--one_shot_infer", tmp_path / "train-00.wav", "--beam_width", 16
    )
    assert again.code == 0 and again.out.strip() in heard  # the checkpoint says that its labels are bytes
    model = Model(tmp_path / "export" / "output_graph.tflite")
    model.setBeamWidth(16)
    audio, rate = soundfile.read(tmp_path / "train-00.wav", dtype="int16")
    assert rate == model.sampleRate() and isinstance(model.stt(audio), str)
    assert set("".join(heard)) <= set("né日\ufffd") and any(heard)
