import json

from deepspeech_training.reporting.run_log import RunLog

STEP = (
    '{"event": "step", "time": 1, "step": 1, "epoch": 0, "loss": NaN, "grad_norm": 1, "speed": 3, "unit": "audio-s/s"}'
)


def test_lines_that_are_no_events_are_left_out_and_what_is_no_json_becomes_null(tmp_path):
    path = tmp_path / "events.jsonl"
    path.write_text("\n".join([STEP, "[1]", "[" * 100_000, '"x"', "\x00", ""]), encoding="utf-8")
    log = RunLog(path)
    log.read()
    step = json.loads(json.dumps(log.as_json(), allow_nan=False))["step"]
    assert step["step"] == 1 and step["loss"] is None
