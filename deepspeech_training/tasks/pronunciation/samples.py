"""Pairs of a lexicon -> samples: what is given, what is wanted, and all answers that are right."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from deepspeech_training.data.pronunciations import Lexicons, Pair, are_spaced
from deepspeech_training.data.sample import CheckedData, SampleSet
from deepspeech_training.data.spelling import LETTERS, PHONES, SPACED_PHONES, Spelling

Units = tuple[str, ...]  # symbols


@dataclass(frozen=True, slots=True)
class WordSample:
    """A word and its pronunciation, in one direction or the other.

    Args:
        id: of the pair.
        source, target: what is given, and what is wanted.
        given, wanted: their numbers, see `data.spelling`.
        right: all that is right for the source, in its set; in training the target alone.
    """

    id: str
    csv_path: str
    row: int
    source: str
    target: str
    given: tuple[int, ...]
    wanted: tuple[int, ...]
    right: tuple[Units, ...]

    @property
    def path(self) -> str:
        return self.source

    @property
    def content(self) -> str:
        return self.target

    @property
    def size(self) -> int:
        return len(self.given)

    @property
    def cost(self) -> int:
        return len(self.given)


@dataclass(frozen=True)
class Direction:
    """Which side is given and which is wanted, and how they are written."""

    to_ipa: bool
    source: Spelling
    target: Spelling

    @classmethod
    def of(cls, pairs: Sequence[Pair], *, to_ipa: bool) -> "Direction":
        """With the symbols of these pairs."""
        words = Spelling.of(LETTERS, (pair.word for pair in pairs))
        kind = SPACED_PHONES if are_spaced(pairs) else PHONES
        phones = Spelling.of(kind, (pair.pronunciation for pair in pairs))
        return cls(to_ipa, *((words, phones) if to_ipa else (phones, words)))

    def sample(self, pair: Pair) -> WordSample:
        source, target = (pair.word, pair.pronunciation) if self.to_ipa else (pair.pronunciation, pair.word)
        given, wanted = self.source.numbers(source), self.target.numbers(target)
        right = (self.target.units(target),)
        return WordSample(pair.id, pair.csv_path, pair.row, source, target, given, wanted, right)


def checked_data(lexicons: Lexicons, direction: Direction) -> CheckedData[WordSample]:
    """The samples of each set: a pair each in training, a source each with all its answers elsewhere."""
    sets = {
        kind: [SampleSet(path, Path(path).name, _samples(kind, pairs, direction)) for path, pairs in files.items()]
        for kind, files in lexicons.sets.items()
    }
    return CheckedData(sets, list(lexicons.rejected), list(lexicons.notes))


def _samples(kind: str, pairs: Sequence[Pair], direction: Direction) -> list[WordSample]:
    samples = [direction.sample(pair) for pair in pairs]
    if kind == "train":
        return samples
    right: dict[str, list[WordSample]] = {}
    for sample in samples:
        right.setdefault(sample.source, []).append(sample)
    return [replace(same[0], right=tuple(answer for s in same for answer in s.right)) for same in right.values()]
