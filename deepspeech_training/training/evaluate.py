"""Losses and answers of a data set: for the validation inside a run and for the test after it."""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

import numpy as np

from deepspeech_training.data.loader import Batch, Loader
from deepspeech_training.data.sample import Sample
from deepspeech_training.reporting.events import SetFigures
from deepspeech_training.tasks.base import Examination, Metrics, Task
from deepspeech_training.training.backends.base import Backend

BATCHES_AHEAD = 8


def by_cost(samples: Sequence[Sample], batch_size: int, *, reverse: bool = False) -> list[list[Sample]]:
    """Batches of samples of similar cost, cheap to expensive (or expensive to cheap)."""
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
) -> Iterator[tuple[Batch, np.ndarray, Sequence[Any]]]:
    """Yield each batch with its losses float32 [samples] and its answers."""
    for batch in loader.batches(batches):
        if not batch.samples:
            yield batch, np.zeros(0, np.float32), []
            continue
        losses, answers = backend.evaluate_step(batch)
        yield batch, losses, task.decode(answers)


@dataclass
class Sums:
    """Running sums over one validation set; JSON values, so that a checkpoint can hold them in mid-validation."""

    metrics: Metrics
    clips: int = 0
    loss: float = 0.0
    not_finite: int = 0

    def add(self, batch: Batch, losses: np.ndarray, answers: Sequence[Any]) -> list[tuple[Sample, str]]:
        """Take in a batch; returns the samples that could not be used, each with the reason."""
        bad = list(batch.faults)
        for sample, loss, answer in zip(batch.samples, losses, answers, strict=True):
            if np.isfinite(loss):
                self.clips += 1
                self.loss += float(loss)
            else:
                self.not_finite += 1
                bad.append((sample, f"has a loss of {loss}"))
            self.metrics.add(sample, answer)
        return bad

    @classmethod
    def together(cls, parts: Sequence["Sums"]) -> "Sums":
        """The sums over several sets as one."""
        metrics = [part.metrics for part in parts]
        return cls(
            type(metrics[0])(*(sum(numbers) for numbers in zip(*map(astuple, metrics), strict=True))),
            sum(part.clips for part in parts),
            sum(part.loss for part in parts),
            sum(part.not_finite for part in parts),
        )

    def figures(self, name: str) -> SetFigures:
        return SetFigures(name, self.loss / self.clips if self.clips else None, self.metrics.figures(), self.clips)

    def as_json(self) -> dict[str, Any]:
        own = {"clips": self.clips, "loss": self.loss, "not_finite": self.not_finite}
        return {**own, **asdict(self.metrics)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], metrics: Callable[..., Metrics]) -> "Sums":
        values = dict(values)
        own = {name: values.pop(name) for name in ("clips", "loss", "not_finite")}
        return cls(metrics(**values), **own)


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
        return {**vars(self), "sums": [sums.as_json() for sums in self.sums]}

    @classmethod
    def from_json(cls, values: Mapping[str, Any], metrics: Callable[..., Metrics]) -> "ValidationState":
        return cls(**{**values, "sums": [Sums.from_json(sums, metrics) for sums in values["sums"]]})


def examine(
    backend: Backend,
    examination: Examination,
    loader: Loader,
    samples: Sequence[Sample],
    *,
    batch_size: int,
    reverse: bool,
    on_batch: Callable[[], object],
    on_fault: Callable[[Sample, str], object],
) -> list[Any]:
    """Give every sample of a test set its result.

    Args:
        examination: makes results of what the backend gives; it may work on while the backend is at the next batches.
        on_batch: called after each batch.
        on_fault: called with (sample, reason) for one that cannot be read any more; it has no result.
    """
    results: list[Any] = []
    waiting: deque[Callable[[], Sequence[Any]]] = deque()

    def take_in() -> None:
        results.extend(waiting.popleft()())
        on_batch()

    for batch in loader.batches(by_cost(samples, batch_size, reverse=reverse)):
        for sample, reason in batch.faults:
            on_fault(sample, reason)
        if not batch.samples:
            on_batch()
            continue
        losses, answers = backend.evaluate_step(batch)
        waiting.append(examination.take(batch.samples, losses, answers))
        if len(waiting) > BATCHES_AHEAD:  # so that memory does not grow where that is slower than the network
            take_in()
    while waiting:
        take_in()
    return results
