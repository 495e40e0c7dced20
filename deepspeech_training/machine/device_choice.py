"""What a run computes on: --mode, --device and the GPUs that there are -> one choice, before TensorFlow is imported.

A GPU is chosen by its UUID, which CUDA_VISIBLE_DEVICES takes: numbers mean different GPUs to different programs.
"""

import os
import re
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass

from deepspeech_training.config.groups import MODES, ComputeFlags
from deepspeech_training.console import INFO, WARN
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.machine.resources import Gpu, Resources, gigabytes, select_gpus

# The oldest generation that TensorFlow's wheels have kernels for since 2.18 (its release notes: 5.x was removed).
LEAST_CAPABILITY = (6, 0)
LEAST_CUDA = (12, 0)  # what the driver must take: the wheels bring CUDA 12
_DEVICE = re.compile(r"cpu|(?:gpu|cuda)(?::(?P<numbers>all|\d+(?:,\d+)*))?")


@dataclass(frozen=True)
class Choice:
    """What a run computes on.

    Args:
        mode: "gpu", "cpu" or "mixed".
        gpus: empty for the CPU.
        reason: for a person, why these.
        loud: whether a person may have expected something else.
        as_it_is: CUDA_VISIBLE_DEVICES names a part of a GPU (MIG), and stays.
    """

    mode: str
    gpus: tuple[Gpu, ...]
    reason: str
    loud: bool = False
    as_it_is: bool = False

    @property
    def uses_gpu(self) -> bool:
        return bool(self.gpus) or self.as_it_is

    @property
    def line(self) -> tuple[int, str]:
        """Level and text of the line that says it."""
        return (WARN if self.loud else INFO), f"Mode      {self.mode}: {self.reason}"

    def apply(self, environment: MutableMapping[str, str]) -> None:
        """Make it so, for TensorFlow and every process that is started from here on."""
        environment["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"
        if not self.as_it_is:
            environment["CUDA_VISIBLE_DEVICES"] = ",".join(gpu.uuid for gpu in self.gpus) or "-1"


def mode_of(flags: ComputeFlags) -> str:
    """--mode, else what the environment says (the images set it), else mixed.

    Raises:
        FlagError: the environment says something else.
    """
    mode = flags.mode or os.environ.get("DEEPSPEECH_MODE", "") or "mixed"
    if mode not in MODES:
        raise FlagError(f"DEEPSPEECH_MODE={mode} in the environment: must be one of {', '.join(MODES)}")
    return mode


def choose(flags: ComputeFlags, found: Resources, *, visible: str | None) -> Choice:
    """Choose the GPU with the most free memory of those that fit, the ones of --device, or the CPU.

    Args:
        flags: --mode, --device, --min_gpu_memory.
        found: what there is.
        visible: CUDA_VISIBLE_DEVICES; GPUs that it hides are refused.
    Raises:
        FlagError: --device is no device, or contradicts --mode.
        UserError: no GPU fits where one is demanded; names every GPU and why it was refused.
    """
    mode, wanted = mode_of(flags), _wanted(flags.device)
    if wanted == "cpu" and flags.mode == "gpu":
        raise FlagError(f"--device {flags.device} and --mode gpu contradict each other; leave one out")
    if wanted not in ("", "cpu") and flags.mode == "cpu":
        raise FlagError(f"--device {flags.device} and --mode cpu contradict each other; leave one out")
    cores = f"the CPU, {found.cores} {'core' if found.cores == 1 else 'cores'}"
    if wanted == "cpu" or (mode == "cpu" and not wanted):
        return Choice("cpu", (), f"{cores}, as asked")
    if wanted and mode == "cpu":
        mode = "gpu"  # the flag counts, not the image
    if visible is not None and visible.startswith("MIG-"):
        return Choice(mode, (), f"the part of a GPU that CUDA_VISIBLE_DEVICES names, {visible}", as_it_is=True)
    refused = dict(refusals(found, flags.min_gpu_memory, visible))
    fitting = sorted((gpu for gpu in found.gpus if gpu.index not in refused), key=lambda gpu: -gpu.memory_free)
    if wanted not in ("", "gpu", "gpu:all"):
        return _chosen_by_number(mode, wanted, found, refused)
    if fitting:
        gpus = fitting if wanted == "gpu:all" else fitting[:1]
        return Choice(mode, tuple(gpus), _why(gpus, found, refused))
    if mode == "gpu" or wanted:
        raise UserError(_no_gpu(found, refused, f"--device {flags.device}" if wanted else "the mode gpu"))
    why = found.no_gpu_reason or "no GPU fits: " + "; ".join(
        f"GPU {gpu.index} ({gpu.name}): {refused[gpu.index]}" for gpu in found.gpus
    )
    return Choice(mode, (), f"NO GPU IS USED, this runs on {cores} ({why})", loud=True)


def refusals(found: Resources, least_memory_gb: float, visible: str | None) -> Iterator[tuple[int, str]]:
    """Index and reason of every GPU that cannot be used."""
    shown = {gpu.uuid for gpu in select_gpus(found.gpus, visible)}
    for gpu in found.gpus:
        if gpu.uuid not in shown:
            yield gpu.index, f"CUDA_VISIBLE_DEVICES={visible} hides it"
        elif gpu.compute_capability < LEAST_CAPABILITY:
            yield (
                gpu.index,
                (
                    f"too old: compute capability {_dotted(gpu.compute_capability)}, TensorFlow has kernels from "
                    f"{_dotted(LEAST_CAPABILITY)} on"
                ),
            )
        elif found.cuda is not None and found.cuda < LEAST_CUDA:
            yield (
                gpu.index,
                (
                    f"its driver {found.driver} is too old: it takes CUDA {_dotted(found.cuda)}, TensorFlow needs "
                    f"{_dotted(LEAST_CUDA)}"
                ),
            )
        elif gpu.memory_free < least_memory_gb * 1e9:
            yield (
                gpu.index,
                (
                    f"too full: {gpu.memory_free / 1e9:.1f} of {gpu.memory_total / 1e9:.1f} GB are free, "
                    f"--min_gpu_memory asks for {least_memory_gb:g}"
                ),
            )


def _wanted(device: str) -> str:
    """--device in one spelling: "", "cpu", "gpu", "gpu:all" or "gpu:0,1"."""
    text = device.strip().lower()
    match = _DEVICE.fullmatch(text)
    if text and match is None:
        raise FlagError(f"--device {device}: must be cpu, gpu, gpu:all, or numbers of GPUs such as gpu:0,1 or cuda:1")
    return text.replace("cuda", "gpu")


def _chosen_by_number(mode: str, wanted: str, found: Resources, refused: dict[int, str]) -> Choice:
    numbers = list(dict.fromkeys(map(int, wanted.removeprefix("gpu:").split(","))))
    by_index = {gpu.index: gpu for gpu in found.gpus}
    faults = [
        f"GPU {number}: {refused.get(number, 'there is no such GPU')}"
        for number in numbers
        if number in refused or number not in by_index
    ]
    if faults:
        raise UserError(_no_gpu(found, refused, f"--device {wanted}"))
    gpus = tuple(by_index[number] for number in numbers)
    return Choice(mode, gpus, f"{' and '.join(describe(gpu) for gpu in gpus)}, as asked")


def _why(gpus: Sequence[Gpu], found: Resources, refused: dict[int, str]) -> str:
    text = " and ".join(describe(gpu) for gpu in gpus)
    others = len(found.gpus) - len(gpus) - len(refused)
    parts = [f"{others} more {'fits' if others == 1 else 'fit'}"] if others else []
    parts += [f"{len(refused)} {'does' if len(refused) == 1 else 'do'} not fit"] if refused else []
    if others:
        parts.append("--device gpu:all or gpu:0,1 takes several")
    return text + (f" ({'; '.join(parts)})" if parts else "")


def _no_gpu(found: Resources, refused: dict[int, str], what: str) -> str:
    """The message with all that was seen."""
    lines = [f"{what} demands a GPU that there is not"]
    if not found.gpus:
        lines.append(f"No GPU was seen: {found.no_gpu_reason}")
    for gpu in found.gpus:
        lines.append(f"{describe(gpu)}: {refused.get(gpu.index, 'fits')}")
    if found.in_container and not found.gpus:
        lines.append("Start the container with --gpus all; `doctor` says more.")
    lines.append("--mode cpu trains on the CPU, --mode mixed on what there is; --show_resources lists it.")
    return "\n".join(lines)


def describe(gpu: Gpu) -> str:
    """A GPU in one line."""
    return (
        f"GPU {gpu.index}, {gpu.name}, {gpu.memory_free / 1e9:.1f} of {gpu.memory_total / 1e9:.1f} GB free, "
        f"compute capability {_dotted(gpu.compute_capability)}"
    )


def _dotted(numbers: Sequence[int]) -> str:
    return ".".join(map(str, numbers))


def resource_lines(flags: ComputeFlags, found: Resources, *, visible: str | None) -> Iterator[str]:
    """What --show_resources prints."""
    if found.gpus:
        cuda = "" if found.cuda is None else f", takes CUDA up to {_dotted(found.cuda)}"
        yield f"Driver    NVIDIA {found.driver}{cuda}"
    else:
        yield f"GPU       none: {found.no_gpu_reason}"
    refused = dict(refusals(found, flags.min_gpu_memory, visible))
    for gpu in found.gpus:
        busy = "" if gpu.utilisation is None else f", {gpu.utilisation:.0%} busy"
        warm = "" if gpu.temperature_c is None else f", {gpu.temperature_c} degrees C"
        yield f"{describe(gpu)}{busy}{warm}"
        yield f"          {gpu.uuid}, PCI {gpu.pci}; {refused.get(gpu.index, 'fits')}"
    yield f"CPU       {found.cores} cores can be used, {os.cpu_count()} are installed"
    limit = "no limit" if found.memory_limit is None else f"the limit is {gigabytes(found.memory_limit)}"
    yield f"Memory    {gigabytes(found.memory_available)} can be taken; {limit}"
    if found.disk_free is not None:
        yield f"Disk      {gigabytes(found.disk_free)} are free for checkpoints"
    place = "in a container" if found.in_container else "not in a container"
    yield f"Place     {place}" + (f", {found.image} image" if found.image else "")
    try:
        choice = choose(flags, found, visible=visible)
        yield f"Mode      {choice.mode}: {choice.reason}"
    except UserError as error:
        yield f"Mode      {mode_of(flags)}: would end with exit code {error.exit_code}: {str(error).splitlines()[0]}"
