"""Losses and answers of a data set: for the validation inside a run and for the test after it."""

import hashlib
import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from typing import Any

import numpy as np

from deepspeech_training.data.loader import Loader
from deepspeech_training.data.sample import Sample
from deepspeech_training.reporting.events import SetFigures
from deepspeech_training.tasks.base import Examination, Metrics, Task
from deepspeech_training.training.backends.base import Backend, Peers
from deepspeech_training.training.shares import share_of, shared

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


@dataclass(frozen=True)
class Answered:
    """What came of a batch of a validation, in all workers.

    Args:
        samples: those that could be loaded, in the order of the plan.
        losses: of each of them.
        texts: the answer to each, where it is a text, else None.
        metrics: of each worker's share.
        bad: samples without a finite loss, with the reason.
    """

    samples: Sequence[Sample]
    losses: Sequence[float]
    texts: Sequence[str | None]
    metrics: Sequence[Metrics]
    bad: Sequence[tuple[Sample, str]]


def evaluate_batches(
    backend: Backend, task: Task, loader: Loader, batches: Sequence[Sequence[Sample]], peers: Peers
) -> Iterator[Answered]:
    """Yield what came of each batch; every worker evaluates its share of it, and all get the same."""
    for planned, batch in zip(batches, loader.batches(share_of(one, peers) for one in batches), strict=True):
        losses, answers = np.zeros(0, np.float32), []
        if batch.samples:
            losses, found = backend.evaluate_step(batch)
            answers = list(task.decode(found))
        metrics = task.metrics()
        for sample, answer in zip(batch.samples, answers, strict=True):
            metrics.add(sample, answer)
        texts = [answer if isinstance(answer, str) else None for answer in answers]
        together = shared(planned, batch, peers)
        heard = peers.exchange([losses.tolist(), texts, list(astuple(metrics))])
        all_losses = [loss for part in heard for loss in part[0]]
        not_finite = [
            (sample, f"has a loss of {loss}")
            for sample, loss in zip(together.samples, all_losses, strict=True)
            if not math.isfinite(loss)
        ]
        yield Answered(
            together.samples,
            all_losses,
            [text for part in heard for text in part[1]],
            [task.metrics(*part[2]) for part in heard],
            [*together.faults, *not_finite],
        )


@dataclass
class Sums:
    """Running sums over one validation set; JSON values, so that a checkpoint can hold them in mid-validation."""

    metrics: Metrics
    clips: int = 0
    loss: float = 0.0
    not_finite: int = 0

    def add(self, answered: Answered) -> None:
        """Take in a batch."""
        for loss in answered.losses:
            if math.isfinite(loss):
                self.clips += 1
                self.loss += loss
            else:
                self.not_finite += 1
        self.metrics = _sum([self.metrics, *answered.metrics])

    @classmethod
    def together(cls, parts: Sequence["Sums"]) -> "Sums":
        """The sums over several sets as one."""
        return cls(
            _sum([part.metrics for part in parts]),
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


def _sum(metrics: Sequence[Metrics]) -> Metrics:
    return type(metrics[0])(*(sum(numbers) for numbers in zip(*map(astuple, metrics), strict=True)))


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
