"""The registry as it lies on the volume, read: models by name, their versions, and which one is promoted.

    models/.lock                  an flock for whoever writes (writer.py)
    models/NAME/registry.json     the promoted version, those before it, and what was done when and why
    models/NAME/VERSION/          1, 2, 3 ...: model.tflite, model.scorer, card.json and what else belongs to it
    models/NAME/.*.part           of a writer at work, or of one that was killed: the next one removes it

Readers need no lock: a version and registry.json come by rename, so they are there whole or not at all.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.errors import UserError

REGISTRY_DIR = "persistent-data/models"
MODEL_FILE, SCORER_FILE, CARD_FILE, RESULTS_FILE = "model.tflite", "model.scorer", "card.json", "test_results.json"
VOCABULARY_FILE = "vocabulary.txt"  # the words of the transcripts that a model was trained on
STATE_FILE = "registry.json"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")  # one part of a path, and no hidden one
NUMBER = re.compile(r"[1-9][0-9]{0,8}")
MAX_JSON_BYTES = 1 << 24


class DamagedModel(UserError):
    """A version whose files are not those that were registered."""


@dataclass(frozen=True)
class Event:
    """What was done with a version: "registered" (not promoted), "promoted", "rolled back" (to it) or "removed".

    Args:
        at: seconds since 1970.
    """

    at: float
    version: int
    what: str
    why: str


@dataclass(frozen=True)
class State:
    """What registry.json says of a model.

    Args:
        promoted: the version that is served; None while there is none.
        before: those that were promoted before it, the last one last: where a rollback leads.
        history: all that was done.
    """

    promoted: int | None = None
    before: tuple[int, ...] = ()
    history: tuple[Event, ...] = ()

    def as_json(self) -> dict[str, Any]:
        history = [vars(event) for event in self.history]
        return {"format": 1, "promoted": self.promoted, "before": list(self.before), "history": history}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "State":
        """
        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        promoted = values["promoted"]
        return cls(
            None if promoted is None else int(promoted),
            tuple(int(number) for number in values["before"]),
            tuple(Event(float(e["at"]), int(e["version"]), str(e["what"]), str(e["why"])) for e in values["history"]),
        )

    def why(self, version: int) -> Event | None:
        """The last thing that was done with a version; None: its registration was cut off before that was written."""
        return next((event for event in reversed(self.history) if event.version == version), None)

    def is_removed(self, version: int) -> bool:
        event = self.why(version)
        return event is not None and event.what == "removed"


