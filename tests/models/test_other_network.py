"""A network that is nothing like DeepSpeech's goes through everything, and nothing but a line of the table knows it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from keras import ops
from models.quarter import STRIDE, Quarter
from training.processes import arrays_of, differing_arrays, kill_in, make_corpus, run, run_state, state_of

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.audio.files import read_audio
from deepspeech_training.checkpoints.folder import CheckpointFolder
from deepspeech_training.commands.main import run as command
from deepspeech_training.console import Console
from deepspeech_training.exporting.parity import ClientFeatures
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models import MODELS, NETWORKS, network_of
from deepspeech_training.models.reference import softmax
from deepspeech_training.models.tflite import ExportSettings, write_tflite
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.runtime.stream import to_int16

NETWORK = Quarter(num_classes=6, n_hidden=8)
FEATURES = FeatureGeometry(n_mfcc=13)
PROGRAM = (sys.executable, str(Path(__file__).with_name("with_quarter.py")))
WORDS = ["on", "no", "one", "ten", "net", "tone"]


@pytest.fixture(autouse=True)
def known(monkeypatch):
    monkeypatch.setitem(MODELS, "quarter", "models.quarter:Quarter")
    monkeypatch.setitem(NETWORKS, "speech_to_text", (*NETWORKS["speech_to_text"], "quarter"))


def noise(frames: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((frames, 13)).astype(np.float32)


def exported(network=NETWORK, **settings) -> Model:
    data = write_tflite(
        network.initial_weights(seed=1),
        alphabet=Alphabet("abcde"),
        features=FEATURES,
        network=network,
        settings=ExportSettings(**settings),
    )
    return Model(ModelFile.of_bytes(data, "model.tflite"), num_threads=1)


def test_lengths_are_those_of_numbers_arrays_and_tensors():
    for frames, outputs in ((0, 0), (1, 1), (4, 1), (5, 2), (8, 2)):
        assert NETWORK.output_lengths(frames) == outputs
    assert NETWORK.output_lengths(np.array([3, 9])).tolist() == [1, 3]
    assert ops.convert_to_numpy(NETWORK.output_lengths(ops.array([3, 9], "int32"))).tolist() == [1, 3]


def test_its_description_reads_back_and_its_groups_are_in_order():
    assert network_of(json.loads(json.dumps(NETWORK.describe()))) == NETWORK
    assert NETWORK.groups == ("front", "join", "output")


@pytest.mark.parametrize("frames", [1, 4, 11])
def test_the_reference_is_the_network_alone_and_in_a_padded_batch(frames):
    weights = NETWORK.initial_weights(seed=2)
    layers = NETWORK.build(weights=weights)
    batch = np.zeros((2, 14, 13), np.float32)
    batch[0, :frames], batch[1] = noise(frames), noise(14, 1)
    logits, lengths = layers(batch, np.array([frames, 14], np.int32))
    assert ops.convert_to_numpy(lengths).tolist() == [-(-frames // STRIDE), 4]
    wanted = NETWORK.reference(weights, noise(frames))
    np.testing.assert_allclose(ops.convert_to_numpy(logits)[0, : len(wanted)], wanted, atol=1e-5)


def test_folded_weights_take_raw_features():
    normalisation = Normalisation(np.linspace(-3, 3, 13, dtype=np.float32), np.geomspace(0.5, 4, 13, dtype=np.float32))
    weights = NETWORK.initial_weights(seed=3)
    wanted, _ = NETWORK.build(weights=weights, normalisation=normalisation)(noise(8)[None], np.array([8], np.int32))
    folded = NETWORK.fold(weights, normalisation)
    np.testing.assert_allclose(NETWORK.reference(folded, noise(8)), ops.convert_to_numpy(wanted)[0], atol=1e-4)
    for name, array in NETWORK.unfold(folded, normalisation).items():
        np.testing.assert_allclose(array, weights[name], atol=1e-5)


@pytest.mark.parametrize("n_steps", [4, 16])
def test_the_runtime_learns_from_the_file_what_the_network_is(n_steps):
    model = exported(quantize=False, n_steps=n_steps)
    file = model.file
    assert (file.n_steps, file.window_frames, file.stride, file.geometry.n_mfcc) == (n_steps, 3, STRIDE, 13)
    assert file.state_shapes == {"memory": (1, 16), "delay": (1, 1, 16)}
    weights = NETWORK.initial_weights(seed=1)
    for num_samples in (0, 1, 512, 2000, 16000, 16384):
        audio = (0.1 * np.random.default_rng(num_samples).standard_normal(num_samples)).astype(np.float32)
        samples = to_int16(audio)
        heard = samples / np.float32(32768)
        features = Mfcc(FEATURES, dtype=np.float64)(with_last_frame(heard, FEATURES))
        np.testing.assert_allclose(ClientFeatures(file.data)(heard, FEATURES), features, atol=1e-3)
        wanted = softmax(NETWORK.reference(weights, features))
        np.testing.assert_allclose(model.probabilities_of_features(features), wanted, atol=1e-5)
        found = model.probabilities(samples)
        np.testing.assert_allclose(found, wanted if num_samples else wanted[:0], atol=1e-4)


def test_a_stream_in_pieces_and_its_times_follow_the_stride():
    model = exported()
    audio = to_int16(0.1 * np.random.default_rng(0).standard_normal(20000))
    whole = model.sttWithMetadata(audio)
    with model.createStream() as stream:
        for start in range(0, len(audio), 777):
            stream.feedAudioContent(audio[start : start + 777])
        assert stream.finishStreamWithMetadata() == whole
    tokens = whole.transcripts[0].tokens
    assert tokens and all(token.start_time == pytest.approx(token.timestep * 4 * 0.02) for token in tokens)
    assert tokens[-1].timestep < 16


def test_calls_that_are_no_multiple_of_the_stride_are_refused():
    with pytest.raises(Exception, match="--n_steps 6: the network quarter takes 4 frames together"):
        exported(n_steps=6)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the network over a few words: folder, CSV, and what the test of it said."""
    folder = tmp_path_factory.mktemp("quarter")
    csv = make_corpus(folder / "data", [f"{word} {word}" for word in WORDS], seed=3)
    flags = ["--network", "quarter", "--n_hidden", 32, "--train_files", csv, "--dev_files", csv, "--mode", "cpu"]
    flags += ["--train_batch_size", 3, "--dev_batch_size", 3, "--learning_rate", 0.01, "--noshow_progressbar"]
    return folder, csv, flags


