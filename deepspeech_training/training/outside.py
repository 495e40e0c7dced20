"""Attaches notifications when a command starts, and trackers once its checkpoint is known."""

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from deepspeech_training.config import Config
from deepspeech_training.config.private import private_values
from deepspeech_training.reporting.outside.run_file import RunFile
from deepspeech_training.reporting.outside.sink import Outside
from deepspeech_training.reporting.outside.wanted import FAILURES_ARE_TOLD, check

if TYPE_CHECKING:
    from deepspeech_training.training.run import Call, Run


def wanted(config: Config) -> dict[str, Any]:
    """The values of --notify, --wandb and --mlflow, or of the variables that stand for them.

    Raises:
        FlagError: one cannot be used, or needs a package that is not installed.
    """
    values = private_values(config, os.environ)
    check(values)
    return values


def add_notifications(call: "Call", values: Mapping[str, Any]) -> None:
    """Report a training from here on, such as that its data is at fault."""
    if urls := values.get("notify"):
        folder = call.folder.folder
        settings = {
            "urls": list(urls),
            "name": folder.absolute().name,
            "failures": not os.environ.get(FAILURES_ARE_TOLD),
        }
        call.events.add(Outside("notify", "Notifications", settings, warn=call.console.warn, run_file=RunFile(folder)))


def add_trackers(run: "Run", values: Mapping[str, Any]) -> None:
    """Tell the trackers of a training, and of a test of its checkpoint: a run that resumes is the same there too."""
    used = run.folder if run.work.train else run.source.checkpoint.folder
    name, warn, run_file = used.folder.absolute().name, run.console.warn, RunFile(used.folder)
    if run.work.train and run.source.kind != "resume":
        run_file.forget()
    if project := values.get("wandb"):
        settings = {"project": project, "name": name, "folder": str(used.folder.absolute())}
        run.events.add(Outside("wandb", "Weights & Biases", settings, warn=warn, run_file=run_file))
    if uri := values.get("mlflow"):
        run.events.add(Outside("mlflow", "MLflow", {"uri": uri, "name": name}, warn=warn, run_file=run_file))
