"""A KenLM language model of the kind `trie`, plain or compressed, read where it lies in the file.

Nothing is copied: the file is mapped into memory, and a look-up reads the few words of it that it needs. What is
computed here is where everything begins and how many bits it has; the look-ups are in `beam_kernels`.

Source: KenLM 0.3.0, lm/binary_format.cc, vocab.cc, quantize.hh (8-bit tables), bhiksha.cc (compressed pointers:
Raj and Whittaker 2003), trie.cc and search_trie.cc; ours bounds every offset, which KenLM does not.
"""

import struct
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from deepspeech_training.errors import UserError

MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0"
# Zero, one, minus a half, 1, the largest u32, padding, 1: they say that the machine has our number formats.
SANITY = MAGIC.ljust(56, b"\0") + struct.pack("<fffIIIQ", 0, 1, -0.5, 1, 0xFFFFFFFF, 0, 1)
PARAMETERS = struct.Struct("<B3xfIB3xI")  # order, probing multiplier, model type, has vocabulary, search version
MODEL_TYPES = {
    0: "probing",
    1: "probing with rest costs",
    2: "trie",
    3: "quantised trie",
    4: "array-compressed trie",
    5: "quantised, array-compressed trie",
}
QUANTISED, ARRAYS = {3, 5}, {4, 5}
MAX_ORDER = 6  # KenLM as the deployed clients have it
MAX_QUANT_BITS = 25
UNIGRAM_BYTES = 16  # float32 log10 probability, float32 back-off, uint64 index of the first bigram

# Columns of `TrieArrays.levels`; positions are bits from the start of the file unless they say words (of 64 bits).
(
    BASE_BIT,
    TOTAL_BITS,
    ENTRIES,
    PROB_BITS,
    BACKOFF_BITS,
    PROB_TABLE_BIT,
    BACKOFF_TABLE_BIT,
    NEXT_BITS,
    ARRAY_WORD,
    ARRAY_LENGTH,
    NEXT_ENTRIES,
    NUM_COLUMNS,
) = range(12)


class ScorerError(UserError):
    """A scorer file that cannot be used; the message says why."""


class TrieArrays(NamedTuple):
    """What the look-ups need: `data` uint64, the whole file; `sizes` int64 (order, words, first word of the hashes,
    bit of the unigrams, bits of a word id, id of <s>); `levels` int64 [order - 1, columns], orders 2 and up."""

    data: np.ndarray
    sizes: np.ndarray
    levels: np.ndarray


@dataclass(frozen=True)
class LanguageModel:
    """Where the parts of a model lie in its file.

    Attributes:
        order: the longest n-grams, 2 to 6.
        counts: n-grams of each order; of the unigrams, <unk> is one.
        kind: what KenLM calls it.
        end: bytes from the start of the file to the end of the model.
    """

    order: int
    counts: tuple[int, ...]
    kind: str
    end: int
    arrays: TrieArrays = field(repr=False)

    @property
    def hashes(self) -> np.ndarray:
        """uint64 [words]: MurmurHash64A of each word, ascending; a word's id is its place here plus one."""
        _, words, first = self.arrays.sizes[:3]
        return self.arrays.data[first : first + words]

    def __contains__(self, word: str | bytes) -> bool:
        return word_id(self, word) != 0


def word_id(model: LanguageModel, word: str | bytes) -> int:
    """The id of a word; 0 is that of every word that the model does not know."""
    hashed = np.uint64(murmur_hash(word.encode("utf-8") if isinstance(word, str) else word))
    place = int(np.searchsorted(model.hashes, hashed))
    return place + 1 if place < len(model.hashes) and model.hashes[place] == hashed else 0


