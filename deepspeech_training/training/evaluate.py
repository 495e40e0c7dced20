"""Losses and hypotheses of a data set: for the validation inside a run and for the test after it."""

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

import numpy as np

from deepspeech_training.data.loader import Batch, Loader
from deepspeech_training.data.sample import Sample
from deepspeech_training.decoding.clips import ClipDecoder, Heard
from deepspeech_training.reporting.events import SetFigures
from deepspeech_training.reporting.metrics import Result, edit_distance, error_rate
from deepspeech_training.tasks.base import Task
from deepspeech_training.training.backends.base import Backend

BATCHES_AHEAD = 8


def by_length(samples: Sequence[Sample], batch_size: int, *, reverse: bool = False) -> list[list[Sample]]:
    """Batches of clips of similar length, short to long (or long to short)."""
    ordered = sorted(samples, key=lambda s: s.cost, reverse=reverse)
    return [ordered[i : i + batch_size] for i in range(0, len(ordered), batch_size)]


def batches_fingerprint(sets: Sequence[Sequence[Sequence[Sample]]]) -> str:
    """Says whether two validations have the same sets and batches."""
    digest = hashlib.sha256()
    for batches in sets:
        for batch in batches:
            digest.update("".join(f"{s.id}\0{s.cost}\0{s.content}\n" for s in batch).encode() + b"\0")
        digest.update(b"\0\0")
    return digest.hexdigest()[:16]


def evaluate_batches(
    backend: Backend, task: Task, loader: Loader, batches: Sequence[Sequence[Sample]]
) -> Iterator[tuple[Batch, np.ndarray, list[str]]]:
    """Yield each batch with its losses float32 [clips] and its hypotheses."""
    for batch in loader.batches(batches):
        if not batch.samples:
            yield batch, np.zeros(0, np.float32), []
            continue
        losses, answers = backend.evaluate_step(batch)
        yield batch, losses, task.decode(answers)


@dataclass
class Sums:
    """Running sums over one validation set; JSON values, so that a checkpoint can hold them in mid-validation."""

    clips: int = 0
    loss: float = 0.0
    not_finite: int = 0
    word_distance: int = 0
    words: int = 0
    char_distance: int = 0
    characters: int = 0

    def add(self, batch: Batch, losses: np.ndarray, hypotheses: Sequence[str]) -> list[tuple[Sample, str]]:
        """Take in a batch; returns the clips that could not be used, each with the reason."""
        bad = list(batch.faults)
        for sample, loss, hypothesis in zip(batch.samples, losses, hypotheses, strict=True):
            if np.isfinite(loss):
                self.clips += 1
                self.loss += float(loss)
            else:
                self.not_finite += 1
                bad.append((sample, f"has a loss of {loss}"))
            self.word_distance += edit_distance(sample.transcript.split(), hypothesis.split())
            self.words += len(sample.transcript.split())
            self.char_distance += edit_distance(sample.transcript, hypothesis)
            self.characters += len(sample.transcript)
        return bad

    @classmethod
    def together(cls, parts: Sequence["Sums"]) -> "Sums":
        """The sums over several sets as one."""
        return cls(*(sum(values) for values in zip(*(astuple(part) for part in parts), strict=True)))

    def figures(self, name: str) -> SetFigures:
        values = {
            "wer": error_rate(self.word_distance, self.words),
            "cer": error_rate(self.char_distance, self.characters),
        }
        return SetFigures(name, self.loss / self.clips if self.clips else None, values, self.clips)


@dataclass
class ValidationState:
    """How far a validation has come: sets done, batches done in the one in hand, sums of each. Part of a checkpoint.

    `plan` is a fingerprint of the sets and their batches, without which the position means nothing.
    """

    plan: str = ""
    set_index: int = 0
    batch_index: int = 0
    sums: list[Sums] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "ValidationState":
        return cls(**{**values, "sums": [Sums(**s) for s in values["sums"]]})


def clip_results(
    backend: Backend,
    task: Task,
    loader: Loader,
    samples: Sequence[Sample],
    *,
    batch_size: int,
    reverse: bool,
    on_batch,
    on_fault,
    decoder: ClipDecoder | None = None,
) -> list[Result]:
    """Give every clip of a set its result.

    Args:
        on_batch: called after each batch.
        on_fault: called with (sample, reason) for a clip that cannot be read any more; it has no result.
        decoder: the beam; it works on clips while the backend is at the next ones. None: greedy.
    """
    results: list[Result] = []
    waiting: deque[list[tuple[Sample, float, str, Future[Heard]]]] = deque()

    def take_in() -> None:
        for sample, loss, greedy, future in waiting.popleft():
            heard = future.result()
            results.append(Result(sample.path, sample.transcript, heard.text, loss, greedy, heard.without_scorer))
        on_batch()

    for batch in loader.batches(by_length(samples, batch_size, reverse=reverse)):
        for sample, reason in batch.faults:
            on_fault(sample, reason)
        if not batch.samples:
            on_batch()
            continue
        losses, answers = backend.evaluate_step(batch)
        hypotheses = task.decode(answers)
        if decoder is None:
            for sample, loss, hypothesis in zip(batch.samples, losses, hypotheses, strict=True):
                results.append(Result(sample.path, sample.transcript, hypothesis, float(loss)))
            on_batch()
            continue
        waiting.append(
            [
                (sample, float(loss), greedy, decoder.submit(clip[:frames]))
                for sample, loss, greedy, clip, frames in zip(
                    batch.samples, losses, hypotheses, answers["log_probs"], answers["lengths"], strict=True
                )
            ]
        )
        if len(waiting) > BATCHES_AHEAD:  # so that memory does not grow where the beam is slower than the network
            take_in()
    while waiting:
        take_in()
    return results
