"""How what is served lately differs from the test set: numbers in memory, of no utterance what was said."""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from deepspeech_training.runtime.figures import SHARES, STATISTICS, Place
from deepspeech_training.runtime.profile import MODERATE, Profile, band, drift

WINDOW_UTTERANCES, WINDOW_S = 500, 24 * 3600.0
LEAST_SERVED = LEAST_REFERENCE = 100  # with fewer the index is chance


class Window:
    """The last utterances of a model, at most WINDOW_UTTERANCES and none older than WINDOW_S; for many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._last: deque[tuple[float, Sequence[Place]]] = deque()
        self._profile = Profile()

    def add(self, places: Sequence[Place]) -> None:
        with self._lock:
            self._last.append((self._clock(), places))
            self._profile.add(places)
            self._forget()

    def profile(self) -> Profile:
        """Of what is in it now."""
        with self._lock:
            self._forget()
            return self._profile.copy()

    def _forget(self) -> None:
        too_old = self._clock() - WINDOW_S
        while self._last and (len(self._last) > WINDOW_UTTERANCES or self._last[0][0] < too_old):
            self._profile.add(self._last.popleft()[1], times=-1)


def indices(served: Profile, reference: Profile | None) -> dict[str, float]:
    """The drift of each statistic that both have enough of, in their order; see `runtime.profile`."""
    if reference is None or served.utterances < LEAST_SERVED or reference.utterances < LEAST_REFERENCE:
        return {}
    return {
        name: drift(reference.counts(name), served.counts(name))
        for name in (*STATISTICS, *SHARES)
        if sum(served.counts(name)) >= LEAST_SERVED and sum(reference.counts(name)) >= LEAST_REFERENCE
    }


def report(served: Profile, reference: Profile | None) -> dict[str, Any]:
    """The drift of a model, as JSON has it; `sentence` is the line to show.

    `band` is "none", "moderate" or "large", that of the statistic that drifts most; null while nothing can be said.
    """
    found = indices(served, reference)
    worst = max(found.values(), default=None)
    return {
        "band": None if worst is None else band(worst),
        "sentence": _sentence(served, reference, found),
        "utterances": served.utterances,
        "reference_utterances": reference.utterances if reference else None,
        "statistics": {
            name: {
                "what": STATISTICS[name].what if name in STATISTICS else SHARES[name],
                "unit": STATISTICS[name].unit if name in STATISTICS else "",
                "served": _rounded(served.middle(name)),
                "reference": _rounded(reference.middle(name)) if reference else None,
                "drift": _rounded(found.get(name)),
                "band": band(found[name]) if name in found else None,
            }
            for name in (*STATISTICS, *SHARES)
        },
    }


def _sentence(served: Profile, reference: Profile | None, found: dict[str, float]) -> str:
    if reference is None:
        return "what is served cannot be compared: the model was not registered with a test set"
    if reference.utterances < LEAST_REFERENCE:
        return (
            f"what is served cannot be compared: the test set has {reference.utterances} utterances, "
            f"{LEAST_REFERENCE} are the least"
        )
    if not found:
        return f"too few utterances to compare with the test set: {served.utterances} of {LEAST_SERVED}"
    moved = sorted((name for name in found if found[name] >= MODERATE), key=lambda name: -found[name])
    if not moved:
        return f"the last {served.utterances} utterances are like the test set"
    changes = [
        f"{STATISTICS[name].what if name in STATISTICS else SHARES[name]} {_value(served, name)} instead of "
        f"{_value(reference, name)} ({band(found[name])} drift, {found[name]:.2f})"
        for name in moved
    ]
    return f"the last {served.utterances} utterances differ from the test set: {'; '.join(changes)}"


def _value(profile: Profile, name: str) -> str:
    middle = profile.middle(name)
    if middle is None:
        return "none"
    if name in SHARES or name == "clipped_ratio":
        return f"{middle:.1%}"
    if name == "confidence":
        return f"{middle:.2f}"
    return f"{middle:.3g} {STATISTICS[name].unit}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
