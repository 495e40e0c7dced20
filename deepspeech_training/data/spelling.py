"""How one side of a lexicon is written, as letters or as phones, and the numbers that stand for its symbols.

A network takes and gives numbers: 0 is the padding of what it takes and the end of what it gives, 1 and up are the
symbols, and one more than there are symbols stands for any that the training data did not have.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

LETTERS, PHONES, SPACED_PHONES = "letters", "phones", "spaced phones"
KINDS = (LETTERS, PHONES, SPACED_PHONES)
END = 0
_STRESS = "ˈˌ"  # modifier letters too, but they stand before what they change and are symbols of their own
_TIES = "\u0361\u035c"  # they join the letters before and after: t͡ʃ is one phone


def phones_of(text: str) -> tuple[str, ...]:
    """The phones of a pronunciation that is written without spaces.

    A letter and the marks and modifier letters after it are one phone, as are letters that a tie joins. Stress marks
    are symbols of their own.

    >>> phones_of("ˈt͡ʃɪkɪnː"), phones_of("kʰæ̃t")
    (('ˈ', 't͡ʃ', 'ɪ', 'k', 'ɪ', 'nː'), ('kʰ', 'æ̃', 't'))
    """
    phones: list[str] = []
    for character in text:
        category = unicodedata.category(character)
        is_mark = category.startswith("M") or (category in ("Lm", "Sk") and character not in _STRESS)
        if phones and phones[-1] not in _STRESS and (is_mark or phones[-1][-1] in _TIES):
            phones[-1] += character
        else:
            phones.append(character)
    return tuple(phones)


def _letters_of(character: str) -> str:
    """A syllable of Hangul in its letters, of which there are 67 and not 11,172; anything else as it is."""
    return unicodedata.normalize("NFD", character) if "\uac00" <= character <= "\ud7a3" else character


@dataclass(frozen=True)
class Spelling:
    """One side of a lexicon.

    Args:
        kind: one of KINDS.
        symbols: those that the training data has; the number of a symbol is its place, from 1.

    >>> ipa = Spelling.of(SPACED_PHONES, ["k æ t", "tʃ ɪ n"])
    >>> ipa.units("k æ t"), ipa.units("tʃæn"), ipa.numbers("n æ θ")
    (('k', 'æ', 't'), ('tʃ', 'æ', 'n'), (2, 5, 7))
    >>> ipa.text((4, 5))
    'tʃ æ'
    """

    kind: str
    symbols: tuple[str, ...]
    _numbers: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is not one of {', '.join(KINDS)}")
        if len(set(self.symbols)) < len(self.symbols) or "" in self.symbols:
            raise ValueError("a symbol is there twice, or is empty")
        object.__setattr__(self, "_numbers", {symbol: place for place, symbol in enumerate(self.symbols, start=1)})

    @classmethod
    def of(cls, kind: str, texts: Iterable[str]) -> Self:
        """With all the symbols of some texts, sorted."""
        bare = cls(kind, ())
        return cls(kind, tuple(sorted({unit for text in texts for unit in bare.units(text)})))

    @classmethod
    def from_description(cls, description: Mapping[str, Any]) -> Self:
        """What `describe` gave.

        Raises:
            KeyError, TypeError, ValueError: it is something else.
        """
        return cls(description["kind"], tuple(description["symbols"]))

    def describe(self) -> dict[str, Any]:
        return {"kind": self.kind, "symbols": list(self.symbols)}

    @property
    def unknown(self) -> int:
        """The number of any symbol that the training data did not have."""
        return len(self.symbols) + 1

    def units(self, text: str) -> tuple[str, ...]:
        """The symbols of a text, known or not.

        Phones with spaces may be given without them: then the longest known phone is taken at each place.
        """
        if self.kind == LETTERS:
            return tuple(letter for character in text for letter in _letters_of(character))
        if self.kind == PHONES:
            return phones_of("".join(text.split()))
        units = text.split()
        if len(units) != 1 or units[0] in self._numbers or not self.symbols:
            return tuple(units)
        return tuple(self._longest(units[0]))

    def _longest(self, text: str) -> list[str]:
        most, found = max(map(len, self.symbols)), []
        while text:
            length = next((n for n in range(min(most, len(text)), 1, -1) if text[:n] in self._numbers), 0)
            if not length:
                length = 1 if text[0] in self._numbers else len(phones_of(text)[0])
            found.append(text[:length])
            text = text[length:]
        return found

    def numbers(self, text: str) -> tuple[int, ...]:
        """The numbers of the symbols of a text."""
        return tuple(self._numbers.get(unit, self.unknown) for unit in self.units(text))

    def strange(self, text: str) -> tuple[str, ...]:
        """The symbols of a text that the training data did not have, each once."""
        return tuple(dict.fromkeys(unit for unit in self.units(text) if unit not in self._numbers))

    def units_of(self, numbers: Sequence[int]) -> tuple[str, ...]:
        """The symbols that numbers stand for."""
        return tuple(self.symbols[number - 1] for number in numbers)

    def joined(self, units: Sequence[str]) -> str:
        """Symbols as the data writes them."""
        if self.kind == LETTERS:
            return unicodedata.normalize("NFC", "".join(units))
        return (" " if self.kind == SPACED_PHONES else "").join(units)

    def text(self, numbers: Sequence[int]) -> str:
        """What numbers stand for, as the data writes it."""
        return self.joined(self.units_of(numbers))
