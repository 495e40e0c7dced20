"""The epochs of a run as checkpoints and session logs have them, read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from deepspeech_training.reporting.events import EpochFigures


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

    @classmethod
    def of_history(cls, entry: Mapping[str, Any]) -> Self:
        """From an entry of a run's history, in a checkpoint or a session log."""
        figures = EpochFigures.from_json(entry)
        dev = [found for found in figures.dev if found.loss is not None and found.clips]
        clips = sum(found.clips for found in dev)
        if not clips:
            return cls(figures.epoch + 1, figures.train_loss)

        def mean(values: Sequence[float]) -> float:
            return sum(value * (found.clips / clips) for value, found in zip(values, dev, strict=True))

        return cls(
            figures.epoch + 1,
            figures.train_loss,
            mean([found.loss or 0.0 for found in dev]),
            {name: mean([found.values[name] for found in dev]) for name in dev[0].values},
        )
