"""An inspection in words."""

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from deepspeech_training.checkpoints.inspection import Inspection
from deepspeech_training.config import Config, as_dict
from deepspeech_training.reporting.events import SetSummary
from deepspeech_training.reporting.figures import LOSS, Figure, figures_text
from deepspeech_training.reporting.history import Epoch
from deepspeech_training.reporting.messages import duration, size

EPOCHS_SHOWN = 12


def lines(found: Inspection) -> Iterator[str]:
    """The report for a person."""
    facts, training = found.facts, found.facts["training"]
    average_of = training.get("average_of", ())
    what = [facts[name] for name in ("task", "kind_of_weights") if name in facts]
    yield f"{found.path}: " + ", ".join(["an average of checkpoints" if average_of else found.kind, *what])
    yield "Files     " + ", ".join(f"{file['name']} {size(file['bytes'])}" for file in found.files)
    saved = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(training["saved_at"]))
    if "epoch" in training:
        yield from _training_lines(training, found.judged_by, saved)
    elif training.get("step") is not None:
        rate = training["learning_rate"]
        yield f"Saved     {saved}, at step {training['step']:,}" + (
            "" if rate is None else f", learning rate {rate:.3g}"
        )
    else:
        yield f"Saved     {saved} (the file's date)"
    for data in map(SetSummary.from_json, facts["data"]):
        yield f"Data      {data.set:<8}{data.amount}  {data.csv}"
    if facts["alphabet_of_bytes"]:
        yield f"Alphabet  the {len(facts['alphabet'])} bytes of UTF-8"
    elif facts["alphabet"] is not None:
        yield f"Alphabet  {len(facts['alphabet'])} characters: " + " ".join(
            "space" if character == " " else character for character in facts["alphabet"]
        )
    if facts.get("classes"):
        yield f"Classes   {len(facts['classes'])}: {' '.join(facts['classes'])}"
    yield f"Network   {facts['parameters']:,} weights, {_network_words(facts['network'])}" + (
        f"; {facts['n_steps']} frames a call, beam width {facts['beam_width']}" if "n_steps" in facts else ""
    )
    if "export_bytes" in facts:
        export = facts["export_bytes"]
        yield f"Export    about {size(export['int8'])} in 8 bits, {size(export['float32'])} in 32 bits"
    yield from _weight_lines(found)
    if found.answers is not None:
        yield f"Answer    to {facts['clip']}:"
        blank = f"; the blank is likeliest in {found.answers.blank_share:.0%} of the frames"
        yield f"          {found.answers.text!r}{'' if facts.get('classes') else blank}"
    yield from _history_lines(found.history, found.judged_by)
    if average_of and found.history:
        yield f"          these are of the run up to {average_of[-1]}, none is the average's"
    yield ""
    yield from found.diagnosis.lines()


def _network_words(network: Mapping[str, Any]) -> str:
    """What a network says of itself.

    >>> _network_words({"name": "deepspeech", "num_classes": 29, "n_hidden": 8, "layer_norm": True, "relu_clip": None})
    'deepspeech, num_classes 29, n_hidden 8, layer_norm'
    """
    words = []
    for name, value in network.items():
        if name == "name":
            words.append(value)
        elif value is True:
            words.append(name)
        elif value is not None and value is not False:
            words.append(f"{name} {value}")
    return ", ".join(words)


