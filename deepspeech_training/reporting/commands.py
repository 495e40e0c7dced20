"""What a test of spoken commands came to: accuracy, precision and recall of each class, and what is taken for what."""

import io
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.reporting.figures import Figure

COMMANDS = (Figure("accuracy", "accuracy", "higher", percent=True, poor=0.5, good=0.98, unit="clips"),)


@dataclass(frozen=True)
class CommandResult:
    """The answer to one clip.

    Args:
        wanted, heard: classes.
        probability: of what was heard.
    """

    wav_filename: str
    wanted: str
    heard: str
    probability: float
    loss: float


@dataclass(frozen=True)
class CommandReport:
    """Figures of one test set; `labels` are the classes in their order."""

    name: str
    results: tuple[CommandResult, ...]
    labels: tuple[str, ...]

    @cached_property
    def confusion(self) -> np.ndarray:
        """How many clips of each class [rows] were taken for each class [columns]: int [classes, classes]."""
        counts = np.zeros((len(self.labels), len(self.labels)), int)
        for result in self.results:
            counts[self.labels.index(result.wanted), self.labels.index(result.heard)] += 1
        return counts

    @property
    def accuracy(self) -> float:
        return float(np.trace(self.confusion) / max(self.confusion.sum(), 1))

    @property
    def loss(self) -> float:
        return sum(result.loss for result in self.results) / max(len(self.results), 1)

    def figures(self) -> dict[str, float]:
        return {"accuracy": self.accuracy}

    def precision(self, number: int) -> float | None:
        """The share that is right of what is taken for a class; None where nothing is."""
        taken = int(self.confusion[:, number].sum())
        return self.confusion[number, number] / taken if taken else None

    def recall(self, number: int) -> float | None:
        """The share of the clips of a class that is found; None where there are none."""
        there = int(self.confusion[number].sum())
        return self.confusion[number, number] / there if there else None

    def as_json(self) -> list[dict[str, Any]]:
        return [asdict(result) for result in self.results]

    def to_text(self, report_count: int) -> str:
        right = int(np.trace(self.confusion))
        lines = [
            f"Test on {self.name} - accuracy: {self.accuracy:.4f} ({right:,} of {len(self.results):,} clips), "
            f"loss: {self.loss:.4f}",
            *self._table(),
        ]
        wrong = sorted((r for r in self.results if r.heard != r.wanted), key=lambda r: -r.probability)
        for result in wrong[:report_count]:
            lines.append(f"{result.wanted} taken for {result.heard} ({result.probability:.0%}): {result.wav_filename}")
        return "\n".join(lines)

    def _table(self) -> list[str]:
        """A row for each class: clips, recall, precision, and how many of its clips were taken for each class."""
        width = max(9, *(len(label) for label in self.labels))
        columns = [max(5, len(label)) + 1 for label in self.labels]
        heads = "".join(f"{label:>{size}}" for label, size in zip(self.labels, columns, strict=True))
        lines = [f"{'':<{width}} {'clips':>6} {'recall':>7} {'precision':>10}   taken for{heads}"]
        for number, label in enumerate(self.labels):
            row = self.confusion[number]
            counts = "".join(f"{count or '.':>{size}}" for count, size in zip(row, columns, strict=True))
            shares = [_share(self.recall(number)), _share(self.precision(number))]
            lines.append(f"{label:<{width}} {row.sum():>6,} {shares[0]:>7} {shares[1]:>10}            {counts}")
        return lines


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def write_picture(report: CommandReport, path: Path, console: Console) -> None:
    """The confusions as a PNG; a line on the console where that cannot be, which is no reason for a test to fail."""
    _write(lambda pyplot: _png(pyplot, report), "confusions", path, console)


def write_curve(
    points: Sequence[tuple[float, float]], chosen: tuple[float, float], path: Path, console: Console
) -> None:
    """Misses against false alarms an hour as a PNG, as `write_picture` does.

    Args:
        points: false alarms an hour and the share of missed commands, of each threshold.
        chosen: those of the threshold in use.
    """
    _write(lambda pyplot: _png_of_curve(pyplot, points, chosen), "false alarms", path, console)


def _write(draw: Callable[[Any], bytes], what: str, path: Path, console: Console) -> None:
    try:
        from matplotlib import pyplot  # 0.5 s, and of the extra "tools"
    except ImportError:
        console.info(f"No picture of the {what}: pip install 'deepspeech_training[tools]' has what draws it")
        return
    try:
        write_atomically(path, [draw(pyplot)])
    except (OSError, UserError) as error:
        console.warn(f"{path}: the picture of the {what} cannot be written: {error}")
        return
    console.info(f"{what.capitalize()} drawn in {path}")


def _png_of_curve(pyplot: Any, points: Sequence[tuple[float, float]], chosen: tuple[float, float]) -> bytes:
    with pyplot.rc_context({"backend": "Agg"}):
        figure, axis = pyplot.subplots(figsize=(5, 3.6), layout="constrained")
        alarms, misses = zip(*points, strict=True)
        axis.plot(alarms, [100 * share for share in misses])
        axis.plot(chosen[0], 100 * chosen[1], "o", label="threshold of the model")
        axis.set_xscale("symlog", linthresh=0.1)
        axis.set_xlim(left=0)
        axis.set_ylim(0, 100)
        axis.set_xlabel("false alarms in an hour of other speech")
        axis.set_ylabel("commands missed, %")
        axis.grid(alpha=0.3)
        axis.legend()
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=100)
        pyplot.close(figure)
    return stream.getvalue()


def _png(pyplot: Any, report: CommandReport) -> bytes:
    counts, labels = report.confusion, report.labels
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    size = 2.5 + 0.42 * len(labels)
    with pyplot.rc_context({"backend": "Agg"}):
        figure, axis = pyplot.subplots(figsize=(size, size), layout="constrained")
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axis.set_xticks(range(len(labels)), labels, rotation=90)
        axis.set_yticks(range(len(labels)), labels)
        axis.set_xlabel("heard")
        axis.set_ylabel("said")
        axis.set_title(f"accuracy {report.accuracy:.1%}", parse_math=False)
        for row, column in zip(*np.nonzero(counts), strict=True):
            shade = "white" if shares[row, column] > 0.5 else "black"
            axis.text(column, row, str(counts[row, column]), ha="center", va="center", color=shade, fontsize=8)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=100)
        pyplot.close(figure)
    return stream.getvalue()
