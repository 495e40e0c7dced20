"""Texts to be read aloud: lines, or a column of a table -> prompts that a model can learn, the most telling first."""

import csv
import heapq
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

from deepspeech_training.data.text import Cleaner, fault_of, tidied

MOST_PROMPTS = 20_000
LONGEST_PROMPT = 300  # characters: half a minute of speech
LEFT_OUT_SHOWN = 20
# What tables call the column of the texts; the first one that is there counts.
COLUMNS = ("original", "transcript", "sentence", "prompt", "text")
DELIMITERS = "\t,;|"
_COLUMN = re.compile(r"[\w.-]+")  # a sentence with commas has spaces after them
READING_COST = 20  # characters that a prompt costs besides its own: to look, to press, to breathe


@dataclass(frozen=True)
class LeftOut:
    """A text that nobody is asked to read.

    Args:
        line: of the text that was given, from 1.
    """

    line: int
    text: str
    reason: str


@dataclass(frozen=True)
class Prompts:
    """What was read: each text once, and what was left out."""

    texts: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def read_prompts(text: str, language: str) -> Prompts:
    """The texts of a list with one on each line, or of a table with a header such as that of a train.csv.

    Args:
        language: a code such as "en"; for the signs that it writes and does not say.
    """
    cleaner = Cleaner(language=language)
    texts: dict[str, str] = {}  # what is said -> how it is written
    left_out: list[LeftOut] = []
    for line, written in _written(text.removeprefix("\ufeff")):
        shown = tidied(written)
        if not shown:
            continue
        reason = why_not(shown, cleaner)
        if not reason and len(texts) >= MOST_PROMPTS:
            reason = f"there are more than {MOST_PROMPTS:,}"
        if reason:
            left_out.append(LeftOut(line, shown[:LONGEST_PROMPT], reason))
        else:
            texts.setdefault(cleaner(shown), shown)
    return Prompts(tuple(texts.values()), tuple(left_out))


def _written(text: str) -> list[tuple[int, str]]:
    """(line, text) of each row."""
    lines = text.splitlines()
    header = next((line for line in lines if line.strip()), "")
    for delimiter in DELIMITERS:
        names = [name.strip('"').lower() for name in header.split(delimiter)]
        column = next((name for name in COLUMNS if name in names), None)
        if column is not None and all(map(_COLUMN.fullmatch, names)):
            place = names.index(column)
            reader = csv.reader(io.StringIO("\n".join(lines)), delimiter=delimiter)
            rows = [(reader.line_num, fields) for fields in reader if fields]
            return [(line, fields[place]) for line, fields in rows[1:] if len(fields) > place]
    return list(enumerate(lines, 1))


def why_not(text: str, cleaner: Cleaner) -> str:
    """Why a tidy text cannot be read aloud and learned; "" where it can."""
    if len(text) > LONGEST_PROMPT:
        return f"it is longer than {LONGEST_PROMPT} characters"
    kind, found = cleaner.refused_in(text)
    if found:
        return f"nobody knows how {kind} such as {found[0]} are read: write them as words"
    if not cleaner(text):
        return "nothing of it is said"
    return fault_of(cleaner(text))


def telling_first(texts: Sequence[str]) -> list[str]:
    """The same texts in an order in which few of them have all letters and pairs of neighbouring letters.

    Each next one adds the most for the time that it takes. Those that add nothing come last, as they were. What a text
    adds only gets less as others are chosen, so that an old estimate is a bound: few are counted again at each step
    (Minoux, 1978, "Accelerated greedy algorithms for maximizing submodular set functions").

    >>> telling_first(["aaa", "aab", "the quick brown fox"])[0]
    'the quick brown fox'
    """
    units = [_units(text) for text in texts]
    known: set[str] = set()
    heap = [(-len(found) / (len(texts[i]) + READING_COST), i) for i, found in enumerate(units)]
    heapq.heapify(heap)
    chosen: list[int] = []
    while heap and heap[0][0] < 0:
        _, i = heapq.heappop(heap)
        gain = -len(units[i] - known) / (len(texts[i]) + READING_COST)
        if heap and gain > heap[0][0]:
            heapq.heappush(heap, (gain, i))
        elif gain < 0:
            chosen.append(i)
            known |= units[i]
        else:
            heapq.heappush(heap, (0.0, i))
    rest = sorted(i for _, i in heap)
    return [texts[i] for i in chosen + rest]


def _units(text: str) -> set[str]:
    """Its letters, and the pairs of letters within words."""
    words = text.lower().split()
    pairs = {word[at : at + 2] for word in words for at in range(len(word) - 1)}
    return pairs | set("".join(words))
