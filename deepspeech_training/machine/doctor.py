"""The command `doctor`: whether this machine, or this container, is fit to train; each line is OK or says what to do.

    OK    fine                NOTE  works, but worth knowing                FAULT  to be fixed; the exit code is then 1

It looks at the same things in an image of the project and outside, and knows the few that concern images only.
"""

import importlib.metadata
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.machine.banner import describe_gpu, describe_user
from deepspeech_training.machine.resources import (
    HOW_TO_MOUNT,
    Gpu,
    Resources,
    existing_part,
    gigabytes,
    read_resources,
    will_be_lost,
)
from deepspeech_training.version import VERSION

OK, NOTE, FAULT = "OK", "NOTE", "FAULT"
PROBE_TIMEOUT_S = 3600  # a driver that compiles TensorFlow's kernels for a new GPU takes up to half an hour
LEAST_DISK_BYTES = 5_000_000_000
MEMORY_TO_TRAIN = 1_000_000_000  # a small network on the CPU; docs/environment.md has more
# NVIDIA, "CUDA Toolkit Release Notes", table "CUDA Toolkit and Minimum Required Driver Version for CUDA Minor Version
# Compatibility": CUDA 12.x on Linux.
LEAST_DRIVER = (525, 60, 13)
BLACKWELL_DRIVER = (570,)  # the first with Blackwell, NVIDIA's release notes of CUDA 12.8


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, how it is, and (for a NOTE or a FAULT) what to do."""

    level: str
    subject: str
    text: str
    advice: str = ""

    def __str__(self) -> str:
        lines = [f"{self.level:<5} {self.subject:<10} {self.text}"]
        return "\n".join([*lines, *(f"{'':<17}-> {line}" for line in self.advice.splitlines())])


def examine(volume: Path, *, mode: str) -> Iterator[Finding]:
    """All findings, as they are made; the last takes TensorFlow's start, some seconds."""
    found = read_resources(volume)
    yield from check_packages()
    yield Finding(OK, "CPU", f"{found.cores} of {os.cpu_count()} cores usable, {platform.machine()}")
    yield check_memory(found, trains=found.image != "serve")
    yield check_shm(found)
    yield from check_volume(volume, found)
    yield Finding(OK, "user", f"{describe_user()} will own what is written")
    yield check_clock(volume)
    if not _is_installed("keras"):
        yield Finding(
            NOTE,
            "TensorFlow",
            "not installed: exported models run, training does not",
            "" if found.image == "serve" else "pip install '.[cpu]' or '.[gpu]' installs it",
        )
        return
    yield from check_gpus(found, mode)
    probed = probe()
    yield from check_probe(probed, found, mode)


# --- packages ------------------------------------------------------------------------------------------------------


def check_packages() -> Iterator[Finding]:
    """That the package's requirements are installed; the versions that matter."""
    versions = [f"Python {platform.python_version()}"]
    for name in ("numpy", "ai-edge-litert", "tensorflow", "tensorflow-cpu", "keras"):
        if _is_installed(name):
            versions.append(f"{name} {importlib.metadata.version(name)}")
    yield Finding(OK, "versions", f"deepspeech_training {VERSION}, {', '.join(versions)}")
    try:
        required = importlib.metadata.requires("deepspeech_training") or []
    except importlib.metadata.PackageNotFoundError:
        yield Finding(
            NOTE,
            "packages",
            "the project runs without being installed, so what it needs is not known",
            "pip install --editable '.[cpu]', or make smoke, installs it",
        )
        return
    names = [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in required if "extra ==" not in line]
    missing = [name for name in names if not _is_installed(name)]
    if missing:
        yield Finding(FAULT, "packages", f"not installed: {', '.join(missing)}", f"pip install {' '.join(missing)}")


def _is_installed(package: str) -> bool:
    try:
        importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


# --- memory, disk, volume, clock -----------------------------------------------------------------------------------


def check_memory(found: Resources, *, trains: bool) -> Finding:
    limit = "" if found.memory_limit is None else f"; the container's limit is {gigabytes(found.memory_limit)}"
    text = f"{gigabytes(found.memory_available)} free{limit}"
    if trains and found.memory_available is not None and found.memory_available < MEMORY_TO_TRAIN:
        return Finding(
            FAULT,
            "memory",
            text,
            f"training needs at least {gigabytes(MEMORY_TO_TRAIN)}: raise "
            "docker run --memory (mem_limit in compose.yaml), or end other programs",
        )
    return Finding(OK, "memory", text)


def check_shm(found: Resources) -> Finding:
    if found.shm_total is None:
        return Finding(NOTE, "/dev/shm", "is missing", "NVIDIA's NCCL needs it with several GPUs: --shm-size 1g")
    if len(found.gpus) > 1 and found.shm_total < 256 * 2**20:
        return Finding(
            NOTE,
            "/dev/shm",
            f"{gigabytes(found.shm_total)} for {len(found.gpus)} GPUs",
            "if training hangs or ends with a bus error: docker run --shm-size 1g",
        )
    return Finding(OK, "/dev/shm", f"{gigabytes(found.shm_total)}; training reads audio in threads and needs little")


