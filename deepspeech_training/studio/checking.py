"""Takes to listen to again: in the order of what is most likely wrong, a page at a time."""

import math
import statistics
from collections.abc import Callable, Sequence

from deepspeech_training.studio.project import Project
from deepspeech_training.studio.records import Take

PAGE = 50
_KEYS: dict[str, Callable[[Take], float]] = {
    "quietest": lambda take: take.sound.speech_dbfs,
    "loudest": lambda take: -take.sound.peak_dbfs,
    "noisiest": lambda take: take.sound.speech_dbfs - take.sound.noise_dbfs,
    "fastest": lambda take: -pace(take),
    "slowest": lambda take: pace(take),
}
ORDERS = ("oddest", *_KEYS)


def pace(take: Take) -> float:
    """Characters a second."""
    return len(take.text) / max(take.sound.seconds, 0.01)


def ordered(project: Project, order: str, person: str = "") -> list[Take]:
    """The takes that count, of one person or of all, in one of ORDERS."""
    takes = [take for take in project.takes() if not person or take.person == person]
    key = _oddness(takes) if order == "oddest" else _KEYS[order]
    return sorted(takes, key=key)


def _oddness(takes: Sequence[Take]) -> Callable[[Take], float]:
    """How far a take is from the others of its person, in pace and level, after those with remarks."""
    of_people: dict[str, list[Take]] = {}
    for take in takes:
        of_people.setdefault(take.person, []).append(take)
    usual = {
        person: (
            statistics.median(math.log(max(pace(take), 0.01)) for take in mine),
            statistics.median(take.sound.speech_dbfs for take in mine),
        )
        for person, mine in of_people.items()
    }

    def key(take: Take) -> float:
        usual_pace, usual_level = usual[take.person]
        away = abs(math.log(max(pace(take), 0.01)) - usual_pace) + abs(take.sound.speech_dbfs - usual_level) / 20
        return -(100 * len(take.sound.remarks) + away)

    return key
