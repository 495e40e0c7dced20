"""What a step takes is told by the network and by the frames that the features give it."""

import numpy as np
import pytest

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.commands.main import run as command
from deepspeech_training.data.loader import make_batch
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.tasks.speech_to_text import SpeechToText
from deepspeech_training.training import run


@pytest.mark.parametrize(("win_step_ms", "frames"), [(20, 99), (10, 197), (40, 50)])
def test_the_longest_clip_counts_in_frames_of_the_features(corpus, tmp_path, monkeypatch, capsys, win_step_ms, frames):
    counted = []

    def refuse(network, **what):
        counted.append(what)
        raise UserError("enough")

    monkeypatch.setattr(run, "check_memory_to_begin", refuse)
    path = corpus(["one", "a"], seconds=2.0)
    flags = ["--train_files", path, "--checkpoint_dir", tmp_path / "run", "--feature_win_step", win_step_ms]
    assert command("train", [*map(str, flags), "--mode", "cpu"]) == 1 and "enough" in capsys.readouterr().err
    assert counted == [{"frames": frames, "trains": True, "on_gpu": False}]


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_few_shapes_begin_at_a_second_whatever_the_sample_rate(rate):
    task = SpeechToText(Alphabet("ab"), FeatureGeometry(rate, win_len_ms=40), DeepSpeech(num_classes=3))
    short = {"audio": np.zeros(rate // 2, np.float32), "labels": np.zeros(1, np.int32)}
    assert make_batch(task.spec, [None], [short], static_shapes=True).arrays["audio"].shape == (1, rate)
