"""How well the confidence of words holds: fits its weights, and prints how often words of each confidence are right.

    python benchmarks/confidence.py --set model.tflite none dev.csv --set model.tflite words.scorer dev.csv --snr 15

Each set is an exported model, a scorer or `none`, and a CSV of clips that the model was not trained on. The speakers of
a set (column `speaker` or `client_id`, else what --speaker_in finds in the name of a file) are dealt into halves; the
words of each half are judged with weights that were fitted on the other one (of all sets that have a scorer, or of all
that have none, each counting the same). A clip counts as it is, and once more with noise for each --snr.

The last lines are the weights fitted on all, as `deepspeech_training/runtime/confidence.py` has them. --shipped judges
with those instead; --write puts the fitted ones beside the model of the first set, for that model alone.
"""

import argparse
import csv
import json
import re
import sys
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from deepspeech_training.audio.files import read_audio  # noqa: E402
from deepspeech_training.decoding.scorer import Scorer  # noqa: E402
from deepspeech_training.runtime.confidence import CONFIDENCE, Weights, confidence_path  # noqa: E402
from deepspeech_training.runtime.model import Model  # noqa: E402
from deepspeech_training.runtime.posteriors import Posteriors  # noqa: E402
from deepspeech_training.runtime.settings import StreamSettings  # noqa: E402
from deepspeech_training.runtime.stream import to_int16  # noqa: E402
from deepspeech_training.runtime.words import word_bounds  # noqa: E402

BINS = 10


class Words(NamedTuple):
    """Of one set: figures float64 [words, 3], whether each is right [words], of which half its speaker is [words]."""

    name: str
    scored: bool
    figures: np.ndarray
    right: np.ndarray
    half: np.ndarray
    clean: np.ndarray


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--set", nargs=3, action="append", required=True, metavar=("MODEL", "SCORER", "CSV"))
    parser.add_argument("--snr", type=float, nargs="*", default=[], help="dB of white noise for a further copy each")
    parser.add_argument("--beam_width", type=int, default=100, help="where there is a scorer; else it is greedy")
    parser.add_argument("--speaker_in", default=r"^[^_]+_([^_]+)_", help="a pattern with one group")
    parser.add_argument("--shipped", action="store_true", help="judge with the weights of this version")
    parser.add_argument("--write", action="store_true", help="as MODEL.confidence.json")
    flags = parser.parse_args()
    if flags.write and flags.shipped:
        parser.error("--write writes what is fitted, and with --shipped nothing is")
    sets = [words_of(*paths, flags=flags) for paths in flags.set]
    fitted = CONFIDENCE._asdict()
    for scored, (name, shipped) in enumerate(CONFIDENCE._asdict().items()):
        chosen = [words for words in sets if words.scored == scored]
        if not chosen:
            continue
        judged = [np.empty(len(words.right)) for words in chosen]
        for half in (0, 1):
            weights = np.array(shipped) if flags.shipped else fit(chosen, without_half=half)
            for words, confidence in zip(chosen, judged, strict=True):
                confidence[words.half == half] = logistic(weights, words.figures[words.half == half])
        print(f"\n{'with' if scored else 'without'} a scorer")
        for words, confidence in zip(chosen, judged, strict=True):
            show(f"{words.name}, as recorded", confidence[words.clean], words.right[words.clean])
            if not words.clean.all():
                show(f"{words.name}, with noise", confidence[~words.clean], words.right[~words.clean])
        right = np.concatenate([words.right for words in chosen])
        show("all", np.concatenate(judged), right, table=True)
        if not flags.shipped:
            fitted[name] = Weights(*(round(float(value), 3) for value in fit(chosen, without_half=None)))
            print(f"{name}: {fitted[name]}")
    if flags.write:
        path = confidence_path(flags.set[0][0])
        path.write_text(json.dumps(fitted) + "\n", encoding="utf-8")
        print(f"\nwritten to {path}, where the runtime looks for it")


