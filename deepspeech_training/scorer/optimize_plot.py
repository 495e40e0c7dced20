"""What a search of weights has found, as a table and as a page with plots."""

import html
import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np


class Trial(NamedTuple):
    """What decoding with some weights and beam width gave.

    Args:
        cost: processor seconds of the search for each minute of audio.
    """

    width: int
    alpha: float
    beta: float
    wer: float
    cer: float = 0.0
    cost: float = 0.0


def table(trials: Sequence[Trial]) -> list[str]:
    """Lines of text, with a head line."""
    return ["beam width       WER       CER  alpha   beta  processor seconds for a minute of audio"] + [
        f"{width:>10} {wer:>9.6f} {cer:>9.6f} {alpha:>6.3f} {beta:>6.3f}  {cost:.3f}"
        for width, alpha, beta, wer, cer, cost in trials
    ]


def plot_html(trials: Sequence[Trial], ladder: Sequence[Trial], chosen: Trial, metric: str, title: str) -> str:
    """A page with plots: the errors over alpha and beta, the best so far over the trials, and where there are several
    beam widths the best of each with its cost. What was chosen is crossed.

    Args:
        trials: those of the chosen beam width, in their order.
        ladder: the best trial of each beam width, the narrowest first.
        chosen: one of both.
        metric: "wer" or "cer".
        title: text of the head line.
    """
    import matplotlib
    from matplotlib.figure import Figure

    matplotlib.rcParams["svg.hashsalt"] = "lm_optimizer"  # the same search gives the same file
    values = [getattr(trial, metric) for trial in trials]
    figure = Figure(figsize=(18 if len(ladder) > 1 else 12, 5), layout="constrained")
    over_weights, over_trials, *over_widths = figure.subplots(1, 3 if len(ladder) > 1 else 2)
    alphas, betas = [trial.alpha for trial in trials], [trial.beta for trial in trials]
    shades = over_weights.scatter(alphas, betas, c=values, cmap="viridis_r", s=18)
    over_weights.plot(chosen.alpha, chosen.beta, "rx", markersize=12)
    over_weights.set(xlabel="lm_alpha", ylabel="lm_beta", title=f"{metric.upper()} of each trial; crossed: chosen")
    figure.colorbar(shades, ax=over_weights)
    over_trials.plot(np.arange(1, len(values) + 1), np.minimum.accumulate(values))
    over_trials.set(xlabel="trials", ylabel=f"best {metric.upper()}", title=f"best: {min(values):.4f}")
    words = [
        f"lm_alpha {chosen.alpha:.6g}, lm_beta {chosen.beta:.6g}, beam_width {chosen.width}: "
        f"{metric.upper()} {getattr(chosen, metric):.6f}"
    ]
    if over_widths:
        _plot_widths(over_widths[0], ladder, chosen, metric)
        words += table(ladder)
    picture = io.StringIO()
    figure.savefig(picture, format="svg", metadata={"Date": None})
    svg = picture.getvalue()
    return (
        f'<!doctype html>\n<meta charset="utf-8">\n<title>{html.escape(title)}</title>\n<h1>{html.escape(title)}</h1>\n'
        f"{svg[svg.index('<svg') :]}\n<pre>" + html.escape("\n".join(words)) + "</pre>\n"
    )


def _plot_widths(axes: Any, ladder: Sequence[Trial], chosen: Trial, metric: str) -> None:
    widths = [trial.width for trial in ladder]
    axes.plot(widths, [getattr(trial, metric) for trial in ladder], "o-")
    axes.plot(chosen.width, getattr(chosen, metric), "rx", markersize=12)
    axes.set(xscale="log", xlabel="beam width", ylabel=metric.upper(), title="the best weights of each beam width")
    axes.set_xticks(widths, list(map(str, widths)))
    axes.minorticks_off()
    costs = axes.twinx()
    costs.plot(widths, [trial.cost for trial in ladder], "s--", color="tab:orange")
    costs.set(yscale="log", ylabel="processor seconds for a minute of audio (dashed)")
