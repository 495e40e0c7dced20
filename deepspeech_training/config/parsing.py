"""Words, flagfiles and YAML -> Config.

Syntax is DeepSpeech's: `--x 1`, `--x=1`, `-x 1`, `--x`, `--nox`, `--x=false`, comma lists and `--flagfile`; `--x false`
works too, where DeepSpeech ignores the word.
"""

import difflib
import math
import os
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deepspeech_training.config.flag import LARGEST_INT, Flag, Value, join_list, split_list
from deepspeech_training.config.groups import FLAGS, Config, config_of
from deepspeech_training.config.obsolete import ABSL, OBSOLETE, REFUSED, SILENT_AT_DEFAULT
from deepspeech_training.config.presets import CONFORMER_SIZES, PRESETS
from deepspeech_training.config.rules import check_files, check_together, notices_on
from deepspeech_training.errors import FlagError

_KNOWN = {**FLAGS, **OBSOLETE, **REFUSED}
_HELP: Mapping[str, Literal["short", "full"]] = {
    "help": "short",
    "helpshort": "short",
    "h": "short",
    "?": "short",
    "helpfull": "full",
}
_SWITCH = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_TRUE, _FALSE = ("true", "t", "yes", "1"), ("false", "f", "no", "0")


@dataclass(frozen=True)
class ParsedFlags:
    """A command line that has been read.

    Args:
        config: all flags, defaults included.
        given: names of the flags of `config` that the command line or a flagfile sets.
        notices: lines to show before the run starts, such as those on obsolete flags.
        help_wanted: "short" for --help, "full" for --helpfull; the rest of the command line is then not read.
        version_wanted: --version was given; likewise.
        command_line: all that was typed, to be repeated by a person; "" where nobody has.
    """

    config: Config
    given: frozenset[str] = frozenset()
    notices: tuple[str, ...] = ()
    help_wanted: Literal["", "short", "full"] = ""
    version_wanted: bool = False
    command_line: str = ""

    @property
    def log_level(self) -> int:
        return self.config.reporting.log_level

    @property
    def show_progressbar(self) -> bool:
        return self.config.reporting.show_progressbar


def parse_flags(argv: Sequence[str]) -> ParsedFlags:
    """Read a command line, without the program's name.

    Raises:
        FlagError: a flag is unknown, refused, or has a value that is not allowed; or a flagfile cannot be read.

    >>> parsed = parse_flags(["--train_files", "a.csv,b.csv", "--early_stop", "false", "--noshuffle", "--epochs=3"])
    >>> parsed.config.data.train_files, parsed.config.early_stop.early_stop, parsed.config.training.epochs
    (('a.csv', 'b.csv'), False, 3)
    >>> sorted(parsed.given)
    ['early_stop', 'epochs', 'shuffle', 'train_files']
    """
    for word in argv:
        if any(0xD800 <= ord(character) <= 0xDFFF for character in word):  # Python's sign for a byte it cannot decode
            raise FlagError(f"{word!a}: is not UTF-8, in which flags are logged and saved; rename the file or folder")
    reader = _Reader()
    reader.read_words(argv, _Place())
    if reader.help_wanted or reader.version_wanted:
        return ParsedFlags(Config(), help_wanted=reader.help_wanted, version_wanted=reader.version_wanted)
    if reader.refused:
        lines = tuple(dict.fromkeys(reader.refused))
        raise FlagError("\n".join((*lines, f"Leave {'this flag' if len(lines) == 1 else 'these flags'} out for now.")))
    values = reader.config_values | reader.values
    network = str(values.get("network", FLAGS["network"].default))
    preset = PRESETS.get(str(values.get("preset", "none")))
    sizes: Mapping[str, int] = {}
    if "conformer_size" in values:
        sizes = CONFORMER_SIZES[str(values["conformer_size"])]
    config = config_of({**(preset.values_of(network) if preset else {}), **sizes, **values})
    check_files(config)
    check_together(config)
    notices = (*dict.fromkeys(reader.notices), *notices_on(config))
    return ParsedFlags(config, frozenset({**sizes, **values}), notices)


