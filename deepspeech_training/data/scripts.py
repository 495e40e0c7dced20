"""Which script the letters of a text are of, such as LATIN or CYRILLIC, as Unicode names them."""

import unicodedata
from collections import Counter
from collections.abc import Iterable

USUAL_SHARE = 0.95  # of the letters: what is written in the others is then a slip, not a habit
_TOGETHER = dict.fromkeys(("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "CJK"), "JAPANESE")


def scripts_of(text: str) -> set[str]:
    """The scripts of its letters; marks, modifier letters, digits and signs are of any.

    >>> scripts_of("co-op 2"), scripts_of("кот") == scripts_of("коt"), scripts_of("カードは")
    ({'LATIN'}, False, {'JAPANESE'})
    """
    found = set()
    for character in text:
        if unicodedata.category(character) in ("Lu", "Ll", "Lt", "Lo"):
            script = unicodedata.name(character, "UNKNOWN").split()[0]
            found.add(_TOGETHER.get(script, script))
    return found


def usual_scripts(texts: Iterable[str]) -> frozenset[str]:
    """The scripts that nearly all of some texts keep to; empty where there are no such."""
    counts = Counter(frozenset(scripts_of(text)) for text in texts)
    total, usual = counts.total(), set[str]()
    for scripts, _ in counts.most_common():
        usual |= scripts
        if sum(count for found, count in counts.items() if found <= usual) >= USUAL_SHARE * total:
            return frozenset(usual)
    return frozenset()
