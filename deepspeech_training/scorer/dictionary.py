"""Words -> the dictionary of a scorer: a minimal deterministic automaton in OpenFst's file format "const".

The layout is OpenFst's (fst.cc FstHeader::Write, const-fst.h). The states are numbered as OpenFst's Determinize and
Minimize leave them (determinize.h, minimize.h AcyclicMinimizer and MergeStates), so that the file is theirs byte for
byte: Determinize makes a trie whose states are numbered by length, then by label; of equal states Minimize keeps the
one with the lowest number, but the one with the highest in the class of the highest state of each height.
"""

import itertools
import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MAGIC = 2125659606
CONST_FST_VERSION = 1
IS_ALIGNED = 4
ALIGNMENT = 16
HEADER = struct.Struct("<i i5s i8s iiQ qqq")  # magic, "const", "standard", version, flags, properties, start, counts
STATE = np.dtype([("final", "<f4"), ("first_arc", "<u4"), ("arcs", "<u4"), ("iepsilons", "<u4"), ("oepsilons", "<u4")])
ARC = np.dtype([("ilabel", "<i4"), ("olabel", "<i4"), ("weight", "<f4"), ("next", "<i4")])

# OpenFst's properties.h: what is known of every dictionary, and what depends on it.
PROPERTIES = sum(
    1 << bit
    for bit in (
        0,  # expanded
        16,
        18,
        20,  # acceptor, deterministic by input and by output
        23,
        25,
        27,  # no epsilons, none in input or output
        28,
        30,  # arcs sorted by input and by output
        33,
        35,
        37,  # unweighted, acyclic, acyclic at the start
        40,
        42,  # every state can be reached, and leads to a final one
        47,  # no weighted cycles
    )
)
TOP_SORTED, NOT_TOP_SORTED = 1 << 38, 1 << 39
STRING, NOT_STRING = 1 << 44, 1 << 45  # a single word


@dataclass(frozen=True)
class Automaton:
    """A minimal acyclic automaton; the start is state 0.

    Args:
        is_final: bool [states].
        first_arc: int64 [states + 1], where the arcs of each state begin.
        labels, targets: int32 [arcs], by state, then by label.
    """

    is_final: np.ndarray
    first_arc: np.ndarray
    labels: np.ndarray
    targets: np.ndarray


def build_automaton(words: Sequence[Sequence[int]]) -> Automaton:
    """The minimal automaton of words, each a sequence of labels from 1 on.

    Raises:
        ValueError: there is no word, or an empty one.
    """
    # Strings of code points sort in C, and in the order of their labels.
    texts = sorted({"".join(map(chr, labels)) for labels in words})
    if not texts or not texts[0]:
        raise ValueError("a dictionary needs words, none of them empty")
    return _minimised(*_trie(texts))


