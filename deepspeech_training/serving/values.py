"""Values of a query or of a JSON message, checked: what is wrong is told by its name, never by a traceback."""

import difflib
import json
import math
from collections.abc import Collection, Mapping
from typing import Any

from deepspeech_training.serving.errors import ServingError

LONGEST_TEXT = 200  # characters of a name or a word
MOST_ALTERNATIVES = 20
DEFAULT_BOOST = 5.0  # of a hot word for which a protocol has no number
TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def bad(message: str, param: str | None = None) -> ServingError:
    """What the client sent is wrong; `param` is the field."""
    return ServingError(message, "bad_request", param=param)


def shown(found: object) -> str:
    """What was found, short enough for a message, and without characters that break one."""
    text = found if isinstance(found, str) else json.dumps(found, default=str)
    text = text if len(text) <= 40 else text[:40] + "..."
    return ascii(text) if isinstance(found, str) else text


def json_object(text: str) -> dict[str, Any]:
    """The object that a text message holds."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise bad(f"the message is no JSON: {shown(text)}") from None
    if not isinstance(found, dict):
        raise bad(f"the message must be a JSON object, it is {shown(found)}")
    return found


def whole(found: object, name: str, *, least: int, most: int) -> int:
    """A whole number, as such or as text; 16000.0 is one."""
    value = number(found, name, least=least, most=most)
    if value != int(value):
        raise bad(f"{name} must be a whole number, it is {shown(found)}")
    return int(value)


def number(found: object, name: str, *, least: float = -math.inf, most: float = math.inf) -> float:
    """A finite number, as such or as text."""
    value = math.nan
    if isinstance(found, int | float | str) and not isinstance(found, bool):
        try:
            value = float(found)
        except (ValueError, OverflowError):
            value = math.nan
    if not math.isfinite(value):
        raise bad(f"{name} must be a number, it is {shown(found)}")
    if not least <= value <= most:
        bounds = f"from {least:g} to {most:g}" if math.isfinite(most) else f"{least:g} or more"
        raise bad(f"{name} must be {bounds}, it is {shown(found)}")
    return value


def truth(found: object, name: str) -> bool:
    """Yes or no: true and false, 1 and 0, or those as text."""
    if isinstance(found, bool):
        return found
    if found in (0, 1):
        return found == 1
    if isinstance(found, str) and found.lower() in TRUE + FALSE:
        return found.lower() in TRUE
    raise bad(f"{name} must be 1 or 0, it is {shown(found)}")


def text(found: object, name: str) -> str:
    """A short text."""
    if not isinstance(found, str):
        raise bad(f"{name} must be a text, it is {shown(found)}")
    if len(found) > LONGEST_TEXT:
        raise bad(f"{name} is longer than {LONGEST_TEXT} characters: {shown(found)}")
    return found


def mapping(found: object, name: str) -> dict[str, Any]:
    """An object of JSON."""
    if not isinstance(found, dict):
        raise bad(f"{name} must be an object, it is {shown(found)}")
    return found


def hot_words(found: object, name: str, *, boost: float = DEFAULT_BOOST) -> dict[str, float]:
    """Words and what each adds.

    Args:
        found: an object {"word": 7}, the same as text, a list of words, or "word:7,other" as text.
        boost: of a word for which none is given.

    >>> hot_words("left:7,right", "hot_words")
    {'left': 7.0, 'right': 5.0}
    """
    if isinstance(found, str) and found.lstrip().startswith("{"):
        found = json_object(found)
    if isinstance(found, str):
        found = [part.strip() for part in found.split(",") if part.strip()]
    if isinstance(found, list):
        pairs: list[tuple[object, object]] = [_pair(entry, name, boost) for entry in found]
    elif isinstance(found, dict):
        pairs = list(found.items())
    else:
        raise bad(f"{name} must be words with their boosts, as in left:7,right:5; it is {shown(found)}")
    return {text(word, name): number(value, f"{name}, the boost of {shown(word)},") for word, value in pairs}


def _pair(entry: object, name: str, boost: float) -> tuple[object, object]:
    word, colon, value = text(entry, name).rpartition(":")
    return (word, value) if colon else (entry, boost)


def check_names(found: Collection[str] | Mapping[str, object], known: Collection[str], where: str) -> None:
    """Refuse a name that nobody reads, which would be a setting that silently does nothing."""
    for name in found:
        if name not in known:
            near = difflib.get_close_matches(name[:LONGEST_TEXT], list(known), n=1)
            hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(sorted(known))}"
            raise bad(f"{where} has no {shown(name)}; {hint}")
