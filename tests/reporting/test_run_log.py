import json

from deepspeech_training.reporting.run_log import RunLog

STEP = (
    '{"event": "step", "time": 1, "step": 1, "epoch": 0, "loss": NaN, "grad_norm": 1, "speed": 3, "unit": "audio-s/s"}'
)


def test_lines_that_are_no_events_are_left_out_and_what_is_no_json_becomes_null(tmp_path):
    path = tmp_path / "events.jsonl"
    no_epoch = (
        '{"event": "epoch_begin", "time": 1, "epoch": null, "epochs": 2, "batches": 1, "step_in_epoch": 0, "step": 0}'
    )
    path.write_text("\n".join([STEP, no_epoch, "[1]", "[" * 100_000, '"x"', "\x00", ""]), encoding="utf-8")
    log = RunLog(path)
    log.read()
    step = json.loads(json.dumps(log.as_json(), allow_nan=False))["step"]
    assert step["step"] == 1 and step["loss"] is None


def test_a_log_that_was_cut_back_and_has_grown_beyond_that_is_read_anew(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text(STEP + '\n{"event": "finished", "time": 2, "reason": "all epochs", "step": 1}\n', encoding="utf-8")
    log = RunLog(path)
    log.read()
    assert log.as_json()["finished"]["step"] == 1
    path.write_text(STEP + "\n" + 20 * (STEP.replace('"step": 1', '"step": 2') + "\n"), encoding="utf-8")
    log.read()
    assert log.as_json()["finished"] is None and log.as_json()["step"]["step"] == 2