class _Fault(ValueError):
    """What is wrong with one flag; `_Reader.read_words` adds where it stands."""


@dataclass(frozen=True)
class _Place:
    """Where words come from: the command line, or a line of a flagfile; `chain` has the flagfiles that led there."""

    chain: tuple[Path, ...] = ()
    line: int = 0

    @property
    def prefix(self) -> str:
        return f"{self.chain[-1]}, line {self.line}: " if self.chain else ""


class _Reader:
    """Gathers the values of the words that it reads; the last value of a flag wins, as in absl."""

    def __init__(self):
        self.values: dict[str, Value] = {}
        self.config_values: dict[str, Value] = {}  # of --config, for which those of the command line count
        self.notices: list[str] = []
        self.refused: list[str] = []
        self.help_wanted: Literal["", "short", "full"] = ""
        self.version_wanted = False

    def read_words(self, words: Sequence[str], place: _Place) -> None:
        rest = deque(words)
        while rest and not (self.help_wanted or self.version_wanted):
            word = rest.popleft()
            if word == "--" and not rest:
                return
            match = re.fullmatch(r"--?([^=-][^=]*)(?:=(.*))?", word, re.DOTALL)
            if match is None:
                raise FlagError(
                    f"{place.prefix}{_shown(word)!r} is not a flag; flags start with --, and a list is written "
                    "with commas and without spaces: --train_files a.csv,b.csv (a name with a comma in double quotes: "
                    "'\"a,b.csv\"')"
                )
            try:
                self._read_flag(match[1], match[2], rest, place)
            except _Fault as fault:
                raise FlagError(f"{place.prefix}{fault}") from None

    def _read_flag(self, name: str, text: str | None, rest: deque[str], place: _Place) -> None:
        """Read one flag; `text` is what follows its =, and `rest` the words after it."""
        if not place.chain and text is None and (name in _HELP or name == "version"):
            self.help_wanted, self.version_wanted = _HELP.get(name, ""), name == "version"
            return
        if name == "flagfile":
            self._read_flagfile(_take(name, text, rest), place)
            return
        if name == "config":
            self._read_config(_take(name, text, rest), place)
            return
        name, negated = _resolve(name, _KNOWN | ABSL if place.chain else _KNOWN)
        known = _KNOWN.get(name) or ABSL[name]
        if name in REFUSED and not place.chain:
            self.refused.append(f"--{name} {known.help}")
            while rest and not looks_like_flag(rest[0]):  # its value, or Coqui's list of them
                rest.popleft()
            return
        take = _take_bool if known.type is bool else _take
        if known.alone and text is None and not negated and (not rest or looks_like_flag(rest[0])):
            text = known.alone
        if negated and text is not None:
            raise _Fault(f"--no{name} takes no value; write --no{name} or --{name}={text}")
        text = "false" if negated else take(name, text, rest)
        if known.alone and text.lower() in _SWITCH:  # in YAML, and --noname
            text = known.alone if _SWITCH[text.lower()] else ""
        if name in FLAGS and known.repeatable:
            texts = [text]
            while not place.chain and rest and not looks_like_flag(rest[0]):  # Coqui's way to write several
                texts.append(rest.popleft())
            before = self.values.get(name, ())
            assert isinstance(before, tuple), "a repeatable flag is a tuple"
            self.values[name] = before + _read_values(name, texts)
        elif name in FLAGS:
            self.values[name] = _read_value(name, known, text)
        elif name in OBSOLETE:
            if not (_is_default(name, known, text) and (place.chain or name in SILENT_AT_DEFAULT)):
                self.notices.append(f"{place.prefix}--{name} {known.help}")
        elif name in REFUSED and not _is_default(name, known, text):
            self.refused.append(f"{place.prefix}--{name} {known.help}")

    def _read_config(self, text: str, place: _Place) -> None:
        """Read a YAML file of flags: scalars and flat lists, as written; nothing in it is made into objects."""
        path = _path_of(text, place)
        reader, names = _Reader(), set()
        for name, items, line in _yaml_entries(path, text):
            here = _Place((*place.chain, path), line)
            try:
                if name in names:
                    raise _Fault(f"{name} stands there twice")
                resolved, negated = _resolve(name, _KNOWN)
                if negated:
                    raise _Fault(f"{name}: write {name.removeprefix('no')}: false")
                if not _KNOWN[resolved].repeatable:
                    items = [items[0] if len(items) == 1 else join_list(items)]
                for item in items:
                    reader._read_flag(name, item, deque(), here)
            except _Fault as fault:
                raise FlagError(f"{here.prefix}{fault}") from None
            names.add(name)
        self.config_values |= reader.values
        self.notices += reader.notices
        self.refused += reader.refused

    def _read_flagfile(self, text: str, place: _Place) -> None:
        path = _path_of(text, place)
        if os.path.realpath(path) in map(os.path.realpath, place.chain):
            circle = " -> ".join(str(file) for file in (*place.chain, path))
            raise _Fault(f"--flagfile {text}: the files include each other without end: {circle}")
        try:
            lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").split("\n")
        except OSError as error:
            raise _Fault(f"--flagfile {text}: {error.strerror or error}") from None
        for number, line in enumerate(lines, start=1):
            line = line.strip()
            if not line or line.startswith(("#", "//")):
                continue
            words = [line] if "=" in line.split(maxsplit=1)[0] else line.split(maxsplit=1)
            self.read_words(words, _Place((*place.chain, path), number))


