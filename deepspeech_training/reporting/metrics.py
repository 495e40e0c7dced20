"""How far hypotheses are from references: edit distance, word and character error rate, and the report of a set."""

import difflib
import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

LISTED_WORDS = 10
SHARE_OF_FIRST_LETTERS = 0.2  # of the clips: more than chance makes (docs/results.md, "Learning")


def edit_distance(reference: Sequence[Hashable], hypothesis: Sequence[Hashable]) -> int:
    """Fewest insertions, deletions and substitutions from one sequence to the other (Levenshtein 1966).

    >>> edit_distance("greasy", "greedy")
    2
    >>> edit_distance("a b c".split(), [])
    3
    """
    if not reference:
        return len(hypothesis)
    # A column of the table of distances as bits of two integers: where it rises, where it falls (Myers 1999, in the
    # form of Hyyrö 2003). Twenty times as fast here as filling the table.
    places: dict[Hashable, int] = {}
    for place, item in enumerate(reference):
        places[item] = places.get(item, 0) | 1 << place
    everywhere, last = (1 << len(reference)) - 1, 1 << (len(reference) - 1)
    rises, falls, distance = everywhere, 0, len(reference)
    for item in hypothesis:
        equal = places.get(item, 0)
        vertical = equal | falls
        horizontal = (((equal & rises) + rises) ^ rises) | equal
        rises_right = falls | ~(horizontal | rises) & everywhere
        falls_right = rises & horizontal
        if rises_right & last:
            distance += 1
        elif falls_right & last:
            distance -= 1
        rises_right = (rises_right << 1 | 1) & everywhere
        falls_right = falls_right << 1 & everywhere
        rises = falls_right | ~(vertical | rises_right) & everywhere
        falls = rises_right & vertical
    return distance


def error_rate(distance: int, length: int) -> float:
    """Errors per unit of the reference; never clamped.

    An empty reference has rate 0 when nothing was heard, else one per inserted unit (as if its length were 1).

    >>> error_rate(6, 4), error_rate(0, 0), error_rate(3, 0)
    (1.5, 0.0, 3.0)
    """
    return distance / max(length, 1)


def missed_words(reference: Sequence[str], hypothesis: Sequence[str]) -> list[tuple[str, str]]:
    """The words of a reference that were not heard, each with the word in its place, or "".

    >>> missed_words("the cat sat down".split(), "the bat sat".split())
    [('cat', 'bat'), ('down', '')]
    """
    missed: list[tuple[str, str]] = []
    matcher = difflib.SequenceMatcher(None, reference, hypothesis, autojunk=False)
    for kind, begin, end, heard_begin, heard_end in matcher.get_opcodes():
        if kind in ("replace", "delete"):
            heard = [*hypothesis[heard_begin:heard_end], *[""] * (end - begin)]
            missed += zip(reference[begin:end], heard, strict=False)
    return missed


@dataclass(frozen=True)
class Result:
    """What became of one clip in a test: reference, hypothesis, CTC loss.

    Args:
        greedy: what greedy decoding hears; None where the hypothesis is that.
        without_scorer: what the same beam hears without the scorer; None where there is none.
    """

    wav_filename: str
    reference: str
    hypothesis: str
    loss: float
    greedy: str | None = None
    without_scorer: str | None = None

    @property
    def word_distance(self) -> int:
        return edit_distance(self.reference.split(), self.hypothesis.split())

    @property
    def word_length(self) -> int:
        return len(self.reference.split())

    @property
    def char_distance(self) -> int:
        return edit_distance(self.reference, self.hypothesis)

    @property
    def char_length(self) -> int:
        return len(self.reference)

    @property
    def wer(self) -> float:
        return error_rate(self.word_distance, self.word_length)

    @property
    def cer(self) -> float:
        return error_rate(self.char_distance, self.char_length)

    def as_dict(self) -> dict[str, Any]:
        """The fields of DeepSpeech's `--test_output_file`."""
        return {
            "wav_filename": self.wav_filename,
            "src": self.reference,
            "res": self.hypothesis,
            "loss": self.loss if math.isfinite(self.loss) else None,  # JSON has no NaN
            "char_distance": self.char_distance,
            "char_length": self.char_length,
            "word_distance": self.word_distance,
            "word_length": self.word_length,
            "cer": self.cer,
            "wer": self.wer,
        }


