"""Whether a step fits into memory, found out before training instead of at the longest clips of an epoch."""

from collections.abc import Sequence

import numpy as np

from deepspeech_training.data.loader import Example, Loader
from deepspeech_training.data.plan import clip_keys
from deepspeech_training.data.sample import Sample
from deepspeech_training.data.sample_list import as_list
from deepspeech_training.errors import OutOfMemory, UserError
from deepspeech_training.machine.resources import available_memory, memory_limit
from deepspeech_training.models.base import Network
from deepspeech_training.tasks.base import Task
from deepspeech_training.training.backends.base import Backend, Machine
from deepspeech_training.training.shares import share_of, shared

PROCESS_BYTES = 600_000_000  # of Python, TensorFlow and its libraries, before there is a model


def check_memory_to_begin(network: Network, *, frames: int, trains: bool, on_gpu: bool) -> None:
    """Refuse, before TensorFlow is loaded, what cannot fit: there the kernel would end the process without a word.

    Args:
        frames: of the longest clip.
    Raises:
        UserError: not even one clip at a time would fit; says how much memory it takes.
    """
    available = available_memory()
    if available is None:
        return
    needed = PROCESS_BYTES + 2 * 4 * network.num_parameters
    if trains and not on_gpu:
        needed = PROCESS_BYTES + network.step_bytes(clips=1, frames=frames)
    if needed > available:
        limit = memory_limit()
        limited = "" if limit is None else f" (the limit of this container is {limit / 1e9:.2f} GB)"
        size = f"{network.size_flag} {getattr(network, network.size_flag):,}"
        raise UserError(
            f"{size} needs about {needed / 1e9:.2f} GB of memory, TensorFlow itself "
            f"{PROCESS_BYTES / 1e9:.1f} GB of it, and {available / 1e9:.2f} GB are free{limited}\n"
            "Give it more memory (docker run --memory, mem_limit in compose.yaml), end other programs, or lower "
            f"--{network.size_flag}. --skip_batch_test tries it nevertheless."
        )


def memory_for_audio() -> int:
    """Bytes of decoded audio worth keeping from epoch to epoch: a tenth of what is free, at most 1 GB (4.3 hours)."""
    return min((available_memory() or 0) // 10, 1_000_000_000)


def try_heaviest_batches(
    backend: Backend,
    task: Task,
    machine: Machine,
    loader: Loader,
    samples: Sequence[Sample],
    *,
    dev_samples: Sequence[Sample],
    dev_batch_size: int,
    by_seconds: bool,
) -> None:
    """Run the steps on the longest clips together, changing nothing.

    On the CPU an estimate comes first: there the kernel would end the process without a word.

    Args:
        samples: the heaviest training batch, `Plan.heaviest_batch`.
        dev_samples, dev_batch_size: the longest of these are tried for validation.
        by_seconds: whether batches are formed by --batch_seconds.
    Raises:
        UserError: it does not fit; says which value does.
    """
    num_devices, peers = machine.num_devices, machine.peers

    def lengthened(_: Sample, example: Example) -> Example:
        return task.lengthened(example)

    available = available_memory()
    if not machine.on_gpu and available is not None:
        frames = max(task.frames(task.longest(s.cost)) for s in samples)

        def needed(clips: int) -> int:
            return PROCESS_BYTES + task.network.step_bytes(clips=clips * len(machine.devices), frames=frames)

        per_device = -(-len(samples) // num_devices)
        if needed(per_device) > available:
            fitting = next((n for n in range(per_device - 1, 0, -1) if needed(n) <= available), 0)
            figures = f": it needs about {needed(per_device) / 1e9:.1f} GB, {available / 1e9:.1f} GB are free"
            raise UserError(_message(task, samples, fitting, by_seconds=by_seconds, figures=figures))
    own = loader.load_now(share_of(samples, peers), augment=lengthened if task.augments else None)
    batch = shared(samples, own, peers)
    tried = len(batch.samples)  # a clip that cannot be read any more is no question of memory
    while batch.samples:
        keys = clip_keys(batch.own.samples, seed=0, step=0)
        try:
            backend.train_step(batch.own, keys, learning_rate=0.0, updates=0, apply=False, part=batch.part)
        except OutOfMemory as error:
            half = len(batch.samples) // 2
            if half == 0:
                raise UserError(_message(task, samples, 0, by_seconds=by_seconds)) from error
            if peers.count > 1:  # the others may have had enough, and wait for this one
                raise
            batch = batch.without([s.id for s in batch.samples[half:]])
            continue
        if len(batch.samples) < tried:
            raise UserError(_message(task, samples, len(batch.samples) // num_devices, by_seconds=by_seconds))
        break
    dev = as_list(dev_samples)
    longest_dev = [dev[place] for place in np.argsort(-dev.costs, kind="stable")[:dev_batch_size].tolist()]
    longest = loader.load_now(share_of(longest_dev, peers))
    if longest.samples:
        backend.evaluate_step(longest)


def _message(task: Task, samples: Sequence[Sample], fitting: int, *, by_seconds: bool, figures: str = "") -> str:
    longest_s = max(s.cost for s in samples) / task.unit.size
    text = f"The batch of the {len(samples)} longest clips (up to {longest_s:.1f} s) does not fit into memory{figures}"
    seconds = max(1, int(longest_s * fitting))
    if fitting == 0:
        return f"{text}\nEven one clip is too much: leave out the longest clips, or lower --{task.network.size_flag}."
    if by_seconds:
        return f"{text}\nUse --batch_seconds {seconds}."
    return f"{text}\nUse --train_batch_size {fitting} (or --batch_seconds {seconds})."
