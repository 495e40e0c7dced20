"""What is kept of recordings that a model has transcribed, as it lies in files."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

State = Literal["open", "accepted", "rejected"]
STATES: tuple[State, ...] = ("open", "accepted", "rejected")


@dataclass(frozen=True)
class Bench:
    """Where recordings are corrected: a corpus comes of it.

    Args:
        language: of the texts, such as en; "" for none.
    """

    title: str
    language: str
    made_at: str


@dataclass(frozen=True)
class HeardWord:
    """A word with the probability that it is right."""

    text: str
    confidence: float


@dataclass(frozen=True)
class Heard:
    """A piece of a recording, and what the model has heard in it.

    Args:
        id: of its files.
        recording: which one, a UUID in hex.
        name: of the recording, as its sender calls it.
        start_s, end_s: the piece, in the recording.
        confidence: the mean of those of the words.
        model: NAME/VERSION that was served, or its file.
    """

    id: str
    recording: str
    name: str
    start_s: float
    end_s: float
    text: str
    confidence: float
    words: tuple[HeardWord, ...]
    model: str

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_json(cls, found: Mapping[str, Any]) -> "Heard":
        return cls(**{**found, "words": tuple(HeardWord(**word) for word in found["words"])})


@dataclass(frozen=True)
class Verdict:
    """What a person says of a piece.

    Args:
        text: what is really said; "" where it is what was heard.
    """

    state: State = "open"
    text: str = ""
