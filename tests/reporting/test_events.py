import io
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
from reporting.samples_of_events import DEV, EPOCH, epoch_done, step_done

from deepspeech_training.console import Console
from deepspeech_training.data.sample import SampleSet
from deepspeech_training.data.speech_sample import SpeechSample
from deepspeech_training.errors import UserError
from deepspeech_training.reporting.console_sink import ConsoleSink, EventConsole
from deepspeech_training.reporting.events import (
    KINDS,
    BadClip,
    EpochBegun,
    Events,
    Finished,
    Initialised,
    Note,
    RateReduced,
    Resumed,
    SetSummary,
    ValidationBegun,
    ValidationStepDone,
    WarningNote,
    read_event,
)
from deepspeech_training.reporting.json_log import JsonLines
from deepspeech_training.reporting.messages import duration, words
from deepspeech_training.reporting.tensorboard import TensorBoard

LINES_OF_VERSION_0_1 = (Path(__file__).parent / "version_0_1" / "events.jsonl").read_text("utf-8").splitlines()


@pytest.fixture
def written():
    return io.StringIO()


@pytest.fixture
def events(written):
    return Events([ConsoleSink(Console(stream=written))])


def test_the_log_has_a_line_for_each_event_and_can_be_cut_back(tmp_path):
    log = JsonLines(tmp_path / "events.jsonl")
    events = Events([log])
    events.emit(Note("é"))
    length = log.length()
    events.emit(Note("lost"))
    log.cut_back(length)
    events.emit(Note("kept", step=7))
    events.close()
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(e["event"], e["message"], e.get("step")) for e in lines] == [("note", "é", None), ("note", "kept", 7)]
    assert all(abs(e["time"] - time.time()) < 60 for e in lines)


def test_a_length_that_the_log_has_not_cuts_nothing(tmp_path):
    log = JsonLines(tmp_path / "events.jsonl")
    log.take(Note("a", time=1.0))
    for length in (-1, log.length(), log.length() + 100):
        log.cut_back(length)
    assert log.length() == len('{"event": "note", "time": 1.0, "message": "a"}\n')
    log.close()


def test_of_steps_the_log_has_one_each_two_seconds(tmp_path):
    log = JsonLines(tmp_path / "events.jsonl")
    for at in (100.0, 100.5, 101.9, 102.0, 103.0, 104.5):
        log.take(step_done(1, time=at))
    log.close()
    assert [json.loads(line)["time"] for line in log.path.read_text().splitlines()] == [100.0, 102.0, 104.5]


def test_a_log_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "events.jsonl").symlink_to("/dev/full")
    log = JsonLines(tmp_path / "events.jsonl")
    with pytest.raises(UserError, match=r"events\.jsonl cannot be written: No space left"):
        log.take(Note("a", time=1.0))
    log.close()
    with pytest.raises(UserError, match="Is a directory"):
        JsonLines(tmp_path)


