"""How many threads and which precision this machine is used with. Nothing here imports TensorFlow at the top."""

import os
from dataclasses import dataclass
from pathlib import Path

from deepspeech_training.config.groups import PerformanceFlags
from deepspeech_training.console import stderr_without
from deepspeech_training.machine.resources import usable_cores


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself (x86 AMX or AVX-512 BF16, Arm BF16)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "").split()
    return any(flag in flags for flag in ("amx_bf16", "avx512_bf16", "bf16"))


@dataclass(frozen=True)
class Machine:
    """What a run computes with.

    Args:
        devices: names such as "CPU:0" or "GPU:1".
        description: for a person.
        compute_dtype: "float32" or "bfloat16".
        precision: for a person, with the reason where it is not what was asked for.
        intra_op, inter_op: threads.
        on_gpu: devices are GPUs.
    """

    devices: tuple[str, ...]
    description: str
    compute_dtype: str
    precision: str
    intra_op: int
    inter_op: int
    on_gpu: bool


# Lines that TensorFlow's libraries write while they are loaded, before they obey TF_CPP_MIN_LOG_LEVEL.
START_UP_CHATTER = ("All log messages before absl::InitializeLog()", "oneDNN custom op")


def set_up(flags: PerformanceFlags) -> Machine:
    """Configure TensorFlow's threads and devices, and say what there is; once per process, before any computation.

    One thread runs operations (inter_op) unless the flag says otherwise: the recurrent loop is a chain of small ones,
    and handing them from thread to thread costs 10 % at n_hidden 512 (benchmarks/train_throughput.py).
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_DEVICE_ORDER", "PCI_BUS_ID")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    with stderr_without(*START_UP_CHATTER):
        from deepspeech_training.training.backends.tensorflow import step as backend

    intra_op = flags.intra_op_parallelism_threads or usable_cores()
    inter_op = flags.inter_op_parallelism_threads or max(1, flags.logical_cpus)
    backend.set_up_threads(
        intra_op=intra_op, inter_op=inter_op, logical_cpus=flags.logical_cpus, log_placement=flags.log_placement
    )
    found = backend.list_devices()
    on_gpu = found[0][0].startswith("GPU")
    compute_dtype, precision = "float32", "float32"
    if flags.automatic_mixed_precision:
        if backend.gpu_has_bfloat16() if on_gpu else cpu_has_bfloat16():
            compute_dtype, precision = "bfloat16", "bfloat16 products, float32 weights"
        else:
            precision = "float32 (no bfloat16 in this hardware, so --automatic_mixed_precision changes nothing)"
    names = ", ".join(f"{name} {text}" if text != "CPU" else name for name, text in found)
    if not on_gpu:
        names += f" ({usable_cores()} cores, no GPU)"
    return Machine(tuple(name for name, _ in found), names, compute_dtype, precision, intra_op, inter_op, on_gpu)
