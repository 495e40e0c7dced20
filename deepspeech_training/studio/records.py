"""What is kept of a project, as it lies in files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from deepspeech_training.studio.sound import UNUSABLE, Measured


@dataclass(frozen=True)
class Plan:
    """What is read in a project, in this order. Prompts are only ever added, so that their numbers stay."""

    title: str
    language: str
    prompts: tuple[str, ...]
    consent: str
    made_at: str


@dataclass(frozen=True)
class Person:
    """Somebody who reads.

    Args:
        id: the name in CSVs and files.
        pseudonym: as it was typed.
        consent: the text that was agreed to; empty where none was asked for.
    """

    id: str
    pseudonym: str
    consent: str
    agreed_at: str


@dataclass(frozen=True)
class Take:
    """One recording of one prompt.

    Args:
        id: made by the page, so that the same one that is sent twice is one.
        recorded_at: by the clock of the page.
    """

    id: str
    person: str
    prompt: int
    text: str
    recorded_at: str
    sound: Measured

    @property
    def is_usable(self) -> bool:
        return not UNUSABLE & set(self.sound.remarks)

    def as_json(self) -> dict[str, Any]:
        sound = {
            key: round(value, 3) if isinstance(value, float) else value for key, value in asdict(self.sound).items()
        }
        return {**asdict(self), "sound": sound}

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> "Take":
        sound = Measured(**{**found["sound"], "remarks": tuple(found["sound"]["remarks"])})
        return cls(**{**found, "sound": sound})


@dataclass(frozen=True)
class Mark:
    """What somebody says who has listened to a take.

    Args:
        dropped: it is left out of the corpus.
        text: what is really said; "" where it is what was shown.
    """

    dropped: bool = False
    text: str = ""


def now() -> str:
    return as_time(datetime.now(UTC))


def as_time(moment: datetime) -> str:
    """In UTC, so that the order of the texts is that of the moments.

    >>> as_time(datetime.fromisoformat("2026-01-31T12:00:00.5+01:00"))
    '2026-01-31T11:00:00.500Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