def _training_lines(training: Mapping[str, Any], judged_by: Sequence[Figure], saved: str) -> Iterator[str]:
    sessions = f", {len(training['sessions'])} sessions" if len(training["sessions"]) > 1 else ""
    trained = (
        f"after epoch {training['epoch']} of {training['epochs']}, step {training['step']:,}; "
        f"trained for {duration(training['seconds'])}{sessions}"
    )
    if training["average_of"]:
        yield f"Saved     {saved}"
        yield f"Average   of {training['average_of'][0]}"
        for path in training["average_of"][1:]:
            yield f"             {path}"
        labels = " or ".join(figure.label for figure in judged_by)
        yield f"Losses    not known, and no {labels}: nothing was measured on the average"
        yield f"Last      of these: {trained}"
    else:
        yield f"Saved     {saved}, {trained}"
    if training["began_with"] is not None:
        yield f"Began     with {training['began_with']}"
    yield f"Ended     {training['stopped'] or 'not yet'}"
    if training["train_loss"] is not None:
        parts = [f"train loss {training['train_loss']:.4f}"]
        for dev in training["dev"]:
            if dev["loss"] is not None:
                parts.append(f"{dev['name']} {figures_text(dev, (LOSS, *judged_by))}")
        yield f"Losses    {' | '.join(parts)}"
    if training["best_epoch"] is not None:
        best = figures_text(training["best_figures"], (LOSS, *judged_by))
        yield (
            f"Best      epoch {training['best_epoch']} by {training['best_by']}: dev {best}; "
            f"{training['epochs_without_improvement']} epochs without a lower loss"
        )
    yield f"Rate      learning rate {training['learning_rate']:.3g}, {training['precision']}"
    given = not_default(training["flags"])
    if given:
        yield f"Trained   with {' '.join(given)}"


def not_default(flags: Mapping[str, Any]) -> list[str]:
    """The flags that are not at their defaults, as they are written on a command line.

    >>> not_default({"ema": 0.99, "weight_decay": 0.0, "freeze_layers": ["layer_1", "lstm"], "augment": ["gain"]})
    ['--ema 0.99', '--freeze_layers layer_1,lstm', '--augment gain']
    """
    defaults, given = as_dict(Config()), []
    for name, value in flags.items():
        if value == defaults[name]:
            continue
        if name == "augment":
            given += [f"--augment {shlex.quote(one) if ' ' in one else one}" for one in value]
        elif isinstance(value, bool):
            given.append(f"--{name}" if value else f"--no{name}")
        else:
            given.append(f"--{name} {','.join(value) if isinstance(value, list) else value}")
    return given


def _weight_lines(found: Inspection) -> Iterator[str]:
    width = max((len(entry["name"]) for entry in found.weights), default=0)
    yield f"Weights   {'name':<{width}} {'shape':>12} {'mean':>9} {'deviation':>9} {'largest':>9}  not finite, zeros"
    for entry in found.weights:
        shape = "x".join(map(str, entry["shape"]))
        if "mean" not in entry:
            yield f"          {entry['name']:<{width}} {shape:>12}  none is finite"
            continue
        largest = max(abs(entry["least"]), abs(entry["greatest"]))
        yield (
            f"          {entry['name']:<{width}} {shape:>12} {entry['mean']:9.4f} {entry['deviation']:9.4f} "
            f"{largest:9.4f}  {entry['not_finite']:,}, {entry['zeros']:.1%}"
        )
    if found.answers is not None and found.answers.saturated:
        dead = {layer: f"{share:.1%} dead and " for layer, share in found.answers.dead.items()}
        yield "Units     " + "; ".join(
            f"{layer} {dead.get(layer, '')}{share:.1%} at the limit" for layer, share in found.answers.saturated.items()
        )


def _history_lines(history: Sequence[Epoch], judged_by: Sequence[Figure]) -> Iterator[str]:
    if not history:
        return
    every = -(-len(history) // EPOCHS_SHOWN)
    widths = {figure.name: max(8, len(figure.label) + 2) for figure in judged_by}
    heads = "".join(f"{figure.label:>{widths[figure.name]}}" for figure in judged_by)
    yield f"Epochs    epoch  train loss    dev loss{heads}"
    for epoch in history:
        if epoch.number % every == 0 or epoch is history[-1]:
            losses = f"{LOSS.text(epoch.train_loss):>12}{LOSS.text(epoch.dev_loss):>12}"
            rates = "".join(f"{f.text(epoch.values.get(f.name)):>{widths[f.name]}}" for f in judged_by)
            yield f"          {epoch.number:>5}{losses}{rates}"
