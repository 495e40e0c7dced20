"""Whether a step fits into memory, found out before training instead of at the longest clips of an epoch."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_training.data.loader import Loader
from deepspeech_training.data.plan import clip_keys
from deepspeech_training.engine.devices import Machine
from deepspeech_training.errors import OutOfMemory, UserError
from deepspeech_training.samples import Sample
from deepspeech_training.tasks.base import Task

if TYPE_CHECKING:
    from deepspeech_training.engine.tensorflow_backend import Backend


def available_memory() -> int | None:
    """Bytes that can still be taken without swapping or an out-of-memory kill; None where that cannot be told."""
    amounts = []
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                amounts.append(int(line.split()[1]) * 1024)
    except (OSError, ValueError):
        pass
    for folder, limit_file, used_file, prefix in (
        (Path("/sys/fs/cgroup"), "memory.max", "memory.current", ""),
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        try:
            free = int((folder / limit_file).read_text()) - int((folder / used_file).read_text())
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
        except (OSError, ValueError):
            continue  # no such cgroup version, or "max"
        # Files that were read lately count as used, but the kernel gives them up when memory is wanted.
        amounts.append(free + sum(int(statistics.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive")))
    return max(0, min(amounts)) if amounts else None


def training_memory(*, parameters: int, n_hidden: int, clips: int, frames: int) -> int:
    """Bytes that a step on the CPU takes, to some 10 %: for clips of `frames` frames each, in either precision.

    Fitted to peaks of resident memory that benchmarks/train_throughput.py printed at n_hidden 512 and 2048, batches of
    2 to 64 clips of up to 438 frames (1.17 to 4.33 GB).
    """
    process = 600_000_000
    weights = 6 * 4 * parameters  # weights, gradient, two moments, copies in the layout of the kernels
    activations = clips * frames * (84 * n_hidden + 15_000)
    return process + weights + activations


def memory_for_audio() -> int:
    """Bytes of decoded audio worth keeping from epoch to epoch: a tenth of what is free, at most 1 GB (4.3 hours)."""
    return min((available_memory() or 0) // 10, 1_000_000_000)


def try_heaviest_batches(
    backend: "Backend", task: Task, machine: Machine, loader: Loader, samples: Sequence[Sample], *,
    dev_samples: Sequence[Sample], dev_batch_size: int, by_seconds: bool,
) -> None:  # fmt: skip
    """Run the steps on the longest clips together, changing nothing.

    On the CPU an estimate comes first: there the kernel would end the process without a word.

    Args:
        samples: the heaviest training batch, `Plan.heaviest_batch`.
        dev_samples, dev_batch_size: the longest of these are tried for validation.
        by_seconds: whether batches are formed by --batch_seconds.
    Raises:
        UserError: it does not fit; says which value does.
    """
    num_devices = len(machine.devices)
    n_hidden = task.describe()["network"]["n_hidden"]
    available = available_memory()
    if not machine.on_gpu and available is not None:
        frames = max(task.feature_geometry.num_frames(s.num_samples) for s in samples)

        def needed(clips: int) -> int:
            return training_memory(
                parameters=backend.model.count_params(), n_hidden=n_hidden, clips=clips * num_devices, frames=frames
            )

        per_device = -(-len(samples) // num_devices)
        if needed(per_device) > available:
            fitting = next((n for n in range(per_device - 1, 0, -1) if needed(n) <= available), 0)
            figures = f": it needs about {needed(per_device) / 1e9:.1f} GB, {available / 1e9:.1f} GB are free"
            raise UserError(_message(task, samples, fitting, by_seconds=by_seconds, figures=figures))
    batch = loader.load_now(samples)
    tried = len(batch.samples)  # a clip that cannot be read any more is no question of memory
    while batch.samples:
        keys = clip_keys(batch.samples, seed=0, step=0)
        try:
            backend.train_step(batch, keys, learning_rate=0.0, updates=0, apply=False)
        except OutOfMemory as error:
            half = len(batch.samples) // 2
            if half == 0:
                raise UserError(_message(task, samples, 0, by_seconds=by_seconds)) from error
            batch = batch.without([s.id for s in batch.samples[half:]])
            continue
        if len(batch.samples) < tried:
            raise UserError(_message(task, samples, len(batch.samples) // num_devices, by_seconds=by_seconds))
        break
    longest_dev = sorted(dev_samples, key=lambda s: -s.num_samples)[:dev_batch_size]
    batch = loader.load_now(longest_dev)
    if batch.samples:
        backend.evaluate_step(batch)


def _message(task: Task, samples: Sequence[Sample], fitting: int, *, by_seconds: bool, figures: str = "") -> str:
    longest_s = max(s.num_samples for s in samples) / task.feature_geometry.sample_rate
    text = f"The batch of the {len(samples)} longest clips (up to {longest_s:.1f} s) does not fit into memory{figures}"
    seconds = max(1, int(longest_s * fitting))
    if fitting == 0:
        return f"{text}\nEven one clip is too much: leave out the longest clips, or lower --n_hidden."
    if by_seconds:
        return f"{text}\nUse --batch_seconds {seconds}."
    return f"{text}\nUse --train_batch_size {fitting} (or --batch_seconds {seconds})."