def _path_of(text: str, place: _Place) -> Path:
    """The file that a flag names; in a flagfile it counts from there."""
    path = Path(os.path.expanduser(text))
    return place.chain[-1].parent / path if place.chain else path


def _yaml_entries(path: Path, text: str) -> Iterator[tuple[str, list[str], int]]:
    """Name, items of its value, and line of each entry of a YAML file; `text` is what --config said."""
    import yaml

    try:
        root = yaml.SafeLoader(path.read_text(encoding="utf-8-sig")).get_single_node()
    except OSError as error:
        raise _Fault(f"--config {text}: {error.strerror or error}") from None
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        raise _Fault(f"--config {text}{where}: is not YAML: {getattr(error, 'problem', None) or error}") from None
    if root is not None and not isinstance(root, yaml.MappingNode):
        raise _Fault(f"--config {text}: must be lines such as `epochs: 30`")
    for key, value in root.value if root is not None else ():
        line = key.start_mark.line + 1
        items = value.value if isinstance(value, yaml.SequenceNode) else [value]
        if not all(isinstance(node, yaml.ScalarNode) for node in (key, *items)):
            raise _Fault(f"--config {text}, line {line}: a value is one word, number or text, or a list of them")
        if any(item.tag == "tag:yaml.org,2002:null" for item in items):
            raise _Fault(f"--config {text}, line {line}: {key.value} has no value")
        yield key.value, [item.value for item in items], line


def _resolve(name: str, known: Mapping[str, Flag]) -> tuple[str, bool]:
    """The flag that a word names, and whether the word is its --no form."""
    if name in known:
        return name, False
    positive = name.removeprefix("no")
    if positive != name and positive in known and (known[positive].type is bool or known[positive].alone):
        return positive, True
    booleans = [f"no{candidate}" for candidate, flag in FLAGS.items() if flag.type is bool or flag.alone]
    near = difflib.get_close_matches(
        name.replace("-", "_"), [*_KNOWN, *booleans, "flagfile", "config", "helpfull", "version"]
    )
    hint = f"; did you mean {' or '.join(f'--{candidate}' for candidate in near)}?" if near else "; see --help"
    raise _Fault(f"unknown flag --{name}{hint}")


