"""What people wrote -> text that a model can learn, the same for folders, importers and scorers.

    "Don’t stop, it’s FINE"  ->  "don't stop it's fine"

A text becomes NFC without invisible characters; what the alphabet has stays as it is; typographic apostrophes become
the alphabet's; signs that nobody says go; letters take the case of the alphabet. The rows of CSVs are not changed, but
`fault_of` refuses those whose text is none.
"""

import functools
import re
import unicodedata
from collections.abc import Collection
from dataclasses import dataclass

from deepspeech_training.alphabet import Alphabet, ByteAlphabet

# The apostrophe of keyboards, and what word processors, phones and keyboards of some languages make of it: quotation
# marks, modifier letters, accents and primes, and the full-width form.
APOSTROPHES = "'’‘‛`´ʼʻʹ′＇ꞌ"
PLAIN_APOSTROPHES = dict.fromkeys(map(ord, APOSTROPHES), "'")
# Letters I and İ have the small forms ı and i in these languages.
DOTLESS_LANGUAGES = ("tr", "az", "crh", "gag", "kaa", "tur", "aze")
# Signs of Unicode's category "other punctuation" that stand for words.
SPOKEN_SIGNS = "&@#%‰‱*§¶†‡\\·"


@dataclass(frozen=True)
class Punctuation:
    """What becomes of the signs of one language.

    Args:
        removed: characters that vanish.
        spaces: characters that become a space.
        refused: characters that refuse the whole transcript, since nobody knows how they were read aloud. Digits
            of any script always do.
    """

    removed: str
    spaces: str
    refused: str = "()<[]&*{"


# DeepSpeech's rules, for English, and the typographic signs that Common Voice has in all languages.
_REMOVED = '.,;?!:"“”„«»‹›…'
_SPACES = "-_–—‐‑/"
PUNCTUATION = {
    "ar": Punctuation(_REMOVED + "،؛؟ـ", _SPACES),  # the last one is the tatweel, which only stretches a word
    "de": Punctuation(_REMOVED + "‚" + APOSTROPHES, _SPACES),
    "el": Punctuation(_REMOVED + "·;", _SPACES),
    "es": Punctuation(_REMOVED + "¿¡", _SPACES),
    "fa": Punctuation(_REMOVED + "،؛؟ـ", _SPACES + "\u200c"),  # the zero-width non-joiner parts two halves of a word
    "hi": Punctuation(_REMOVED + "।॥", _SPACES),
    "ja": Punctuation(_REMOVED + "。、？！「」『』・", _SPACES + "\u3000"),
    "zh": Punctuation(_REMOVED + "。，、？！：；「」『』《》", _SPACES + "\u3000"),
    "*": Punctuation(_REMOVED, _SPACES),  # every other language
}

# Nobody sees or says these: byte order mark, spaces without width, soft hyphen, marks and controls of direction,
# operators and shapes that only programs read, selectors of a form, tags. The joiners U+200C and U+200D are letters of
# some scripts, and not among them.
_INVISIBLE_RANGES = (
    "\u00ad\u00ad \u034f\u034f \u061c\u061c \u180b\u180f \u200b\u200b \u200e\u200f \u202a\u202e \u2060\u206f "
    "\ufe00\ufe0f \ufeff\ufeff \ufff9\ufffb \U0001bca0\U0001bca3 \U000e0000\U000e0fff"
)
_INVISIBLE = re.compile(f"[{''.join('-'.join(pair) for pair in _INVISIBLE_RANGES.split())}]")
# Arabic and the scripts of India, in which a joiner after a letter changes how the word is written.
_IDLE_JOINER = re.compile("(?<![\u0600-\u0dff\u1000-\u109f])[\u200c\u200d]")
_NUMBER = re.compile(r"\d+")
# UTF-8 that was read as Windows-1252 and saved again: "Ã©" for "é", "â€™" for "’".
_TWICE_ENCODED = re.compile("[ÂÃâ][\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]")


def tidied(text: str) -> str:
    r"""NFC, single spaces, and no character that nobody sees.

    >>> tidied("\ufeff caf\u0065\u0301 \u202bx\u202c")
    'café x'
    """
    if not text.isascii():
        text = _IDLE_JOINER.sub("", _INVISIBLE.sub("", unicodedata.normalize("NFC", text)))
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.split())