def murmur_hash(data: bytes) -> int:
    """MurmurHash64A with seed 0 (Austin Appleby, public domain), KenLM's key of a word.

    >>> hex(murmur_hash(b""))
    '0x0'
    """
    multiplier, mask = 0xC6A4A7935BD1E995, 2**64 - 1
    value = len(data) * multiplier & mask
    whole = len(data) // 8 * 8
    for (block,) in struct.iter_unpack("<Q", data[:whole]):
        block = block * multiplier & mask
        block = (block ^ block >> 47) * multiplier & mask
        value = (value ^ block) * multiplier & mask
    if len(data) > whole:
        value = (value ^ int.from_bytes(data[whole:], "little")) * multiplier & mask
    value = (value ^ value >> 47) * multiplier & mask
    return value ^ value >> 47


def read_language_model(file: np.ndarray) -> LanguageModel:
    """Find the parts of the model that a file begins with.

    Args:
        file: uint8 [bytes], the whole file, as `np.memmap` gives it; more may follow the model.
    Raises:
        ScorerError: it is no such model, or one that runs past the end of the file.
    """
    order, kind, counts, start = _read_header(file)
    layout = _Layout(file, start, counts)
    words = layout.take("the vocabulary", 8 * (counts[0] + 1)) // 8
    if int(layout.words[words]) != counts[0] - 1:
        raise ScorerError(f"the vocabulary has {int(layout.words[words])} words, the header says {counts[0] - 1}")
    levels = np.zeros((order - 1, NUM_COLUMNS), np.int64)
    if kind in QUANTISED:
        _place_tables(layout, levels)
    else:
        levels[:, PROB_BITS], levels[:-1, BACKOFF_BITS] = 31, 32
    unigrams = layout.take("the unigrams", UNIGRAM_BYTES * (counts[0] + 2)) * 8
    for row in range(order - 1):
        _place_level(layout, levels[row], counts, row + 2, arrays=kind in ARRAYS)
    sizes = np.array([order, counts[0] - 1, words + 1, unigrams, counts[0].bit_length(), 0], np.int64)
    for array in (sizes, levels):
        array.flags.writeable = False
    model = LanguageModel(order, counts, MODEL_TYPES[kind], layout.position, TrieArrays(layout.words, sizes, levels))
    sizes = sizes.copy()
    sizes[5] = word_id(model, "<s>")
    sizes.flags.writeable = False
    return LanguageModel(order, counts, model.kind, model.end, TrieArrays(layout.words, sizes, levels))


