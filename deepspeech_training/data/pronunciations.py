"""Lexicons -> pairs of a word and a pronunciation, checked, and divided where there is no set for validation."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepspeech_training.data.lexicon import Entry, read_lexicon
from deepspeech_training.data.sample import Rejection
from deepspeech_training.data.scripts import scripts_of, usual_scripts
from deepspeech_training.data.spelling import phones_of
from deepspeech_training.errors import UserError

FAULTS_SHOWN = 20
EXAMPLES_SHOWN = 5
HOW_TO_MEND = {
    "bad_row": "Fix the row: a word and its pronunciation, as in the rows around it.",
    "empty_word": "Write the word, or delete the row.",
    "empty_pronunciation": "Write the pronunciation, or delete the row.",
    "other_script": "Type the word again, as some letters of other scripts look the same, or delete the row.",
}


@dataclass(frozen=True, slots=True)
class Pair:
    """A word with one of its pronunciations.

    Args:
        id: the file and the row, as in "train.tsv:17"; with a number behind it where the row has several.
    """

    id: str
    csv_path: str
    row: int
    word: str
    pronunciation: str


@dataclass(frozen=True)
class Lexicons:
    """What the files of a call have.

    Args:
        sets: the pairs of each file, by the name of its set (train, dev ...) and its path.
        rejected: rows that are left out.
        notes: what a person should know of the data.
    """

    sets: Mapping[str, Mapping[str, Sequence[Pair]]]
    rejected: Sequence[Rejection] = ()
    notes: Sequence[str] = ()

    def pairs(self, kind: str) -> list[Pair]:
        """Those of all files of a set."""
        return [pair for pairs in self.sets.get(kind, {}).values() for pair in pairs]


def read_lexicons(files: Mapping[str, Sequence[str]], *, on_bad_row: str) -> Lexicons:
    """Read all lexicons and check every row of them, with all faults in one report.

    Args:
        files: paths by the name of their set.
        on_bad_row: "fail" makes an error of any fault, "drop" leaves such rows out.
    Raises:
        UserError: a file cannot be read, has no row left, or there are faults and `on_bad_row` is "fail".
    """
    entries = {path: read_lexicon(path) for paths in files.values() for path in paths}
    usual = _usual(entry for path in files.get("train", ()) for entry in entries[path])
    sets: dict[str, dict[str, list[Pair]]] = {kind: {} for kind in files}
    rejected: list[Rejection] = []
    notes: list[str] = []
    for kind, paths in files.items():
        for path in paths:
            pairs, twice = sets[kind].setdefault(path, []), 0
            seen: set[tuple[str, str]] = set()
            for entry in entries[path]:
                code, reason = _fault(entry, usual)
                if code:
                    said = ", ".join(entry.pronunciations)
                    rejected.append(Rejection(path, entry.row, entry.word, said, code, reason))
                    continue
                for number, pronunciation in enumerate(entry.pronunciations, start=1):
                    twice += (entry.word, pronunciation) in seen
                    if (entry.word, pronunciation) not in seen:
                        seen.add((entry.word, pronunciation))
                        suffix = "" if number == 1 else f"/{number}"
                        name = f"{Path(path).name}:{entry.row}{suffix}"
                        pairs.append(Pair(name, path, entry.row, entry.word, pronunciation))
            if twice:
                notes.append(f"{path}: copies of a word with the same pronunciation, which are left out: {twice:,}")
            if not pairs and on_bad_row == "drop":
                raise UserError(f"{path}: no row is left of {len(entries[path]):,}")
    if rejected and on_bad_row == "fail":
        raise UserError(_report(rejected, sum(map(len, entries.values()))))
    found = Lexicons(sets, rejected)
    return Lexicons(sets, rejected, [*notes, *_words_in_two_sets(found), *_seen_once(found.pairs("train"))])


def are_spaced(pairs: Iterable[Pair]) -> bool:
    """Whether pronunciations are written with spaces between their phones, and not only between words."""
    several = [pair.pronunciation for pair in pairs if len(phones_of("".join(pair.pronunciation.split()))) > 1]
    return 2 * sum(" " in pronunciation for pronunciation in several) > len(several)


def set_aside(pairs: Sequence[Pair], *, share: float, seed: int, homophones_too: bool) -> tuple[list[Pair], list[Pair]]:
    """Divide pairs by word, never by row -> those to train on, and those for validation.

    Which words are set aside depends on the seed and the words alone, not on their order in the file.

    Args:
        share: of the words that are set aside, 0..1; at least one word is left to train on.
        homophones_too: words that share a pronunciation stay together too, as what is given is the pronunciation.
    """
    groups = _together(pairs) if homophones_too else {pair.word: pair.word for pair in pairs}
    words: dict[str, set[str]] = defaultdict(set)
    for word, group in groups.items():
        words[group].add(word)

    def rank(group: str) -> bytes:
        return hashlib.blake2b(f"{seed}:{min(words[group])}".encode(), digest_size=16).digest()

    wanted, aside = min(round(share * len(groups)), len(groups) - 1), set[str]()
    for group in sorted(words, key=rank):
        if len(aside) + len(words[group]) <= wanted:
            aside |= words[group]
    return [pair for pair in pairs if pair.word not in aside], [pair for pair in pairs if pair.word in aside]


def _together(pairs: Sequence[Pair]) -> dict[str, str]:
    """The group of each word: those that are joined by pronunciations that they share, by one of them."""
    parent: dict[str, str] = {pair.word: pair.word for pair in pairs}

    def root(word: str) -> str:
        while parent[word] != word:
            parent[word] = word = parent[parent[word]]
        return word

    first: dict[str, str] = {}
    for pair in pairs:
        parent[root(pair.word)] = root(first.setdefault(pair.pronunciation, pair.word))
    return {word: root(word) for word in parent}


@dataclass(frozen=True)
class _Usual:
    """The scripts that words and pronunciations are in; empty where nothing is usual."""

    words: frozenset[str]
    pronunciations: frozenset[str]


def _usual(entries: Iterable[Entry]) -> _Usual:
    sound = [entry for entry in entries if not entry.fault]
    pronunciations = usual_scripts(p for entry in sound for p in entry.pronunciations)
    if "LATIN" in pronunciations:
        pronunciations |= {"GREEK"}  # the IPA has β, θ and χ
    return _Usual(usual_scripts(entry.word for entry in sound), pronunciations)


def _fault(entry: Entry, usual: _Usual) -> tuple[str, str]:
    """The code of what is wrong with a row, and the reason; "" twice where it can be used."""
    if entry.fault:
        return "bad_row", entry.fault
    if not entry.word:
        return "empty_word", "the word is empty"
    if not entry.pronunciations or not all(entry.pronunciations):
        return "empty_pronunciation", "the pronunciation is empty"
    for what, texts, scripts in (
        ("the word", (entry.word,), usual.words),
        ("the pronunciation", entry.pronunciations, usual.pronunciations),
    ):
        others = {script for text in texts for script in scripts_of(text)} - scripts if scripts else set()
        if others:
            letters = [c for text in texts for c in text if scripts_of(c) & others][:EXAMPLES_SHOWN]
            named = " ".join(f"{c!r} (U+{ord(c):04X})" for c in dict.fromkeys(letters))
            return (
                "other_script",
                f"{what} has letters of another script than the file: {named} {'/'.join(sorted(others))}, "
                f"not {'/'.join(sorted(scripts))}",
            )
    return "", ""


def _report(rejected: Sequence[Rejection], num_rows: int) -> str:
    """All faults in one text; how to fix a kind of fault stands below the first one of that kind."""
    lines, explained = [], set[str]()
    for row in rejected[:FAULTS_SHOWN]:
        lines.append(f"{row.csv_path}, row {row.row}: {row.reason}")
        lines.append(f"  found  {row.wav_filename!r} {row.transcript!r}")
        if row.reason_code not in explained:
            lines.append(HOW_TO_MEND[row.reason_code])
            explained.add(row.reason_code)
    if len(rejected) > FAULTS_SHOWN:
        lines.append(f"... and {len(rejected) - FAULTS_SHOWN:,} more rows with faults.")
    counts = Counter(row.reason_code for row in rejected)
    rows = "row has a fault" if len(rejected) == 1 else "rows have faults"
    listed = ", ".join(f"{counts[code]:,} {code}" for code in HOW_TO_MEND if counts[code])
    lines.append(f"{len(rejected):,} of {num_rows:,} {rows}: {listed}")
    lines.append("Fix them, or give --on_bad_row drop to continue without them.")
    return "\n".join(lines)


def _words_in_two_sets(found: Lexicons) -> Iterable[str]:
    """A word that is trained on says nothing in a test."""
    kinds = [kind for kind in ("train", "dev", "test") if kind in found.sets]
    words = {kind: {pair.word: pair.id for pair in found.pairs(kind)} for kind in kinds}
    for place, kind in enumerate(kinds):
        for other in kinds[place + 1 :]:
            both = words[kind].keys() & words[other].keys()
            if both:
                shown = sorted(both)[:EXAMPLES_SHOWN]
                named = ", ".join(f"{word} ({words[kind][word]}, {words[other][word]})" for word in shown)
                more = f" and {len(both) - len(shown):,} more" if len(both) > len(shown) else ""
                yield f"{len(both):,} words are in {kind} and in {other}, whose figures flatter: {named}{more}"


def _seen_once(pairs: Sequence[Pair]) -> Iterable[str]:
    """Of what is there once, little can be learnt: it may be a slip of the keyboard."""
    counts = Counter(character for pair in pairs for character in pair.word)
    once = {character for character, count in counts.items() if count == 1}
    rows = {character: pair.id for pair in pairs for character in pair.word if character in once}
    if rows:
        shown = [f"{character!r} ({row})" for character, row in sorted(rows.items())[: 2 * EXAMPLES_SHOWN]]
        more = f" and {len(rows) - len(shown):,} more" if len(rows) > len(shown) else ""
        yield f"{len(rows):,} letters are there once only: {' '.join(shown)}{more}"
