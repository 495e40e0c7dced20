"""The classes of a model: the commands, and `_unknown_` and `_silence_` where there is something to learn them from."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from deepspeech_training.errors import FlagError
from deepspeech_training.runtime.commands import NO_COMMANDS, SILENCE, UNKNOWN, class_of

OTHERS = NO_COMMANDS  # at the end of the classes


@dataclass(frozen=True)
class Classes:
    """Names in the order of the network's outputs.

    >>> classes = Classes(("yes", "no", "_unknown_"))
    >>> classes.class_of("no"), classes.class_of("tree"), classes.class_of("_silence_")
    ('no', '_unknown_', None)
    """

    names: tuple[str, ...]

    def class_of(self, label: str) -> str | None:
        """The class of a row's label; None where it belongs to none."""
        return class_of(label, self.names)

    @property
    def commands(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in OTHERS)

    # --- as `data.speech_sample.Writes` has it ---

    @property
    def size(self) -> int:
        return len(self.names)

    def missing(self, text: str) -> list[str]:
        """Nothing: rows whose label belongs to no class have been found before."""
        return []

    def encode(self, text: str) -> np.ndarray:
        return np.array([self.names.index(text)], np.int32)


def classes_of(wanted: Sequence[str], labels: Iterable[str], *, has_noise: bool) -> Classes:
    """The classes of a new model.

    Args:
        wanted: commands by --labels; without any all labels of the training rows are.
        labels: of the training rows.
        has_noise: whether there are recordings to cut `_silence_` from.
    Raises:
        FlagError: a command has no training row, or there is only one class.

    >>> classes_of(["yes", "no"], ["no", "tree", "yes"], has_noise=True).names
    ('yes', 'no', '_unknown_', '_silence_')
    """
    there = {label for label in labels if label}
    missing = [label for label in wanted if label not in there]
    if missing:
        raise FlagError(
            f"--labels {','.join(missing)}: no row of --train_files has that label\n"
            f"They have {', '.join(sorted(there)[:40])}."
        )
    if set(wanted) & set(OTHERS):
        raise FlagError(f"--labels: {' and '.join(OTHERS)} are no commands; they are added where rows have them")
    commands = tuple(wanted) or tuple(sorted(there - set(OTHERS)))
    names = list(commands)
    if there - {*commands, SILENCE}:
        names.append(UNKNOWN)
    if SILENCE in there or has_noise:
        names.append(SILENCE)
    if len(names) < 2:
        raise FlagError(
            f"--train_files: all rows have the label {''.join(names) or '(none)'}; a model tells two classes apart or "
            "more\nAdd rows with other words, which become _unknown_, or --silence_noise."
        )
    return Classes(tuple(names))
