"""Text to labels and back: the alphabet of a model, read from DeepSpeech's `alphabet.txt`.

A label is an index into the alphabet; the CTC blank comes after the last character. `samples` encodes every
transcript with it, `decoding` turns labels into text, and the export stores `Alphabet.serialize()`.
"""

import re
import struct
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_training.errors import UserError
from deepspeech_training.text_files import read_text

if TYPE_CHECKING:  # loaded where it is needed: an importer needs alphabets and no numpy, which takes 0.1 s
    import numpy as np

# Not str.splitlines: it also splits at U+0085 and U+2028, which may be characters of an alphabet.
_LINE_END = re.compile("\r\n|\r|\n")


@dataclass(frozen=True)
class Alphabet:
    """The characters that a model can write; the label of a character is its index.

    Args:
        characters: one Unicode code point each after NFC, no two alike.
    Raises:
        ValueError: a character is not one code point, occurs twice, or cannot stand on a line of its own.

    >>> alphabet = Alphabet("abc ")
    >>> alphabet.encode("a cab")
    array([0, 3, 2, 0, 1], dtype=int32)
    >>> alphabet.decode([2, 0, 1])
    'cab'
    >>> alphabet.blank, alphabet.num_classes
    (4, 5)
    """

    characters: Sequence[str]
    _labels: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        characters = tuple(unicodedata.normalize("NFC", character) for character in self.characters)
        labels = {character: label for label, character in enumerate(characters)}
        if not characters:
            raise ValueError("an alphabet needs at least one character")
        if len(labels) < len(characters):
            raise ValueError("a character occurs twice in the alphabet")
        for character in characters:
            # U+FEFF at the start of alphabet.txt would be read as a byte order mark; surrogates have no UTF-8 form.
            if len(character) != 1 or character in "\r\n\ufeff" or unicodedata.category(character) == "Cs":
                raise ValueError(f"{character!r} cannot be a character of an alphabet")
        object.__setattr__(self, "characters", characters)
        object.__setattr__(self, "_labels", labels)

    @classmethod
    def read(cls, path: str | Path) -> "Alphabet":
        r"""Read an `alphabet.txt`: one character on each line, in the order of the labels.

        A line that starts with `#` is a comment, `\#` is the character `#`, a line of one space is the space, and
        empty lines do not count. Unlike DeepSpeech this takes a last line without a newline, a byte order mark,
        UTF-16 with one, and decomposed characters (they are composed: NFC).

        Raises:
            UserError: the file or its encoding cannot be read; it has no character, one twice, or several on a line.
        """
        text = read_text(str(path), what="the alphabet")
        return cls._parse(text, source=str(path))

    @classmethod
    def english(cls) -> "Alphabet":
        """The alphabet of DeepSpeech's English models: space, a to z, apostrophe.

        >>> Alphabet.english().size
        28
        """
        import importlib.resources

        text = (importlib.resources.files("deepspeech_training") / "package_data" / "alphabet.txt").read_text("utf-8")
        return cls._parse(text, source="the built-in alphabet.txt")

    @classmethod
    def _parse(cls, text: str, *, source: str) -> "Alphabet":
        line_of: dict[str, int] = {}
        for number, line in enumerate(_LINE_END.split(text), start=1):
            if not line or line.startswith("#"):
                continue
            character = "#" if line == r"\#" else unicodedata.normalize("NFC", line)
            if len(character) != 1 or character == "\ufeff":
                points = " ".join(f"U+{ord(point):04X}" for point in character[:8])
                raise UserError(
                    f"{source}, line {number}: {character[:40]!r} is {len(character)} characters ({points})\n"
                    "Put one Unicode character on each line; a combining mark has a line of its own, "
                    "and a comment starts with #."
                    if len(character) != 1
                    else f"{source}, line {number}: a byte order mark inside the alphabet\nDelete the line."
                )
            if character in line_of:
                raise UserError(
                    f"{source}, lines {line_of[character]} and {number}: {character!r} is twice in the alphabet\n"
                    "Delete one of the two lines."
                )
            line_of[character] = number
        if not line_of:
            raise UserError(f"{source}: the alphabet has no characters\nPut one character on each line.")
        return cls(tuple(line_of))

    @property
    def size(self) -> int:
        """The number of characters, without the blank."""
        return len(self.characters)

    @property
    def blank(self) -> int:
        """The label of the CTC blank: the one after the last character."""
        return self.size

    @property
    def num_classes(self) -> int:
        """The characters and the blank: the depth of the logits."""
        return self.size + 1

    def missing(self, text: str) -> list[str]:
        """The characters of `text` that the alphabet lacks, each once, in the order of their first occurrence.

        >>> Alphabet.english().missing("café 33")
        ['é', '3']
        """
        return [character for character in dict.fromkeys(text) if character not in self._labels]

    def encode(self, text: str) -> "np.ndarray":
        """Turn text into labels.

        Args:
            text: in NFC, as `samples` makes every transcript.
        Returns:
            int32 [characters].
        Raises:
            ValueError: the alphabet lacks some of the characters; the message lists them.
        """
        import numpy as np

        try:
            return np.array([self._labels[character] for character in text], np.int32)
        except KeyError:
            listed = " ".join(map(repr, self.missing(text)))
            raise ValueError(f"characters that are not in the alphabet: {listed}") from None

    def decode(self, labels: Iterable[int]) -> str:
        """Turn labels into text; there must be no blank among them.

        Raises:
            ValueError: a label is not that of a character.
        """
        labels = [int(label) for label in labels]
        wrong = [label for label in labels if not 0 <= label < self.size]
        if wrong:
            raise ValueError(f"label {wrong[0]} is outside the alphabet of {self.size} characters")
        return "".join(self.characters[label] for label in labels)

    def to_text(self) -> str:
        r"""The contents of an `alphabet.txt` that reads back as this alphabet.

        >>> Alphabet("a# ").to_text()
        'a\n\\#\n \n'
        """
        return "".join(("\\#" if character == "#" else character) + "\n" for character in self.characters)

    def serialize(self) -> bytes:
        r"""The bytes that DeepSpeech's clients read from `metadata_alphabet` and from a scorer (Alphabet::Serialize).

        Little-endian: uint16 number of characters; for each: uint16 label, uint16 number of bytes, the UTF-8 bytes.

        >>> Alphabet("ab").serialize()
        b'\x02\x00\x00\x00\x01\x00a\x01\x00\x01\x00b'
        """
        parts = [struct.pack("<H", self.size)]
        for label, character in enumerate(self.characters):
            encoded = character.encode("utf-8")
            parts.append(struct.pack("<HH", label, len(encoded)) + encoded)
        return b"".join(parts)


