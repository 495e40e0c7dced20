"""What a flag is: its default, its help, which values it allows, and what it means for a checkpoint."""

import csv
import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

LARGEST_INT = 2**31 - 1
TYPE_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text", tuple: "a comma list"}

Value = bool | int | float | str | tuple[str, ...] | None


@dataclass(frozen=True)
class Flag:
    """What there is to know of one flag; the type of `default` is the type of its values, unless `kind` says it.

    `zero` says what 0 means and `default_is` what an empty or negative default stands for. `choices` are all that is
    possible, `examples` some, which are offered for completion. The bounds `at_least` and
    `at_most` are inclusive, `above` and `below` exclusive; `special` is one more number that is allowed. A flag with a
    `placeholder` takes any text in angle brackets for nothing, as DeepSpeech's flags.txt has it. A `repeatable` flag
    gathers the values of all places where it stands, and its values may have commas. `alone` is what a flag means
    that stands without a value. Where `default` is None the value is found elsewhere unless the flag is given, with
    whatever value; written without one (`--flag=`) it is as if it were not there. `path` says what kind of path the
    value is, in which ~ is the home folder: a file must be there, and an output must be one that can be written.

    What it means for a checkpoint: `fixed_by_weights` is where the state of a checkpoint has the value that its weights
    were made with, section and key, and no other is possible with them; `fixed_in_a_run` is for a value that a run
    which resumes keeps, and of which a new run with its weights is free; `quiet`, that a change on resume is nobody's
    surprise; `describes_training`, that an inspection names the value where it is not the default;
    `private`, that the value may hold a password or a token and changes nothing of a training: it is written nowhere,
    and `DEEPSPEECH_` with the flag's name in capitals is the variable that stands for it.
    """

    default: Any
    help: str
    unit: str = ""
    zero: str = ""
    default_is: str = ""
    choices: Collection[str] = ()
    examples: Collection[str] = ()
    at_least: float | None = None
    at_most: float | None = None
    above: float | None = None
    below: float | None = None
    special: float | None = None
    path: Literal["", "file", "files", "folder", "output"] = ""
    placeholder: str = ""
    repeatable: bool = False
    alone: str = ""
    kind: type | None = None
    fixed_by_weights: tuple[str, str] | None = None
    fixed_in_a_run: bool = False
    quiet: bool = False
    describes_training: bool = False
    private: bool = False

    @property
    def type(self) -> type:
        return self.kind or type(self.default)

    @property
    def whole_help(self) -> str:
        """The help with the meaning of 0."""
        return f"{self.help} (0: {self.zero})" if self.zero else self.help

    @property
    def default_text(self) -> str:
        if self.default_is or self.placeholder:
            return self.default_is or "a placeholder to fill in"
        return value_text(self.default) or "none"

    @property
    def allowed(self) -> str:
        """Which values are allowed, in words.

        >>> Flag(5, "checkpoints to keep", at_least=1).allowed
        'a whole number, at least 1'
        """
        if self.choices:
            return f"{'some' if self.type is tuple else 'one'} of {', '.join(self.choices)}"
        bounds = [
            f"{words} {bound:g}"
            for words, bound in (
                ("above", self.above),
                ("at least", self.at_least),
                ("below", self.below),
                ("at most", self.at_most),
            )
            if bound is not None
        ]
        kind = TYPE_NAMES[self.type] + (f", {' and '.join(bounds)}" if bounds else "")
        return kind if self.special is None else f"{kind}, or {self.special:g}"

    def allows(self, value: Any) -> bool:
        """Whether a value of the right type is allowed."""
        if self.type in (int, float):
            return self._allows_number(value)
        if self.type is tuple and self.choices:
            return set(value) <= set(self.choices)
        return not self.choices or value in self.choices or value == self.default

    def _allows_number(self, number: float) -> bool:
        if self.special is not None and number == self.special:
            return True
        return (
            math.isfinite(number)
            and (self.at_least is None or number >= self.at_least)
            and (self.at_most is None or number <= self.at_most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
            and (self.type is float or abs(number) <= LARGEST_INT)
        )


def flag(default: Value, help: str, **details: Any) -> Any:
    """A dataclass field that is a flag; `details` are the fields of `Flag`."""
    return field(default=default, metadata={"flag": Flag(default, help, **details)})


def value_text(value: Value) -> str:
    """A value as it is written on the command line.

    >>> value_text(True), value_text(1e-8), value_text(("a.csv", "b.csv"))
    ('true', '1e-08', 'a.csv,b.csv')
    """
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return join_list(value) if isinstance(value, tuple) else str(value)


def split_list(text: str) -> tuple[str, ...]:
    """The items of a comma list; an item with a comma stands in double quotes, as in a CSV.

    >>> split_list('a.csv, "b,c.csv"')
    ('a.csv', 'b,c.csv')
    """
    return tuple(item.strip() for row in csv.reader([text], skipinitialspace=True) for item in row if item.strip())


def join_list(items: Iterable[str]) -> str:
    """What `split_list` reads as these items."""
    return ",".join(
        '"' + item.replace('"', '""') + '"' if "," in item or item.startswith('"') else item for item in items
    )