def words_of(model_path: str, scorer_path: str, csv_path: str, *, flags: argparse.Namespace) -> Words:
    """Recognise the clips of a set, and compare."""
    model = Model(model_path)
    scorer = None if scorer_path == "none" else Scorer.read(scorer_path)
    settings = StreamSettings(beam_width=flags.beam_width if scorer else 0, scorer=scorer)
    space = model.file.labels.index(" ") if " " in model.file.labels else None
    rng = np.random.default_rng(1)
    found: dict[str, list] = defaultdict(list)
    with open(csv_path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        audio = read_audio(str(Path(csv_path).parent / row["wav_filename"]), sample_rate=model.sampleRate())
        for snr in (None, *flags.snr):
            level = 0 if snr is None else np.sqrt((audio**2).mean()) * 10 ** (-snr / 20)
            noisy = audio + level * rng.standard_normal(len(audio)).astype(np.float32)
            decoder = model.new_decoder(settings)
            posteriors = Posteriors(decoder, num_classes=len(model.file.labels) + 1)
            posteriors.feed(model.probabilities(to_int16(noisy)))
            labels, frames = posteriors.results()[0].labels, posteriors.results()[0].frames
            texts = []
            for first, last in word_bounds(labels, space):
                until = frames[last] if last < len(frames) else posteriors.num_frames
                texts.append(model.file.text(labels[first:last]))
                evidence = posteriors.evidence(
                    labels[first:last], frames[first:last], until=until, num_characters=len(texts[-1])
                )
                found["figures"].append(evidence[1:])
            found["right"] += matches(row["transcript"].split(), texts)
            found["speaker"] += [speaker_of(row, flags.speaker_in)] * len(texts)
            found["clean"] += [snr is None] * len(texts)
    speakers = sorted(set(found["speaker"]))
    half = np.array([speakers.index(speaker) % 2 for speaker in found["speaker"]])
    if len(speakers) == 1:  # his first words against his last ones
        half = (np.arange(len(half)) * 2 // len(half)).astype(int)
    share = f"{np.mean(found['right']):.1%} right"
    print(f"{model_path}, {csv_path}: {len(half):,} words of {len(speakers)} speakers, {share}")
    return Words(
        f"{Path(model_path).parent.name} {Path(csv_path).name}",
        scorer is not None,
        np.array(found["figures"]),
        np.array(found["right"], bool),
        half,
        np.array(found["clean"]),
    )


def speaker_of(row: dict[str, str], pattern: str) -> str:
    named = row.get("speaker") or row.get("client_id")
    found = re.search(pattern, Path(row["wav_filename"]).name)
    return named or (found[1] if found else row["wav_filename"])


def matches(reference: list[str], heard: list[str]) -> list[bool]:
    """Whether each word that was heard is right, in an alignment with the fewest errors."""
    cost = np.zeros((len(reference) + 1, len(heard) + 1), int)
    cost[:, 0], cost[0] = np.arange(len(reference) + 1), np.arange(len(heard) + 1)
    for i, word in enumerate(reference, start=1):
        for j, other in enumerate(heard, start=1):
            cost[i, j] = min(cost[i - 1, j] + 1, cost[i, j - 1] + 1, cost[i - 1, j - 1] + (word != other))
    right, i, j = [False] * len(heard), len(reference), len(heard)
    while i and j:
        same = reference[i - 1] == heard[j - 1]
        if cost[i, j] == cost[i - 1, j - 1] + (not same):
            i, j = i - 1, j - 1
            right[j] = same
        elif cost[i, j] == cost[i, j - 1] + 1:
            j -= 1
        else:
            i -= 1
    return right


def logistic(weights: np.ndarray, figures: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-(weights[0] + figures @ weights[1:])))


def fit(sets: list[Words], *, without_half: int | None) -> np.ndarray:
    """Weights of the least log loss, by Newton's method, with a weak pull to zero; each set counts the same."""
    used = [words.half != without_half for words in sets]
    figures = np.concatenate([words.figures[mask] for words, mask in zip(sets, used, strict=True)])
    right = np.concatenate([words.right[mask] for words, mask in zip(sets, used, strict=True)])
    counts = np.concatenate([np.full(mask.sum(), 1 / mask.sum()) for mask in used]) / len(sets)
    terms = np.column_stack([np.ones(len(figures)), figures])
    pull = np.array([0, 1e-4, 1e-4, 1e-4])
    weights = np.zeros(4)
    for _ in range(30):
        expected = logistic(weights, figures)
        gradient = terms.T @ (counts * (right - expected)) - pull * weights
        curvature = (terms * (counts * expected * (1 - expected))[:, None]).T @ terms + np.diag(pull + 1e-12)
        weights += np.linalg.solve(curvature, gradient)
    return weights


def show(name: str, confidence: np.ndarray, right: np.ndarray, *, table: bool = False) -> None:
    """The mean error of calibration over ten bins (ECE), and with `table` the bins."""
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    filled = [(index, bins == index) for index in range(BINS) if (bins == index).any()]
    error = sum(abs(confidence[mask].mean() - right[mask].mean()) * mask.mean() for _, mask in filled)
    print(
        f"{name}: {len(right):,} words, right {right.mean():.3f}, confidence {confidence.mean():.3f}, ECE {error:.3f}"
    )
    for index, mask in filled if table else ():
        bounds = f"{index / BINS:.1f} to {(index + 1) / BINS:.1f}"
        print(f"| {bounds} | {mask.sum():,} | {confidence[mask].mean():.2f} | {right[mask].mean():.2f} |")


if __name__ == "__main__":
    main()
