"""What a terminal shows of a run: lines of text, without control characters."""

import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deepspeech_training.app.runs import FoundRun
from deepspeech_training.reporting.events import AUDIO_SPEED, AUDIO_UNIT
from deepspeech_training.reporting.figures import LOSS, Figure, figures_of, figures_text
from deepspeech_training.reporting.history import Epoch
from deepspeech_training.reporting.messages import duration

BLOCKS = "▁▂▃▄▅▆▇█"
DONE, TO_DO = "█", "░"
CURVE_WIDTH = 24
EPOCHS_SHOWN = LOG_LINES_SHOWN = 8
LEAST_LINES = 3


def line(run: FoundRun) -> str:
    """One line for one run."""
    told, figures = run.told, _figures(run)
    parts = [f"{run.name}: {run.ending.state}"]
    if told["epoch"] is not None:
        parts.append(f"epoch {told['epoch']} of {told['epochs']}")
    if run.ending.state == "running":
        parts.append(f"{told['share_done'] or 0:.0%} done")
        if told["left_s"]:
            parts.append(f"{duration(told['left_s'])} left")
    if told["best"]:
        parts.append(f"best epoch {told['best']['epoch']} {figures_text(told['best'], (LOSS, *figures))}")
    if run.ending.state != "running":
        parts.append(_when(run.written))
    if run.ending.state == "failed":
        parts.append(run.ending.message.split("\n")[0])
    return plain(", ".join(parts))