def test_it_trains_tests_exports_and_runs(trained, tmp_path, capsys):
    _, csv, flags = trained
    folder, out = tmp_path / "run", tmp_path / "out"
    more = ["--test_files", csv, "--epochs", 12, "--normalise_features", "--ema", 0.5, "--max_grad_norm", 5]
    more += ["--augment", "tempo[p=0.2,factor=1~0.3]", "--leading_blanks", 5]
    export = ["--export_dir", out, "--export_max_wer_increase", 0.5]
    told = run(*flags, *more, *export, "--checkpoint_dir", folder, program=PROGRAM)
    assert told.code == 0, told.err
    assert "n_hidden 32" in told.log and "Parity on 6 clips" in told.log and "Test on" in told.out
    state = state_of(folder, "best")
    assert state["network"] == replace(NETWORK, num_classes=29, n_hidden=32).describe()
    assert state["features"] == {"sample_rate": 16000, "win_len_ms": 32, "win_step_ms": 20, "n_mfcc": 13}
    report = json.loads((out / "parity.json").read_text())
    assert report["models"]["float32"]["transcripts_that_differ"] == []
    # The exported model hears what the checkpoint does, but for the clients' last frame.
    checkpoint = CheckpointFolder(folder, Console()).load("best")
    model = Model(out / "output_graph.tflite")
    audio = read_audio(str(Path(csv).parent / "clips-00.wav"), sample_rate=16000)
    features = Mfcc(checkpoint.model.features)(with_last_frame(audio, checkpoint.model.features))
    logits = checkpoint.model.network.reference(checkpoint.weights, features)
    assert np.abs(model.probabilities(to_int16(audio)) - softmax(logits)).max() < 0.2  # 8 bits
    history = state_of(folder)["run"]["history"]
    assert history[-1]["train_loss"] < 0.6 * history[0]["train_loss"]

    assert command("inspect", [str(folder)]) in (0, 1)
    assert "quarter" in capsys.readouterr().out
    assert command("inspect", [str(out)]) in (0, 1)
    assert "stride 4" in capsys.readouterr().out
    assert (
        command("train", [*map(str, [*flags, "--freeze_layers", "lstm", "--checkpoint_dir", folder, "--epochs", 13])])
        == 2
    )
    assert "must be some of front, join, output" in capsys.readouterr().err
    assert command("train", ["--network", "deepspeech", "--checkpoint_dir", str(folder), "--test_files", csv]) == 2
    assert "--network deepspeech: the checkpoint was trained with quarter" in capsys.readouterr().err


def test_a_clip_that_is_too_short_for_it_is_named_with_the_length_it_needs(trained, tmp_path, capsys):
    _, csv, flags = trained
    long_text = "tone tone tone tone tone tone tone tone"
    path = make_corpus(tmp_path, ["tone", "one"], seed=3, name="short.csv")
    text = Path(path).read_text().replace("tone", long_text)
    Path(path).write_text(text)
    flags = [flag if flag != csv else path for flag in flags]
    assert command("train", [*map(str, [*flags, "--checkpoint_dir", tmp_path / "run"])]) == 1
    told = capsys.readouterr().err
    assert "too short for its transcript" in told and "39 labels" in told and "which need 39 frames (3.07 s)" in told


@pytest.mark.slow
def test_a_killed_run_of_it_ends_with_the_same_weights(trained, tmp_path):
    _, _, flags = trained
    flags = [*flags, "--epochs", 6, "--augment", "time_mask[p=0.5]"]
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert run(*flags, "--checkpoint_dir", whole, program=PROGRAM).code == 0
    for moment in ("in a step", "in a save"):
        kill_in(moment, killed, 1, *flags, "--checkpoint_dir", killed, program=PROGRAM)
    assert run(*flags, "--checkpoint_dir", killed, program=PROGRAM).code == 0
    assert run_state(whole) == run_state(killed) and differing_arrays(whole, killed) == []
    assert {"front/weights", "adam_m/output/bias"} <= set(arrays_of(whole))
