"""Spoken commands in an exported model: clips, streams, what counts as heard, and what is refused."""

import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from models.small_models import COMMANDS, COMMANDS_FEATURES, COMMANDS_NETWORK, random_commands

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.errors import UserError
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.models.reference import softmax
from deepspeech_training.runtime import Model, ModelError, SpokenCommandModel
from deepspeech_training.runtime.commands import loudest
from deepspeech_training.runtime.detection import Curve, Detector, Point, Rule, Scores, curve_of, judged, logarithms
from deepspeech_training.runtime.flatbuffer import Damaged
from deepspeech_training.runtime.model_file import CommandsSaid, ModelFile

FRAME_S = 0.02


@pytest.fixture(scope="module")
def audio() -> np.ndarray:
    time = np.arange(3 * 16000) / 16000
    sound = np.sin(2 * np.pi * (200 + 900 * time) * time) * (np.sin(7 * time) > 0)
    return (8000 * sound + 200 * np.random.default_rng(0).standard_normal(len(time))).astype(np.int16)


@pytest.mark.parametrize(("quantize", "bound"), [(False, 1e-5), (True, 0.1)])
def test_the_export_computes_what_the_reference_does_whole_and_in_pieces(audio, quantize, bound):
    data, weights = random_commands(quantize=quantize)
    model = SpokenCommandModel(ModelFile.of_bytes(data, "test"), num_threads=1)
    frames = Mfcc(COMMANDS_FEATURES, dtype=np.float64)(with_last_frame(audio / np.float32(32768), COMMANDS_FEATURES))
    wanted = softmax(COMMANDS_NETWORK.reference(weights, frames))
    found = model.probabilities(audio)
    np.testing.assert_allclose(model.probabilities_of_features(frames), wanted, atol=bound)
    np.testing.assert_allclose(found, wanted, atol=max(bound, 1e-3))

    scores = model.scores(audio)
    in_pieces = Scores(model.window, len(COMMANDS))
    cuts = [0, 1, 40, 41, 90, len(found)]
    pieces = [in_pieces(found[begin:end]) for begin, end in itertools.pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(pieces), scores)
    np.testing.assert_allclose(scores[60], judged(logarithms(found[61 - model.window : 61])), atol=1e-12)


def test_a_stream_hears_the_same_wherever_it_is_cut(audio):
    data, _ = random_commands(rule={"threshold": 0.01, "hold_off_s": 0.2})
    model = SpokenCommandModel(ModelFile.of_bytes(data, "test"), num_threads=1)
    assert model.rule == Rule(0.01, 0.2)
    heard = []
    for size in (len(audio), 777):
        with model.stream() as stream:
            found = [one for start in range(0, len(audio), size) for one in stream.feed(audio[start : start + size])]
            heard.append(found + stream.finish())
    assert heard[0] == heard[1] and heard[0]
    answers = model.classify(audio)
    assert sorted(answer.label for answer in answers) == sorted(COMMANDS)
    assert sum(answer.score for answer in answers) == pytest.approx(1.0)


def test_the_python_of_the_docs_runs(audio, tmp_path, monkeypatch, capsys):
    page = Path(__file__).resolve().parents[2] / "docs" / "commands.md"
    snippet, _ = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    model = tmp_path / "exports" / "commands" / "output_graph.tflite"
    model.parent.mkdir(parents=True)
    model.write_bytes(random_commands(rule={"threshold": 0.01, "hold_off_s": 0.2})[0])
    monkeypatch.chdir(tmp_path)
    names = {"samples": audio, "pieces": np.array_split(audio, 7)}
    exec(snippet, names)
    assert names["best"].label in COMMANDS and "Detection(label=" in capsys.readouterr().out


