"""Language model -> KenLM's binary file of the type `trie`, byte for byte as `build_binary -v` writes it.

The layout is that of KenLM 0.3.0 (lm/binary_format.cc, vocab.cc, search_trie.cc, trie.cc, quantize.cc, bhiksha.cc):

    header      magic, test values, order, model type, number of n-grams of each order
    vocabulary  MurmurHash64A of the words, sorted; the number of a word is its place + 1, <unk> is 0
    tables      only if quantised: for each order from 2 the values that the numbers stand for
    unigrams    log10 probability, log10 back-off, index of the first bigram that ends with the word
    middles     orders 2 to n - 1: packed bits of word, back-off, probability, index of the first longer n-gram
    longest     order n: packed bits of word and probability

N-grams stand in the order of their reversed words, so those that lengthen one to the left follow one another.
A back-off of zero is +0 where an n-gram is the context of a longer one, and -0 where it is not.
"""

import itertools
import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from deepspeech_training.errors import UserError
from deepspeech_training.scorer.language_model import LanguageModel, Ngrams

MAGIC = b"mmap lm http://kheafield.com/code format version 5\n\0"
SANITY = MAGIC.ljust(56, b"\0") + struct.pack("<fffIIIQ", 0, 1, -0.5, 1, 0xFFFFFFFF, 0, 1)
FIXED = struct.Struct("<B3xfIB3xI")  # order, probing multiplier, model type, has vocabulary, version of the search
PROBING_MULTIPLIER = 1.5
SEARCH_VERSION = 1
TRIE, QUANTISED, ARRAY = 2, 1, 2  # the model type is their sum
QUANTISATION_VERSION, ARRAY_VERSION = 2, 0
MIN_ORDER, MAX_ORDER = 2, 6
MAX_QUANTISED_BITS = 25
UNIGRAM = np.dtype([("log10_prob", "<f4"), ("log10_backoff", "<f4"), ("next", "<u8")])
PROB_BITS, BACKOFF_BITS = 31, 32  # the sign of a probability is not stored


@dataclass(frozen=True)
class TrieBits:
    """How a trie is compressed.

    Args:
        prob: bits of a quantised probability (build_binary -q); 0: not quantised.
        backoff: bits of a quantised back-off (build_binary -b); 0 only with `prob` 0.
        pointer: at most so many bits of the indexes go to tables (build_binary -a; 255: as pays off); None: none.
    """

    prob: int = 0
    backoff: int = 0
    pointer: int | None = None

    def __post_init__(self) -> None:
        if not (0 <= self.prob <= MAX_QUANTISED_BITS and 0 <= self.backoff <= MAX_QUANTISED_BITS):
            raise ValueError(f"quantisation has 1 to {MAX_QUANTISED_BITS} bits")
        if (self.prob == 0) != (self.backoff == 0):
            raise ValueError("probabilities and back-offs are both quantised, or neither")
        if self.pointer is not None and not 0 <= self.pointer <= 255:
            raise ValueError("pointer compression has 0 to 255 bits")

    @property
    def model_type(self) -> int:
        return TRIE + (QUANTISED if self.prob else 0) + (ARRAY if self.pointer is not None else 0)

    @property
    def of_prob(self) -> int:
        return self.prob or PROB_BITS


