"""A checkpoint of words -> the exported model, compared with its checkpoint in the search that ships."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deepspeech_training.config.groups import ExportFlags
from deepspeech_training.console import Console
from deepspeech_training.data.spelling import Spelling
from deepspeech_training.errors import UserError
from deepspeech_training.exporting.folder import ExportedModel
from deepspeech_training.models.word_model import WordModel
from deepspeech_training.reporting.metrics import error_rate
from deepspeech_training.runtime.pronouncer import DEFAULT_WIDTH, MAX_SYMBOLS, Pronouncer
from deepspeech_training.runtime.pronunciation_file import SUFFIX, PronunciationFile, write_pronunciation

MAX_DIFFERENCE = 1e-4  # of the log probability of an answer, between the float32 model and the checkpoint
INVENTED_WORDS = 20
MAX_INVENTED_SYMBOLS = 12


@dataclass(frozen=True)
class WordsToExport:
    """A checkpoint: its file's name, and what it is."""

    name: str
    weights: Mapping[str, np.ndarray]
    task: str
    source: Spelling
    target: Spelling
    network: WordModel


@dataclass(frozen=True)
class Word:
    """What is given, in numbers, and the answers that are right; none where nobody knows."""

    name: str
    given: tuple[int, ...]
    right: frozenset[tuple[int, ...]]


def export_pronunciation(
    model: WordsToExport, words: Sequence[Word], *, export: ExportFlags, language: str, console: Console
) -> ExportedModel:
    """Make the file of a model, and compare it with its checkpoint.

    Args:
        words: to compare on; without any some are invented of the symbols that the model knows.
        language: stored in the model for people.
    Raises:
        UserError: it differs from the checkpoint by more than is allowed.
    """
    files = {
        kind: write_pronunciation(
            model.weights,
            task=model.task,
            source=model.source,
            target=model.target,
            network=model.network,
            language=language,
            quantize=kind == "int8",
        )
        for kind in ("float32", "int8")
    }
    exported = "int8" if export.export_quantize else "float32"
    known = [word for word in words if 0 < len(word.given) <= MAX_SYMBOLS]
    report, faults = _compared(files, model, known or _invented(model.source), exported, export, console)
    if faults:
        raise UserError(
            "The exported model does not compute what the checkpoint does; nothing was exported:\n" + "\n".join(faults)
        )
    return ExportedModel(files[exported], exported, model.name, report, suffix=SUFFIX, runtime="numpy")


def _invented(source: Spelling) -> list[Word]:
    draw = np.random.default_rng(0)
    lengths = draw.integers(1, MAX_INVENTED_SYMBOLS + 1, INVENTED_WORDS)
    words = [tuple(map(int, draw.integers(1, source.unknown, length))) for length in lengths]
    return [Word(source.text(given), given, frozenset()) for given in words]


def _compared(
    files: Mapping[str, bytes],
    model: WordsToExport,
    words: Sequence[Word],
    exported: str,
    export: ExportFlags,
    console: Console,
) -> tuple[dict[str, Any], list[str]]:
    """The report, and what is wrong: the n-best answers to each word by the files and by the checkpoint."""
    given = [word.given for word in words]
    is_judged = any(word.right for word in words)
    checkpoint = Pronouncer.of(model.network, model.weights, model.source, model.target)
    wanted = checkpoint.search(given, width=DEFAULT_WIDTH)
    faults, models = [], {}
    for kind, data in files.items():
        pronouncer = PronunciationFile.of_bytes(data, f"the exported model ({kind})").pronouncer()
        began = time.perf_counter()
        found = pronouncer.search(given, width=DEFAULT_WIDTH)
        words_per_s = len(words) / max(time.perf_counter() - began, 1e-9)
        differ, greatest = [], 0.0
        for word, here, there in zip(words, found, wanted, strict=True):
            if [symbols for _, symbols in here] != [symbols for _, symbols in there]:
                differ.append(word.name)
                continue
            greatest = max(greatest, *(abs(one - other) for (one, _), (other, _) in zip(here, there, strict=True)))
        changed = sum(here[0][1] != there[0][1] for here, there in zip(found, wanted, strict=True))
        models[kind] = {
            "exported": kind == exported,
            "file_bytes": len(data),
            "greatest_log_probability_difference": greatest,
            "n_best_lists_that_differ": differ,
            "first_answers_that_differ": changed,
            "wer": _wer(words, found) if is_judged else None,
            "words_per_s": words_per_s,
        }
        console.info(
            f"  {kind:<8}{len(data) / 1e6:7.3f} MB  {changed} of {len(words):,} first answers differ, "
            f"{len(differ):,} lists of {DEFAULT_WIDTH}; {greatest:.1e} in the others; {words_per_s:,.0f} words/s"
        )
        if kind == "float32" and (differ or not greatest <= MAX_DIFFERENCE):
            faults.append(
                f"float32: the answers to {len(differ):,} words differ ({', '.join(differ[:3])}), the others by up to "
                f"{greatest:.2g} in their log probabilities, not {MAX_DIFFERENCE:g}"
            )
        rise = _wer(words, found) - _wer(words, wanted)
        if kind == exported == "int8" and is_judged and rise > export.export_max_wer_increase:
            faults.append(
                f"int8: the WER rises by {rise:.2%} on {len(words):,} words, more than "
                f"{export.export_max_wer_increase:.2%}: --noexport_quantize exports 32 bits, or raise "
                "--export_max_wer_increase"
            )
    report = {
        "words": [word.name for word in words],
        "checkpoint_wer": _wer(words, wanted) if is_judged else None,
        "bounds": {
            "float32_log_probability": MAX_DIFFERENCE,
            "int8_wer_increase": export.export_max_wer_increase if is_judged else None,
        },
        "models": models,
    }
    return report, faults


def _wer(words: Sequence[Word], found: Sequence[Sequence[tuple[float, tuple[int, ...]]]]) -> float:
    wrong = sum(answers[0][1] not in word.right for word, answers in zip(words, found, strict=True))
    return error_rate(wrong, len(words))