def _trie(texts: list[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The trie of sorted texts: is_final [states], first_arc [states + 1], labels [arcs], height [states].

    States are numbered by length, then in the order of the texts, so arc a leads to state a + 1.
    """
    lengths = np.array(list(map(len, texts)), np.int64)
    starts = np.cumsum(lengths) - lengths
    characters = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), "<i4")
    rows = np.arange(len(texts))  # the texts that are longer than `depth`
    states = np.zeros(len(texts), np.int64)  # of their beginnings of that length
    final_states, parents, labels = [], [], []
    num_states, depth = 1, 0
    while len(rows):
        label = characters[starts[rows] + depth]
        is_new = np.ones(len(rows), bool)
        is_new[1:] = (states[1:] != states[:-1]) | (label[1:] != label[:-1])
        parents.append(states[is_new])
        labels.append(label[is_new])
        states = num_states - 1 + np.cumsum(is_new)
        num_states += len(labels[-1])
        depth += 1
        ends = lengths[rows] == depth
        final_states.append(states[ends])
        rows, states = rows[~ends], states[~ends]
    is_final = np.zeros(num_states, bool)
    is_final[np.concatenate(final_states)] = True
    parent = np.concatenate(parents)
    first_arc = np.searchsorted(parent, np.arange(num_states + 1))
    height = np.zeros(num_states, np.int64)
    end = num_states
    for of_level in reversed(parents):
        start = end - len(of_level)
        np.maximum.at(height, of_level, height[start:end] + 1)
        end = start
    return is_final, first_arc, np.concatenate(labels), height


def _minimised(is_final: np.ndarray, first_arc: np.ndarray, labels: np.ndarray, height: np.ndarray) -> Automaton:
    """Merge equal states, from the leaves up: those of one height with the same finality, labels and targets."""
    kept_for = np.zeros(len(is_final), np.int64)  # the state that stands for each
    by_height = np.argsort(height, kind="stable")
    edges = np.searchsorted(height[by_height], np.arange(height.max() + 2))
    for start, end in itertools.pairwise(edges):
        states = by_height[start:end]
        classes = _classes(states, is_final, first_arc, labels, kept_for)
        keeper = np.zeros(classes.max() + 1, np.int64)
        keeper[classes[::-1]] = states[::-1]  # the lowest is written last
        keeper[classes[-1]] = states[-1]
        kept_for[states] = keeper[classes]
    kept = np.flatnonzero(kept_for == np.arange(len(kept_for)))
    number = np.zeros(len(is_final), np.int32)
    number[kept] = np.arange(len(kept))
    arc_counts = np.diff(first_arc)[kept]
    new_first_arc = np.append(0, np.cumsum(arc_counts))
    arcs = np.repeat(first_arc[kept] - new_first_arc[:-1], arc_counts) + np.arange(new_first_arc[-1])
    return Automaton(is_final[kept], new_first_arc, labels[arcs].astype(np.int32), number[kept_for[arcs + 1]])


def _classes(
    states: np.ndarray, is_final: np.ndarray, first_arc: np.ndarray, labels: np.ndarray, kept_for: np.ndarray
) -> np.ndarray:
    """int64 [states]: equal numbers for equal states."""
    num_arcs = first_arc[states + 1] - first_arc[states]
    classes = 2 * num_arcs + is_final[states]
    for place in range(int(num_arcs.max(initial=0))):
        rows = np.flatnonzero(num_arcs > place)
        arcs = first_arc[states[rows]] + place
        columns = np.stack([classes[rows], labels[arcs], kept_for[arcs + 1]])
        order = np.lexsort(columns)
        differs = (np.diff(columns[:, order]) != 0).any(axis=0)
        # States with fewer arcs keep older numbers: the count of arcs tells them apart below.
        classes[rows[order]] = np.append(0, np.cumsum(differs))
    return np.unique(np.stack([num_arcs, classes], axis=1), axis=0, return_inverse=True)[1].reshape(-1)


def automaton_bytes(automaton: Automaton, *, offset: int) -> bytes:
    """The file of an automaton.

    Args:
        offset: where it begins in the file that it becomes a part of: states and arcs stand at multiples of 16 there.
    """
    num_states, num_arcs = len(automaton.is_final), len(automaton.labels)
    arc_counts = np.diff(automaton.first_arc)
    sources = np.repeat(np.arange(num_states), arc_counts)
    properties = PROPERTIES
    properties |= TOP_SORTED if (automaton.targets > sources).all() else NOT_TOP_SORTED
    properties |= STRING if num_states == num_arcs + 1 and arc_counts.max() == 1 else NOT_STRING
    header = HEADER.pack(
        MAGIC, 5, b"const", 8, b"standard", CONST_FST_VERSION, IS_ALIGNED, properties, 0, num_states, num_arcs
    )
    states = np.zeros(num_states, STATE)
    states["final"] = np.where(automaton.is_final, np.float32(0), np.float32(np.inf))
    states["first_arc"], states["arcs"] = automaton.first_arc[:-1], arc_counts
    arcs = np.zeros(num_arcs, ARC)
    arcs["ilabel"] = arcs["olabel"] = automaton.labels
    arcs["next"] = automaton.targets
    data = header + bytes(-(offset + len(header)) % ALIGNMENT) + states.tobytes()
    return data + bytes(-(offset + len(data)) % ALIGNMENT) + arcs.tobytes()
