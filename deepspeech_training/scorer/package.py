"""Language model and dictionary -> scorer package: the file that the clients load as external scorer.

KenLM's file, as it is | magic, version, mode, alpha, beta | the dictionary, an OpenFst file
"""

import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.config.groups import DEEPSPEECH_WEIGHTS
from deepspeech_training.errors import UserError
from deepspeech_training.scorer.dictionary import automaton_bytes, build_automaton
from deepspeech_training.scorer.kenlm_trie import trie_size
from deepspeech_training.scorer.language_model import SPECIAL_WORDS

MAGIC = 0x54524945
VERSION = 6
TRAILER = struct.Struct("<ii?dd")  # magic, version, bytes mode, alpha, beta
DEFAULT_ALPHA, DEFAULT_BETA = DEEPSPEECH_WEIGHTS.values()


@dataclass(frozen=True)
class Spelled:
    """The words of a vocabulary that can stand in a dictionary, as labels, and those that cannot.

    Args:
        labels: one sequence for each word, from 1 on.
        left_out: words with a character that the alphabet lacks.
    """

    labels: Sequence[Sequence[int]]
    left_out: list[str]


def spell(words: Iterable[str], alphabet: Alphabet | None) -> Spelled:
    """Turn words into the labels of the dictionary: of the alphabet and a space at the end, or bytes without it.

    Args:
        alphabet: None for bytes mode.
    Raises:
        UserError: the alphabet has no space, or no word is left.
    """
    words = [word for word in words if word not in SPECIAL_WORDS]
    if alphabet is None:
        spelled = Spelled([list(word.encode()) for word in words], [])
    else:
        if alphabet.missing(" "):
            raise UserError(
                "the alphabet has no space, so a word would never end for the scorer\n"
                "Add a line with a space to the alphabet and to the model's, or use --bytes_output_mode."
            )
        label_of = {character: label + 1 for label, character in enumerate(alphabet.characters)}
        space = label_of[" "]
        labels, left_out = [], []
        for word in words:
            try:
                labels.append([*map(label_of.__getitem__, word), space])
            except KeyError:
                left_out.append(word)
        spelled = Spelled(labels, left_out)
    if not spelled.labels:
        raise UserError(
            f"no word is left for the dictionary: of {len(words):,} in the vocabulary, {len(spelled.left_out):,} have "
            "characters that the alphabet lacks\nIs it the alphabet of this language?"
        )
    return spelled


def package_bytes(
    trie: bytes, labels: Sequence[Sequence[int]], *, bytes_output_mode: bool, alpha: float, beta: float
) -> bytes:
    """The whole package; `labels` are those of `spell`, alpha and beta become float32 as in the clients."""
    head = trie + TRAILER.pack(MAGIC, VERSION, bytes_output_mode, float(np.float32(alpha)), float(np.float32(beta)))
    return head + automaton_bytes(build_automaton(labels), offset=len(head))


def set_alpha_beta(path: Path, *, alpha: float, beta: float) -> None:
    """Write other default weights into a package, atomically.

    Raises:
        UserError: it is no scorer package, or cannot be read or written.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot read the scorer: {error.strerror}") from error
    start = trie_size(data, str(path))
    if len(data) < start + TRAILER.size or TRAILER.unpack_from(data, start)[:2] != (MAGIC, VERSION):
        raise UserError(f"{path}: after its language model there is no scorer of version {VERSION}")
    mode = TRAILER.unpack_from(data, start)[2]
    trailer = TRAILER.pack(MAGIC, VERSION, mode, float(np.float32(alpha)), float(np.float32(beta)))
    write_atomically(Path(path), [data[:start], trailer, data[start + TRAILER.size :]])
