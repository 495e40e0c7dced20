"""A DeepSpeech `.scorer`: a language model, the dictionary of its words as an automaton, and how much they count.

The beam reads both where they lie in the mapped file. Layout: the KenLM model (`language_model`), 25 bytes with
alpha and beta, and an OpenFst `const` automaton, whose labels are the alphabet's plus one.
"""

import math
import os
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from deepspeech_training.decoding.language_model import LanguageModel, ScorerError, read_language_model

TRIE_MAGIC, TRIE_VERSION = 0x54524945, 6
PACKAGE = struct.Struct("<iiBdd")  # magic, version, bytes mode, alpha, beta
FST_MAGIC = 2125659606
FST_ALIGNMENT = 16
NOT_FINAL = 0x7F800000  # the bits of +infinity, the weight of a state where no word ends
LARGEST_WEIGHT = 1e6  # of alpha, beta and boosts: beyond it float32 scores mean nothing
WORDS_TO_COMPARE = 64


class Dictionary(NamedTuple):
    """The automaton: `states` uint32 [states, 5] (weight, first arc, arcs, two zeros), `arcs` int32 [arcs, 4]
    (label, label, weight, next state), sorted by label within a state; `start` is the state where words begin."""

    states: np.ndarray
    arcs: np.ndarray
    start: int

    def words(self, limit: int) -> Iterator[tuple[int, ...]]:
        """Up to `limit` words as labels of the automaton, spread over its first arcs."""
        first, count = (int(value) for value in self.states[self.start, 1:3])
        for place in np.unique(np.linspace(0, max(count - 1, 0), limit).astype(int)) if count else ():
            word: list[int] = []
            arc = first + int(place)
            # Arcs from the middle: words that begin alike would tell less. Longer words than this are left out.
            while len(word) < 1000:
                label, state = int(self.arcs[arc, 0]), int(self.arcs[arc, 3])
                word.append(label)
                weight, first_arc, arcs = (int(value) for value in self.states[state, :3])
                if weight != NOT_FINAL:
                    yield tuple(word)
                    break
                if not arcs:
                    break
                arc = first_arc + arcs // 2

    def has(self, word: Sequence[int]) -> bool:
        """Whether it has the word of these labels."""
        state = self.start
        for label in word:
            first, count = (int(value) for value in self.states[state, 1:3])
            arc = first + int(np.searchsorted(self.arcs[first : first + count, 0], label))
            if arc == first + count or self.arcs[arc, 0] != label:
                return False
            state = int(self.arcs[arc, 3])
        return bool(word) and int(self.states[state, 0]) != NOT_FINAL


@dataclass(frozen=True, eq=False)
class Scorer:
    """A scorer file, mapped into memory; it equals itself alone.

    Attributes:
        alpha: weight of the language model.
        beta: what each word adds to the score.
        bytes_mode: it scores UTF-8 characters of a model that writes bytes, instead of words.
    """

    path: str
    language_model: LanguageModel
    dictionary: Dictionary = field(repr=False)
    alpha: float
    beta: float
    bytes_mode: bool

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "Scorer":
        """Open a scorer; takes some milliseconds however large it is, for the dictionary alone is gone through.

        Raises:
            ScorerError: there is no such file, or it is no scorer, damaged, or of a version that is not known.
        """
        path = os.fspath(path)
        try:
            if not Path(path).is_file():
                raise ScorerError(f"{path}: there is no such scorer")
            if not os.path.getsize(path):
                raise ScorerError("it is empty")
            file = np.asarray(np.memmap(path, np.uint8, mode="r"))
            language_model = read_language_model(file)
            alpha, beta, bytes_mode, start = _read_package(file, language_model.end)
            dictionary = _read_dictionary(file, start)
        except OSError as error:
            raise ScorerError(f"{path}: cannot read the scorer: {error.strerror}") from error
        except ScorerError as error:
            if str(error).startswith(path):
                raise
            raise ScorerError(f"{path} cannot be used as a scorer: {error}") from None
        return cls(path, language_model, dictionary, alpha, beta, bytes_mode)

    def check_labels(self, labels: Sequence[str] | None) -> None:
        """Find out whether the scorer was built for a model with these labels.

        Args:
            labels: the characters of the model's alphabet by label; None for a model that writes bytes.
        Raises:
            ScorerError: it was built for another alphabet, or for the other kind of model.
        """
        if labels is None and not self.bytes_mode:
            raise ScorerError(f"{self.path} scores the words of an alphabet; the model writes UTF-8 bytes")
        if labels is not None and self.bytes_mode:
            raise ScorerError(
                f"{self.path} is for models that write UTF-8 bytes (--bytes_output_mode); the model has an alphabet "
                f"of {len(labels)} characters"
            )
        texts = [bytes([byte]) for byte in range(1, 256)] if labels is None else [text.encode() for text in labels]
        used = self.dictionary.arcs[:, 0]
        if len(used) and int(used.max()) > len(texts):
            self._refuse(f"it was built for an alphabet of at least {int(used.max())} characters", texts)
        if labels is not None:
            if " " not in labels:
                raise ScorerError(f"{self.path}: the model's alphabet has no space, so no word would ever end")
            final = self.dictionary.states[self.dictionary.arcs[:, 3], 0] != NOT_FINAL
            if (used[final] != list(labels).index(" ") + 1).any():
                self._refuse("its words do not end with the space of the model's alphabet", texts)
        words = list(self.dictionary.words(WORDS_TO_COMPARE))
        spelt = [b"".join(texts[label - 1] for label in (word if self.bytes_mode else word[:-1])) for word in words]
        unknown = [word for word in spelt if word not in self.language_model]
        if len(unknown) * 2 > len(spelt):
            sample = ", ".join(repr(word.decode("utf-8", "replace")) for word in unknown[:3])
            self._refuse(f"spelt with it, its words are none of its language model ({sample})", texts)

    def has_word(self, word: str, labels: Sequence[str] | None) -> bool:
        """Whether a word is in the dictionary, and so can be written at all.

        Args:
            labels: the characters of the model's alphabet by label; None for a model that writes bytes, whose words are
                characters.
        """
        if labels is None:
            return self.dictionary.has(list(word.encode()))
        label_of = {text: label for label, text in enumerate(labels, start=1)}
        return (
            " " not in word
            and all(c in label_of for c in word)
            and self.dictionary.has([label_of[character] for character in f"{word} "])
        )

    def _refuse(self, why: str, texts: Sequence[bytes]) -> None:
        raise ScorerError(
            f"{self.path} was built for another alphabet than the model's {len(texts)} characters: {why}\n"
            "Build the scorer with the alphabet of the model."
        )


