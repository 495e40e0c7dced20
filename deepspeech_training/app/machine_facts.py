"""How busy and how full the machine is, for the status page: cores, memory, the disk of the volume, GPUs."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from deepspeech_training.machine.resources import (
    Gpu,
    available_memory,
    disk_free,
    memory_limit,
    read_gpus,
    usable_cores,
)

READ_EVERY_S = 1.0  # however many ask
GPUS_EVERY_S = 2.0  # NVIDIA's library is opened again for each reading
PROC = Path("/proc")


class MachineFacts:
    """Reads the machine when it is asked, at most once a second. Not on the event loop: drivers and disks may be slow.

    Args:
        folder: whose disk is looked at.
        gpus: reads them; where there are none at the first look, they are not looked for again.
    """

    def __init__(self, folder: Path, *, gpus: Callable[[], Sequence[Gpu]] = lambda: read_gpus()[0]):
        self._folder, self._read_gpus = folder, gpus
        self._facts: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._read_at = self._gpus_at = float("-inf")
        self._gpus: Sequence[Gpu] | None = None
        self._times = _processor_times()

    def as_json(self) -> dict[str, Any]:
        """Shares from 0 to 1, amounts in bytes; None for what cannot be told."""
        with self._lock:
            now = time.monotonic()
            if now - self._read_at >= READ_EVERY_S:
                self._read_at = now
                self._facts = self._read(now)
            return self._facts

    def _read(self, now: float) -> dict[str, Any]:
        if self._gpus is None or (self._gpus and now - self._gpus_at >= GPUS_EVERY_S):
            self._gpus, self._gpus_at = self._read_gpus(), now
        times, before = _processor_times(), self._times
        self._times = times
        busy = None
        if times and before and times[1] > before[1]:
            busy = round((times[0] - before[0]) / (times[1] - before[1]), 3)
        memory = _memory_total()
        return {
            "cores": usable_cores(),
            "busy": busy,
            "memory_total": memory,
            "memory_limit": memory_limit(),
            "memory_available": available_memory(),
            "disk_free": disk_free(self._folder),
            "gpus": [_as_json(gpu) for gpu in self._gpus],
        }


def _as_json(gpu: Gpu) -> dict[str, Any]:
    """As an event of the log has it (reporting.events.GpuUse)."""
    return {
        "index": gpu.index,
        "name": gpu.name,
        "busy": gpu.utilisation,
        "memory_used": gpu.memory_total - gpu.memory_free,
        "memory_total": gpu.memory_total,
        "temperature_c": gpu.temperature_c,
        "power_w": gpu.power_w,
        "power_limit_w": gpu.power_limit_w,
    }


def _processor_times() -> tuple[int, int] | None:
    """(busy, all) of all processors of the machine together, in ticks since it was started."""
    try:
        words = (PROC / "stat").read_text(encoding="ascii").split("\n", 1)[0].split()
        ticks = [int(word) for word in words[1:9]]  # user nice system idle iowait irq softirq steal; guests are in user
    except (OSError, ValueError):
        return None
    return sum(ticks) - sum(ticks[3:5]), sum(ticks)


def _memory_total() -> int | None:
    try:
        for line in (PROC / "meminfo").read_text(encoding="ascii").splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return None
