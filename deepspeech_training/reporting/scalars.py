"""Figures of events under the names that TensorBoard and the trackers show."""

from pathlib import Path

from deepspeech_training.reporting.events import EpochDone, SetTested


def of_epoch(event: EpochDone) -> dict[str, float]:
    """The figures of an epoch that are known, such as "epoch/train_loss" and "dev.csv/wer"."""
    figures = event.figures
    scalars: dict[str, float | None] = {
        "epoch/train_loss": figures.train_loss,
        "epoch/learning_rate": figures.learning_rate,
        f"epoch/{figures.speed_key}": figures.speed,
        "epoch/waited_share": figures.waited_share,
        "epoch/seconds": figures.seconds,
    }
    for found in (*figures.dev, *figures.metrics):
        scalars[f"{found.name}/loss"] = found.loss
        scalars |= {f"{found.name}/{name}": value for name, value in found.values.items()}
    return {name: value for name, value in scalars.items() if value is not None}


def of_test(event: SetTested) -> dict[str, float]:
    """The figures of a test set, such as "test/test.csv/wer"."""
    name = f"test/{Path(event.csv).name}"
    scalars = {f"{name}/loss": event.loss, **{f"{name}/{figure}": value for figure, value in event.values.items()}}
    return {name: value for name, value in scalars.items() if value is not None}
