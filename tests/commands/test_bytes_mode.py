"""Every command that takes a checkpoint or an export takes one whose labels are bytes."""

import json

import pytest
from models.small_models import random_weights, save_checkpoint
from training.processes import make_corpus

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.commands.main import run as command
from deepspeech_training.console import Console
from deepspeech_training.decoding.scorer import Scorer
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.deepspeech import DeepSpeech

NETWORK = DeepSpeech(ByteAlphabet.num_classes, n_hidden=8)


def save(folder, alphabet, *, seed=0) -> str:
    network = DeepSpeech(alphabet.num_classes, n_hidden=8)
    weights = random_weights(network, seed=seed)
    save_checkpoint(folder, weights, alphabet=alphabet, features=FeatureGeometry(), network=network)
    return str(folder)


@pytest.fixture
def run(tmp_path):
    return save(tmp_path / "run", ByteAlphabet())


@pytest.fixture
def exported(run, tmp_path):
    assert command("export", ["--checkpoint_dir", run, "--export_dir", str(tmp_path / "export")]) == 0
    return str(tmp_path / "export" / "output_graph.tflite")


@pytest.fixture
def text(tmp_path):
    (tmp_path / "text.txt").write_text("né 日\n日 né\n", encoding="utf-8")
    return str(tmp_path / "text.txt")


def test_a_checkpoint_and_its_export_are_inspected(run, exported, capsys):
    for path in (run, exported):
        capsys.readouterr()
        assert command("inspect", [path, "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["alphabet_of_bytes"] and len(found["alphabet"]) == 255 and found["answers"]["text"] is not None
        assert command("inspect", [path]) == 0
        assert "Alphabet  the 255 bytes of UTF-8\n" in capsys.readouterr().out


def test_checkpoints_are_averaged(tmp_path):
    paths = [next((tmp_path / save(tmp_path / str(n), ByteAlphabet(), seed=n)).glob("*.json")) for n in range(2)]
    assert command("average", [*map(str, paths), "--output", str(tmp_path / "mean")]) == 0
    assert CheckpointFolder(tmp_path / "mean", Console()).load("best").model.alphabet == ByteAlphabet()


def test_a_scorer_is_built_for_a_folder_in_the_mode_of_its_checkpoint(run, text, tmp_path, capsys):
    package = tmp_path / "my.scorer"
    argv = ["--input_txt", text, "--package", str(package), "--model"]
    assert command("scorer build", [*argv, run]) == 1
    assert "this model writes bytes" in capsys.readouterr().err and not package.exists()
    assert command("scorer build", [*argv, run, "--bytes_output_mode"]) == 0
    assert Scorer.read(package).bytes_mode
    english = save(tmp_path / "english", Alphabet.english())
    assert command("scorer build", [*argv, english, "--bytes_output_mode"]) == 1
    assert "28 characters of an alphabet" in capsys.readouterr().err


@pytest.mark.parametrize("named", ["checkpoint", "flag"])
def test_text_mode_makes_a_scorer_of_bytes(run, text, tmp_path, named):
    folder = run if named == "checkpoint" else str(tmp_path / "none")
    flags = ["--bytes_output_mode"] if named == "flag" else []
    argv = ["--voice_mode", "text", "--text_data", text, "--output_dir", str(tmp_path / "out"), *flags]
    assert command("train", [*argv, "--load_checkpoint_dir", folder]) == 0
    assert Scorer.read(tmp_path / "out/scorer/model.scorer").bytes_mode


def test_weights_of_a_scorer_are_searched(run, text, tmp_path, capsys, compiled_beam):
    package, clips = tmp_path / "my.scorer", make_corpus(tmp_path, ["no"])
    assert command("scorer build", ["--input_txt", text, "--package", str(package), "--bytes_output_mode"]) == 0
    argv = ["--checkpoint_dir", run, "--scorer", package, "--dev_files", clips, "--folder", tmp_path / "kept"]
    assert command("scorer tune", list(map(str, [*argv, "--n_trials", 1, "--beam_width", 8]))) == 0
    assert "CER on 1 clips" in capsys.readouterr().out


def test_an_export_is_evaluated_and_transcribes(exported, tmp_path, capsys):
    clips = make_corpus(tmp_path, ["no"])
    assert command("evaluate", ["--model", exported, "--csv", clips, "--proc", "1"]) == 0
    assert "CER" in capsys.readouterr().out
    assert command("transcribe", ["--model", exported, clips.replace(".csv", "-00.wav")]) == 0


def test_rows_in_any_script_are_checked(tmp_path, capsys):
    clips = make_corpus(tmp_path, ["no"])
    table = tmp_path / "clips.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(",no", ",né 日。"), encoding="utf-8")
    assert command("data check", ["--train_files", clips, "--mode", "cpu"]) == 1
    assert command("data check", ["--train_files", clips, "--mode", "cpu", "--bytes_output_mode"]) == 0
    assert "1 rows can be used, 0 cannot" in capsys.readouterr().out


def test_a_folder_of_recordings_in_any_script_is_checked(tmp_path, capsys):
    voices = tmp_path / "voices"
    for number in range(3):
        make_corpus(voices, ["no"], name=f"{number}.csv")
        (voices / f"{number}-00.txt").write_text("Né 日。", encoding="utf-8")
        (voices / f"{number}.csv").unlink()
    argv = ["--check_voice_data", "--voice_data_dir", str(voices)]
    assert command("train", argv) == 1 and "'日'" in capsys.readouterr().out
    assert command("train", [*argv, "--bytes_output_mode"]) == 0


def test_the_check_of_data_takes_the_alphabet_of_the_checkpoint(run, tmp_path, corpus, capsys):
    train = corpus(["né 日", "HELLO"])
    turkish = save(tmp_path / "turkish", Alphabet("ın "))
    assert command("data check", ["--train_files", train, "--checkpoint_dir", run]) == 0
    assert "2 rows can be used, 0 cannot" in capsys.readouterr().out
    for folder in ("--checkpoint_dir", "--load_checkpoint_dir"):
        assert command("data check", ["--train_files", train, folder, turkish]) == 1
        assert "alphabet    in the checkpoint (3 characters)" in capsys.readouterr().err
    assert command("data check", ["--test_files", train, "--checkpoint_dir", turkish]) == 1
    alphabet = tmp_path / "alphabet.txt"
    alphabet.write_text("a\n", encoding="utf-8")
    flags = ["--train_files", train, "--alphabet_config_path", str(alphabet)]
    assert command("data check", [*flags, "--checkpoint_dir", run]) == 2
    assert "the checkpoint was trained with 255" in capsys.readouterr().err