@dataclass(frozen=True)
class SetReport:
    """Figures of one test set: corpus WER and CER (sum of distances over sum of lengths), mean loss.

    Args:
        knows: says whether the scorer has a word; None without a scorer.
    """

    name: str
    results: tuple[Result, ...]
    knows: Callable[[str], bool] | None = None

    @property
    def wer(self) -> float:
        return error_rate(sum(r.word_distance for r in self.results), sum(r.word_length for r in self.results))

    @property
    def cer(self) -> float:
        return error_rate(sum(r.char_distance for r in self.results), sum(r.char_length for r in self.results))

    def figures(self) -> dict[str, float]:
        """By the names of `figures.SPEECH_TO_TEXT`."""
        return {"wer": self.wer, "cer": self.cer}

    def as_json(self) -> list[dict[str, Any]]:
        """The entries of DeepSpeech's `--test_output_file`."""
        return [result.as_dict() for result in self.results]

    @property
    def loss(self) -> float:
        return sum(r.loss for r in self.results) / max(len(self.results), 1)

    def of(self, other: str) -> "SetReport | None":
        """The same set as other decoding has it, "greedy" or "without_scorer"; None where that was not done."""
        heard = [getattr(result, other) for result in self.results]
        if not heard or None in heard:
            return None
        results = (replace(r, hypothesis=text) for r, text in zip(self.results, heard, strict=True))
        return SetReport(self.name, tuple(results))

    def wrong_words(self) -> list[tuple[str, int, str]]:
        """Words of the references that were missed, most often first: how often, and what was mostly heard instead."""
        heard: dict[str, Counter[str]] = {}
        for result in self.results:
            for word, instead in missed_words(result.reference.split(), result.hypothesis.split()):
                heard.setdefault(word, Counter())[instead] += 1
        counted = [(word, instead.total(), instead.most_common(1)[0][0]) for word, instead in heard.items()]
        return sorted(counted, key=lambda entry: (-entry[1], entry[0]))

    def unknown_words(self) -> list[tuple[str, int]]:
        """Words of the references that the scorer lacks, which it can never write; most frequent first."""
        if self.knows is None:
            return []
        words = Counter(word for result in self.results for word in result.reference.split())
        return [(word, count) for word, count in words.most_common() if not self.knows(word)]

    def first_letter_wrong(self) -> int:
        """In how many clips the network misses nothing but the first letter: it is not written, or another is."""
        heard = ((r.reference, r.hypothesis if r.greedy is None else r.greedy) for r in self.results)
        return sum(len(text) > 1 and text != found and found.endswith(text[1:]) for text, found in heard)

    def picked(self, count: int) -> dict[str, list[Result]]:
        """The best, median and worst `count` results, by WER, then loss, as DeepSpeech picks them."""
        ordered = sorted(self.results, key=lambda r: (r.wer, r.loss))
        middle = max(0, (len(ordered) - count) // 2)
        worst = ordered[-count:][::-1] if count else []
        return {"Best": ordered[:count], "Median": ordered[middle : middle + count], "Worst": worst}

    def to_text(self, report_count: int) -> str:
        """The report a person reads."""
        lines = [
            f"Test on {self.name} - WER: {self.wer:.6f}, CER: {self.cer:.6f}, loss: {self.loss:.6f} "
            f"({len(self.results):,} clips)",
            *self.comparison(words_too=report_count > 0),
        ]
        for title, results in self.picked(report_count).items():
            if not results:
                continue
            lines += ["-" * 80, f"{title} WER:", "-" * 80]
            for r in results:
                lines += [
                    f"WER: {r.wer:.6f}, CER: {r.cer:.6f}, loss: {r.loss:.6f}",
                    f" - wav: {r.wav_filename}",
                    f' - src: "{r.reference}"',
                    f' - res: "{r.hypothesis}"',
                ]
        return "\n".join([*lines, "-" * 80])

    def comparison(self, *, words_too: bool) -> list[str]:
        """Lines on what scorer and beam change, and, with `words_too`, on the words that are wrong or unknown."""
        lines = []
        for what, other in (
            ("Without the scorer, at the same beam width", self.of("without_scorer")),
            ("Greedy, without beam" + (" and scorer" if self.knows is not None else ""), self.of("greedy")),
        ):
            if other is not None:
                lines.append(f"{what} - WER: {other.wer:.6f}, CER: {other.cer:.6f}")
        first = self.first_letter_wrong()
        if first >= SHARE_OF_FIRST_LETTERS * len(self.results) > 0:
            lines.append(
                f"Nothing but the first letter is wrong in {first:,} of {len(self.results):,} clips, without beam and "
                "scorer: train with --leading_blanks 9 (docs/improving.md)"
            )
        if not words_too:
            return lines
        wrong = self.wrong_words()[:LISTED_WORDS]
        if wrong:
            listed = ", ".join(f"{word} {count} ({instead or 'nothing'})" for word, count, instead in wrong)
            lines.append(f"Words wrong most often, and what was heard: {listed}")
        unknown = self.unknown_words()
        if unknown:
            count, total = sum(count for _, count in unknown), sum(r.word_length for r in self.results)
            listed = ", ".join(f"{word} {count}" for word, count in unknown[:LISTED_WORDS])
            lines.append(f"Words that the scorer does not know: {count:,} of {total:,} - {listed}")
        return lines
