"""What people wrote down -> transcripts that a model can learn: every rule that changes or refuses text is here.

The default rules are those of DeepSpeech's importers (validate_label_eng in its util/importers.py), made to name what
they refuse. What they remove in each language is the table PUNCTUATION.
"""

import functools
import importlib.util
import re
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.errors import FlagError, UserError

MAX_CHARACTERS = 10_000  # of one transcript; a longer one is a broken row


@dataclass(frozen=True)
class Punctuation:
    """What the default rules do with signs of one language.

    Args:
        removed: characters that vanish.
        spaces: characters that become a space.
        refused: characters that refuse the whole transcript, since nobody knows how they were read aloud. Digits
            of any script always do.
        replaced: pairs of characters, applied first: other forms of the same letter or sign.
    """

    removed: str = '.,;?!:"'
    spaces: str = "-_"
    refused: str = "()<[]&*{"
    replaced: tuple[tuple[str, str], ...] = ()


# The ancestor's rules, for English, and the typographic signs that Common Voice has in all languages.
_APOSTROPHES = (("’", "'"), ("‘", "'"), ("`", "'"), ("´", "'"))
_REMOVED = '.,;?!:"“”„«»‹›…'
_SPACES = "-_–—‐‑/"
PUNCTUATION = {
    "en": Punctuation(_REMOVED, _SPACES, replaced=_APOSTROPHES),
    "ar": Punctuation(_REMOVED + "،؛؟ـ", _SPACES),  # the last one is the tatweel, which only stretches a word
    "az": Punctuation(_REMOVED, _SPACES, replaced=(*_APOSTROPHES, ("İ", "i"), ("I", "ı"))),
    "ca": Punctuation(_REMOVED, _SPACES, replaced=_APOSTROPHES),
    "de": Punctuation(_REMOVED + "‚‘’'", _SPACES),
    "el": Punctuation(_REMOVED + "·;", _SPACES, replaced=_APOSTROPHES),
    "es": Punctuation(_REMOVED + "¿¡", _SPACES),
    "fa": Punctuation(_REMOVED + "،؛؟ـ", _SPACES + "\u200c"),  # the zero-width non-joiner parts two halves of a word
    "fr": Punctuation(_REMOVED, _SPACES, replaced=_APOSTROPHES),
    "hi": Punctuation(_REMOVED + "।॥", _SPACES),
    "it": Punctuation(_REMOVED, _SPACES, replaced=_APOSTROPHES),
    "ja": Punctuation(_REMOVED + "。、？！「」『』・", _SPACES + "\u3000"),
    "tr": Punctuation(_REMOVED, _SPACES, replaced=(*_APOSTROPHES, ("İ", "i"), ("I", "ı"))),
    "zh": Punctuation(_REMOVED + "。，、？！：；「」『』《》", _SPACES + "\u3000"),
    "*": Punctuation(_REMOVED, _SPACES, replaced=_APOSTROPHES),  # every other language
}
# Byte order mark, zero-width space, word joiner, soft hyphen, marks of direction: nobody sees or says them.
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u2060\u00ad\u200e\u200f"))
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a transcript is not taken: a reason code, what is the matter with it, and the piece that is."""

    code: str
    reason: str
    value: str


Validator = Callable[[str], str | None]


@dataclass(frozen=True)
class TranscriptRules:
    """Text of a corpus to a transcript, or a Refusal.

    In this order: NFC and single spaces; numbers to words; `normalize`; the validator (the default rules of the
    language, or a function of the user's); lower case; the alphabet; a space after every character.

    Args:
        language: a code such as "en" or "zh-CN"; chooses the line of PUNCTUATION and how numbers are read.
        validator: from `load_validator`; None takes the default rules.
        numbers: "keep", or "words".
        lowercase: None: with the default rules, as the ancestor; not with a validator of the user's.
        normalize: decompose (NFKD) and drop all that is not ASCII, as the ancestor's --normalize.
        alphabet: refuse what it cannot write; None takes all characters.
        space_after_every_character: for scripts without spaces, as the ancestor's option of that name.

    >>> TranscriptRules()("It's 20 – or so?")
    Refusal(code='label_refused', reason='the default rules take no digits', value='20')
    >>> TranscriptRules(numbers="words")("It’s 20 – or so?")
    "it's twenty or so"
    """

    language: str = "en"
    validator: Validator | None = None
    numbers: str = "keep"
    lowercase: bool | None = None
    normalize: bool = False
    alphabet: Alphabet | None = None
    space_after_every_character: bool = False

    def __post_init__(self):
        if self.numbers == "words":
            _words_of("1", self.language)  # says now if the language is not known

    def __call__(self, text: str) -> str | Refusal:
        if len(text) > MAX_CHARACTERS:
            return Refusal("bad_row", f"the text has more than {MAX_CHARACTERS:,} characters", f"{len(text)}")
        text = " ".join(unicodedata.normalize("NFC", text.translate(_INVISIBLE)).split())
        if not text.isprintable() and (bad := [c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Cn")]):
            return Refusal("bad_row", "the text has control characters", " ".join(f"U+{ord(c):04X}" for c in bad[:20]))
        if not text:
            return Refusal("empty_transcript", "there is no text", "")
        if self.numbers == "words":
            text = _NUMBER.sub(lambda found: f"{_words_of(found[0], self.language)}", text)
        if self.normalize:
            text = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode("ascii")
        if self.validator is None:
            label = _default_label(text, self.punctuation)
        else:
            label = _checked(self.validator, text)
        if isinstance(label, Refusal):
            return label
        if self.lowercase or (self.lowercase is None and self.validator is None):
            label = label.lower()
        label = " ".join(unicodedata.normalize("NFC", label).split())
        if not label:
            return Refusal("empty_transcript", "nothing is left of the text but punctuation", text)
        if self.space_after_every_character:
            label = " ".join(label.replace(" ", ""))
        if self.alphabet and (missing := self.alphabet.missing(label)):
            return Refusal("not_in_alphabet", "characters that are not in the alphabet", " ".join(missing[:20]))
        return label

    @functools.cached_property
    def punctuation(self) -> Punctuation:
        return PUNCTUATION.get(re.split("[-_]", self.language.lower())[0], PUNCTUATION["*"])


@functools.cache
def _tables(rules: Punctuation) -> tuple[dict[int, str], re.Pattern]:
    table = {ord(old): new for old, new in rules.replaced}
    table |= {ord(character): " " for character in rules.spaces}
    table |= {ord(character): "" for character in rules.removed if ord(character) not in table}
    return table, re.compile(f"[{re.escape(rules.refused)}]")


def _default_label(text: str, rules: Punctuation) -> str | Refusal:
    table, refused = _tables(rules)
    if found := _NUMBER.findall(text):
        return Refusal("label_refused", "the default rules take no digits", " ".join(found)[:100])
    if found := refused.findall(text):
        return Refusal("label_refused", "the default rules take no such signs", " ".join(dict.fromkeys(found)))
    return text.translate(table)


def _checked(validator: Validator, text: str) -> str | Refusal:
    try:
        label = validator(text)
    except Exception as error:  # whatever a user's own code may raise costs this row alone, and is told
        return Refusal("label_refused", f"the validator failed: {type(error).__name__}: {error}"[:200], text)
    if label is None or label is False:
        return Refusal("label_refused", "the validator refused it", text)
    if not isinstance(label, str):
        return Refusal("label_refused", f"the validator returned {type(label).__name__}, not text", text)
    return label


def _words_of(digits: str, language: str) -> str:
    """Digits as the number is read aloud in that language.

    Raises:
        FlagError: num2words is not installed, or does not know the language.
    """
    try:
        from num2words import num2words
    except ImportError as error:
        raise FlagError("--numbers words needs the package num2words\nInstall it: pip install num2words") from error
    if len(digits) > 15:  # a row of figures, not a number that anybody reads as one
        return " ".join(_words_of(digit, language) for digit in digits)
    for code in (language.replace("-", "_"), re.split("[-_]", language)[0]):
        try:
            return num2words(int(digits), lang=code)
        except NotImplementedError:
            continue
    raise FlagError(
        f"--numbers words: num2words does not know the language {language}\n"
        "Write the numbers out in a validator of your own (--validate_label_locale), or leave the flag away."
    )


def load_validator(path: str | Path) -> Validator:
    """The function `validate_label(text) -> text or None` of a Python file; this runs the file.

    Raises:
        UserError: the file is not there, cannot be run, or has no such function.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"--validate_label_locale {path}: there is no such file")
    spec = importlib.util.spec_from_file_location("validate_label_locale", path)
    if spec is None or spec.loader is None:
        raise UserError(f"--validate_label_locale {path}: not a Python file: its name has to end in .py")
    module = importlib.util.module_from_spec(spec)
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # no __pycache__ beside a user's file
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"--validate_label_locale {path}: {type(error).__name__}: {error}") from error
    finally:
        sys.dont_write_bytecode = bytecode
    if not callable(getattr(module, "validate_label", None)):
        raise UserError(
            f"--validate_label_locale {path}: it has no function validate_label(text)\n"
            "It gets a text and returns the transcript, or None to refuse it."
        )
    return module.validate_label