def _read_header(file: np.ndarray) -> tuple[int, int, tuple[int, ...], int]:
    """-> order, model type, counts of n-grams, first byte after the header."""
    head = file[: len(SANITY) + PARAMETERS.size + 8 * MAX_ORDER].tobytes()
    if not head.startswith(MAGIC):
        if head.startswith(b"\\data\\") or head.lstrip().startswith(b"\\data\\"):
            raise ScorerError("it is a language model in ARPA format; build a scorer from it")
        if head.startswith(b"mmap lm http"):
            raise ScorerError("its language model has another version of KenLM's format, or was never finished")
        raise ScorerError("it does not begin with a KenLM language model, as scorers do")
    if len(head) < len(SANITY) + PARAMETERS.size:
        raise ScorerError("it ends within the header; the file is cut off")
    if not head.startswith(SANITY):
        raise ScorerError("the header of its language model is damaged or of another machine")
    order, _, kind, has_vocabulary, version = PARAMETERS.unpack_from(head, len(SANITY))
    if kind not in MODEL_TYPES or version not in (0, 1):
        raise ScorerError(f"its language model is of a kind that is not known ({kind}, version {version})")
    if kind < 2:
        raise ScorerError(f"its language model is KenLM's {MODEL_TYPES[kind]}; scorers need a trie (build_binary trie)")
    if version != 1:
        raise ScorerError(f"its trie has version {version}, not 1")
    if has_vocabulary:
        raise ScorerError("its language model has the words as text; build it with build_binary -v")
    if not 2 <= order <= MAX_ORDER:
        raise ScorerError(f"its language model has order {order}; 2 to {MAX_ORDER} can be used")
    at = len(SANITY) + PARAMETERS.size
    if len(head) < at + 8 * order:
        raise ScorerError("it ends within the header; the file is cut off")
    counts = struct.unpack_from(f"<{order}Q", head, at)
    # An n-gram takes a byte and more: this bounds every product below.
    if counts[0] < 1 or any(count > len(file) * 8 for count in counts):
        raise ScorerError(f"the header promises {', '.join(map(str, counts))} n-grams, more than the file can hold")
    return order, kind, counts, -(-(at + 8 * order) // 8) * 8


class _Layout:
    """Parts of the file, one after another; a part that does not fit is an error."""

    def __init__(self, file: np.ndarray, start: int, counts: tuple[int, ...]):
        self.file, self.position, self.counts = file, start, counts
        self.words = file[: len(file) // 8 * 8].view("<u8")

    def take(self, what: str, num_bytes: int) -> int:
        start = self.position
        # 16 bytes to spare: a look-up reads two words. What follows a scorer's model is longer than that.
        if start + num_bytes + 16 > len(self.file):
            raise ScorerError(
                f"{what} would take {num_bytes:,} bytes from byte {start:,} on, past the end of the file "
                f"({len(self.file):,} bytes): it is cut off or damaged"
            )
        self.position += num_bytes
        return start


def _place_tables(layout: _Layout, levels: np.ndarray) -> None:
    """The tables of the quantised values: version 2, bits of both; then one for each order and kind."""
    start = layout.take("the header of the tables", 8)
    version, prob_bits, backoff_bits = (int(value) for value in layout.file[start : start + 3])
    if version != 2 or not (1 <= prob_bits <= MAX_QUANT_BITS and 1 <= backoff_bits <= MAX_QUANT_BITS):
        raise ScorerError(f"its tables have version {version} with {prob_bits} and {backoff_bits} bits")
    levels[:, PROB_BITS], levels[:-1, BACKOFF_BITS] = prob_bits, backoff_bits
    for row in range(len(levels)):
        levels[row, PROB_TABLE_BIT] = layout.take("the table of probabilities", 4 << prob_bits) * 8
        if row < len(levels) - 1:
            levels[row, BACKOFF_TABLE_BIT] = layout.take("the table of back-offs", 4 << backoff_bits) * 8


def _place_level(layout: _Layout, level: np.ndarray, counts: tuple[int, ...], order: int, *, arrays: bool) -> None:
    entries, longest = counts[order - 1], order == len(counts)
    level[ENTRIES] = entries
    if not longest:
        level[NEXT_ENTRIES] = counts[order]
        level[NEXT_BITS] = counts[order].bit_length()
        if arrays:
            _place_array(layout, level, entries + 1, counts[order])
    total = counts[0].bit_length() + int(level[PROB_BITS] + level[BACKOFF_BITS] + level[NEXT_BITS])
    level[TOTAL_BITS] = total
    level[BASE_BIT] = layout.take(f"the n-grams of order {order}", ((1 + entries) * total + 7) // 8 + 8) * 8


def _place_array(layout: _Layout, level: np.ndarray, max_offset: int, max_next: int) -> None:
    """The upper bits of the pointers as an ascending array: how many bits is what takes least (`ChopBits`)."""
    start = layout.position
    if start + 2 > len(layout.file):
        raise ScorerError(f"it ends at byte {len(layout.file):,}, within the language model: it is cut off")
    version, configured = (int(value) for value in layout.file[start : start + 2])
    if version != 0:
        raise ScorerError(f"its compressed pointers have version {version}, not 0")
    required = max_next.bit_length()
    chop = min(
        range(min(required, configured) + 1), key=lambda bits: (max_next >> (required - bits)) * 64 - max_offset * bits
    )
    length = (max_next >> (required - chop)) + 1
    layout.take("the compressed pointers", 8 * (1 + length) + 7)
    level[NEXT_BITS] = required - chop
    level[ARRAY_WORD] = -(-start // 8) + 1
    level[ARRAY_LENGTH] = length
