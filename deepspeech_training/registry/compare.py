"""Two registered models on the same test sets: how far apart their error rates are, and which clips changed."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from deepspeech_training.audio.synthetic_speech import synthesize_seconds
from deepspeech_training.console import Console
from deepspeech_training.errors import UserError
from deepspeech_training.registry.bootstrap import Difference, Interval, difference
from deepspeech_training.registry.results import Scores, SetResults, check_same, kept, measure
from deepspeech_training.registry.store import Version
from deepspeech_training.runtime.beam import BeamOptions
from deepspeech_training.runtime.loading import load_model
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.stream import to_int16

SPEECH_S = 10.0  # of synthetic speech, that the speed is measured on
PASSES = 3  # the fastest counts: what else the machine does makes the others slower


@dataclass(frozen=True)
class Side:
    """One of the two models.

    Args:
        file_bytes: of the .tflite.
        scorer_bytes: 0 without a scorer.
        real_time_factor: seconds of one core for a second of speech, decoded as it is served.
    """

    version: Version
    wer: Interval
    cer: Interval
    file_bytes: int
    scorer_bytes: int
    real_time_factor: float


@dataclass(frozen=True)
class Change:
    """A clip that the two write differently; errors are those of its words."""

    wav_filename: str
    reference: str
    a: str
    b: str
    errors_a: int
    errors_b: int


@dataclass(frozen=True)
class Comparison:
    """A and B.

    Args:
        csvs: the test sets.
        clips: how many were heard.
        drawn: what the bootstrap draws: "clips" or "speakers".
        changes: what B makes worse first, what it makes better last.
    """

    a: Side
    b: Side
    csvs: tuple[str, ...]
    clips: int
    drawn: str
    wer: Difference
    cer: Difference
    changes: tuple[Change, ...]

    def as_json(self) -> dict[str, Any]:
        sides = {
            name: {
                "version": str(side.version),
                "wer": vars(side.wer),
                "cer": vars(side.cer),
                "model_bytes": side.file_bytes,
                "scorer_bytes": side.scorer_bytes,
                "real_time_factor_on_one_core": side.real_time_factor,
            }
            for name, side in (("a", self.a), ("b", self.b))
        }
        return {
            **sides,
            "csvs": list(self.csvs),
            "clips": self.clips,
            "drawn": self.drawn,
            "difference": {"wer": vars(self.wer), "cer": vars(self.cer)},
            "changes": [vars(change) for change in self.changes],
        }


def compare(a: Version, b: Version, test_files: Sequence[str], *, processes: int, console: Console) -> Comparison:
    """Compare two versions.

    Args:
        test_files: CSVs that both hear now; without any it is what they wrote when they were registered.
        processes: that transcribe at the same time.
    Raises:
        UserError: one is damaged, or there is nothing that both have heard.
    """
    for version in (a, b):
        version.check()
    if test_files:
        heard_a, heard_b = (
            measure(v.model_path, v.scorer_path, test_files, processes=processes, console=console) for v in (a, b)
        )
    else:
        heard_a, heard_b = _kept_by_both(a, b)
    check_same(heard_a, heard_b)
    scores_a, scores_b = Scores.of(heard_a), Scores.of(heard_b)
    factors = _real_time_factors([a, b])
    sides = [
        Side(
            version,
            scores.wer,
            scores.cer,
            version.model_path.stat().st_size,
            version.scorer_path.stat().st_size if version.scorer_path else 0,
            factor,
        )
        for version, scores, factor in zip((a, b), (scores_a, scores_b), factors, strict=True)
    ]
    return Comparison(
        a=sides[0],
        b=sides[1],
        csvs=tuple(found.csv for found in heard_b),
        clips=len(scores_a.words),
        drawn=scores_a.drawn,
        wer=difference(scores_a.word_errors, scores_b.word_errors, scores_a.words, scores_a.units),
        cer=difference(scores_a.char_errors, scores_b.char_errors, scores_a.chars, scores_a.units),
        changes=_changes(heard_a, heard_b),
    )


def _kept_by_both(a: Version, b: Version) -> tuple[list[SetResults], list[SetResults]]:
    of_a = {found.fingerprint: found for found in kept(a)}
    both = [found for found in kept(b) if found.fingerprint in of_a]
    if not both:
        raise UserError(
            f"{a} and {b} were not tested on the same clips when they were registered\nName some: --test_files CSV"
        )
    return [of_a[found.fingerprint] for found in both], both


def _changes(a: Sequence[SetResults], b: Sequence[SetResults]) -> tuple[Change, ...]:
    pairs = [pair for one, other in zip(a, b, strict=True) for pair in zip(one.results, other.results, strict=True)]
    changes = [
        Change(new.wav_filename, new.reference, old.hypothesis, new.hypothesis, old.word_distance, new.word_distance)
        for old, new in pairs
        if old.hypothesis != new.hypothesis
    ]
    return tuple(sorted(changes, key=lambda change: change.errors_a - change.errors_b))


def _real_time_factors(versions: Sequence[Version]) -> list[float]:
    """The models in turn on the same speech, so that a busy machine is unfair to neither."""
    models = [
        load_model(str(v.model_path), BeamOptions(str(v.scorer_path) if v.scorer_path else None)) for v in versions
    ]
    best = [float("inf")] * len(models)
    for _ in range(PASSES):
        best = [min(so_far, _seconds(model)) for so_far, model in zip(best, models, strict=True)]
    return [seconds / SPEECH_S for seconds in best]


def _seconds(model: Model) -> float:
    audio = to_int16(synthesize_seconds(SPEECH_S, sample_rate=model.sampleRate())[0])
    began = time.process_time()
    model.stt(audio)
    return time.process_time() - began