def detail(run: FoundRun, columns: int, rows: int | None = None) -> list[str]:
    """All of one run, in at most `rows` lines where they are told: the table and the log are shortened first."""
    epochs = [Epoch.of_history(entry) for entry in run.told["history"]]
    figures = _figures(run)
    head = [*_head(run, columns), *_curves(epochs, figures), *_facts(run, figures)]
    end = [part for text in _end(run) for part in folded(text, columns)]
    end = ["", *end] if end else []
    table = list(_table(run.told["history"], epochs, figures))
    log = [
        f"{_clock(said['time'])} {said['level'][0].upper()} {' '.join(said['text'].split())}"
        for said in run.log.lines()
    ]
    left = 2 * EPOCHS_SHOWN
    if rows is not None:
        left = max(2 * LEAST_LINES, rows - len(head) - len(end) - 4)  # two empty lines, two headings
    log = log[-min(LOG_LINES_SHOWN, left // 2) :]
    if table:
        title, *body = table
        table = ["", title, *body[-min(EPOCHS_SHOWN, left - len(log)) :]]
    lines = [*head, *end, *table, *(["", "Log", *log] if log else [])]
    return [cut(plain(text), columns) for text in lines][:rows]


def cut(text: str, columns: int) -> str:
    """
    >>> cut("a longer text", 10), cut("short", 10)
    ('a longer …', 'short')
    """
    return text if len(text) <= columns else text[: max(0, columns - 1)] + "…"


def folded(text: str, columns: int) -> list[str]:
    """Whole on several lines, for what is copied from the terminal, such as a path or a command.

    >>> folded("a b c\\nd", 3), folded("", 3)
    (['a b', 'c', 'd'], [])
    """
    return [
        part
        for line in text.splitlines()
        for part in textwrap.wrap(line, columns, break_on_hyphens=False, drop_whitespace=True) or [""]
    ]


def plain(text: str) -> str:
    """Without characters that a terminal would obey: names of files come from elsewhere.

    >>> plain("clip\\x1b[2J.wav")
    'clip?[2J.wav'
    """
    return "".join(character if character.isprintable() else "?" for character in text)


def curve(values: Sequence[float | None], width: int = CURVE_WIDTH) -> str:
    """Values as a row of blocks, a gap where there is none; of more than `width` each is the last of its share.

    >>> curve([4.0, 3.0, None, 0.5]), curve([1.0, 1.0]), curve(range(100), width=4)
    ('█▆ ▁', '▁▁', '▁▃▆█')
    """
    if len(values) > width:
        values = [values[(number + 1) * len(values) // width - 1] for number in range(width)]
    known = [value for value in values if value is not None]
    least, span = (min(known), max(known) - min(known)) if known else (0.0, 0.0)
    top = len(BLOCKS) - 1
    return "".join(" " if v is None else BLOCKS[round(top * (v - least) / span) if span else 0] for v in values)


def bar(share: float, width: int) -> str:
    """
    >>> bar(0.25, 8)
    '██░░░░░░'
    """
    done = round(min(1.0, max(0.0, share)) * width)
    return DONE * done + TO_DO * (width - done)


def _figures(run: FoundRun) -> tuple[Figure, ...]:
    return figures_of(run.told["started"] or {})


def _head(run: FoundRun, columns: int) -> Iterator[str]:
    told = run.told
    yield from folded(f"{run.name}: {run.ending.state}   {run.folder}", columns)
    yield from folded(run.ending.message, columns)
    epoch = "no epoch yet" if told["epoch"] is None else f"epoch {told['epoch']} of {told['epochs']}"
    if run.ending.state != "running":
        yield f"{epoch}, last written {_when(run.written)}"
        return
    share = told["share_done"] or 0.0
    left = "" if told["left_s"] is None else f", {duration(told['left_s'])} left"
    text = f" {share:4.0%}  {epoch}{left}"
    yield bar(share, max(8, min(columns, 100) - len(text))) + text
    if told["finished"]:
        yield "training is finished: it is tested and exported, where that was asked for"
    elif told["validation"]:
        yield f"validation: {told['validation']['done']} of {told['validation']['batches']} batches"


def _curves(epochs: Sequence[Epoch], figures: Sequence[Figure]) -> Iterator[str]:
    rows = [
        ("train loss", LOSS, [epoch.train_loss for epoch in epochs]),
        ("dev loss", LOSS, [epoch.dev_loss for epoch in epochs]),
        *((figure.label, figure, [epoch.values.get(figure.name) for epoch in epochs]) for figure in figures),
    ]
    for label, figure, values in rows:
        known = [value for value in values if value is not None]
        if known:
            first, last = figure.text(known[0]), figure.text(known[-1])
            yield f"{label:<11}{first:>9} {curve(values):<{CURVE_WIDTH}} {last:>9}"


def _facts(run: FoundRun, figures: Sequence[Figure]) -> Iterator[str]:
    told = run.told
    last: Mapping[str, Any] = told["history"][-1] if told["history"] else {}
    speed = _speed(told["step"] if run.ending.state == "running" and told["step"] else last)
    if speed:
        waited = f", waited for data {last['waited_share']:.0%} of the last epoch" if last else ""
        yield f"Speed      {speed}{waited}"
    for gpu in (told["gpus"] or {}).get("gpus", ()):
        yield f"GPU {gpu['index']:<7}{_gpu(gpu)}"
    if told["started"]:
        yield f"Device     {told['started']['devices']}"
        for found in told["started"]["sets"]:
            hours = "" if found["hours"] is None else f" {found['hours']:.3g} h"
            yield f"Data       {found['set']} {found['clips']:,} clips{hours}  {found['csv']}"
    if told["best"]:
        best = figures_text(told["best"], (LOSS, *figures))
        yield f"Best       epoch {told['best']['epoch']}: {best} (by {told['best']['by']})"


def _speed(values: Mapping[str, Any]) -> str:
    """Of a step or of an epoch; empty where it is not known."""
    speed = values.get(AUDIO_SPEED, values.get("speed"))
    return "" if speed is None else f"{speed:,.0f} {values.get('unit', AUDIO_UNIT)}"


def _gpu(gpu: Mapping[str, Any]) -> str:
    busy = "?" if gpu["busy"] is None else f"{gpu['busy']:.0%}"
    parts = [f"{busy} busy", f"{gpu['memory_used'] / 1e9:.1f} of {gpu['memory_total'] / 1e9:.1f} GB"]
    if gpu["temperature_c"] is not None:
        parts.append(f"{gpu['temperature_c']:.0f} °C")
    if gpu.get("power_w") is not None:
        parts.append(f"{gpu['power_w']:.0f} W")
    return f"{', '.join(parts)}  {gpu['name']}"


def _table(history: Sequence[Mapping[str, Any]], epochs: Sequence[Epoch], figures: Sequence[Figure]) -> Iterator[str]:
    """A title and a line for each epoch; none without epochs."""
    if not epochs:
        return
    labels = "".join(f"{figure.label:>9}" for figure in figures)
    yield f"{'epoch':>6}{'train loss':>12}{'dev loss':>10}{labels}{'learning rate':>15}{'took':>10}"
    for entry, epoch in zip(history, epochs, strict=True):
        values = "".join(f"{figure.text(epoch.values.get(figure.name)):>9}" for figure in figures)
        yield (
            f"{epoch.number:>6}{LOSS.text(epoch.train_loss):>12}{LOSS.text(epoch.dev_loss):>10}{values}"
            f"{entry['learning_rate']:>15.3g}{duration(entry['seconds']):>10}"
        )


def _end(run: FoundRun) -> Iterator[str]:
    """What to make of a run that has ended, and what to do next."""
    outcome = run.told["outcome"]
    if outcome:
        yield from outcome["diagnosis"]
        yield f"Next      {outcome['next']}"


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds))


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.localtime(seconds))
