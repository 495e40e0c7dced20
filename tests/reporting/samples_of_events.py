"""Events for the tests of the sinks."""

from dataclasses import replace
from typing import Any

from deepspeech_training.reporting.events import EpochDone, EpochFigures, SetFigures, StepDone

DEV = SetFigures("dev.csv", 2.5, {"wer": 0.5, "cer": 0.25}, clips=40)
EPOCH = EpochDone(
    EpochFigures(
        epoch=1,
        step=12,
        train_loss=3.25,
        dev=[DEV],
        metrics=[],
        best_loss=2.5,
        best_epoch=1,
        best_by="cer",
        best_figures={"loss": 2.5, "wer": 0.5, "cer": 0.25},
        epochs_without_improvement=0,
        patience=25,
        learning_rate=0.001,
        seconds=75.0,
        speed=1234.0,
        waited_share=0.02,
    ),
    epochs=30,
    saved="best-000000012",
)


def epoch_done(**figures: Any) -> EpochDone:
    """The end of an epoch, with other figures than EPOCH's."""
    return replace(EPOCH, figures=replace(EPOCH.figures, **figures))


def step_done(step: int, **changes: Any) -> StepDone:
    return replace(StepDone(step, epoch=0, loss=1.0, grad_norm=2.0, speed=5.0), **changes)