class ByteAlphabet:
    """The labels of a model that writes UTF-8 (`--bytes_output_mode`): byte 1 is label 0, and so on to 255.

    It writes every language without an alphabet.txt, and offers what an `Alphabet` does.

    >>> alphabet = ByteAlphabet()
    >>> alphabet.encode("é")
    array([194, 168], dtype=int32)
    >>> alphabet.decode([194, 168]), alphabet.decode([194])
    ('é', '\ufffd')
    """

    # As text each byte is the character of that number; an Alphabet cannot have these, for there are line ends in it.
    characters = tuple(chr(byte) for byte in range(1, 256))
    size = blank = len(characters)
    num_classes = size + 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ByteAlphabet)

    def __hash__(self) -> int:
        return hash(self.characters)

    def missing(self, text: str) -> list[str]:
        r"""What has no bytes here: the zero, and halves of surrogate pairs.

        >>> ByteAlphabet().missing("a\0é")
        ['\x00']
        """
        return [c for c in dict.fromkeys(text) if c == "\0" or unicodedata.category(c) == "Cs"]

    def encode(self, text: str) -> "np.ndarray":
        """The bytes of a text as labels, int32 [bytes].

        Raises:
            ValueError: it has characters that are `missing`.
        """
        if missing := self.missing(text):
            raise ValueError(f"characters that are not in the alphabet: {' '.join(map(repr, missing))}")
        import numpy as np

        return np.frombuffer(text.encode("utf-8"), np.uint8).astype(np.int32) - 1

    def decode(self, labels: Iterable[int]) -> str:
        """The text of labels; what is no UTF-8 becomes U+FFFD.

        Raises:
            ValueError: a label is not that of a byte.
        """
        labels = [int(label) for label in labels]
        wrong = [label for label in labels if not 0 <= label < self.size]
        if wrong:
            raise ValueError(f"label {wrong[0]} is outside the alphabet of {self.size} bytes")
        return bytes(label + 1 for label in labels).decode("utf-8", "replace")

    def serialize(self) -> bytes:
        """What the clients read from `metadata_alphabet`: as `Alphabet.serialize`, a byte for each label."""
        return struct.pack("<H", self.size) + b"".join(struct.pack("<HHB", i, 1, i + 1) for i in range(self.size))


def alphabet_of(characters: Iterable[str]) -> Alphabet | ByteAlphabet:
    """The alphabet with these characters, as a checkpoint has them.

    >>> alphabet_of(ByteAlphabet.characters) == ByteAlphabet(), alphabet_of("ab").size
    (True, 2)
    """
    characters = tuple(characters)
    return ByteAlphabet() if characters == ByteAlphabet.characters else Alphabet(characters)


Labels = Alphabet | ByteAlphabet


def alphabet_of_flags(path: str, *, bytes_output_mode: bool) -> Labels | None:
    """The alphabet that --alphabet_config_path or --bytes_output_mode names; None where neither does."""
    return ByteAlphabet() if bytes_output_mode else Alphabet.read(path) if path else None
