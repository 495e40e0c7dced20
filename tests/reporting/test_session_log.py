import json
import re

from reporting.samples_of_events import EPOCH, epoch_done, step_done

from deepspeech_training.console import Console
from deepspeech_training.reporting import session_log
from deepspeech_training.reporting.events import (
    DataChecked,
    Ended,
    Events,
    Note,
    SetSummary,
    SetTested,
    ValidationStepDone,
    WarningNote,
)
from deepspeech_training.reporting.session_log import FIRST_MESSAGES, MOST_MESSAGES, SessionLog, git_revision


def begin(folder, **head) -> SessionLog:
    return SessionLog(folder, **{"command": "DeepSpeech.py", "work": ["train"], "flags": {}} | head)


def read(log: SessionLog) -> dict:
    return json.loads(log.path.read_text(encoding="utf-8"))


def test_the_log_is_there_from_the_start_and_says_that_it_runs(tmp_path):
    log = begin(tmp_path / "logs", command="DeepSpeech.py --epochs 3")
    assert re.fullmatch(r"session_\d{8}_\d{6}\.json", log.path.name)
    values = read(log)
    assert values["status"] == "running" and values["command"] == "DeepSpeech.py --epochs 3"
    assert values["id"] == values["run"] == log.id and values["versions"]["python"]


def test_events_become_messages_figures_and_an_end(tmp_path):
    log = begin(tmp_path)
    events = Events([log])
    events.emit(DataChecked([SetSummary("train", "a.csv", 3, 0.5, 120, "abc")]))
    events.emit(Note("é"))
    events.emit(WarningNote("careful"))
    events.emit(EPOCH)
    events.emit(SetTested("t.csv", 7, 12.5, {"wer": 0.5, "cer": 0.25}))
    events.emit(Ended("failed", 1, "oh"))
    values = read(log)
    assert [(m["level"], m["event"], m["message"][:7]) for m in values["messages"]] == [
        ("info", "note", "é"),
        ("warning", "warning", "careful"),
        ("info", "epoch", "Epoch  "),
    ]
    assert all(message["time"] <= values["ended"] for message in values["messages"])
    assert values["epochs"][0]["train_loss"] == 3.25 and values["data"][0]["csv"] == "a.csv"
    assert (values["status"], values["exit_code"], values["message"]) == ("failed", 1, "oh")
    assert values["ended"] >= values["started"]
    assert values["tests"] == [{"csv": "t.csv", "clips": 7, "loss": 12.5, "wer": 0.5, "cer": 0.25}]


def test_after_each_event_the_file_is_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(session_log, "WRITE_EVERY_S", 0.0)
    monkeypatch.setattr(session_log, "PROGRESS_EVERY_S", 0.0)
    log = begin(tmp_path)
    for number in range(20):
        log.take(step_done(number))
        log.take(epoch_done(epoch=number))
        assert len(read(log)["epochs"]) == number + 1 and read(log)["progress"]["step"] == number
    assert [path.name for path in tmp_path.iterdir()] == [log.path.name]


def test_notes_do_not_make_it_write_more_than_once_a_second(tmp_path, monkeypatch):
    log, writes = begin(tmp_path), []
    monkeypatch.setattr(session_log.os, "replace", lambda *paths: writes.append(paths))
    for _ in range(50):
        log.take(Note("x"))
    assert not writes
    log.close()
    assert len(writes) == 1


def test_two_sessions_of_one_second_have_logs_of_their_own(tmp_path):
    logs = [begin(tmp_path) for _ in range(3)]
    assert len({log.path for log in logs}) == 3 and len({read(log)["id"] for log in logs}) == 3


def test_of_very_many_messages_the_first_and_the_last_are_kept(tmp_path):
    log = begin(tmp_path)
    for number in range(MOST_MESSAGES + 100):
        log.take(Note(str(number)))
    log.close()
    texts = [message["message"] for message in read(log)["messages"]]
    assert len(texts) == MOST_MESSAGES and read(log)["messages_left_out"] == 100
    assert texts[:FIRST_MESSAGES] == [str(n) for n in range(FIRST_MESSAGES)] and texts[-1] == str(MOST_MESSAGES + 99)


def test_a_session_that_goes_on_belongs_to_the_first_ones_run(tmp_path):
    first, second = begin(tmp_path / "a"), begin(tmp_path / "b")
    sessions = first.continue_run([])
    assert sessions == [first.id] and read(first)["run"] == first.id
    second.id = second._session["id"] = "20300101_000000"
    assert second.continue_run(sessions) == [first.id, second.id]
    assert (read(second)["run"], read(second)["continues"]) == (first.id, first.id)


def test_a_log_that_cannot_be_written_ends_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    log = begin(tmp_path / "file" / "logs")
    assert "no session log can be kept there" in log.fault
    Events([log]).emit(EPOCH)
    log.close()
    log = begin(tmp_path / "logs")
    log.path = tmp_path / "gone" / log.path.name
    log.take(EPOCH)
    assert "cannot be written" in log.fault


def test_the_revision_is_the_images_or_the_checkouts(monkeypatch):
    monkeypatch.setenv("DEEPSPEECH_REVISION", "abc123")
    assert git_revision() == "abc123"
    monkeypatch.delenv("DEEPSPEECH_REVISION")
    assert re.fullmatch(r"[0-9a-f]{40}|", git_revision())


def test_what_concerns_nobody_is_passed_over(tmp_path):
    log = begin(tmp_path)
    before = read(log)
    log.take(ValidationStepDone(7))
    log.close()
    assert read(log) == before


def test_the_console_of_a_session_is_no_part_of_its_log(tmp_path, capsys):
    Console().info("only on stderr")
    assert read(begin(tmp_path))["messages"] == []
