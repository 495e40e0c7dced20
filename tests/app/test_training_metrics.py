"""The series of a training in /metrics."""

import re

from reporting.samples_of_events import epoch_done, step_done

from deepspeech_training.app.machine_facts import MachineFacts
from deepspeech_training.app.run_choice import RunChoice
from deepspeech_training.app.status import Status
from deepspeech_training.app.training_metrics import TrainingMetrics
from deepspeech_training.reporting.events import EpochBegun, Estimated
from deepspeech_training.reporting.json_log import JsonLines
from deepspeech_training.serving.metrics import Metrics


def series(metrics: Metrics) -> dict[str, float]:
    """Those of the app, without their prefix."""
    lines = re.findall(r"^deepspeech_((?:training|phase)\S*) (\S+)$", metrics.text().decode(), re.MULTILINE)
    return {name: float(value) for name, value in lines}


def test_metrics_have_the_phase_and_of_a_training_what_is_known_of_it(tmp_path):
    status, metrics = Status(MachineFacts(tmp_path), RunChoice(tmp_path)), Metrics()
    metrics.add(TrainingMetrics(status))
    found = series(metrics)
    assert found.pop('phase{phase="waiting"}') == 1
    assert found and {name[:6] for name in found} == {"phase{"} and not any(found.values())

    status.now("training", "training words")
    status.follow(tmp_path)
    assert series(metrics) == {**found, 'phase{phase="waiting"}': 0, 'phase{phase="training"}': 1}

    log = JsonLines(tmp_path / "events.jsonl")
    log.take(EpochBegun(epoch=2, epochs=30, batches=6, step_in_epoch=0, step=12))
    log.take(step_done(15, epoch=2))
    status.log.read()
    begun = {name: value for name, value in series(metrics).items() if "phase" not in name}
    assert begun.pop("training_share_done") == 0.0833
    assert begun == {"training_epoch": 3, "training_epochs": 30, "training_audio_seconds_per_second": 5}

    log.take(epoch_done(epoch=2))
    log.take(Estimated(epoch_seconds=10, epochs_left=27, left_seconds=270, with_validation=True, speed=5.0))
    log.close()
    status.log.read()
    told = series(metrics)
    expected = {"train_loss": 3.25, "dev_loss": 2.5, "dev_wer": 0.5, "dev_cer": 0.25, "learning_rate": 0.001}
    expected |= {"waited_share": 0.02, "left_seconds": 275}
    assert {name: told[f"training_{name}"] for name in expected} == expected
