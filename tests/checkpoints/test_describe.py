from dataclasses import asdict

import numpy as np
import pytest

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.checkpoints.describe import Checkpoint, describe
from deepspeech_training.checkpoints.file import DamagedCheckpoint
from deepspeech_training.checkpoints.transfer import Transfer
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.deepspeech import DeepSpeech

NETWORK = DeepSpeech(num_classes=3, n_hidden=2)
LEAST = {"alphabet": ["a", "b"], "features": {}, "network": asdict(NETWORK), "run": {"step": 7}}


def described(tmp_path, **changes):
    return describe(LEAST | changes, tmp_path / "train-000000007.json")


def test_the_least_that_a_checkpoint_says_is_what_its_weights_are_of(tmp_path):
    model = described(tmp_path)
    assert (model.task, model.network, model.features) == ("speech_to_text", NETWORK, FeatureGeometry())
    assert model.alphabet == Alphabet("ab") and model.progress.step == 7
    assert model.progress.epoch is None and model.progress.history == () and model.flags == {}
    assert model.transfer is None and model.average_of == () and model.unsaid == ()


def test_a_run_is_described(tmp_path):
    transfer = Transfer("old/train-7.json", 7, NETWORK.groups, drop_source_layers=1)
    run = {
        "step": 9,
        "epoch": 1,
        "updates": 8,
        "learning_rate": 0.1,
        "stopped": None,
        "history": [{"epoch": 0, "seconds": 60.0}],
        "seconds": 5.0,
        "quarantine": {"train.csv:2": "NaN"},
        "schedule": {"best_epoch": 0, "best_figures": {"loss": 1.0}, "epochs_without_improvement": 2},
    }
    model = described(tmp_path, run=run, transfer=transfer.as_json(), flags={"epochs": 3}, average_of=["a", "b"])
    progress = model.progress
    assert (progress.step, progress.epoch, progress.updates, progress.seconds) == (9, 1, 8, 65.0)
    assert (progress.clips_left_out, progress.best_epoch, progress.epochs_without_improvement) == (1, 0, 2)
    assert model.transfer == transfer and model.flags == {"epochs": 3} and model.average_of == ("a", "b")
    assert model.run == run


def test_a_task_of_another_kind_says_what_it_needs(tmp_path):
    state = {"task": "words", "network": LEAST["network"], "run": {"step": 7}, "words": ["yes", "no"], "version": "0.1"}
    model = describe(state, tmp_path / "train-000000007.json")
    assert (model.task, model.features, model.alphabet) == ("words", None, None)
    assert model.described["words"] == ["yes", "no"] and "version" not in model.described
    checkpoint = Checkpoint(tmp_path / "train-000000007.json", model, {}, ())
    with pytest.raises(UserError, match="of the task words, which does not write what it hears"):
        checkpoint.speech_model()


def test_labels_that_are_bytes_are_told_from_characters(tmp_path):
    network = asdict(DeepSpeech(num_classes=256, n_hidden=2))
    assert described(tmp_path, alphabet=list(ByteAlphabet.characters), network=network).alphabet == ByteAlphabet()


def test_an_alphabet_that_does_not_fit_the_network_is_damage(tmp_path):
    with pytest.raises(DamagedCheckpoint, match=r"train-000000007\.json: .*3 characters do not fit 3 classes"):
        described(tmp_path, alphabet=["a", "b", "c"])


@pytest.mark.parametrize("part", LEAST)
@pytest.mark.parametrize("value", [None, 7, "text", [1], {"n_hidden": "x"}])
def test_nonsense_is_damage_and_no_traceback(tmp_path, part, value):
    with pytest.raises(DamagedCheckpoint, match="not the state of a checkpoint"):
        described(tmp_path, **{part: value})


def test_weights_are_those_of_the_network_without_moments(tmp_path):
    arrays = {name: np.zeros(shape, np.float32) for name, shape in NETWORK.weight_shapes().items()}
    path = tmp_path / "train-000000007.json"

    def checkpoint(**changes):
        return Checkpoint(path, described(tmp_path), arrays | changes, (path,))

    assert checkpoint(**{"adam_m/lstm/bias": np.zeros(8)}).weights.keys() == NETWORK.weight_shapes().keys()
    with pytest.raises(DamagedCheckpoint, match=r"lstm/bias has the shape \(3,\), not \(8,\)"):
        assert checkpoint(**{"lstm/bias": np.zeros(3)}).weights
    arrays.pop("layer_6/bias")
    with pytest.raises(DamagedCheckpoint, match="layer_6/bias is not among its weights"):
        assert checkpoint().weights
