"""Curves of the losses and figures of runs, as a picture and as a page."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.errors import UserError
from deepspeech_training.reporting.session_views import figures_of_all, loss_text
from deepspeech_training.reporting.sessions import Run


def write_curves(runs: Sequence[Run], output: Path) -> str:
    """Plot the runs that have epochs into a .png or .html; returns what was written.

    Raises:
        UserError: there is nothing to plot, the file is of another kind or cannot be written, or matplotlib is missing.
    """
    runs = [run for run in runs if run.epochs]
    if not runs:
        raise UserError("none of these sessions has finished an epoch: there is nothing to plot")
    if output.suffix not in (".html", ".png"):
        raise UserError(f"--output {output}: must end in .html or .png")
    picture = draw(runs)
    write_atomically(output, [picture if output.suffix == ".png" else page(runs, picture).encode()])
    return f"{output}: {len(runs)} runs, {sum(len(run.epochs) for run in runs)} epochs"


def draw(runs: Sequence[Run]) -> bytes:
    """A PNG with the losses and figures of runs by epoch; a line shows where a session resumed another.

    Raises:
        UserError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError as error:
        raise UserError(
            "plots need matplotlib, which is not installed: pip install 'deepspeech_training[tools]'"
        ) from error
    figures = figures_of_all(runs)
    titles = ["loss (dotted: train, solid: dev)", *(f"dev {figure.label}" for figure in figures)]
    picture = Figure(figsize=(5 * len(titles), 5), layout="constrained")
    axes = picture.subplots(1, len(titles), squeeze=False)[0]
    for number, run in enumerate(runs):
        color, epochs = f"C{number % 10}", run.epochs
        numbers = [epoch.number for epoch in epochs]
        label = f"{run.id}  {run.sessions[0].folder.name}"
        marker = "o" if len(epochs) == 1 else ""
        axes[0].plot(numbers, [e.train_loss for e in epochs], color=color, linestyle=":", marker=marker)
        curves = [[e.dev_loss for e in epochs], *([e.values.get(f.name) for e in epochs] for f in figures)]
        for axis, values in zip(axes, curves, strict=True):
            points = [float("nan") if value is None else value for value in values]
            axis.plot(numbers, points, color=color, marker=marker, label=label)
            for session in run.sessions[1:]:
                if session.epochs:
                    axis.axvline(session.epochs[0].number - 0.5, color=color, linewidth=0.8, alpha=0.4)
    for axis, title in zip(axes, titles, strict=True):
        axis.set_title(title)
        axis.set_xlabel("epoch")
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.grid(alpha=0.3)
        axis.set_ylim(bottom=0)
    axes[-1].legend(fontsize=8)
    png = io.BytesIO()
    picture.savefig(png, format="png", dpi=110)
    return png.getvalue()


def page(runs: Sequence[Run], picture: bytes) -> str:
    """One HTML file with nothing outside of it."""
    figures = figures_of_all(runs)
    titles = ["run", "folder", "sessions", "status", "epochs", "best epoch", "dev loss", *(f.label for f in figures)]
    rows = []
    for run in runs:
        best, last = run.best, run.sessions[-1]
        rows.append(
            [
                run.id,
                str(last.folder),
                str(len(run.sessions)),
                last.status,
                str(len(run.epochs)),
                str(best.number),
                loss_text(best.dev_loss),
                *(figure.text(best.values.get(figure.name)) for figure in figures),
            ]
        )
    image = base64.b64encode(picture).decode()
    return (
        '<!DOCTYPE html>\n<html lang="en"><meta charset="utf-8"><title>Training sessions</title>\n'
        "<style>body{font-family:sans-serif;margin:2em}img{max-width:100%}td,th{padding:.2em .8em;text-align:left}"
        "tr:nth-child(even){background:#f2f2f2}</style>\n"
        f'<h1>Training sessions</h1>\n<img alt="losses and figures by epoch" src="data:image/png;base64,{image}">\n'
        f"<table>{_row('th', titles)}\n" + "\n".join(_row("td", row) for row in rows) + "\n</table></html>\n"
    )


def _row(tag: str, cells: Sequence[str]) -> str:
    return "<tr>" + "".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in cells) + "</tr>"
