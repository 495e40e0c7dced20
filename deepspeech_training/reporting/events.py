"""One stream of events feeds all that a person or a program sees of a run.

Each kind of event is a dataclass. Sinks take every event and show or keep what concerns them: the console, the log of
JSON lines beside the checkpoints, TensorBoard's summaries, the session log.
"""

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol, Self

from deepspeech_training.console import ERROR, INFO, WARN
from deepspeech_training.data.sample import SampleSet
from deepspeech_training.data.sample_list import as_list
from deepspeech_training.reporting.figures import SPEECH_TO_TEXT, Figure
from deepspeech_training.reporting.records import UNWRITTEN, Record, of


@dataclass(frozen=True)
class Event(Record):
    """Something that happened, at `time` (seconds since 1970). As JSON it has `kind` as "event", and its fields.

    "step" is how many steps the run has done, "epoch" counts from 0.
    """

    kind: ClassVar[str]

    time: float = field(default_factory=lambda: round(time.time(), 3), kw_only=True)

    def as_json(self) -> dict[str, Any]:
        return {"event": self.kind, **super().as_json()}


AUDIO_UNIT = "audio-s/s"  # of the speed of speech to text
AUDIO_SPEED = "audio_seconds_per_second"  # the key of a speed of that unit, as in version 0.1.0, which knew no other


