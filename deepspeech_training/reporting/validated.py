"""The best, median and worst clips of the last validation: validation.json beside the checkpoints, for people.

Nothing resumes from it: after a kill in mid-validation it is about the clips that were left to do.
"""

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.data.sample import Sample
from deepspeech_training.reporting.metrics import Result, SetReport

FILE_NAME = "validation.json"
MOST_OF_EACH = 5
MOST_BYTES = 1 << 22
PARTS = ("best", "median", "worst")


class ValidatedClips:
    """What was heard in each clip of a validation, as far as the task answers with text."""

    def __init__(self) -> None:
        self._results: list[Result] = []

    def add(self, samples: Sequence[Sample], losses: Iterable[float], answers: Sequence[Any]) -> None:
        for sample, loss, answer in zip(samples, losses, answers, strict=True):
            if isinstance(answer, str) and isinstance(sample.content, str):
                found = float(loss)
                self._results.append(
                    Result(sample.path, sample.content, answer, found if math.isfinite(found) else math.inf)
                )

    def write(self, folder: Path, epoch: int) -> None:
        """Write the best, median and worst of them; nothing where there is none.

        Args:
            epoch: from 0.
        Raises:
            UserError: the disk does not take it.
        """
        if not self._results:
            return
        each = min(MOST_OF_EACH, max(1, len(self._results) // len(PARTS)))
        picked = SetReport("dev", tuple(self._results)).picked(each)
        clips = [{"part": part.lower(), **result.as_dict()} for part, found in picked.items() for result in found]
        text = json.dumps({"epoch": epoch, "of": len(self._results), "clips": clips}, ensure_ascii=False)
        write_atomically(folder / FILE_NAME, [text.encode("utf-8", "surrogateescape")])


def read_validated(folder: Path) -> dict[str, Any] | None:
    """What `ValidatedClips.write` has written; None where there is no such file, or none that it has written."""
    path = folder / FILE_NAME
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        found = json.loads(path.read_bytes().decode("utf-8", "surrogateescape"))
        clips = [_clip(clip) for clip in found["clips"]]
        return {"epoch": int(found["epoch"]), "of": int(found["of"]), "clips": clips}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def _clip(values: dict[str, Any]) -> dict[str, Any]:
    """One of the entries, with nothing but what is expected."""
    if values["part"] not in PARTS:
        raise ValueError(values["part"])
    texts = {name: str(values[name]) for name in ("part", "wav_filename", "src", "res")}
    loss = values["loss"]
    return {**texts, "wer": float(values["wer"]), "cer": float(values["cer"]), "loss": loss and float(loss)}
