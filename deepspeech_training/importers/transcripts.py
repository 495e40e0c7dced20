"""What people wrote down -> transcripts that a model can learn, or the reason why not.

The default rules are those of DeepSpeech's importers (validate_label_eng in its util/importers.py), made to name what
they refuse. What they do with signs and letters is in data/text.py, which folders of recordings and scorers share.
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
from deepspeech_training.data.text import PLAIN_APOSTROPHES, Cleaner, fault_of, tidied
from deepspeech_training.errors import FlagError, UserError

MAX_CHARACTERS = 10_000  # of one transcript; a longer one is a broken row
_NUMBER = re.compile(r"\d+")
# What --normalize would lose with all else that is not ASCII, though there is an ASCII form.
_ASCII_SIGNS = PLAIN_APOSTROPHES | dict.fromkeys(map(ord, "–—‐‑"), "-") | dict.fromkeys(map(ord, "“”„«»"), '"')


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

    In this order: NFC, single spaces, nothing invisible; numbers to words; `normalize`; the validator (the default
    rules of the language, or a function of the user's); lower case; the alphabet; a space after every character.

    Args:
        language: a code such as "en" or "zh-CN"; chooses the line of PUNCTUATION, the small form of I, and how
            numbers are read.
        validator: from `load_validator`; None takes the default rules.
        numbers: "keep", or "words".
        lowercase: None: with the default rules, unless the alphabet has capitals; not with a validator of the user's.
        normalize: decompose (NFKD) and drop all that is not ASCII, as DeepSpeech's --normalize.
        alphabet: refuse what it cannot write, and leave what it has; None takes all characters.
        space_after_every_character: for scripts without spaces, as DeepSpeech's option of that name.

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
        text = tidied(text)
        if fault := fault_of(text):
            reason, _, value = fault.partition(": ")
            return Refusal("bad_row", reason, value)
        if not text:
            return Refusal("empty_transcript", "there is no text", "")
        if self.numbers == "words":
            text = _NUMBER.sub(lambda found: f"{_words_of(found[0], self.language)}", text)
        if self.normalize:
            text = unicodedata.normalize("NFKD", text.translate(_ASCII_SIGNS)).encode("ascii", "ignore").decode("ascii")
        if self.validator is None:
            kind, found = self._cleaner.refused_in(text)
            if found:
                return Refusal("label_refused", f"the default rules take no {kind}", " ".join(found)[:100])
            label = self._cleaner.without_signs(text)
        else:
            checked = _checked(self.validator, text)
            if isinstance(checked, Refusal):
                return checked
            label = checked
        if self.lowercase or (self.lowercase is None and self.validator is None):
            label = self._cleaner.in_case(label)
        label = " ".join(unicodedata.normalize("NFC", label).split())
        if not label:
            return Refusal("empty_transcript", "nothing is left of the text but punctuation", text)
        if self.space_after_every_character:
            label = " ".join(label.replace(" ", ""))
        if self.alphabet and (missing := self.alphabet.missing(label)):
            return Refusal("not_in_alphabet", "characters that are not in the alphabet", " ".join(missing[:20]))
        return label

    @functools.cached_property
    def _cleaner(self) -> Cleaner:
        return Cleaner(self.alphabet, self.language, case="lower" if self.lowercase else "alphabet")


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
