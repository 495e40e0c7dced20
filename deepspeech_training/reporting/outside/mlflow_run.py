"""A run at an MLflow server, or in a local store."""

import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from deepspeech_training.reporting.events import Ended, EpochDone, Event, Finished, Outcome, SetTested, Started
from deepspeech_training.reporting.scalars import of_epoch, of_test

EXPERIMENT = "deepspeech"  # unless MLFLOW_EXPERIMENT_NAME says another
MOST_PARAMS = 100  # in one call
LONGEST_PARAM, LONGEST_TAG = 500, 5000
STATUS = {"done": "FINISHED", "interrupted": "KILLED"}


def receiver(settings: Mapping[str, Any], keep: Callable[[Any], None]) -> "MlflowRun":
    return MlflowRun(settings["uri"], settings["name"], run_id=settings.get("kept"), keep=keep)


class MlflowRun:
    """Figures of each epoch and of the tests as metrics; flags as params, which MLflow never changes.

    Args:
        run_id: of the run that is continued; None for a new one, whose id is given to `keep`. One that is not in the
            store is as none.
    """

    def __init__(self, uri: str, name: str, *, run_id: str | None, keep: Callable[[Any], None]):
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        from mlflow.exceptions import MlflowException
        from mlflow.tracking import MlflowClient

        self._client = MlflowClient(tracking_uri=uri)
        self._is_new = run_id is None
        if run_id is not None:
            try:
                self._client.update_run(run_id, status="RUNNING")
            except MlflowException:
                self._is_new = True
        if self._is_new:
            experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
            found = self._client.get_experiment_by_name(experiment)
            experiment_id = found.experiment_id if found else self._client.create_experiment(experiment)
            run_id = self._client.create_run(experiment_id, run_name=name).info.run_id
            keep(run_id)
        assert run_id is not None
        self._id = run_id
        self._step = 0
        self._status = "FAILED"

    def take(self, event: Event) -> None:
        match event:
            case Started() if self._is_new:
                self._log_params({"version": event.version, **event.flags})
            case EpochDone():
                self._step = event.figures.step
                self._log(of_epoch(event))
            case SetTested():
                self._log(of_test(event))
            case Finished():
                self._tag("stopped", event.reason)
            case Outcome():
                self._tag("diagnosis", "\n".join(event.diagnosis))
                best = event.best_figures or {}
                self._log({f"best/{name}": value for name, value in best.items()})
            case Ended():
                self._status = STATUS.get(event.status, "FAILED")
                self._tag("status", event.status)

    def close(self, *, has_ended: bool) -> None:
        if not has_ended:
            self._tag("status", "killed")
        self._client.set_terminated(self._id, self._status if has_ended else "FAILED")

    def _log(self, values: Mapping[str, float]) -> None:
        from mlflow.entities import Metric

        now = round(time.time() * 1000)
        metrics = [Metric(re.sub(r"[^\w\-. /]", "_", key), value, now, self._step) for key, value in values.items()]
        self._client.log_batch(self._id, metrics=metrics)

    def _log_params(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        params = [Param(name, str(value)[:LONGEST_PARAM]) for name, value in values.items()]
        for first in range(0, len(params), MOST_PARAMS):
            self._client.log_batch(self._id, params=params[first : first + MOST_PARAMS])

    def _tag(self, key: str, text: str) -> None:
        self._client.set_tag(self._id, f"deepspeech.{key}", text[:LONGEST_TAG])