def assert_has(found, wanted):
    """All of `wanted` is in `found`, whose objects may have keys of a later version too."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            assert_has(found[key], value)
    elif isinstance(wanted, list):
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            assert_has(one, other)
    else:
        assert found == wanted


@pytest.mark.parametrize("line", LINES_OF_VERSION_0_1, ids=lambda line: json.loads(line)["event"])
def test_a_line_that_version_0_1_wrote_is_read_and_would_be_written_with_the_same_keys_and_values(line):
    values = json.loads(line)
    event = read_event(values)
    assert type(event) is KINDS[values["event"]]
    assert_has(event.as_json(), values)
    assert event.as_json().keys() - values.keys() <= {"judged_by"}
    words(event)


def test_a_field_that_an_event_must_have_and_has_not_is_an_error_and_a_new_one_is_none():
    values = {"event": "finished", "time": 1.0, "reason": "r", "step": 7, "new": 1}
    assert read_event(values) == Finished("r", 7, time=1.0)
    with pytest.raises(TypeError, match="reason"):
        read_event({"event": "finished", "time": 1.0, "step": 7})


def test_an_epoch_is_one_line_with_all_that_counts(events, written):
    events.emit(EPOCH)
    assert written.getvalue() == (
        "I Epoch   2 of 30  train loss 3.2500 | dev loss 2.5000 WER 0.500 CER 0.250 | best so far, saved as "
        "best-000000012 | patience 0/25 | rate 0.001 | 1:15 min, 1,234 audio-s/s, waited for data 2%\n"
    )


def test_an_epoch_says_how_the_losses_have_changed(events, written):
    events.emit(replace(EPOCH, previous={"train": 3.5, "dev.csv": 2.25}))
    assert "train loss 3.2500 (-0.2500) | dev loss 2.5000 (+0.2500) WER" in written.getvalue()


def test_an_epoch_without_improvement_shows_the_best_and_the_patience(events, written):
    two = [replace(DEV, name=name) for name in ("a.csv", "b.csv")]
    events.emit(epoch_done(dev=two, best_epoch=0, epochs_without_improvement=3))
    assert "dev a.csv loss" in written.getvalue() and "dev b.csv loss" in written.getvalue()
    assert "best CER 0.250 in epoch 1 | patience 3/25" in written.getvalue()


def test_an_epoch_without_any_finite_loss_is_shown_too(events, written):
    events.emit(epoch_done(train_loss=None, dev=[replace(DEV, loss=None)], best_loss=None, best_epoch=None))
    assert "train loss not finite | dev loss not finite | patience 0/25 | rate" in written.getvalue()


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (Note("hello"), "I hello"),
        (WarningNote("oh\nno"), "W oh\nW no"),
        (Initialised("new weights"), "I Starts with new weights"),
        (Resumed("c/train-7.json", 2, 4, 1234), "I Resumes from c/train-7.json: epoch 3, batch 5, step 1,234"),
        (
            BadClip("t.csv:3", "/a.wav", "has a loss of nan", step=1, quarantined=True),
            "W t.csv:3 (/a.wav) has a loss of nan; left out of this step; it is left out for the rest of the run",
        ),
        (
            RateReduced(1e-4, best_epoch=4, step=9, epochs_without_improvement=10),
            "I No better dev loss for 10 epochs: back to the best weights (epoch 5), learning rate 0.0001",
        ),
        (Finished("all 3 epochs are done", step=9), "I Training is finished: all 3 epochs are done"),
    ],
)
def test_events_are_put_into_words(events, written, event, said):
    events.emit(event)
    assert written.getvalue() == said + "\n"


def test_where_there_is_no_terminal_steps_are_lines_as_often_as_asked_for(written):
    events = Events([ConsoleSink(Console(stream=written), log_steps=10)])
    events.emit(EpochBegun(epoch=0, epochs=3, batches=40, step_in_epoch=0, step=0))
    for step in range(1, 26):
        events.emit(step_done(step))
    events.close()
    assert written.getvalue() == "I Step 10: loss 1.000, 5 audio-s/s\nI Step 20: loss 1.000, 5 audio-s/s\n"


def test_lines_of_an_event_console_reach_every_sink_once(written):
    seen = []

    class Remembers:
        def take(self, event):
            seen.append((event.kind, event.message))

        def close(self):
            pass

    real = Console(stream=written)
    events = Events([ConsoleSink(real), Remembers()])
    console = EventConsole(real, events)
    console.info("a")
    console.warn("b")
    console.error("c")
    console.debug("not at this level")
    assert written.getvalue() == "I a\nW b\nE c\n"
    assert seen == [("note", "a"), ("warning", "b"), ("error", "c")]


def test_sinks_of_a_block_are_closed_at_its_end(written):
    closed = []

    class Closes:
        def take(self, event):
            assert not closed and isinstance(event, Note)

        def close(self):
            closed.append(True)

    events = Events([ConsoleSink(Console(stream=written))])
    with events.also_to(Closes()):
        events.emit(Note("a"))
    events.emit(Note("b"))
    assert closed and written.getvalue() == "I a\nI b\n"


def test_steps_move_a_progress_that_ends_with_the_epoch(events, written):
    events.emit(EpochBegun(epoch=0, epochs=3, batches=10, step_in_epoch=0, step=0))
    events.emit(step_done(1))
    events.emit(ValidationBegun("Validating on dev.csv", batches=2, done=0, step=1))
    events.emit(ValidationStepDone(1))
    events.emit(EPOCH)
    events.close()
    assert written.getvalue().count("\n") == 1


def test_durations_are_said_as_a_person_says_them():
    assert [duration(s) for s in (0, 9.99, 10, 59.4, 60, 3599, 3600, 90000)] == [
        "0.0 s",
        "10.0 s",
        "10 s",
        "59 s",
        "1:00 min",
        "59:59 min",
        "1:00 h",
        "25:00 h",
    ]


def test_tensorboard_gets_the_scalars_and_hides_later_steps_of_a_killed_run(tmp_path):
    pytest.importorskip("tensorboard", reason="the package tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for resumed_step, steps in ((0, (1, 2, 3)), (1, (2,))):
        sink = TensorBoard(tmp_path, resumed_step=resumed_step)
        for step in steps:
            sink.take(step_done(step, loss=10.0 * step + resumed_step))
        sink.take(epoch_done(step=steps[-1], train_loss=None))
        sink.close()
        (tmp_path / "first").mkdir(exist_ok=True)
        for path in tmp_path.glob("events*"):  # two writers of one second would share a file name
            path.rename(tmp_path / "first" / f"{path.name}.{resumed_step}")
    found = EventAccumulator(str(tmp_path / "first"))
    found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("step/loss")] == [(1, 10.0), (2, 21.0)]
    assert "epoch/train_loss" not in found.Tags()["scalars"]
    assert [e.value for e in found.Scalars("dev.csv/wer")] == [0.5]


@pytest.mark.parametrize(("speakers", "count"), [(("ann", "bob", "ann"), 2), (("ann", None, "bob"), None), ((), None)])
def test_a_set_counts_its_speakers_where_every_clip_has_one(speakers, count):
    samples = [
        SpeechSample(f"a.csv:{row}", f"/{row}.wav", 1, "a", (1,), 16000, speaker, row, "a.csv")
        for row, speaker in enumerate(speakers, start=2)
    ]
    summary = SetSummary.of("train", SampleSet("a.csv", "a.csv", samples), 16000)
    assert summary.speakers == count
    assert SetSummary.from_json(summary.as_json()) == summary
