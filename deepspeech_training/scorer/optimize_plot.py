"""The page with the plots of a search of `lm_optimizer.py`."""

import html
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Rung(NamedTuple):
    """What decoding at one beam width gave.

    Args:
        cost: processor seconds of the search for each minute of audio.
    """

    width: int
    wer: float
    cer: float
    cost: float

    @classmethod
    def header(cls) -> str:
        return "beam width       WER       CER  processor seconds for a minute of audio"

    def line(self) -> str:
        return f"{self.width:>10} {self.wer:>9.6f} {self.cer:>9.6f}  {self.cost:.3f}"


def plot_html(
    trials: Sequence[Any], metric: str, title: str, *, ladder: Sequence[Rung] = (), chosen: int | None = None
) -> str:
    """A page with two plots: the errors over alpha and beta, and the best so far over the trials; with a ladder of
    beam widths a third one of their errors and costs, where the chosen width is crossed.

    Args:
        trials: with `params` ("lm_alpha", "lm_beta") and `value`.
        metric: "wer" or "cer", what the values are.
        title: text of the head line.
    """
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "lm_optimizer"  # the same search gives the same file
    alphas, betas = ([trial.params[name] for trial in trials] for name in ("lm_alpha", "lm_beta"))
    values = [trial.value for trial in trials]
    best = int(np.argmin(values))
    figure = Figure(figsize=(18 if ladder else 12, 5), layout="constrained")
    over_weights, over_trials, *over_widths = figure.subplots(1, 3 if ladder else 2)
    shades = over_weights.scatter(alphas, betas, c=values, cmap="viridis_r", s=18)
    over_weights.plot(alphas[best], betas[best], "rx", markersize=12)
    over_weights.set(xlabel="lm_alpha", ylabel="lm_beta", title=f"{metric.upper()} of each trial; the best is crossed")
    figure.colorbar(shades, ax=over_weights)
    over_trials.plot(np.arange(1, len(values) + 1), np.minimum.accumulate(values))
    over_trials.set(xlabel="trials", ylabel=f"best {metric.upper()}", title=f"best: {values[best]:.4f}")
    words = [f"lm_alpha {alphas[best]:.6g}, lm_beta {betas[best]:.6g}: {metric.upper()} {values[best]:.6f}"]
    if ladder:
        _plot_ladder(over_widths[0], ladder, metric, chosen)
        words += [Rung.header(), *(rung.line() + (" (chosen)" if rung.width == chosen else "") for rung in ladder)]
    picture = io.StringIO()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    svg = picture.getvalue()
    return (
        f'<!doctype html>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n<h1>{html.escape(title)}</h1>\n'
        f"{svg[svg.index('<svg') :]}\n<pre>" + html.escape("\n".join(words)) + "</pre>\n"
    )


def _plot_ladder(axes: Any, ladder: Sequence[Rung], metric: str, chosen: int | None) -> None:
    widths, errors = [rung.width for rung in ladder], [getattr(rung, metric) for rung in ladder]
    axes.plot(widths, errors, "o-", label=metric.upper())
    for rung in ladder:
        if rung.width == chosen:
            axes.plot(rung.width, getattr(rung, metric), "rx", markersize=12)
    axes.set(xscale="log", xlabel="beam width", ylabel=metric.upper(), title="the best weights at other beam widths")
    axes.set_xticks(widths, list(map(str, widths)))
    axes.minorticks_off()
    costs = axes.twinx()
    costs.plot(widths, [rung.cost for rung in ladder], "s--", color="tab:orange")
    costs.set(yscale="log", ylabel="processor seconds for a minute of audio (dashed)")
