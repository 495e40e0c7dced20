"""A run at Weights & Biases."""

import os
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from deepspeech_training.reporting.events import Ended, EpochDone, Event, Finished, Outcome, SetTested, Started
from deepspeech_training.reporting.scalars import of_epoch, of_test


def receiver(settings: Mapping[str, Any], keep: Callable[[Any], None]) -> "WandbRun":
    return WandbRun(settings["project"], settings["name"], settings["folder"], run_id=settings.get("kept"), keep=keep)


class WandbRun:
    """Figures of each epoch and of the tests; flags as its configuration.

    Args:
        project: PROJECT or TEAM/PROJECT.
        folder: where the client keeps its files, unless WANDB_DIR says so.
        run_id: of the run that is continued; None for a new one, whose id is given to `keep`.
    """

    def __init__(self, project: str, name: str, folder: str, *, run_id: str | None, keep: Callable[[Any], None]):
        import wandb

        team, _, project = project.rpartition("/")
        if run_id is None:
            run_id = secrets.token_hex(4)
            keep(run_id)
        offline = os.environ.get("WANDB_MODE", "") in ("offline", "dryrun", "disabled")
        self._run = wandb.init(
            entity=team or None,
            project=project,
            id=run_id,
            name=name,
            dir=os.environ.get("WANDB_DIR", folder),
            resume=None if offline else "allow",  # offline, the folders of one id are joined by `wandb sync`
            settings=wandb.Settings(silent=True, console="off", disable_git=True, save_code=False),
        )
        self._step = 0
        self._exit_code: int | None = None

    def take(self, event: Event) -> None:
        match event:
            case Started():
                self._run.config.update(dict(event.flags), allow_val_change=True)
                sets = [found.as_json() for found in event.sets]
                self._run.config.update({"version": event.version, "data": sets}, allow_val_change=True)
            case EpochDone():
                self._step = event.figures.step
                self._run.log({"epoch": event.figures.epoch + 1, **of_epoch(event)}, step=self._step)
                best = event.figures.best_figures or {}
                self._run.summary.update({f"best/{name}": value for name, value in best.items()})
            case SetTested():
                self._run.summary.update(of_test(event))
            case Finished():
                self._run.summary["stopped"] = event.reason
            case Outcome():
                self._run.summary["diagnosis"] = "\n".join(event.diagnosis)
            case Ended():
                self._exit_code = event.exit_code
                self._run.summary["status"] = event.status

    def close(self, *, has_ended: bool) -> None:
        if not has_ended:
            self._run.summary["status"] = "killed"
        self._run.finish(exit_code=self._exit_code if has_ended else 1)