def _shown(word: str) -> str:
    """A word that may be an address with a password, without that."""
    scheme, separator, _ = word.partition("://")
    return f"{scheme}{separator}..." if separator else word


def _take(name: str, text: str | None, rest: deque[str]) -> str:
    """The value of a flag: `text`, or else the next word."""
    if text is not None:
        return text
    if not rest or looks_like_flag(rest[0]):
        found = f", and {rest[0]} follows" if rest else ""
        raise _Fault(f"--{name} needs a value{found}; write --{name}=...")
    return rest.popleft()


def looks_like_flag(word: str) -> bool:
    """Whether a word is no value; `-1` and a file named `-x` are values, `-epochs=3` is a flag."""
    return word.startswith("--") or (word.startswith("-") and word[1:].partition("=")[0] in _KNOWN)


def _take_bool(name: str, text: str | None, rest: deque[str]) -> str:
    if text is not None:
        return text
    return rest.popleft() if rest and rest[0].lower() in _TRUE + _FALSE else "true"


def _read_value(name: str, flag: Flag, text: str) -> Value:
    if "\n" in text or "\r" in text:
        raise _Fault(f"--{name} {text!r}: a value cannot have a line break")
    text = text.strip()
    if flag.default is None and not text:
        return None
    if flag.placeholder and text.startswith("<") and text.endswith(">"):
        text = ""
    value: Value | None = text
    if flag.type is bool:
        value = _bool_of(text)
    elif flag.type is int:
        value = int(text) if re.fullmatch(r"[+-]?[0-9]{1,18}", text) else None
    elif flag.type is float:
        value = _float_of(text) if "_" not in text else None
    elif flag.type is tuple:
        value = split_list(text)
    if flag.path and value:
        value = tuple(map(os.path.expanduser, value)) if isinstance(value, tuple) else os.path.expanduser(text)
    if value is None or not flag.allows(value):
        raise _Fault(f"--{name} {text or repr('')}: must be {flag.allowed}{_nearest(flag, text)}")
    return value


def _read_values(name: str, texts: Sequence[str]) -> tuple[str, ...]:
    """The values of a repeatable flag; an empty text is none."""
    if any("\n" in text or "\r" in text for text in texts):
        raise _Fault(f"--{name}: a value cannot have a line break")
    return tuple(filter(None, (text.strip() for text in texts)))


def _bool_of(text: str) -> bool | None:
    return True if text.lower() in _TRUE else False if text.lower() in _FALSE else None


def _float_of(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _nearest(flag: Flag, text: str) -> str:
    """A hint at the allowed value that is nearest to `text`, where there is one."""
    if flag.choices:
        if flag.type is tuple:
            text = next(item.strip() for item in text.split(",") if item.strip() and item.strip() not in flag.choices)
        alike = difflib.get_close_matches(text.lower(), flag.choices, n=1, cutoff=0.5)
        return f"; did you mean {alike[0]}?" if alike else ""
    number = _float_of(text)
    if flag.type not in (int, float) or number is None or not math.isfinite(number):
        return ""
    low = flag.at_least if flag.at_least is not None else -LARGEST_INT
    high = flag.at_most if flag.at_most is not None else LARGEST_INT
    near = min(max(round(number) if flag.type is int else number, low), high)
    return f"; the nearest is {near}" if flag.allows(near) else ""


def _is_default(name: str, flag: Flag, text: str) -> bool:
    """Whether `text` is DeepSpeech's default of a flag of OBSOLETE or REFUSED."""
    text = text.strip()
    if flag.type is bool:
        if _bool_of(text) is None:
            raise _Fault(f"--{name} {text}: must be {flag.allowed}")
        return _bool_of(text) == flag.default
    if flag.type in (int, float):
        return _float_of(text) == flag.default
    return text == flag.default
