"""TensorFlow's devices, threads and versions."""

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from deepspeech_training.config.groups import PerformanceFlags
from deepspeech_training.errors import UserError
from deepspeech_training.machine.cluster import Cluster
from deepspeech_training.machine.resources import usable_cores
from deepspeech_training.training.backends.base import Alone, Machine, Peers
from deepspeech_training.training.backends.tensorflow.workers import join


def set_up(flags: PerformanceFlags, cluster: Cluster | None = None, say: Callable[[str], None] = print) -> Machine:
    """Configure threads and devices, join the cluster, say what there is; once per process, before any computation.

    One thread runs operations (inter_op) unless the flag says otherwise: the recurrent loop is a chain of small ones,
    and handing them from thread to thread costs 10 % at n_hidden 512 (benchmarks/train_throughput.py).
    """
    intra_op = flags.intra_op_parallelism_threads or usable_cores()
    inter_op = flags.inter_op_parallelism_threads or max(1, flags.logical_cpus)
    try:
        tf.config.threading.set_intra_op_parallelism_threads(intra_op)
        tf.config.threading.set_inter_op_parallelism_threads(inter_op)
        if flags.logical_cpus > 1:
            cpu = tf.config.list_physical_devices("CPU")[0]
            logical = [tf.config.LogicalDeviceConfiguration()] * flags.logical_cpus
            tf.config.set_logical_device_configuration(cpu, logical)
        for gpu in tf.config.list_physical_devices("GPU"):
            tf.config.experimental.set_memory_growth(gpu, True)
    except RuntimeError as error:  # what TensorFlow raises where they are fixed already, as others
        raise UserError(
            f"TensorFlow has computed in this process before, with other threads or devices ({error})\n"
            "Use a new process, or the same values of --intra_op_parallelism_threads, --inter_op_parallelism_threads "
            "and --logical_cpus."
        ) from error
    if flags.log_placement:
        tf.debugging.set_log_device_placement(True)
    peers: Peers = Alone() if cluster is None else join(cluster, say)
    found = list_devices("" if cluster is None else f"/task:{cluster.rank}/")
    on_gpu = found[0][0].startswith("GPU")
    compute_dtype, precision = "float32", "float32"
    if flags.automatic_mixed_precision:
        if gpu_has_bfloat16() if on_gpu else cpu_has_bfloat16():
            compute_dtype, precision = "bfloat16", "bfloat16 products, float32 weights"
        else:
            precision = "float32 (no bfloat16 in this hardware, so --automatic_mixed_precision changes nothing)"
    names = ", ".join(f"{name} {text}" if text != "CPU" else name for name, text in found)
    if not on_gpu:
        names += f" ({usable_cores()} cores, no GPU)"
    if cluster is not None:
        names += f", {cluster.name(cluster.rank)} of {peers.count}"
    return Machine(
        devices=tuple(name for name, _ in found),
        description=names,
        compute_dtype=compute_dtype,
        precision=precision,
        intra_op=intra_op,
        inter_op=inter_op,
        on_gpu=on_gpu,
        versions={"tensorflow": tf.__version__, "keras": keras.__version__},
        peers=peers,
    )


def list_devices(task: str = "") -> list[tuple[str, str]]:
    """Devices to train on, best first: (name, description). GPUs if there are any, else the logical CPUs.

    Args:
        task: what the names of this worker's devices have in them, as TensorFlow lists those of all workers.
    """
    gpus = [gpu.name for gpu in tf.config.list_logical_devices("GPU") if task in gpu.name]
    if gpus:
        found = []
        for name, physical in zip(gpus, tf.config.list_physical_devices("GPU"), strict=True):
            details = tf.config.experimental.get_device_details(physical)
            capability = ".".join(str(part) for part in details.get("compute_capability", ()))
            found.append((name.rpartition("/device:")[2], f"{details.get('device_name')} ({capability})"))
        return found
    cpus = [cpu.name for cpu in tf.config.list_logical_devices("CPU") if task in cpu.name]
    return [(name.rpartition("/device:")[2], "CPU") for name in cpus]


def own_device(name: str) -> str:
    """The full name of a device of this process, such as "CPU:0": beside other workers the short one is theirs too."""
    first = tf.config.list_logical_devices()[0].name  # its own ones come first
    return f"{first.rpartition('/device:')[0]}/device:{name}"


def cpu_has_bfloat16() -> bool:
    """Whether the processor multiplies bfloat16 itself (x86 AMX or AVX-512 BF16, Arm BF16)."""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    flags = next((line for line in text.splitlines() if line.startswith(("flags", "Features"))), "").split()
    return any(flag in flags for flag in ("amx_bf16", "avx512_bf16", "bf16"))


def gpu_has_bfloat16() -> bool:
    """Whether every visible GPU computes bfloat16 itself (compute capability 8.0 or newer)."""
    details = [tf.config.experimental.get_device_details(g) for g in tf.config.list_physical_devices("GPU")]
    return bool(details) and all(d.get("compute_capability", (0, 0)) >= (8, 0) for d in details)


def cuda_build() -> dict[str, object]:
    """What TensorFlow was built with: "cuda" and "cudnn" (versions, "" without), "capabilities" (as "sm_80")."""
    built = tf.sysconfig.get_build_info()
    return {
        "cuda": str(built.get("cuda_version", "")),
        "cudnn": str(built.get("cudnn_version", "")),
        "capabilities": list(built.get("cuda_compute_capabilities", ())),
    }


def small_product(device: str, size: int = 512) -> bool:
    """Multiply two matrices of small whole numbers on a device ("GPU:0"); whether every sum is right."""
    rows, columns = np.indices((size, size))
    left, right = (rows + columns) % 7, (rows * columns) % 5
    with tf.device(device):
        product = tf.matmul(tf.constant(left, tf.float32), tf.constant(right, tf.float32)).numpy()
    return bool((product == left @ right).all())
