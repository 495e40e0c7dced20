"""Flags whose values may hold passwords or tokens: they are written nowhere, and a variable can stand for them."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from deepspeech_training.config.groups import FLAGS, Config
from deepspeech_training.config.parsing import looks_like_flag

PRIVATE = tuple(name for name, flag in FLAGS.items() if flag.private)


def variable_of(name: str) -> str:
    """The variable that stands for a private flag.

    >>> variable_of("notify")
    'DEEPSPEECH_NOTIFY'
    """
    return f"DEEPSPEECH_{name.upper()}"


def private_values(config: Config, environment: Mapping[str, str]) -> dict[str, Any]:
    """The values of the private flags that are set, of a variable where the flag is not given.

    >>> private_values(Config(), {"DEEPSPEECH_NOTIFY": "ntfy://first json://second", "DEEPSPEECH_WANDB": "digits"})
    {'notify': ('ntfy://first', 'json://second'), 'wandb': 'digits'}
    """
    values = {}
    for name in PRIVATE:
        value = getattr(config.reporting, name)
        if not value:
            text = environment.get(variable_of(name), "").strip()
            value = tuple(text.split()) if FLAGS[name].type is tuple else text
        if value:
            values[name] = value
    return values


def variables_of(values: Mapping[str, Any]) -> dict[str, str]:
    """The variables that say the same as `private_values`, for a process that is started."""
    return {
        variable_of(name): " ".join(value) if FLAGS[name].type is tuple else value for name, value in values.items()
    }


def without_private(words: Sequence[str]) -> list[str]:
    """A command line without its private flags.

    >>> without_private(["--epochs", "3", "--notify", "slack://token", "json://host", "--wandb=digits", "--early_stop"])
    ['--epochs', '3', '--early_stop']
    """
    kept, rest = list[str](), list(words)
    while rest:
        word = rest.pop(0)
        match = re.fullmatch(r"--?([^=-][^=]*)(=.*)?", word, re.DOTALL)
        if match is None or match[1] not in PRIVATE:
            kept.append(word)
            continue
        is_one = not FLAGS[match[1]].repeatable
        while rest and not looks_like_flag(rest[0]) and not (is_one and match[2]):
            rest.pop(0)
            if is_one:
                break
    return kept
