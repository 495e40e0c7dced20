"""The epochs of a run as checkpoints and session logs have them, read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from deepspeech_training.reporting.events import SetFigures
from deepspeech_training.reporting.figures import Figure


@dataclass(frozen=True)
class Epoch:
    """Figures after an epoch, over all dev sets together; None where there is none (no dev set, not finite).

    Args:
        number: from 1, as a person counts.
        train_loss, dev_loss: means over clips.
        values: of the task's figures, on the dev sets.
    """

    number: int
    train_loss: float | None = None
    dev_loss: float | None = None
    values: Mapping[str, float | None] = field(default_factory=dict)

    def as_json(self, judged_by: Sequence[Figure]) -> dict[str, Any]:
        losses = {"number": self.number, "train_loss": self.train_loss, "dev_loss": self.dev_loss}
        return losses | {figure.name: self.values.get(figure.name) for figure in judged_by}

    @classmethod
    def of_history(cls, entry: Mapping[str, Any]) -> Self:
        """From an entry of a run's history, in a checkpoint or a session log."""
        sets = [SetFigures.from_json(found) for found in entry["dev"]]
        dev = [(found.loss, found) for found in sets if found.loss is not None and found.clips]
        clips = sum(found.clips for _, found in dev)
        number, train_loss = entry["epoch"] + 1, entry["train_loss"]
        if not dev:
            return cls(number, train_loss)
        names = dev[0][1].values
        return cls(
            number,
            train_loss,
            sum(loss * (found.clips / clips) for loss, found in dev),
            {name: sum(found.values[name] * (found.clips / clips) for _, found in dev) for name in names},
        )