def murmur_hash_64a(words: Iterable[bytes]) -> np.ndarray:
    """Austin Appleby's MurmurHash64A with seed 0, of many words at once.

    Returns:
        uint64 [words].

    >>> [hex(value) for value in murmur_hash_64a([b"<unk>", b"she"]).tolist()]
    ['0xea91e7561f5b392b', '0x63190f867a999c75']
    """
    words = list(words)
    lengths = np.array([len(word) for word in words], np.int64)
    hashes = np.empty(len(words), np.uint64)
    multiplier, shift = np.uint64(0xC6A4A7935BD1E995), np.uint64(47)
    for length in np.unique(lengths).tolist():
        rows = np.flatnonzero(lengths == length)
        padded = b"".join(words[row].ljust((length + 7) // 8 * 8, b"\0") for row in rows.tolist())
        blocks = np.frombuffer(padded, "<u8").reshape(len(rows), -1)
        h = np.full(len(rows), (length * int(multiplier)) & (2**64 - 1), np.uint64)
        for k in blocks[:, : length // 8].T:
            k = k * multiplier
            k ^= k >> shift
            h = (h ^ (k * multiplier)) * multiplier
        if length % 8:
            h = (h ^ blocks[:, -1]) * multiplier
        h = (h ^ (h >> shift)) * multiplier
        hashes[rows] = h ^ (h >> shift)
    return hashes


def trie_chunks(model: LanguageModel, bits: TrieBits) -> list[bytes]:
    """The file of a model, in pieces.

    Raises:
        UserError: the model has an order KenLM's clients do not read, n-grams whose parts are missing, or equal ones.
    """
    if model.order == 1:  # KenLM has no tries of one order
        empty = Ngrams(np.zeros((0, 2), np.int32), np.zeros(0, np.float32), np.zeros(0, np.float32))
        model = LanguageModel(model.vocabulary, [*model.orders, empty])
    if model.order > MAX_ORDER:
        raise UserError(f"a language model of order {model.order}: the clients read at most order {MAX_ORDER}")
    hashes, tables = _sorted_tables(model)
    counts = [len(table) for table in tables]
    pointers = [_first_longer(table.parents, lower) for table, lower in zip(tables[1:], counts, strict=False)]
    header = SANITY + FIXED.pack(model.order, PROBING_MULTIPLIER, bits.model_type, 0, SEARCH_VERSION)
    header += struct.pack(f"<{model.order}Q", *counts)
    chunks = [header + bytes(-len(header) % 8)]
    chunks.append(struct.pack("<Q", len(hashes)) + hashes.tobytes() + bytes(8))
    quantised = [_quantisation_tables(table, bits) for table in tables[1:-1]]
    quantised_longest = None
    if bits.prob:
        quantised_longest = _centers(tables[-1].log10_prob, 1 << bits.prob)
        chunks.append(bytes((QUANTISATION_VERSION, bits.prob, bits.backoff)) + bytes(5))
        chunks.extend(table.tobytes() for pair in quantised for table in pair)
        chunks.append(quantised_longest.tobytes())
    unigrams = np.zeros(counts[0] + 2, UNIGRAM)
    unigrams["log10_prob"][:-2], unigrams["log10_backoff"][:-2] = tables[0].log10_prob, tables[0].log10_backoff
    unigrams["next"][:-1] = pointers[0]
    chunks.append(unigrams.tobytes())
    word_bits = counts[0].bit_length()
    offset = sum(map(len, chunks))
    for table, values, next_index in zip(tables[1:-1], quantised, pointers[1:], strict=True):
        fields = [(table.last_word, word_bits), *_weight_fields(table, values, bits)]
        array, pointer_bits = _pointer_array(next_index, bits, offset)
        mask = np.uint64((1 << pointer_bits) - 1)
        chunks.append(array + _packed([*fields, (next_index.astype(np.uint64) & mask, pointer_bits)], len(table)))
        offset += len(chunks[-1])
    longest = tables[-1]
    if quantised_longest is not None:
        prob = _nearest(quantised_longest, longest.log10_prob, reserved=0)
    else:
        prob = _without_sign(longest.log10_prob)
    chunks.append(_packed([(longest.last_word, word_bits), (prob, bits.of_prob)], len(longest)))
    return chunks


@dataclass(frozen=True)
class _Table:
    """N-grams of one order in the order of the file.

    Args:
        last_word: uint64 [ngrams], the FIRST word as spoken: the last of the reversed ones.
        parents: int64 [ngrams], the row of the n-gram without that word in the order below.
        log10_backoff: float32, with the sign of zeros as the file has it.
    """

    last_word: np.ndarray
    parents: np.ndarray
    log10_prob: np.ndarray
    log10_backoff: np.ndarray

    def __len__(self) -> int:
        return len(self.last_word)


def _sorted_tables(model: LanguageModel) -> tuple[np.ndarray, list[_Table]]:
    """The sorted hashes of the words, and the n-grams in the order of the file."""
    hashes = murmur_hash_64a(word.encode() for word in model.vocabulary[1:])
    by_hash = np.argsort(hashes)
    if (np.diff(hashes[by_hash]) == 0).any():
        raise UserError("two words of the language model have the same hash, or a word is there twice")
    size = len(model.vocabulary)
    new_number = np.zeros(size, np.int64)
    new_number[by_hash + 1] = np.arange(1, size)
    words = [new_number[ngrams.words].reshape(-1, n) for n, ngrams in enumerate(model.orders, 1)]
    try:
        index = _Index(words, size)
    except _MissingEnds:
        words = _with_missing_ends(words)
        index = _Index(words, size)
    probs, backoffs, is_blank = [], [], []
    for ngrams, rows in zip(model.orders, index.rows, strict=True):
        num_blanks = len(rows) - len(ngrams)  # they come after the n-grams of the model
        is_blank.append(rows >= len(ngrams))
        probs.append(np.append(ngrams.log10_prob, np.zeros(num_blanks, np.float32))[rows])
        backoff = np.append(ngrams.log10_backoff, np.zeros(num_blanks, np.float32))[rows]
        backoffs.append(np.where(backoff == 0, np.float32(-0.0), backoff))
    for n in range(2, model.order + 1):
        contexts, found = index.find(index.words[n - 1][~is_blank[n - 1], :-1])
        found[found] = ~is_blank[n - 2][contexts[found]]
        if not found.all():
            raise UserError(
                f"the language model has {np.count_nonzero(~found):,} n-grams of order {n} whose first {n - 1} words "
                "it lacks\nEstimate it without removing n-grams that longer ones begin with."
            )
        _mark_contexts(backoffs[n - 2], contexts)
    _fill_blanks(index, probs, backoffs, is_blank)
    tables = [
        _Table(of_order[:, 0].astype(np.uint64), *arrays)
        for of_order, *arrays in zip(index.words, index.parents, probs, backoffs, strict=True)
    ]
    return hashes[by_hash].astype("<u8"), tables


def _mark_contexts(backoff: np.ndarray, rows: np.ndarray) -> None:
    """Make the zeros at these rows positive."""
    at_rows = backoff[rows]
    backoff[rows] = np.where(at_rows == 0, np.float32(0), at_rows)


class _MissingEnds(Exception):
    """An n-gram is there, and what it is without its first word is not."""


class _Index:
    """N-grams of all orders in the order of the file, and where to find them.

    Args:
        words: int64 [ngrams, n] of each order, all different.
        size: of the vocabulary.
    Attributes:
        words: the same, sorted.
        rows: int64 [ngrams], where each sorted n-gram was.
        parents: int64 [ngrams], the sorted row of the n-gram without its first word in the order below.
    Raises:
        _MissingEnds: there is none.
        UserError: an n-gram is there twice.
    """

    def __init__(self, words: list[np.ndarray], size: int):
        self._size, self._keys = size, []  # of each order, sorted: parent * size + first word
        self.words, self.rows, self.parents = [], [], []
        for n, of_order in enumerate(words, 1):
            rows = np.lexsort(of_order.T)
            of_order = of_order[rows]
            parents, found = self.find(of_order[:, 1:])
            if not found.all():
                raise _MissingEnds
            key = parents * size + of_order[:, 0]
            if (np.diff(key) == 0).any():
                raise UserError(f"the language model has a {n}-gram twice")
            self._keys.append(key)
            self.words.append(of_order)
            self.rows.append(rows)
            self.parents.append(parents)

    def find(self, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The sorted rows of n-grams, int64 [ngrams, n], and whether they are there; zeros and True for n = 0."""
        rows, found = np.zeros(len(words), np.int64), np.ones(len(words), bool)
        for column, keys in zip(words.T[::-1], self._keys, strict=False):
            wanted = rows * self._size + column
            rows = np.searchsorted(keys, wanted)
            found &= rows < len(keys)
            rows[~found] = 0
            found[found] = keys[rows[found]] == wanted[found]
        return rows, found


def _with_missing_ends(words: list[np.ndarray]) -> list[np.ndarray]:
    """Add what n-grams are without their first words, where it is missing, behind what is there.

    lmplz leaves no such gaps; SRILM and others do, where they prune. KenLM fills them, too.
    """
    words = list(words)
    for n in range(len(words), 2, -1):
        both = np.concatenate([words[n - 2], words[n - 1][:, 1:]])
        _, first = np.unique(both, axis=0, return_index=True)
        words[n - 2] = np.concatenate([words[n - 2], both[np.sort(first[first >= len(words[n - 2])])]])
    return words


def _fill_blanks(
    index: _Index, probs: list[np.ndarray], backoffs: list[np.ndarray], is_blank: list[np.ndarray]
) -> None:
    """Give the n-grams that were added the probabilities that the model has for them by backing off.

    A zero back-off becomes positive at every context that takes part, as SRISucks of KenLM's search_trie.cc does it.
    """
    own_prob = [prob.copy() for prob in probs]
    blank_contexts = []
    for n in range(2, len(probs)):
        rows = np.flatnonzero(is_blank[n - 1])
        if not len(rows):
            continue
        words = index.words[n - 1][rows]
        known = np.zeros(len(rows), np.int64)  # the length of the longest end that the model has
        prob = np.zeros(len(rows), np.float32)
        for length in range(1, n):
            ends, _ = index.find(words[:, n - length :])
            in_model = ~is_blank[length - 1][ends]
            known[in_model], prob[in_model] = length, own_prob[length - 1][ends[in_model]]
        for length in range(1, n):
            of_blanks = np.flatnonzero(known <= length)
            contexts, found = index.find(words[of_blanks, n - 1 - length : n - 1])
            in_model = found.copy()
            in_model[found] = ~is_blank[length - 1][contexts[found]]
            _mark_contexts(backoffs[length - 1], contexts[in_model])
            prob[of_blanks[in_model]] += backoffs[length - 1][contexts[in_model]]
            if length < len(probs) - 1:
                blank_contexts.append((length, contexts[found & ~in_model]))
        probs[n - 1][rows] = prob
    for length, rows in blank_contexts:
        _mark_contexts(backoffs[length - 1], rows)


def _first_longer(parents: np.ndarray, num_lower: int) -> np.ndarray:
    """int64 [num_lower + 1]: the first row whose parent is each row of the order below or a later one."""
    return np.searchsorted(parents, np.arange(num_lower + 1))


def _without_sign(log10_prob: np.ndarray) -> np.ndarray:
    return (log10_prob.view(np.uint32) & np.uint32(0x7FFFFFFF)).astype(np.uint64)


def _weight_fields(
    table: _Table, values: tuple[np.ndarray, np.ndarray], bits: TrieBits
) -> list[tuple[np.ndarray, int]]:
    """(uint64 values, bits) of probability and back-off, in the order in which a middle has them."""
    if not bits.prob:
        return [(_without_sign(table.log10_prob), PROB_BITS), (table.log10_backoff.view(np.uint32), BACKOFF_BITS)]
    prob = _nearest(values[0], table.log10_prob, reserved=0)
    backoff = _nearest(values[1], table.log10_backoff, reserved=2)
    is_zero = table.log10_backoff == 0
    backoff[is_zero] = ~np.signbit(table.log10_backoff[is_zero])
    return [(backoff, bits.backoff), (prob, bits.prob)]


def _quantisation_tables(table: _Table, bits: TrieBits) -> tuple[np.ndarray, np.ndarray]:
    """float32 tables of a middle's probabilities and back-offs; the first two back-offs are the zeros -0 and +0."""
    if not bits.prob:
        return np.zeros(0, np.float32), np.zeros(0, np.float32)
    backoffs = table.log10_backoff[table.log10_backoff != 0]
    zeros = np.array([-0.0, 0.0], np.float32)
    return _centers(table.log10_prob, 1 << bits.prob), np.append(zeros, _centers(backoffs, (1 << bits.backoff) - 2))


def _centers(values: np.ndarray, num_bins: int) -> np.ndarray:
    """float32 [num_bins]: the means of as many equal parts of the sorted values.

    Federico and Bertoldi, "How many bits are needed to store probabilities for phrase-based translation?" (2006).
    """
    values = np.sort(values).astype(np.float64)
    edges = [len(values) * bin // num_bins for bin in range(num_bins + 1)]
    centers = np.empty(num_bins, np.float32)
    for bin, (start, end) in enumerate(itertools.pairwise(edges)):
        if end > start:  # cumsum adds one after the other, as std::accumulate does
            centers[bin] = np.cumsum(values[start:end])[-1] / float(np.float32(end - start))
        else:
            centers[bin] = centers[bin - 1] if bin else -np.inf
    return centers


def _nearest(centers: np.ndarray, values: np.ndarray, *, reserved: int) -> np.ndarray:
    """uint64: the numbers of the nearest centers, from `reserved` on; a tie goes to the higher one."""
    of_values = centers[reserved:]
    above = np.searchsorted(of_values, values)
    inside = (above > 0) & (above < len(of_values))
    upper = np.clip(above, 1, len(of_values) - 1) if len(of_values) > 1 else np.zeros_like(above)
    nearer_below = values - of_values[upper - 1] < of_values[upper] - values
    return (np.where(inside, above - nearer_below, np.minimum(above, len(of_values) - 1)) + reserved).astype(np.uint64)


def _pointer_array(next_index: np.ndarray, bits: TrieBits, offset: int) -> tuple[bytes, int]:
    """The table that holds the highest bits of the indexes, and how many bits stay with the n-grams.

    Raj and Whittaker, "Lossless Compression of Language Model Structure and Word Identifiers" (2003). `offset` is
    where the table begins in the file: its numbers stand at multiples of 8.
    """
    required = int(next_index[-1]).bit_length()
    if bits.pointer is None:
        return b"", required
    chopped = chopped_pointer_bits(len(next_index), int(next_index[-1]), bits.pointer)
    left = required - chopped
    high = next_index >> left
    table = np.searchsorted(high, np.arange(int(high[-1]) + 1)).astype("<u8")
    head = bytes((ARRAY_VERSION, bits.pointer)).ljust(-offset % 8 + 8, b"\0")
    return (head + table.tobytes()).ljust(
        pointer_array_size(len(next_index), int(next_index[-1]), bits.pointer), b"\0"
    ), left


def chopped_pointer_bits(entries: int, largest: int, at_most: int) -> int:
    """How many of the highest bits go to the table, so that both together are smallest."""
    required = largest.bit_length()
    sizes = [(largest >> (required - chop)) * 64 - entries * chop for chop in range(min(required, at_most) + 1)]
    return sizes.index(min(sizes))


def pointer_array_size(entries: int, largest: int, at_most: int) -> int:
    """Bytes of the table with its head and room to align it."""
    kept = largest.bit_length() - chopped_pointer_bits(entries, largest, at_most)
    return 8 * (1 + (largest >> kept) + 1) + 7


def packed_size(entries: int, bits_of_entry: int) -> int:
    """Bytes of a block of packed bits: an entry more than there are, and 8 for readers that read 8 at a time."""
    return ((1 + entries) * bits_of_entry + 7) // 8 + 8


def _packed(fields: list[tuple[np.ndarray, int]], entries: int) -> bytes:
    """Numbers of given bits, one entry after the other, the least significant bit first.

    Args:
        fields: (uint64 [entries], or one more for the closing entry; bits) in the order of an entry.
    """
    bits_of_entry = sum(bits for _, bits in fields)
    size = packed_size(entries, bits_of_entry)
    packed = np.zeros(math.ceil(size / 8) + 1, np.uint64)
    apart = math.ceil(64 / bits_of_entry)  # entries so far from each other begin in different words of 64 bits
    field_offset = 0
    for values, bits in fields:
        values = values.astype(np.uint64)
        offsets = np.arange(len(values), dtype=np.uint64) * np.uint64(bits_of_entry) + np.uint64(field_offset)
        places, shifts = (offsets >> np.uint64(6)).astype(np.int64), offsets & np.uint64(63)
        low = values << shifts
        high = np.where(shifts > 0, values >> (np.uint64(64) - np.maximum(shifts, np.uint64(1))), np.uint64(0))
        for first in range(apart):
            packed[places[first::apart]] |= low[first::apart]
            packed[places[first::apart] + 1] |= high[first::apart]
        field_offset += bits
    return packed.astype("<u8").tobytes()[:size]


def trie_size(data: bytes, what: str) -> int:
    """The bytes that a trie takes by its header; a scorer's dictionary follows it.

    Args:
        data: the beginning of the file, at least up to the tables of the quantisation and pointers.
        what: how messages call it.
    Raises:
        UserError: it is no KenLM trie that the clients read, or shorter than its header says.
    """

    def require(condition: bool, fault: str) -> None:
        if not condition:
            raise UserError(
                f"{what}: {fault}\nGive a KenLM file of the type trie, made without its words (build_binary -v)."
            )

    require(data[: len(SANITY)] == SANITY, "it is not a KenLM binary file")
    end = len(SANITY) + FIXED.size
    require(len(data) >= end + 8 * MAX_ORDER, "it is cut short")
    order: int
    order, _, model_type, has_vocabulary, version = FIXED.unpack_from(data, len(SANITY))
    require(MIN_ORDER <= order <= MAX_ORDER, f"it has order {order}; the clients read {MIN_ORDER} to {MAX_ORDER}")
    require(TRIE <= model_type <= TRIE + QUANTISED + ARRAY, f"it is of KenLM's type {model_type}, not a trie")
    require(version == SEARCH_VERSION, f"its trie has version {version}")
    require(not has_vocabulary, "it has the words at its end")
    counts: tuple[int, ...] = struct.unpack_from(f"<{order}Q", data, end)
    require(counts[0] > 0 and all(count < 2**40 for count in counts), "its counts of n-grams are impossible")
    end += 8 * order
    end += -end % 8
    end += 8 + 8 * counts[0]
    prob_bits, backoff_bits, pointer_bits = PROB_BITS, BACKOFF_BITS, None
    if (model_type - TRIE) & QUANTISED:
        require(len(data) >= end + 8, "it is cut short")
        quantisation_version, prob_bits, backoff_bits = data[end : end + 3]
        require(quantisation_version == QUANTISATION_VERSION, f"its quantisation has version {quantisation_version}")
        require(
            0 < min(prob_bits, backoff_bits) <= max(prob_bits, backoff_bits) <= MAX_QUANTISED_BITS, "impossible bits"
        )
        end += 8 + 4 * ((order - 2) * ((1 << prob_bits) + (1 << backoff_bits)) + (1 << prob_bits))
    end += UNIGRAM.itemsize * (counts[0] + 2)
    word_bits = counts[0].bit_length()
    for count, longer in itertools.pairwise(counts[1:]):
        bits_of_pointer = longer.bit_length()
        if (model_type - TRIE) & ARRAY:
            require(len(data) >= end + 2, "it is cut short")
            pointer_bits = data[end + 1] if pointer_bits is None else pointer_bits
            bits_of_pointer -= chopped_pointer_bits(count + 1, longer, pointer_bits)
            end += pointer_array_size(count + 1, longer, pointer_bits)
        end += packed_size(count, word_bits + prob_bits + backoff_bits + bits_of_pointer)
    end += packed_size(counts[-1], word_bits + prob_bits)
    require(len(data) >= end, f"it has {len(data):,} bytes, and its header says {end:,}")
    return end