def check_volume(volume: Path, found: Resources) -> Iterator[Finding]:
    """That what is written there is kept, that this user can write it, and that there is room."""
    if will_be_lost(volume):
        level = NOTE if found.image == "serve" else FAULT
        yield Finding(
            level,
            "volume",
            f"nothing is mounted on {volume}: what is written is lost with this container",
            f"start it with {HOW_TO_MOUNT}",
        )
    elif found.mount is not None and found.in_container and not found.mount.outlives_container:
        yield Finding(NOTE, "volume", f"{volume} is not on a volume: this container's files are lost with it")
    else:
        where = f", on a mount of {found.mount.point} ({found.mount.filesystem})" if found.mount else ""
        yield Finding(OK, "volume", f"{volume}{where}")
    folder = existing_part(volume)
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x" * 2**20)
            file.flush()
            os.fsync(file.fileno())
        inside = volume.iterdir() if folder == volume.absolute() else ()
        not_ours = [path.name for path in inside if path.is_dir() and not os.access(path, os.W_OK)]
        if not_ours:
            yield Finding(
                NOTE,
                "volume",
                f"{describe_user()} cannot write to {', '.join(sorted(not_ours))} in it",
                _how_to_own(volume),
            )
    except OSError as error:
        reason = error.strerror or str(error)
        advice = "free some space" if found.disk_free == 0 else _how_to_own(volume)
        yield Finding(FAULT, "volume", f"{describe_user()} cannot write to {volume}: {reason}", advice)
    if found.disk_free is not None and found.disk_free < LEAST_DISK_BYTES:
        yield Finding(
            NOTE,
            "disk",
            f"{gigabytes(found.disk_free)} free",
            "six checkpoints of the default size take 3.5 GB; free some, or lower --max_to_keep",
        )
    else:
        yield Finding(OK, "disk", f"{gigabytes(found.disk_free)} free")


def _how_to_own(volume: Path) -> str:
    try:
        owner = f"it belongs to {volume.stat().st_uid}:{volume.stat().st_gid}; "
    except OSError:
        owner = ""
    return f"{owner}run as its owner (docker run -u UID:GID), or give it to this user: bin/docker.sh volume own UID:GID"


def check_clock(volume: Path) -> Finding:
    """That time has not stood still since the code was made, and that the volume's server agrees."""
    now, made = time.time(), Path(__file__).stat().st_mtime
    if now < made - 86_400:
        return Finding(FAULT, "clock", f"it is {time.ctime(now)}, before the program was made", "set the clock")
    try:
        with tempfile.NamedTemporaryFile(dir=existing_part(volume)) as file:
            apart = abs(os.stat(file.name).st_mtime - time.time())
    except OSError:
        apart = 0.0
    if apart > 5:
        return Finding(NOTE, "clock", f"the clock of the volume differs by {apart:.0f} s", "set both by NTP")
    return Finding(OK, "clock", time.strftime("%Y-%m-%d %H:%M:%S %z", time.localtime(now)))


# --- GPUs ----------------------------------------------------------------------------------------------------------


def check_gpus(found: Resources, mode: str) -> Iterator[Finding]:
    """That there is one, if one is wanted, and that its driver is new enough."""
    if mode == "cpu":
        yield Finding(OK, "GPU", "not wanted: the mode is cpu")
        return
    if not found.gpus:
        level = FAULT if mode == "gpu" else NOTE
        advice = "training would use the CPU" if mode == "mixed" else "--mode cpu trains on the CPU"
        if found.in_container:
            advice = (
                "start the container with --gpus all; if that fails, install nvidia-container-toolkit on the "
                f"host (docs/environment.md)\n{advice}"
            )
        yield Finding(level, "GPU", found.no_gpu_reason, advice)
        return
    for gpu in found.gpus:
        yield Finding(OK, f"GPU {gpu.index}", f"{describe_gpu(gpu)}, {gigabytes(gpu.memory_free)} free")
    if version_tuple(found.driver) < LEAST_DRIVER:
        yield Finding(
            FAULT,
            "driver",
            f"NVIDIA {found.driver} is too old for CUDA 12",
            f"install {'.'.join(map(str, LEAST_DRIVER))} or newer on the host",
        )
    else:
        cuda = "" if found.cuda is None else f", for CUDA up to {found.cuda[0]}.{found.cuda[1]}"
        yield Finding(OK, "driver", f"NVIDIA {found.driver}{cuda}")