def _read_package(file: np.ndarray, start: int) -> tuple[float, float, bool, int]:
    """-> alpha, beta, bytes mode, first byte of the automaton."""
    head = file[start : start + PACKAGE.size].tobytes()
    if len(head) < PACKAGE.size:
        raise ScorerError("it is a language model without a dictionary: build a scorer from it")
    magic, version, bytes_mode, alpha, beta = PACKAGE.unpack(head)
    if magic != TRIE_MAGIC:
        raise ScorerError("after its language model comes no dictionary; the file is damaged or no scorer")
    if version != TRIE_VERSION:
        raise ScorerError(f"it has version {version}, not {TRIE_VERSION}: build it again")
    if bytes_mode not in (0, 1) or not (abs(alpha) <= LARGEST_WEIGHT and abs(beta) <= LARGEST_WEIGHT):
        raise ScorerError(f"its alpha {alpha} or beta {beta} is no usable number: it is damaged")
    return alpha, beta, bool(bytes_mode), start + PACKAGE.size


def _read_dictionary(file: np.ndarray, start: int) -> Dictionary:
    head = struct.Struct("<ii5si8siiQqqq")
    if start + head.size > len(file):
        raise ScorerError("it ends within the dictionary: it is cut off")
    magic, n_type, fst_type, n_arc, arc_type, version, flags, _, first, num_states, num_arcs = head.unpack(
        file[start : start + head.size].tobytes()
    )
    if magic != FST_MAGIC or (n_type, fst_type, n_arc, arc_type) != (5, b"const", 8, b"standard"):
        raise ScorerError("its dictionary is not an OpenFst automaton of the kind that scorers have")
    if version != 1 or flags != 4:
        raise ScorerError(f"its dictionary has version {version} and flags {flags}, not 1 and 4")
    states_at = _aligned(start + head.size)
    if not (0 < num_states < len(file) and 0 <= num_arcs < len(file) and 0 <= first < num_states):
        raise ScorerError(f"its dictionary claims {num_states} states and {num_arcs} arcs: it is damaged")
    arcs_at = _aligned(states_at + 20 * num_states)
    if arcs_at + 16 * num_arcs > len(file):
        raise ScorerError(f"its dictionary of {num_states:,} states runs past the end of the file: it is cut off")
    states = file[states_at : states_at + 20 * num_states].view("<u4").reshape(num_states, 5)
    arcs = file[arcs_at : arcs_at + 16 * num_arcs].view("<i4").reshape(num_arcs, 4)
    dictionary = Dictionary(states, arcs, first)
    _check_dictionary(dictionary)
    return dictionary


def _check_dictionary(dictionary: Dictionary) -> None:
    """Every arc and state that the beam may follow must be there, for it follows them unchecked."""
    states, arcs = dictionary.states, dictionary.arcs
    ends = states[:, 1].astype(np.int64) + states[:, 2]
    if int(ends.max()) > len(arcs):
        raise ScorerError("a state of its dictionary has arcs that are not there: it is damaged")
    labels, targets = arcs[:, 0], arcs[:, 3]
    if len(arcs) and (targets.min() < 0 or targets.max() >= len(states) or labels.min() < 1):
        raise ScorerError("an arc of its dictionary leads nowhere: it is damaged")
    ascends = np.ones(len(arcs) + 1, bool)
    ascends[1:-1] = labels[1:] > labels[:-1]
    ascends[states[:, 1][states[:, 2] > 0]] = True  # a state's first arc has none before it
    if not ascends.all():
        raise ScorerError("the arcs of its dictionary are not in order: it is damaged")


def _aligned(position: int) -> int:
    return -(-position // FST_ALIGNMENT) * FST_ALIGNMENT


def check_weight(name: str, value: float) -> float:
    """A weight or boost as a number that float32 scores can be computed with.

    Raises:
        ValueError: it is not finite, or too large.
    """
    if not math.isfinite(value) or abs(value) > LARGEST_WEIGHT:
        raise ValueError(f"{name} {value}: it must be a number between -{LARGEST_WEIGHT:g} and {LARGEST_WEIGHT:g}")
    return float(value)
