"""A task that is judged by other figures than WER and CER, in all that reports."""

import io
import json
from dataclasses import replace

import pytest
from reporting.samples_of_events import epoch_done

from deepspeech_training.commands.main import run
from deepspeech_training.console import Console
from deepspeech_training.reporting.console_sink import ConsoleSink
from deepspeech_training.reporting.diagnosis import diagnose
from deepspeech_training.reporting.events import Ended, Events, Outcome, SetFigures, SetTested
from deepspeech_training.reporting.evidence import Evidence
from deepspeech_training.reporting.figures import SPEECH_TO_TEXT, Figure, decisive, figures_of
from deepspeech_training.reporting.history import Epoch
from deepspeech_training.reporting.session_log import SessionLog

ACCURACY = Figure("accuracy", "accuracy", "higher", percent=True, poor=0.3, good=0.99)
ERRORS = Figure("errors", "errors", "lower", digits=0)
CLASSIFIER = (ACCURACY, ERRORS)


def classified(epoch: int, accuracy: float):
    """The end of an epoch of a classifier; its best was the first."""
    values = {"accuracy": accuracy, "errors": 100 * (1 - accuracy)}
    done = epoch_done(
        epoch=epoch,
        dev=[SetFigures("dev.csv", 2.0, values, clips=100)],
        best_epoch=0,
        best_by="accuracy",
        best_figures={"loss": 2.0, **values},
    )
    return replace(done, judged_by=CLASSIFIER)


def test_which_value_is_better_depends_on_the_figure():
    assert ACCURACY.is_better(0.9, 0.8) and not ACCURACY.is_better(0.8, 0.8) and ERRORS.is_better(1, 2)
    assert sorted([0.2, None, 0.9], key=ACCURACY.rank) == [0.9, 0.2, None]
    assert decisive((ERRORS, ACCURACY)) is ACCURACY and decisive((ERRORS,)) is ERRORS


def test_what_names_no_figures_is_of_speech_to_text():
    assert figures_of({}) == SPEECH_TO_TEXT
    assert figures_of({"judged_by": [figure.as_json() for figure in CLASSIFIER]}) == CLASSIFIER


def test_lines_have_the_labels_of_the_task():
    written = io.StringIO()
    events = Events([ConsoleSink(Console(stream=written))])
    events.emit(classified(1, 0.75))
    best = {"loss": 2.0, "accuracy": 0.75, "errors": 25}
    events.emit(Outcome(2, 0, best, "best", "last", "log", "events", ["Diagnosis"], "next", judged_by=CLASSIFIER))
    text = written.getvalue()
    assert "| dev loss 2.0000 accuracy 75.0% errors 25 | best accuracy 75.0% in epoch 1 |" in text
    assert "I Best      epoch 1: dev loss 2.0000 accuracy 75.0% errors 25; best" in text


def test_sessions_are_listed_and_compared_by_the_figures_of_their_tasks(tmp_path, capsys):
    log = SessionLog(tmp_path / "logs", command="train", work=["train"], flags={})
    events = Events([log])
    for epoch, accuracy in enumerate((0.5, 0.75, 0.625)):
        events.emit(classified(epoch, accuracy))
    events.emit(SetTested("t.csv", 100, 1.0, {"accuracy": 0.875, "errors": 12}, judged_by=CLASSIFIER))
    events.emit(Ended("done", 0, ""))
    assert figures_of(json.loads(log.path.read_text())) == CLASSIFIER
    assert run("sessions", ["--dir", str(tmp_path)]) == 0
    head, line = capsys.readouterr().out.splitlines()
    assert "dev loss accuracy errors  work" in head and "2.000    75.0%     25  train" in line
    assert run("sessions", ["--dir", str(tmp_path), "compare", "last", "last"]) == 0
    rows = {line[:13]: line.split() for line in capsys.readouterr().out.splitlines()}
    assert rows["best accuracy"] == ["best", "accuracy", "75.0%", "75.0%"]
    assert run("sessions", ["--dir", str(tmp_path), "show", "last"]) == 0
    assert "dev loss     2.000  accuracy  75.0%  errors     25\n" in capsys.readouterr().out


@pytest.mark.parametrize(("accuracy", "verdict"), [(0.2, "weak"), (0.31, "healthy")])
def test_a_diagnosis_knows_what_is_poor_and_in_which_direction(accuracy, verdict):
    history = [Epoch(n, 40.0, 40.0 + n % 2, {"accuracy": accuracy, "errors": 1.0}) for n in range(1, 41)]
    evidence = Evidence(epoch=40, epochs=40, stopped="done", history=history, updates=5000, judged_by=CLASSIFIER)
    found = diagnose(evidence)
    assert found.verdict == verdict
    assert verdict == "healthy" or "accuracy 20.0%, errors 1.00: it is wrong too often" in found.findings[0].what


def test_a_task_without_a_figure_that_decides_is_judged_by_its_losses():
    history = [Epoch(n, 90 * 0.8**n, 90 * 0.8**n, {"errors": 50.0}) for n in range(1, 7)]
    evidence = Evidence(epoch=6, epochs=6, stopped="done", history=history, updates=5000, judged_by=(ERRORS,))
    assert diagnose(evidence).verdict == "undertrained"
    assert "dev loss still falls" in diagnose(evidence).findings[0].reason