def check_capability(gpu: Gpu, driver: str, kernels: Iterable[str]) -> Finding:
    """Whether TensorFlow has kernels for a GPU.

    Args:
        kernels: what TensorFlow was built with: "sm_80" is machine code for that generation (8.x from 8.0 on),
            "compute_90" is code (PTX) that the driver compiles for 9.0 and all newer ones.
    """
    capability, subject = gpu.compute_capability, f"GPU {gpu.index}"
    name = ".".join(map(str, capability))
    machine_code = {_capability(k) for k in kernels if k.startswith("sm_")}
    portable = {_capability(k) for k in kernels if k.startswith("compute_")}
    oldest = min(machine_code | portable, default=capability)
    if capability < oldest:
        least = ".".join(map(str, oldest))
        return Finding(
            FAULT,
            subject,
            f"compute capability {name}: this TensorFlow has kernels from {least} on only",
            "train on the CPU (--mode cpu), or on a newer GPU",
        )
    if any(have[0] == capability[0] and have <= capability for have in machine_code):
        if capability < (8, 0):
            return Finding(
                NOTE,
                subject,
                f"compute capability {name} is older than Ampere (8.0)",
                "it trains in float32; --automatic_mixed_precision changes nothing",
            )
        return Finding(OK, subject, f"compute capability {name}: TensorFlow has kernels for it")
    if capability >= (10, 0) and version_tuple(driver) < BLACKWELL_DRIVER:
        return Finding(
            FAULT,
            subject,
            f"compute capability {name} (Blackwell) needs driver 570 or newer, not {driver}",
            "install a newer driver on the host",
        )
    if capability >= (10, 0):
        return Finding(
            NOTE,
            subject,
            f"compute capability {name} (Blackwell) is newer than this TensorFlow's kernels: "
            "the driver compiles them when training starts first, for up to half an hour",
            "keep the result: CUDA_CACHE_PATH on a volume, as in the images. Some such GPUs fail with "
            "CUDA_ERROR_INVALID_PTX (TensorFlow issue 101746): the product below shows it",
        )
    return Finding(
        NOTE,
        subject,
        f"compute capability {name}: the driver compiles TensorFlow's kernels for it when "
        "training starts first, for up to half an hour",
    )


def _capability(kernel: str) -> tuple[int, int]:
    """
    >>> _capability("sm_89"), _capability("compute_120")
    ((8, 9), (12, 0))
    """
    digits = re.sub(r"\D", "", kernel)
    return int(digits[:-1]), int(digits[-1])


def version_tuple(version: str) -> tuple[int, ...]:
    """
    >>> version_tuple("570.86.15"), version_tuple("")
    ((570, 86, 15), ())
    """
    return tuple(int(part) for part in re.findall(r"\d+", version))


# --- TensorFlow ----------------------------------------------------------------------------------------------------


def probe() -> dict[str, Any]:
    """What training.backends.probe has printed; {"failed": the reason} if it has not."""
    root = str(Path(__file__).resolve().parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "deepspeech_training.training.backends.probe"]
    try:
        ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        return {"failed": f"it was not done after {PROBE_TIMEOUT_S} s"}
    if ended.returncode == -9:
        return {"failed": "it was killed (signal 9), mostly for lack of memory"}
    if ended.returncode != 0:
        lines = [line for line in ended.stderr.splitlines() if line.strip()]
        return {"failed": lines[-1] if lines else f"it ended with exit code {ended.returncode}"}
    probed: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1])
    return probed


def check_probe(probed: dict[str, Any], found: Resources, mode: str) -> Iterator[Finding]:
    """That TensorFlow starts, uses the GPUs that are there, and computes what is right."""
    if "failed" in probed:
        advice = "if the line names CUDA: is the driver new enough, is another program using the GPU?"
        yield Finding(FAULT, "TensorFlow", f"a product of two small matrices failed: {probed['failed']}", advice)
        return
    if mode != "cpu" and found.gpus:
        if not probed["cuda"]:
            yield Finding(
                FAULT if mode == "gpu" else NOTE,
                "TensorFlow",
                "this TensorFlow is for the CPU only",
                "use the gpu image, or pip install '.[gpu]'",
            )
        else:
            for gpu in found.gpus:
                yield check_capability(gpu, found.driver, probed["capabilities"])
            if not probed["on_gpu"]:
                advice = "are the nvidia-* packages of the extra gpu installed? is CUDA_VISIBLE_DEVICES empty?"
                yield Finding(FAULT, "TensorFlow", "NVIDIA's driver shows a GPU, TensorFlow does not see it", advice)
    wrong = [device for device, right in probed["right"].items() if not right]
    if wrong:
        yield Finding(
            FAULT,
            "TensorFlow",
            f"wrong sums in a product of small matrices on {', '.join(wrong)}",
            "the hardware is faulty",
        )
    else:
        versions = probed["versions"]
        built = f", CUDA {probed['cuda']}, cuDNN {probed['cudnn']}" if probed["cuda"] else ""
        yield Finding(
            OK,
            "TensorFlow",
            f"{versions['tensorflow']}, Keras {versions['keras']}{built}: a product on {probed['devices']} is right",
        )
