"""How busy, full and warm the GPUs are while training: read beside it, put into the events, advice where they idle."""

import threading
from collections.abc import Callable, Sequence

from deepspeech_training.machine.resources import Gpu, visible_gpus
from deepspeech_training.reporting.events import (
    EpochBegun,
    EpochDone,
    EpochFigures,
    Event,
    Events,
    GpusRead,
    GpuUse,
    Note,
    StepDone,
    ValidationBegun,
)

EVENT_EVERY_S = 30.0
LITTLE_TO_DO = 0.3  # share of an epoch's time under which a GPU gets advice
FEWEST_READINGS = 5  # fewer say nothing about an epoch


class GpuMonitor:
    """A sink of events that reads the GPUs in a thread of its own, and emits what it has read.

    One each 30 s and one at the end of an epoch. The time of a validation does not count.

    Args:
        events: where to emit them; add the monitor to it as its last sink.
        read: the GPUs now.
        every_s: time from one reading to the next.
    """

    def __init__(self, events: Events, *, read: Callable[[], Sequence[Gpu]] = visible_gpus, every_s: float = 2.0):
        self._events, self._read, self._every_s = events, read, every_s
        self._lock = threading.Lock()
        self._recent: list[Sequence[Gpu]] = []  # readings since the last event
        self._epoch: list[Sequence[Gpu]] = []
        self._training, self._advised = False, False
        self._last_event = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="gpu-monitor", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._ended.wait(self._every_s):
            if self._training:
                self.read_now()

    def read_now(self) -> None:
        """Take one reading."""
        gpus = self._read()
        with self._lock:
            if gpus and self._training:
                self._recent.append(gpus)
                self._epoch.append(gpus)

    def take(self, event: Event) -> None:
        match event:
            case EpochBegun():
                with self._lock:
                    self._recent, self._epoch = [], []
                self._training, self._last_event = True, event.time
            case ValidationBegun():
                self._training = False
            case StepDone() if event.time - self._last_event >= EVENT_EVERY_S:
                self._last_event = event.time
                with self._lock:
                    readings, self._recent = self._recent, []
                self._emit(summary(readings), event.step)
            case EpochDone():
                self._training = False
                with self._lock:
                    readings, self._epoch, self._recent = self._epoch, [], []
                gpus = summary(readings)
                self._emit(gpus, event.figures.step)
                if len(readings) >= FEWEST_READINGS:
                    self._advise(gpus, event.figures)

    def close(self) -> None:
        self._ended.set()
        self._thread.join()

    def _emit(self, gpus: Sequence[GpuUse], step: int) -> None:
        if gpus:
            self._events.emit(GpusRead(step, gpus))

    def _advise(self, gpus: Sequence[GpuUse], epoch: EpochFigures) -> None:
        """Once in a run, where a GPU had little to do."""
        idle = [gpu for gpu in gpus if gpu.busy is not None and gpu.busy < LITTLE_TO_DO]
        if idle and not self._advised:
            self._advised = True
            idlest = min(idle, key=lambda gpu: gpu.busy or 0.0)
            self._events.emit(Note(advice(idlest, epoch.waited_share), epoch.step))


def summary(readings: Sequence[Sequence[Gpu]]) -> list[GpuUse]:
    """Each GPU over several readings."""
    found = []
    for gpu in readings[0] if readings else ():
        of_this = [g for reading in readings for g in reading if g.uuid == gpu.uuid]
        busy = [g.utilisation for g in of_this if g.utilisation is not None]
        power = [g.power_w for g in of_this if g.power_w is not None]
        warm = [g.temperature_c for g in of_this if g.temperature_c is not None]
        found.append(
            GpuUse(
                gpu.index,
                gpu.name,
                busy=round(sum(busy) / len(busy), 3) if busy else None,
                memory_used=max(g.memory_total - g.memory_free for g in of_this),
                memory_total=gpu.memory_total,
                temperature_c=max(warm, default=None),
                power_w=round(sum(power) / len(power), 1) if power else None,
            )
        )
    return found


def advice(gpu: GpuUse, waited_share: float) -> str:
    """One line on a GPU that had little to do, by whether training waited for audio (`waited_share` of the time).

    >>> advice(GpuUse(0, "H200", busy=0.12, memory_used=2, memory_total=24, temperature_c=50), waited_share=0.6)
    'GPU 0 was busy for 12% of the epoch, as training waited for audio: more --loader_threads, or a faster disk, help'
    """
    start = f"GPU {gpu.index} was busy for {gpu.busy:.0%} of the epoch"
    if waited_share > 0.2:
        return f"{start}, as training waited for audio: more --loader_threads, or a faster disk, help"
    return (
        f"{start}, with {gpu.memory_used / 1e9:.1f} of {gpu.memory_total / 1e9:.1f} GB in use: a larger "
        "--train_batch_size (or --batch_seconds) trains faster"
    )
