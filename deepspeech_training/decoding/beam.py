"""Beam search: probabilities -> the likeliest texts, with a scorer or without, whole or frame by frame.

The search itself is in `beam_kernels`; `compiled` has numba compile it when the first decoder is made.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import NamedTuple

import numpy as np

from deepspeech_training.decoding.candidate import Candidate
from deepspeech_training.decoding.compiled import load_kernels
from deepspeech_training.decoding.language_model import TrieArrays, murmur_hash
from deepspeech_training.decoding.scorer import Dictionary, Scorer, check_weight
from deepspeech_training.machine.resources import usable_cores

CLIENT_CUTOFF_TOP_N = 40  # what the deployed clients decode with
LARGEST_BEAM = 100_000
LONGEST_CHARACTER = 4  # bytes of UTF-8
NUM_BYTES = 255  # labels in bytes mode: byte values 1 to 255
SETTLED_AT_A_TIME = 4096
COMMIT_EVERY = 16  # frames, counted from the start, so that where a clip is cut makes no difference


def _record(**fields: type) -> np.dtype:
    return np.dtype(list(fields.items()), align=True)


HOT_WORD = _record(hash=np.uint64, boost=np.float32)
NODE = _record(
    parent=np.int32,
    label=np.int32,
    state=np.int32,
    context=np.int32,
    first_child=np.int32,
    next_sibling=np.int32,
    previous_sibling=np.int32,
    place=np.int32,
    scored=np.int32,
    complete=np.int32,
    context_length=np.int32,
    since_unknown=np.int32,
    log_prob=np.float64,
    boost=np.float32,
)
CONTEXT_WORD = _record(word=np.int32, backoff=np.float32, boost=np.float32)
TIME = _record(parent=np.int32, frame=np.int32, users=np.int32, children=np.int32, children_xor=np.int32)
PREFIX = _record(
    node=np.int32,
    time=np.int32,
    blank_score=np.float32,
    label_score=np.float32,
    score=np.float32,
    new_blank_score=np.float32,
    new_label_score=np.float32,
    new_score=np.float32,
    new_time_parent=np.int32,
    new_time=np.int32,
    chosen=np.int32,
)
CANDIDATE = _record(
    score=np.float32,
    place=np.int32,
    label=np.int32,
    state=np.int32,
    chosen=np.int32,
    node=np.int32,
    time=np.int32,
)
CLASS = _record(prob=np.float64, log_prob=np.float32, ranked=np.int32, rank=np.int32, stamp=np.int64)


class Search(NamedTuple):
    """The arrays of one search; `beam_kernels` says what they mean. Nodes, contexts and times grow.

    Few arrays of records: each one that is passed from function to function makes the compiler slower.
    """

    state: np.ndarray  # int64
    weights: np.ndarray  # float64
    spelling: np.ndarray  # uint8 [labels, 1 + bytes]
    hot: np.ndarray
    nodes: np.ndarray
    contexts: np.ndarray  # [nodes, order - 1]
    times: np.ndarray
    prefixes: np.ndarray
    candidates: np.ndarray
    values: np.ndarray  # float32: scores to choose among
    classes: np.ndarray


class BeamDecoder:
    """Beam search for the models with one set of labels; any number of threads may use one decoder.

    Args:
        labels: the texts of the labels, the blank not among them; None for the 255 bytes of bytes mode.
        width: prefixes that are kept after each frame.
        scorer: a language model with its dictionary, or None.
        alpha, beta: instead of the scorer's.
        cutoff_prob: of each frame only the likeliest classes are looked at, up to this probability together; 1 is all.
        cutoff_top_n: and at most so many, but only where `cutoff_prob` is below 1 (as in the clients).
        hot_words: what to add to the log probability of some words, before `alpha`; needs a scorer.
        commit_after: frames after which a word of the best hypothesis is decided, so that all others go; None: never,
            as in the clients.
        say: called with a line before the search is compiled, which takes about half a minute, once on a machine.
    Raises:
        ScorerError: the scorer is for other labels.
        ValueError: a number is out of bounds, or there are hot words without a scorer.
    """

    def __init__(
        self,
        labels: Sequence[str] | None,
        *,
        width: int,
        scorer: Scorer | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        cutoff_prob: float = 1.0,
        cutoff_top_n: int = CLIENT_CUTOFF_TOP_N,
        hot_words: Mapping[str, float] | None = None,
        commit_after: int | None = None,
        say: Callable[[str], None] | None = None,
    ):
        if not 1 <= width <= LARGEST_BEAM:
            raise ValueError(f"beam width {width}: it must be from 1 to {LARGEST_BEAM}")
        if not 0 < cutoff_prob <= 1 or cutoff_top_n < 1:
            raise ValueError(f"cutoffs {cutoff_prob} and {cutoff_top_n}: above 0 up to 1, and 1 or more")
        if hot_words and scorer is None:
            raise ValueError("hot words need a scorer")
        if scorer is not None:
            scorer.check_labels(labels)
        self.num_labels = NUM_BYTES if labels is None else len(labels)
        self.width = width
        self.commit_after = commit_after
        self._spelling = _spelling(labels)
        self._trie, self._dictionary = _scorer_arrays(scorer)
        self._order = 2 if scorer is None else scorer.language_model.order
        # The clients take alpha and beta as float32.
        self._weights = np.array(
            [
                np.float32(check_weight("alpha", scorer.alpha if alpha is None else alpha)) if scorer else 0,
                np.float32(check_weight("beta", scorer.beta if beta is None else beta)) if scorer else 0,
                cutoff_prob,
            ],
            np.float64,
        )
        space = -2 if labels is None or " " not in labels else list(labels).index(" ")
        boosts = (hot_words or {}).items()
        hot = sorted((murmur_hash(word.encode()), check_weight(word, boost)) for word, boost in boosts)
        self._hot = np.array(hot, HOT_WORD)
        self._settings = [
            width,
            self.num_labels,
            space,
            scorer is not None,
            labels is None,
            min(cutoff_top_n, LARGEST_BEAM),
        ]
        self._kernels = load_kernels(say)

    def stream(self) -> "BeamStream":
        """Begin a clip whose frames come in pieces."""
        return BeamStream(self)

    def decode(self, probs: np.ndarray, *, num_results: int = 1) -> list[Candidate]:
        """The best candidates of a clip, best first: float [frames, classes], probabilities -> up to `num_results`."""
        stream = self.stream()
        stream.feed(probs)
        return stream.results(num_results)

    def decode_batch(
        self, clips: Iterable[np.ndarray], *, num_results: int = 1, threads: int | None = None
    ) -> list[list[Candidate]]:
        """The same for several clips, on as many threads as there are cores by default."""
        with ThreadPoolExecutor(threads or usable_cores()) as pool:
            return list(pool.map(lambda probs: self.decode(probs, num_results=num_results), clips))

    def _new_search(self) -> Search:
        kernels, width, num_classes = self._kernels, self.width, self.num_labels + 1
        room, most = 4 * width + 64, 4 * width + num_classes + 64
        search = Search(
            state=np.zeros(kernels.STATE_LENGTH, np.int64),
            weights=self._weights,
            spelling=self._spelling,
            hot=self._hot,
            nodes=np.zeros(room, NODE),
            contexts=np.zeros((room, self._order - 1), CONTEXT_WORD),
            times=np.zeros(room, TIME),
            prefixes=np.zeros(width, PREFIX),
            candidates=np.zeros(most, CANDIDATE),
            values=np.zeros(width + most, np.float32),
            classes=np.zeros(num_classes, CLASS),
        )
        search.state[: len(self._settings)] = self._settings
        search.state[kernels.NUM_PREFIXES] = 1
        root = search.nodes[0]
        for name in ("parent", "label", "first_child", "next_sibling", "previous_sibling"):
            root[name] = kernels.NONE
        root["complete"], root["state"], root["since_unknown"] = 1, self._dictionary.start, self._order
        search.prefixes[0]["label_score"] = kernels.LOWEST
        search.times[0]["parent"], search.times[0]["users"] = kernels.NONE, 1
        if self._trie.data.size:
            kernels.begin_sentence(search, self._trie)
        # Row 0 is the root; the last row of the nodes is for scores of words that no node has.
        _free(search, kernels, slice(1, room - 1), slice(1, room))
        return search


def _free(search: Search, kernels: ModuleType, nodes: slice, times: slice) -> None:
    """Put rows that are new on the stacks of free ones, where `parent` is the next one."""
    for rows, free, head, count in (
        (search.nodes, nodes, kernels.FREE_NODE, kernels.FREE_NODES),
        (search.times, times, kernels.FREE_TIME, kernels.FREE_TIMES),
    ):
        rows["parent"][free] = np.arange(free.start + 1, free.stop + 1)
        rows["parent"][free.stop - 1] = search.state[head]
        search.state[head] = free.start
        search.state[count] += free.stop - free.start


class BeamStream:
    """A clip whose frames come in pieces; where they are cut makes no difference. Made by `BeamDecoder.stream`.

    What all hypotheses begin with is settled and leaves the search, so that memory grows with the text alone, and an
    interim result costs what is not settled yet.
    """

    def __init__(self, decoder: BeamDecoder):
        self._decoder, self._kernels = decoder, decoder._kernels
        self._search = decoder._new_search()
        self._labels: list[int] = []
        self._frames: list[int] = []
        self._settled = np.zeros((2, SETTLED_AT_A_TIME), np.int32)

    @property
    def settled(self) -> int:
        """How many labels, with their frames, all further results begin with."""
        return min(len(self._labels), len(self._frames))

    @property
    def agreed(self) -> int:
        """How many labels all further results begin with; their frames may still change."""
        return len(self._labels) + int(self._kernels.agreed(self._search))

    @property
    def _frame(self) -> int:
        """Frames that were decoded."""
        return int(self._search.state[self._kernels.FRAME])

    def feed(self, probs: np.ndarray) -> None:
        """Decode further frames: float [frames, classes], probabilities (not their logarithms).

        Raises:
            ValueError: another number of classes.
        """
        probs = np.ascontiguousarray(probs, np.float32)
        if probs.ndim != 2 or probs.shape[1] != self._decoder.num_labels + 1:
            raise ValueError(f"the shape {probs.shape} is not [frames, {self._decoder.num_labels + 1}]")
        done = 0
        while done < len(probs):
            stop = (
                len(probs) if self._decoder.commit_after is None else done + COMMIT_EVERY - self._frame % COMMIT_EVERY
            )
            tables = self._decoder._trie, self._decoder._dictionary
            done = self._kernels.advance(self._search, *tables, probs[:stop], done)
            if done < min(stop, len(probs)):
                self._make_room()
            elif self._decoder.commit_after is not None and self._frame % COMMIT_EVERY == 0:
                self._kernels.commit(self._search, self._frame - 1 - self._decoder.commit_after)
        self._settle()

    def results(self, num_results: int = 1) -> list[Candidate]:
        """The best candidates so far, best first; the stream can continue."""
        search, kernels = self._search, self._kernels
        count = int(search.state[kernels.NUM_PREFIXES])
        scores = np.empty(count, np.float32)
        kernels.final_scores(search, self._decoder._trie, scores)
        last_labels = search.nodes["label"][search.prefixes["node"][:count]].view(np.uint32)
        best = np.lexsort((last_labels, -scores))[:num_results]
        return [self._candidate(int(place), float(scores[place])) for place in best]

    def _candidate(self, place: int, confidence: float) -> Candidate:
        room = SETTLED_AT_A_TIME
        while True:
            labels, frames = np.empty((2, room), np.int32)
            num_labels, num_frames = self._kernels.trace(self._search, place, labels, frames)
            if num_labels >= 0:
                break
            room *= 4
        return Candidate(
            self._labels + labels[:num_labels][::-1].tolist(),
            self._frames + frames[:num_frames][::-1].tolist(),
            confidence,
        )

    def _settle(self) -> None:
        labels, frames = self._settled
        num_labels, num_frames = self._kernels.settle(self._search, labels, frames)
        self._labels += labels[:num_labels].tolist()
        self._frames += frames[:num_frames].tolist()

    def _make_room(self) -> None:
        """Twice the rows for nodes and times."""
        self._settle()
        search, kernels, old = self._search, self._kernels, len(self._search.nodes)
        self._search = search._replace(
            nodes=_doubled(search.nodes), contexts=_doubled(search.contexts), times=_doubled(search.times)
        )
        # The former spare row is free now, the new last one is spare.
        _free(self._search, kernels, slice(old - 1, 2 * old - 1), slice(old, 2 * old))


def _doubled(array: np.ndarray) -> np.ndarray:
    larger = np.zeros((2 * len(array), *array.shape[1:]), array.dtype)
    larger[: len(array)] = array
    return larger


def _spelling(labels: Sequence[str] | None) -> np.ndarray:
    """uint8 [labels, 5]: how many bytes of UTF-8 a label has, and those."""
    texts = (
        [bytes([byte]) for byte in range(1, NUM_BYTES + 1)] if labels is None else [text.encode() for text in labels]
    )
    spelling = np.zeros((len(texts), 1 + max([LONGEST_CHARACTER, *map(len, texts)])), np.uint8)
    for row, text in zip(spelling, texts, strict=True):
        row[: 1 + len(text)] = [len(text), *text]
    return spelling


def _scorer_arrays(scorer: Scorer | None) -> tuple[TrieArrays, Dictionary]:
    """The arrays of a scorer; without one, empty ones of the same types, so that the search is compiled once."""
    if scorer is not None:
        return scorer.language_model.arrays, scorer.dictionary
    empty: list[np.ndarray] = [
        np.zeros(0, np.uint64),
        np.zeros(6, np.int64),
        np.zeros((1, 11), np.int64),
        np.zeros((0, 5), np.uint32),
        np.zeros((0, 4), np.int32),
    ]
    for array in empty:
        array.flags.writeable = False
    data, sizes, levels, states, arcs = empty
    return TrieArrays(data, sizes, levels), Dictionary(states, arcs, 0)


def compile_beam() -> None:
    """Compile the search now, or load what was compiled on this machine before."""
    BeamDecoder("a", width=1).decode(np.full((1, 2), 0.5, np.float32))