@dataclass(frozen=True)
class Version:
    """One version of a model; its files never change."""

    name: str
    number: int
    folder: Path

    def __str__(self) -> str:
        return f"{self.name}/{self.number}"

    @property
    def model_path(self) -> Path:
        return self.folder / MODEL_FILE

    @property
    def scorer_path(self) -> Path | None:
        path = self.folder / SCORER_FILE
        return path if path.exists() else None

    def vocabulary(self) -> frozenset[str] | None:
        """The words that the model was trained on; None where they were not known."""
        path = self.folder / VOCABULARY_FILE
        return frozenset(path.read_text(encoding="utf-8").split()) if path.exists() else None

    def card(self) -> dict[str, Any]:
        """What card.json says (card.py).

        Raises:
            DamagedModel: it is missing or no card.
        """
        path = self.folder / CARD_FILE
        try:
            card = read_json(path)
            files = card["files"]
            if MODEL_FILE not in files or not all(
                Path(name).name == name and len(files[name]["sha256"]) == 64 for name in files
            ):
                raise ValueError("its list of files is not one")
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise DamagedModel(f"{path}: not the card of a model ({_said(error)})\n{self._way_out}") from error
        return card

    def check(self) -> dict[str, Any]:
        """Compare every file with its checksum; returns the card.

        Raises:
            DamagedModel: one is missing, damaged or was exchanged.
        """
        card = self.card()
        for name, entry in card["files"].items():
            path = self.folder / name
            try:
                if not path.is_file():
                    raise DamagedModel(f"{path}: the file is missing\n{self._way_out}")
                with open(path, "rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            except OSError as error:
                raise DamagedModel(f"{path}: cannot be read: {error.strerror}\n{self._way_out}") from error
            if found != entry["sha256"]:
                raise DamagedModel(
                    f"{path}: damaged or exchanged: its SHA-256 is {found[:12]}..., and {entry['sha256'][:12]}... was "
                    f"registered\n{self._way_out}"
                )
        if SCORER_FILE not in card["files"] and self.scorer_path is not None:
            raise DamagedModel(f"{self.scorer_path}: a scorer that was not registered\n{self._way_out}")
        return card

    @property
    def _way_out(self) -> str:
        return (
            f"Copy it from a backup, or use another version: deepspeech models rollback {self.name}, "
            f"deepspeech models promote {self.name}/VERSION."
        )


class Registry:
    """The models below a folder."""

    def __init__(self, folder: Path):
        self.folder = folder

    def names(self) -> list[str]:
        """The models that have a version."""
        if not self.folder.is_dir():
            return []
        return sorted(
            path.name for path in self.folder.iterdir() if NAME.fullmatch(path.name) and self.numbers(path.name)
        )

    def numbers(self, name: str) -> list[int]:
        """The versions of a model, in their order."""
        folder = self.model_folder(name)
        if not folder.is_dir():
            return []
        found = [int(path.name) for path in folder.iterdir() if NUMBER.fullmatch(path.name) and path.is_dir()]
        state = self.state(name)
        return sorted(number for number in found if not state.is_removed(number))

    def versions(self, name: str) -> list[Version]:
        return [self.version(name, number) for number in self.numbers(name)]

    def version(self, name: str, number: int) -> Version:
        return Version(name, number, self.model_folder(name) / str(number))

    def model_folder(self, name: str) -> Path:
        return self.folder / checked_name(name)

    def state(self, name: str) -> State:
        """What registry.json says; of a model that has none, nothing is promoted.

        Raises:
            UserError: somebody has damaged it.
        """
        path = self.model_folder(name) / STATE_FILE
        if not path.exists():
            return State()
        try:
            return State.from_json(read_json(path))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: damaged ({_said(error)})\nDelete it: the versions stay, and deepspeech models promote "
                f"{name}/VERSION makes a new one."
            ) from error

    def promoted(self, name: str) -> Version | None:
        """The version that is to be served.

        Raises:
            UserError: it is not there any more.
        """
        number = self.state(name).promoted
        if number is None:
            return None
        version = self.version(name, number)
        if not version.folder.is_dir():
            raise UserError(
                f"{version.folder}: version {number} is promoted, and it is not there\n"
                f"Promote another one: deepspeech models promote {name}/VERSION."
            )
        return version

    def find(self, reference: str) -> Version:
        """The version that NAME/VERSION means; NAME alone is the promoted one.

        Raises:
            UserError: there is none.
        """
        name, slash, number = reference.partition("/")
        checked_name(name)
        if name not in (names := self.names()):
            raise UserError(f"{reference}: {self.folder} has no model {name}; {_offer('it has', names)}")
        if not slash:
            version = self.promoted(name)
            if version is None:
                raise UserError(f"{name}: no version is promoted; name one: {_offer('', self.versions(name))}")
            return version
        if not NUMBER.fullmatch(number) or int(number) not in self.numbers(name):
            raise UserError(f"{reference}: there is no such version; {_offer('there is', self.versions(name))}")
        return self.version(name, int(number))


def is_registry(folder: Path) -> bool:
    """Whether a folder has registered models, or is the one of a registered model."""
    return (folder / STATE_FILE).is_file() or any(folder.glob(f"*/{STATE_FILE}"))


def promoted_in(folder: Path) -> list[Version]:
    """The promoted version of each model of a registry, or of the one model whose folder it is.

    Raises:
        UserError: one of them is not there.
    """
    folder = folder.absolute()
    if (folder / STATE_FILE).is_file():
        found = [Registry(folder.parent).promoted(folder.name)]
    else:
        found = [Registry(folder).promoted(name) for name in Registry(folder).names()]
    return [version for version in found if version is not None]


def checked_name(name: str) -> str:
    """The name of a model, which is the name of a folder too.

    Raises:
        UserError: it is not fit for one.

    >>> checked_name("en-small")
    'en-small'
    """
    if not NAME.fullmatch(name):
        raise UserError(
            f"{name[:100]!r}: not the name of a model: up to 64 letters, digits, dots, hyphens and underscores, "
            "the first a letter or digit"
        )
    return name


def read_json(path: Path, *, most_bytes: int = MAX_JSON_BYTES) -> Any:
    """The values of a JSON file.

    Raises:
        ValueError: it is missing, too large or no JSON.
    """
    try:
        if path.stat().st_size > most_bytes:
            raise ValueError(f"it is larger than {most_bytes:,} bytes")
        return json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(error.strerror) from error
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def _said(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _offer(words: str, found: Sequence[object]) -> str:
    return (
        f"{words} {', '.join(map(str, found[-20:]))}".strip() if found else "there is none: deepspeech models register"
    )