def fault_of(text: str, allowed: Collection[str] = ()) -> str:
    r"""Why a text is none, or "": control characters, signs of a lost encoding.

    Args:
        allowed: characters that are text all the same, such as those of an alphabet.

    >>> fault_of("a\0b"), fault_of("café")
    ('the text has control characters: U+0000', '')
    """
    if text.isascii() and text.isprintable():
        return ""
    if not text.isprintable():
        odd = (c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Cn", "Zl", "Zp") and c not in allowed)
        if found := list(dict.fromkeys(odd)):
            return f"the text has control characters: {shown(found)}"
    if "\ufffd" in text and "\ufffd" not in allowed:
        return "the text has U+FFFD: letters were lost when its encoding was changed"
    if _TWICE_ENCODED.search(text) and (meant := _decoded_twice(text)):
        return f"the text was saved in a wrong encoding; it seems to mean: {meant[:80]!r}"
    return ""


def invisible_in(text: str, allowed: Collection[str] = ()) -> list[str]:
    """The characters of a text that nobody sees, each once."""
    return [] if text.isascii() else [c for c in dict.fromkeys(_INVISIBLE.findall(text)) if c not in allowed]


def shown(characters: Collection[str]) -> str:
    """Code points, for a message."""
    return " ".join(f"U+{ord(character):04X}" for character in list(characters)[:20])


def _decoded_twice(text: str) -> str:
    """What UTF-8 stood there before it was read as Windows-1252; "" where that cannot be."""
    try:
        data = b"".join(c.encode("latin-1") if ord(c) < 0x100 else c.encode("cp1252") for c in text)
        return data.decode("utf-8")
    except UnicodeError:
        return ""


def lowered(text: str, *, dotless: bool) -> str:
    """Small letters; with `dotless`, I becomes ı, as in Turkish. İ is an i everywhere.

    >>> lowered("ISPARTA İstanbul", dotless=True), lowered("ISPARTA İstanbul", dotless=False)
    ('ısparta istanbul', 'isparta istanbul')
    """
    return (text.replace("I", "ı") if dotless else text).replace("İ", "i").lower()


@dataclass(frozen=True)
class Cleaner:
    """Cleans texts for an alphabet, or for none: then all letters stay, and apostrophes become that of keyboards.

    Args:
        alphabet: what the model can write. Its characters always stay.
        language: a code such as "en" or "zh-CN": chooses the line of PUNCTUATION and the small form of I.
        case: "keep"; "lower" (upper, if the alphabet has only capitals); or "alphabet": lower unless it has capitals.
    """

    alphabet: Alphabet | ByteAlphabet | None = None
    language: str = ""
    case: str = "alphabet"

    def __call__(self, text: str) -> str:
        """The text without signs, in the case of the alphabet; what the alphabet lacks and somebody says stays."""
        return self.in_case(self.without_signs(tidied(text)))

    def without_signs(self, text: str) -> str:
        """A text that is tidy, in its own case."""
        if self._keeps_all:
            return text.translate(PLAIN_APOSTROPHES)
        return " ".join(text.translate(self._signs).split())

    def in_case(self, text: str) -> str:
        """A text in the case of the alphabet."""
        if self._case == "keep":
            return text
        text = lowered(text, dotless=self.dotless)
        if self._case == "lower":
            return text
        return (text.replace("i", "İ") if "İ" in self._letters else text).upper()

    def refused_in(self, text: str) -> tuple[str, list[str]]:
        """What no rule knows how to say in a tidy text, by its kind ("digits" or "such signs"), and what the alphabet
        lacks."""
        if found := [number for number in _NUMBER.findall(text) if not self._letters.issuperset(number)]:
            return "digits", found
        return "such signs", list(dict.fromkeys(self._refused.findall(text))) if self._refused else []

    @functools.cached_property
    def punctuation(self) -> Punctuation:
        return PUNCTUATION.get(_primary(self.language), PUNCTUATION["*"])

    @functools.cached_property
    def _refused(self) -> re.Pattern | None:
        signs = [sign for sign in self.punctuation.refused if sign not in self._letters]
        return re.compile(f"[{re.escape(''.join(signs))}]") if signs else None

    @functools.cached_property
    def dotless(self) -> bool:
        """Whether the small form of I is ı."""
        return _primary(self.language) in DOTLESS_LANGUAGES or ("ı" in self._letters and not self._keeps_all)

    @functools.cached_property
    def _keeps_all(self) -> bool:
        return isinstance(self.alphabet, ByteAlphabet)

    @functools.cached_property
    def _letters(self) -> frozenset[str]:
        return frozenset(self.alphabet.characters if self.alphabet else ())

    @functools.cached_property
    def _case(self) -> str:
        if self.case == "keep" or not any(character.isupper() for character in self._letters):
            return self.case.replace("alphabet", "lower")
        if not any(character.islower() for character in self._letters):
            return "upper"
        return self.case.replace("alphabet", "keep")

    @functools.cached_property
    def _signs(self) -> "_Signs":
        return _Signs(self)


def _primary(language: str) -> str:
    return re.split("[-_]", language.lower())[0]


class _Signs(dict):
    """What becomes of each character (a table for `str.translate`), worked out when it is first met."""

    def __init__(self, cleaner: Cleaner):
        super().__init__()
        self._cleaner, self._kept, self._rules = cleaner, cleaner._letters, cleaner.punctuation
        self._apostrophe = next((c for c in APOSTROPHES if c in self._kept), "" if self._kept else "'")

    def __missing__(self, code: int) -> str:
        self[code] = found = self._of(chr(code))
        return found

    def _of(self, character: str) -> str:
        if character in self._kept:
            return character
        if character in self._rules.spaces:
            return " "
        if character in APOSTROPHES and (self._apostrophe in self._kept or character not in self._rules.removed):
            return self._apostrophe
        if character in self._rules.removed:
            return ""
        return self._of_an_alphabets(character) if self._kept else character

    def _of_an_alphabets(self, character: str) -> str:
        """A character that the alphabet lacks and no rule names."""
        category = unicodedata.category(character)
        if category in ("Pd", "Pc"):
            return " "
        if category in ("Pi", "Pf") or (category == "Po" and character not in SPOKEN_SIGNS):
            return ""
        if character in "\u200c\u200d":
            return ""
        if category.startswith("L"):  # another form of letters that are there: ﬁ, ｆ, ﺏ
            plain = unicodedata.normalize("NFKC", character)
            if plain != character and self._kept.issuperset(self._cleaner.in_case(plain)):
                return plain
        return character
