"""A run that starts with the weights of another one, of ours or of DeepSpeech's own trainer."""

import json
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import soundfile
from checkpoints.tensor_bundle import model_arrays, write_bundle
from training.processes import (
    arrays_of,
    assert_log_is_whole,
    assert_same_end,
    events,
    kill_in,
    make_corpus,
    newest,
    run,
    run_all,
    run_state,
    state_of,
    transcripts,
    write_csv,
)

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.audio.synthetic_speech import synthesize
from deepspeech_training.checkpoints.file import DamagedCheckpoint
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.checkpoints.tf1 import Tf1Folder, folder_to_load
from deepspeech_training.checkpoints.transfer import Transfer
from deepspeech_training.config import parse_flags
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.base import group_of
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.training.session import carry_out

EPOCHS = 6
ENGLISH = Alphabet.english()
LAYERS = ("layer_1", "layer_2", "layer_3", "lstm", "layer_5", "layer_6")
RUSSIAN = Alphabet("абвгдежзийклмнопрстуфхцчшщъыьэюя '")
RUSSIAN_WORDS = ("она носила", "твой тёмный", "костюм в жирной", "воде", "весь год", "масло")


def random_arrays(network: DeepSpeech, seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    return {name: generator.normal(size=shape).astype(np.float32) for name, shape in network.weight_shapes().items()}


# --- which weights ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropped", range(6))
def test_dropped_layers_are_new_and_counted_from_the_output(dropped):
    network = DeepSpeech(num_classes=4, n_hidden=3, layer_norm=True)
    source, fresh = random_arrays(network, 1), random_arrays(network, 2)
    transfer = Transfer("source.json", 9, network.groups, drop_source_layers=dropped)
    weights = transfer.weights(source, fresh, Alphabet("abc"))
    new = {group_of(name) for name in weights if weights[name] is fresh[name]}
    assert new == set(LAYERS[6 - dropped :])
    assert all(weights[name] is source[name] for name in weights if group_of(name) not in new)
    assert transfer.old_layers == LAYERS[: 6 - dropped]


def test_the_columns_of_shared_characters_and_of_the_blank_are_those_of_the_source():
    before, after = Alphabet("ab "), Alphabet(" xbyz")
    source = random_arrays(DeepSpeech(num_classes=4, n_hidden=3), 1)
    fresh = random_arrays(DeepSpeech(num_classes=6, n_hidden=3), 2)
    transfer = Transfer.of_characters("source.json", 9, LAYERS, before, after)
    assert transfer.shared_characters == " b" and transfer.old_layers == LAYERS[:5]
    weights = transfer.weights(source, fresh, after)
    origin = {0: 2, 2: 1, 5: 3}  # of the run's labels those of the source: space, b, blank
    for label in range(6):
        for name in ("layer_6/weights", "layer_6/bias"):
            wanted = source[name][..., origin[label]] if label in origin else fresh[name][..., label]
            np.testing.assert_array_equal(weights[name][..., label], wanted)
    assert all(weights[name] is source[name] for name in weights if group_of(name) != "layer_6")
    assert Transfer.from_json(json.loads(json.dumps(transfer.as_json())), LAYERS) == transfer


def test_characters_are_not_taken_from_a_source_that_writes_bytes():
    with pytest.raises(FlagError, match=r"source\.json writes bytes .--bytes_output_mode., which are no characters"):
        Transfer.of_characters("source.json", 9, LAYERS, ByteAlphabet(), Alphabet("ab"))


# --- DeepSpeech's checkpoints -------------------------------------------------------------------------------------


@pytest.fixture
def tf1(tmp_path) -> Tf1Folder:
    """A checkpoint of 4 characters, 3 units and layer normalisation, and flags of another kind than the default."""
    write_bundle(tmp_path / "train-70", model_arrays())
    return Tf1Folder(tmp_path, FeatureGeometry(sample_rate=8000, win_len_ms=40), 7.0)


def test_what_a_tf1_checkpoint_does_not_say_is_taken_from_the_flags(tf1):
    assert tf1.has("train") and not tf1.has("best") and tf1.read_description("best") is None
    path, model = tf1.read_description("train")
    assert model.unsaid == ("audio_sample_rate", "feature_win_len", "feature_win_step")
    assert path.name == "train-70" and model.progress.step == 70 and model.alphabet is None
    assert (model.network.n_hidden, model.network.layer_norm) == (3, True)
    assert (model.network.relu_clip, model.features.sample_rate) == (7.0, 8000)
    loaded = tf1.load("train")
    assert set(loaded.arrays) == set(DeepSpeech(num_classes=5, n_hidden=3, layer_norm=True).weight_shapes())


@pytest.mark.parametrize(
    "text",
    [
        "--audio_sample_rate=16000\n--relu_clip=15.0\n--feature_win_len=32\n--n_hidden=2048\n",
        '{\n "audio_sample_rate": 16000,\n "relu_clip": 15.0,\n "feature_win_len": 32\n}\n',
    ],
)
def test_the_files_beside_a_tf1_checkpoint_are_believed(tf1, text):
    (tf1.folder / "flags.txt").write_text(text)
    (tf1.folder / "alphabet.txt").write_text("# of Coqui STT\n \na\nb\nc\n")
    _, model = tf1.read_description("train")
    assert model.unsaid == ("feature_win_step",)
    features = model.features
    assert (features.sample_rate, features.win_len_ms, features.win_step_ms) == (16000, 32, 20)
    assert (model.network.relu_clip, model.alphabet) == (15.0, Alphabet(" abc"))
    (tf1.folder / "alphabet.txt").write_text("a\nb\n")
    with pytest.raises(DamagedCheckpoint, match="2 characters; the checkpoint beside it was trained with 4"):
        tf1.read_description("train")


def test_a_folder_with_checkpoints_of_ours_is_ours(tf1):
    ours = CheckpointFolder(tf1.folder, Console())
    assert isinstance(folder_to_load(ours, FeatureGeometry(), 20.0), Tf1Folder)
    ours.save(1, {}, lambda: {"a": np.zeros(1, np.float32)}, max_to_keep=1)
    assert folder_to_load(ours, FeatureGeometry(), 20.0) is ours


@pytest.mark.slow
def test_deepspeechs_checkpoint_has_the_loss_that_its_trainer_measured(test_data, tmp_path):
    out = tmp_path / "tested.json"
    folder = shutil.copytree(test_data / "golden/ckpt_n100_nodrop", tmp_path / "old")
    result = run(
        "--load_checkpoint_dir",
        folder / "train-200.index",
        "--test_files",
        test_data / "ldc93s1/ldc93s1.csv",
        "--test_output_file",
        out,
    )
    assert result.code == 0, result.err
    (clip,) = json.loads(out.read_text())
    assert abs(clip["loss"] - 1.2673984) < 1e-3 and clip["wer"] == 0


@pytest.mark.slow
def test_a_tf1_checkpoint_is_exported_alone_and_its_folder_trained_in(test_data, tmp_path):
    folder = Path(shutil.copytree(test_data / "golden/ckpt_n100_nodrop", tmp_path / "old"))
    csv = test_data / "ldc93s1/ldc93s1.csv"
    export = ("--checkpoint_dir", folder, "--export_dir", tmp_path / "export")
    flags = ("--checkpoint_dir", folder, "--train_files", csv, "--learning_rate", 0.0001, "--epochs", 2)
    exported, first = run(*export), run(*flags)
    assert exported.code == 0 and "tensorflow" not in exported.err.lower(), exported.err
    assert ModelFile.read(tmp_path / "export" / "output_graph.tflite").labels == ENGLISH.characters
    assert first.code == 0 and f"I Starts with the weights of {folder / 'train-200'} (step 200)\n" in first.log
    assert "does not say --audio_sample_rate, --feature_win_len, --feature_win_step; taken to be 16000, 32, 20" in (
        first.log
    )
    assert run_state(folder)["history"][0]["train_loss"] < 10
    for path in (test_data / "golden/ckpt_n100_nodrop").iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    again = run(*flags)
    assert again.code == 0 and "is of a finished run" in again.log and run_state(folder)["step"] == 2


# --- what is refused ----------------------------------------------------------------------------------------------


@pytest.fixture
def trained(tmp_path) -> Path:
    """A folder with a checkpoint of a run that has taken nothing from another one."""
    network = DeepSpeech(num_classes=4, n_hidden=3)
    folder = CheckpointFolder(tmp_path / "trained", Console())
    folder.folder.mkdir()
    state = {
        "alphabet": ["a", "b", " "],
        "features": vars(FeatureGeometry()),
        "network": vars(network),
        "run": {"step": 12, "epoch": 3},
        "transfer": None,
    }
    folder.save(12, state, lambda: random_arrays(network, 1), max_to_keep=1)
    return folder.folder


def refused(*argv) -> str:
    with pytest.raises(FlagError) as caught:
        carry_out(parse_flags([str(word) for word in argv]), Console(level=3))
    return str(caught.value)


def test_a_source_and_flags_that_do_not_fit_are_refused_before_anything_starts(trained, tmp_path, corpus, monkeypatch):
    monkeypatch.setattr(CheckpointFolder, "lock", lambda folder: None)  # it is held until the process ends
    csv = corpus(["ab", "ba"])
    (tmp_path / "other.txt").write_text("a\nб\n", encoding="utf-8")
    new = tmp_path / "new"
    train = ("--train_files", csv, "--load_checkpoint_dir", trained, "--save_checkpoint_dir", new)
    fresh = ("--train_files", csv, "--checkpoint_dir", new)
    going_on = ("--train_files", csv, "--checkpoint_dir", trained)
    drop = ("--drop_source_layers", 1)
    for flags, message in (
        ((*train, "--alphabet_config_path", tmp_path / "other.txt"), "--drop_source_layers 1, or --reuse_characters"),
        ((*train, *drop, "--n_hidden", 4), "--n_hidden 4: the checkpoint was trained with 3"),
        ((*train, *drop, "--audio_sample_rate", 8000), "--audio_sample_rate 8000: the checkpoint was trained with 16"),
        ((*train, *drop, "--feature_win_step", 10), "--feature_win_step 10: the checkpoint was trained with 20"),
        ((*train, *drop, "--layer_norm"), "--layer_norm true: the checkpoint was trained with false"),
        ((*train, *drop, "--load_train", "init"), "the run would start with new weights, not with those of another"),
        ((*train, *drop, "--freeze_layers", "layer_5,layer_6"), "--freeze_layers layer_6: has new weights"),
        ((*train, "--reuse_characters", "--freeze_layers", "layer_6"), "--freeze_layers layer_6: has new weights"),
        ((*fresh, "--freeze_layers", "lstm"), "--freeze_layers: the run would"),
        ((*fresh, "--source_learning_rate_factor", 0.1), "the run has no source"),
        ((*going_on, *drop), "resumes, and began with new weights"),
        ((*going_on, "--reuse_characters"), "--reuse_characters: acts when a run begins"),
    ):
        assert message in refused(*flags), flags
    assert not list(new.glob("train-*"))


def test_a_tf1_alphabet_that_nothing_says_has_to_be_given(tf1, tmp_path, corpus):
    flags = ("--test_files", corpus(["ab"]), "--checkpoint_dir", tf1.folder)
    assert "was trained with an alphabet of 4 characters, and does not say which" in refused(*flags)
    (tmp_path / "five.txt").write_text("a\nb\nc\nd\ne\n")
    assert "an alphabet of 4 characters" in refused(*flags, "--alphabet_config_path", tmp_path / "five.txt")


# --- whole runs ---------------------------------------------------------------------------------------------------


def make_russian_corpus(folder: Path) -> str:
    rows = []
    for number, text in enumerate(RUSSIAN_WORDS * 2):
        text = text.replace("ё", "е")
        sound = text.translate({ord(c): "abcdefghijklmnopqrstuvwxyz"[i % 26] for i, c in enumerate(RUSSIAN.characters)})
        path = folder / f"{number}.wav"
        soundfile.write(path, synthesize(sound, seed=number, sample_rate=16000), 16000)
        rows.append((path.name, path.stat().st_size, text))
    write_csv(folder / "russian.csv", rows)
    (folder / "alphabet.txt").write_text(RUSSIAN.to_text(), encoding="utf-8")
    return str(folder / "russian.csv")


@pytest.mark.slow
def test_deepspeechs_weights_learn_a_cyrillic_alphabet_through_a_kill_and_are_exported(test_data, tmp_path):
    source = test_data / "golden/ckpt_n100_nodrop"
    csv = make_russian_corpus(tmp_path)

    def flags(folder, *more):
        return [
            "--train_files",
            csv,
            "--dev_files",
            csv,
            "--test_files",
            csv,
            "--alphabet_config_path",
            tmp_path / "alphabet.txt",
            "--load_checkpoint_dir",
            source,
            "--save_checkpoint_dir",
            folder,
            "--drop_source_layers",
            1,
            "--freeze_layers",
            "layer_1,layer_2",
            "--source_learning_rate_factor",
            0.1,
            "--learning_rate",
            0.002,
            "--epochs",
            EPOCHS,
            "--train_batch_size",
            3,
            "--dropout_rate",
            0.1,
            "--intra_op_parallelism_threads",
            2,
            "--checkpoint_secs",
            1,
            *more,
        ]

    killed, whole, export = tmp_path / "killed", tmp_path / "whole", tmp_path / "export"
    assert kill_in("in a step", killed, 2, *flags(killed)).code == -signal.SIGKILL
    exporting = ("--export_dir", export, "--noexport_quantize")
    again, undisturbed = run_all(flags(killed, *exporting), flags(whole))
    assert again.code == 0 and undisturbed.code == 0, again.err + undisturbed.err
    assert "I Starts with the weights of" in undisturbed.log and "without layer_6" in undisturbed.log
    assert "are frozen (layer_1, layer_2)" in undisturbed.log and "(layers of the source 0.1 times" in undisturbed.log
    assert "has no effect" not in again.log  # the source of the run is named
    assert "I Resumes from" in again.log and "Starts with" not in again.log
    assert f"I Uses {newest(killed, 'best')}" in again.log  # the test is of the target
    assert_same_end(whole, killed)
    assert_log_is_whole(killed, EPOCHS)
    recorded = state_of(killed)["transfer"]
    assert recorded["drop_source_layers"] == 1 and recorded["step"] == 200
    assert Path(recorded["source"]) == source / "train-200"
    assert state_of(killed)["alphabet"] == list(RUSSIAN.characters)

    old = Tf1Folder(source / "train-200").load("train").weights
    arrays = arrays_of(killed)
    for name, weights in old.items():
        if group_of(name) in ("layer_1", "layer_2"):
            assert arrays[name].tobytes() == weights.tobytes()
            assert not arrays[f"adam_m/{name}"].any() and not arrays[f"adam_v/{name}"].any()
        elif group_of(name) != "layer_6":
            assert not np.array_equal(arrays[name], weights) and arrays[f"adam_v/{name}"].any()
    losses = [entry["train_loss"] for entry in run_state(killed)["history"]]
    assert losses[-1] < losses[0]

    model = ModelFile.read(export / "output_graph.tflite")
    assert model.labels == RUSSIAN.characters
    alone = run("--load_checkpoint_dir", source, "--save_checkpoint_dir", killed, "--test_files", csv)
    assert alone.code == 0 and f"I Uses {newest(killed, 'best')}" in alone.log
    before = sorted((killed / "logs").iterdir())
    tested = run("--load_checkpoint_dir", killed, "--save_checkpoint_dir", tmp_path / "new", "--test_files", csv)
    assert tested.code == 0 and (tmp_path / "new/logs").is_dir() and sorted((killed / "logs").iterdir()) == before


@pytest.mark.slow
def test_output_weights_of_shared_characters_are_taken_once_and_a_changed_flag_is_refused(tmp_path):
    texts = transcripts(6)
    csv = make_corpus(tmp_path, texts)
    source, target = tmp_path / "source", tmp_path / "target"
    small = ("--train_files", csv, "--n_hidden", 8, "--train_batch_size", 3)
    assert run(*small, "--epochs", 2, "--checkpoint_dir", source).code == 0
    alphabet = tmp_path / "alphabet.txt"
    alphabet.write_text(Alphabet("éü" + "".join(reversed(ENGLISH.characters))).to_text(), encoding="utf-8")
    flags = (
        *small,
        "--load_checkpoint_dir",
        source,
        "--save_checkpoint_dir",
        target,
        "--alphabet_config_path",
        alphabet,
        "--reuse_characters",
        "--freeze_layers",
        "layer_1,layer_2,layer_3,lstm,layer_5",
        "--learning_rate",
        1e-12,
    )
    first = run(*flags, "--epochs", 1)
    assert first.code == 0, first.err
    assert "of layer_6 those of the blank and of 28 shared characters" in first.log
    before, after = arrays_of(source)["layer_6/weights"], arrays_of(target)["layer_6/weights"]
    np.testing.assert_allclose(after[:, 2:-1], before[:, -2::-1], atol=1e-9)
    np.testing.assert_allclose(after[:, -1], before[:, -1], atol=1e-9)
    assert run(*flags, "--epochs", 2).code == 0
    assert run_state(target)["step"] == 4
    begun = [event["source"] for event in events(target) if event["event"] == "initialised"]
    assert len(begun) == 1 and begun[0].startswith(f"the weights of {newest(source)} (step 4); of layer_6 those of")
    third = run(*[tmp_path if word == source else word for word in flags], "--epochs", 3)
    assert f"--load_checkpoint_dir {tmp_path} has no effect: it counts when a run begins" in third.log
    other = run(*[word for word in flags if word != "--reuse_characters"], "--drop_source_layers", 2, "--epochs", 3)
    assert other.code == 2 and "resumes, and began with the weights of" in other.log