@dataclass(frozen=True, kw_only=True)
class WithSpeed(Record):
    """A record that has a speed: as JSON {"audio_seconds_per_second": 5.0} or {"speed": 5.0, "unit": "letters/s"}."""

    speed: float
    unit: str = AUDIO_UNIT

    @property
    def speed_key(self) -> str:
        return AUDIO_SPEED if self.unit == AUDIO_UNIT else "speed"

    def as_json(self) -> dict[str, Any]:
        values = super().as_json()
        if self.unit == AUDIO_UNIT:
            del values["unit"]
        return {self.speed_key if key == "speed" else key: value for key, value in values.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        return super().from_json({"speed": values.get(AUDIO_SPEED), **values})


# --- lines for a person --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Message(Event):
    """A line that a person reads; each level is a kind of its own."""

    level: ClassVar[int]

    message: str
    step: int | None = None

    def as_json(self) -> dict[str, Any]:
        values = super().as_json()
        if self.step is None:
            del values["step"]
        return values


class Note(Message):
    kind, level = "note", INFO


class WarningNote(Message):
    kind, level = "warning", WARN


class ErrorNote(Message):
    kind, level = "error", ERROR


# --- the call of the program ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class SetSummary(Record):
    """The samples of a CSV; the fingerprint tells whether they are the same as before.

    Args:
        set: "train", "dev", "metrics" or "test".
        clips: how many samples.
        hours: of audio; None where the task has none.
        characters: of what is to be learnt.
        speakers: how many; None where the CSV does not name one for each sample.
    """

    set: str
    csv: str
    clips: int
    hours: float | None
    characters: int
    fingerprint: str
    speakers: int | None = None

    @classmethod
    def of(cls, kind: str, found: SampleSet[Any], sample_rate: int | None) -> Self:
        """Summarise samples whose cost is that of audio at `sample_rate`; None where it is of another kind."""
        samples = as_list(found.samples)
        described, cost = samples.describe(), int(samples.costs.sum())
        speakers = described.speakers
        return cls(
            kind,
            found.csv_path,
            len(samples),
            hours=None if sample_rate is None else round(cost / sample_rate / 3600, 6),
            characters=described.characters,
            fingerprint=described.fingerprint,
            speakers=None if None in speakers else len(speakers) or None,
        )

    @property
    def amount(self) -> str:
        """How much it is, as a person reads it, in a column."""
        return f"{self.clips:>8,} clips" + ("" if self.hours is None else f" {self.hours:9.3f} h")


@dataclass(frozen=True)
class DataChecked(Event):
    kind = "data"

    sets: Sequence[SetSummary] = field(metadata=of(SetSummary))


@dataclass(frozen=True)
class SetTested(Event):
    """A test set is done with; `values` are those of the figures of the task."""

    kind = "tested"

    csv: str
    clips: int
    loss: float | None
    values: Mapping[str, float]
    judged_by: Sequence[Figure] = field(default=SPEECH_TO_TEXT, metadata=UNWRITTEN)

    def as_json(self) -> dict[str, Any]:
        written = super().as_json()
        return {**others(written, "values"), **self.values}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        return super().from_json({**values, "values": others(values, "event", "time", "csv", "clips", "loss")})


@dataclass(frozen=True)
class Exported(Event):
    kind = "exported"

    path: str
    checkpoint: str


@dataclass(frozen=True)
class Ended(Event):
    """How the call ended: "done", "failed", "interrupted" or "crashed"."""

    kind = "ended"

    status: str
    exit_code: int
    message: str


# --- a training ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class FrozenLayers(Record):
    layers: Sequence[str]
    parameters: int


@dataclass(frozen=True)
class Started(Event):
    """What is trained, on what, and how.

    Args:
        versions: of the libraries that compute, by their names.
        size: what makes the network larger, such as "n_hidden", and how large it is.
        export_bytes: about the size of an export, "float32" and "int8"; empty where the network has none.
    """

    kind = "start"

    version: str
    versions: Mapping[str, str]
    devices: str
    precision: str
    intra_op_threads: int
    sets: Sequence[SetSummary] = field(metadata=of(SetSummary))
    batches_per_epoch: int
    batches: str
    padding_share: float
    parameters: int
    size: Mapping[str, int]
    checkpoint_bytes: int
    export_bytes: Mapping[str, int]
    plan: str
    checkpoint_dir: str
    flags: Mapping[str, Any]
    frozen: FrozenLayers | None = field(default=None, metadata=of(FrozenLayers))
    judged_by: Sequence[Figure] = field(default=SPEECH_TO_TEXT, metadata=of(Figure))

    def as_json(self) -> dict[str, Any]:
        written = super().as_json()
        return {**others(written, "versions", "size"), **self.versions, **self.size}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        rest = others(values, "event", *(known.name for known in fields(cls)))
        size = {name: value for name, value in rest.items() if isinstance(value, int)}
        return super().from_json({**values, "versions": others(rest, *size), "size": size})


@dataclass(frozen=True)
class Initialised(Event):
    """A new run begins, with the weights of `source`."""

    kind = "initialised"

    source: str
    step: int = 0


@dataclass(frozen=True)
class Resumed(Event):
    kind = "resumed"

    checkpoint: str
    epoch: int
    step_in_epoch: int
    step: int


@dataclass(frozen=True)
class EpochBegun(Event):
    kind = "epoch_begin"

    epoch: int
    epochs: int
    batches: int
    step_in_epoch: int
    step: int


@dataclass(frozen=True)
class StepDone(WithSpeed, Event):
    kind = "step"

    step: int
    epoch: int
    loss: float
    grad_norm: float


@dataclass(frozen=True)
class Estimated(WithSpeed, Event):
    """How long the run will take."""

    kind = "estimate"

    epoch_seconds: float
    epochs_left: int
    left_seconds: float
    with_validation: bool


@dataclass(frozen=True)
class BadClip(Event):
    """A clip that made a step impossible; `quarantined` ones are left out for the rest of the run."""

    kind = "bad_clip"

    sample: str
    path: str
    reason: str
    step: int
    quarantined: bool


@dataclass(frozen=True)
class ValidationBegun(Event):
    """Of one set, of whose `batches` some are `done` already where a run resumes."""

    kind = "validation_begin"

    what: str
    batches: int
    done: int
    step: int


@dataclass(frozen=True)
class ValidationStepDone(Event):
    kind = "validation_step"

    step: int


@dataclass(frozen=True)
class SetFigures(Record):
    """What an epoch reached on one set: the mean loss and `values` of the task's figures, over `clips`."""

    name: str
    loss: float | None
    values: Mapping[str, float]
    clips: int

    def as_json(self) -> dict[str, Any]:
        return {"name": self.name, "loss": self.loss, **self.values, "clips": self.clips}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        return cls(values["name"], values["loss"], others(values, "name", "loss", "clips"), values["clips"])


@dataclass(frozen=True, kw_only=True)
class EpochFigures(WithSpeed):
    """What a finished epoch came to: an entry of a run's history, and most of the event.

    Args:
        dev, metrics: one each for the sets.
        best_loss: the lowest dev loss so far.
        best_epoch, best_figures: of the best checkpoint, which is the best by the figure `best_by`.
        patience: --es_epochs; None without --early_stop.
        seconds: of training, in which it waited for data for `waited_share` of the time.
    """

    epoch: int
    step: int
    train_loss: float | None
    dev: Sequence[SetFigures] = field(metadata=of(SetFigures))
    metrics: Sequence[SetFigures] = field(metadata=of(SetFigures))
    best_loss: float | None
    best_epoch: int | None
    best_by: str = "loss"
    best_figures: Mapping[str, float] | None = None
    epochs_without_improvement: int
    patience: int | None = None
    learning_rate: float
    seconds: float
    waited_share: float

    def losses(self) -> dict[str, float | None]:
        """By the name of the set."""
        return {"train": self.train_loss} | {found.name: found.loss for found in (*self.dev, *self.metrics)}


@dataclass(frozen=True)
class EpochDone(Event):
    """The end of an epoch.

    Args:
        figures: what it came to.
        epochs: --epochs.
        saved: the name of its checkpoint, if it is the best.
        previous: the losses of the epoch before, by the name of the set.
        judged_by: the figures of the task.
    """

    kind = "epoch"

    figures: EpochFigures
    epochs: int
    saved: str
    previous: Mapping[str, float | None] | None = None
    judged_by: Sequence[Figure] = field(default=SPEECH_TO_TEXT, metadata=UNWRITTEN)

    def as_json(self) -> dict[str, Any]:
        written = super().as_json()
        return {**others(written, "figures"), **self.figures.as_json()}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        figures = EpochFigures.from_json(values)
        return cls(figures, values["epochs"], values["saved"], values.get("previous"), time=values["time"])


@dataclass(frozen=True)
class RateReduced(Event):
    """A plateau: back to the best weights, with a lower rate."""

    kind = "rate_reduced"

    learning_rate: float
    best_epoch: int
    step: int
    epochs_without_improvement: int


@dataclass(frozen=True)
class GpuUse(Record):
    """A GPU over some time.

    Args:
        busy: share of the time, 0 to 1; None where the driver does not tell.
        memory_used: bytes, the most.
        temperature_c: the highest.
        power_w: watts, on average; None where the driver does not tell, and in older logs.
    """

    index: int
    name: str
    busy: float | None
    memory_used: int
    memory_total: int
    temperature_c: float | None
    power_w: float | None = None


@dataclass(frozen=True)
class GpusRead(Event):
    kind = "gpu"

    step: int
    gpus: Sequence[GpuUse] = field(metadata=of(GpuUse))


@dataclass(frozen=True)
class Finished(Event):
    """The training has ended by itself."""

    kind = "finished"

    reason: str
    step: int


@dataclass(frozen=True)
class Outcome(Event):
    """What is best, where everything is, what to make of it, and what to do next."""

    kind = "outcome"

    epoch: int
    best_epoch: int | None
    best_figures: Mapping[str, float] | None
    best_file: str
    last_file: str
    log: str
    events_log: str
    diagnosis: Sequence[str]
    next: str
    judged_by: Sequence[Figure] = field(default=SPEECH_TO_TEXT, metadata=UNWRITTEN)


@dataclass(frozen=True)
class TrainingOver(Event):
    """The sinks of the training are closed."""

    kind = "training_over"


KINDS: dict[str, type[Event]] = {
    event.kind: event
    for event in (
        *(Note, WarningNote, ErrorNote, DataChecked, SetTested, Exported, Ended),
        *(Started, Initialised, Resumed, EpochBegun, StepDone, Estimated, BadClip, ValidationBegun, ValidationStepDone),
        *(EpochDone, RateReduced, GpusRead, Finished, Outcome, TrainingOver),
    )
}


def others(values: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """The values under other names."""
    return {name: value for name, value in values.items() if name not in names}


def read_event(values: Mapping[str, Any]) -> Event:
    """The event that a line of events.jsonl holds, of this version or of an earlier one.

    Raises:
        KeyError, TypeError: it holds none.
    """
    return KINDS[values["event"]].from_json(values)


# --- from those who emit to those who take --------------------------------------------------------------------------


class Sink(Protocol):
    def take(self, event: Event) -> None: ...

    def close(self) -> None: ...


class Events:
    """Hands each event to every sink."""

    def __init__(self, sinks: Sequence[Sink]):
        self._sinks = list(sinks)

    def add(self, sink: Sink) -> None:
        """One more sink, after the others; it may emit events of its own while it takes one."""
        self._sinks.append(sink)

    def emit(self, event: Event) -> None:
        for sink in self._sinks:
            sink.take(event)

    @contextlib.contextmanager
    def also_to(self, *sinks: Sink) -> Iterator[None]:
        """Give these sinks the events of a block too, and close them at its end."""
        before = list(self._sinks)
        self._sinks += sinks
        try:
            yield
        finally:
            self._sinks = before
            for sink in sinks:
                sink.close()
            self.emit(TrainingOver())

    def close(self) -> None:
        """Close every sink; nothing may be emitted after it."""
        while self._sinks:
            self._sinks.pop().close()