def test_each_kind_of_model_refuses_the_work_of_the_other(tmp_path):
    data, _ = random_commands()
    with pytest.raises(ModelError) as caught:
        Model(ModelFile.of_bytes(data, "commands.tflite"))
    assert "commands.tflite: a model of spoken commands (yes, no" in str(caught.value)
    for said, message in (
        ("[]", "does not describe a model"),
        ('{"task": "other", "rule": null, "clip_seconds": 1}', "of the task 'other'"),
        ('{"task": "spoken_command", "rule": null, "clip_seconds": 1e9}', "clip_seconds 1000000000"),
        ('{"task": "spoken_command", "rule": {"threshold": "1", "hold_off_s": 1}, "clip_seconds": 1}', "threshold 1"),
    ):
        with pytest.raises(Damaged) as damaged:
            CommandsSaid.of_json(said)
        assert message in str(damaged.value)
    assert Alphabet("ab").serialize()  # the same layout, of characters


def scores(*runs: tuple[str, int, float]) -> np.ndarray:
    """Frames in which a label has a score, and the others share the rest."""
    rows = []
    for label, count, value in runs:
        row = np.full(len(COMMANDS), (1 - value) / (len(COMMANDS) - 1))
        row[COMMANDS.index(label)] = value
        rows += [row] * count
    return np.array(rows)


def test_a_command_is_heard_once_until_its_score_falls_and_the_next_only_after_the_hold_off():
    stream = scores(
        *(("_silence_", 50, 0.95), ("yes", 30, 0.95), ("_silence_", 5, 0.9), ("yes", 10, 0.95)),
        *(("_silence_", 60, 0.9), ("no", 20, 0.97), ("_unknown_", 40, 0.99), ("no", 10, 0.89)),
    )
    detector = Detector(COMMANDS, ("yes", "no"), Rule(0.9, 1.0), frame_s=FRAME_S)
    found = [*detector(stream), *detector.finish()]
    assert [(one.label, one.time_s) for one in found] == [("yes", 1.0), ("no", 3.1)]
    again = Detector(COMMANDS, ("yes", "no"), Rule(0.9, 1.0), frame_s=FRAME_S)
    in_pieces = [one for place in range(len(stream)) for one in again(stream[place : place + 1])]
    assert [*in_pieces, *again.finish()] == found
    late = Detector(COMMANDS, ("yes", "no"), Rule(0.9, 1.0), frame_s=FRAME_S, first_frame=60)
    assert late(stream)[0].time_s == 1.2, "before, too little was heard to judge"


def test_the_highest_score_says_which_command_it_was_not_the_first():
    stream = scores(("_silence_", 50, 0.95), ("no", 5, 0.91), ("yes", 20, 0.98), ("_silence_", 50, 0.95))
    found = Detector(COMMANDS, ("yes", "no"), Rule(0.9, 0.5), frame_s=FRAME_S)(stream)
    assert [(one.label, one.time_s) for one in found] == [("yes", 1.1)]


def test_the_curve_counts_misses_and_false_alarms_and_the_wanted_rate_chooses_the_threshold():
    quiet = ("_silence_", 30, 0.99)
    commands = [("yes", scores(quiet, ("yes", 20, 0.999), quiet)), ("no", scores(quiet, ("no", 20, 0.95), quiet))]
    commands += [("no", scores(quiet, ("yes", 20, 0.999), quiet))]
    speech = [scores(*[quiet, ("yes", 20, 0.97)] * 10, quiet)]
    curve = curve_of(commands, speech, COMMANDS, wanted=("yes", "no"), frame_s=FRAME_S, first_frame=0)
    by_threshold = {round(point.threshold, 3): point for point in curve.points}
    low, high = curve.points[0], by_threshold[0.99]
    assert low.misses == pytest.approx(1 / 3) and high.misses == pytest.approx(2 / 3)
    assert low.false_alarms_per_hour == pytest.approx(10 / curve.hours) and high.false_alarms_per_hour == 0
    chosen = curve.chosen(0.5)
    assert 0.97 < chosen.threshold < 0.999 and chosen.misses == pytest.approx(2 / 3)
    assert len(curve.lines()) == 3
    with pytest.raises(UserError) as caught:
        Curve((Point(0.9, 0.0, 7.0),), 1, 1.0).chosen(0.5)
    assert "--false_alarms_per_hour 0.5" in str(caught.value)


def test_the_loudest_part_of_a_clip_is_taken():
    audio = np.zeros(1000, np.int16)
    audio[600:700] = 30000
    assert loudest(audio, 100).tolist() == audio[600:700].tolist()
    assert loudest(audio, 2000) is audio
