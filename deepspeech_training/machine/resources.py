"""What this process may use: GPUs (through NVIDIA's NVML), cores, memory, disk; and whether it is in a container.

A container's limits are cgroup files, version 1 or 2. Nothing here imports TensorFlow or raises for what is missing:
a machine without NVIDIA's driver has no GPUs, and `Resources.no_gpu_reason` says why.
"""

import os
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNLIMITED = 2**60  # cgroup v1 has no word for "no limit", only a number near 2 ** 63
KEPT_NOWHERE = ("overlay", "aufs", "tmpfs", "ramfs")  # file systems that are gone with their container
HOW_TO_MOUNT = "--mount type=volume,source=deepspeech-data,target=/DeepSpeech/persistent-data"
ANONYMOUS_VOLUME = re.compile(r"/volumes/[0-9a-f]{64}/_data(/|$)")  # `docker run --rm` deletes such a volume


def gigabytes(amount: int | None) -> str:
    """
    >>> gigabytes(24 * 2**30), gigabytes(512 * 2**20), gigabytes(None)
    ('25.8 GB', '0.5 GB', 'an unknown amount')
    """
    return "an unknown amount" if amount is None else f"{amount / 1e9:.1f} GB"


@dataclass(frozen=True)
class Gpu:
    """One NVIDIA GPU.

    Args:
        index: its place in the order of PCI addresses, as CUDA_DEVICE_ORDER=PCI_BUS_ID and nvidia-smi count.
        name: as NVIDIA's driver says it, such as "NVIDIA GeForce RTX 4090".
        uuid: "GPU-..."; CUDA_VISIBLE_DEVICES takes it too.
        pci: its PCI address, such as "00000000:01:00.0".
        memory_total, memory_free: bytes.
        compute_capability: such as (8, 9).
        utilisation: share of the last moments in which it computed, 0 to 1; None where that cannot be told.
        temperature_c: degrees Celsius; None where that cannot be told.
        power_w, power_limit_w: watts that it takes, and may take; None where that cannot be told.
    """

    index: int
    name: str
    uuid: str
    pci: str
    memory_total: int
    memory_free: int
    compute_capability: tuple[int, int]
    utilisation: float | None = None
    temperature_c: int | None = None
    power_w: float | None = None
    power_limit_w: float | None = None


@dataclass(frozen=True)
class Mount:
    """Where a path is kept.

    Args:
        point: folder that the file system is mounted on.
        filesystem: its type, such as "ext4".
        outlives_container: False in a container's own layer, in memory, and in a volume without a name.
    """

    point: str
    filesystem: str
    outlives_container: bool


@dataclass(frozen=True)
class Resources:
    """What `read_resources` has found.

    Args:
        gpus: in the order of their PCI addresses; CUDA_VISIBLE_DEVICES is not applied.
        driver: version of NVIDIA's driver, such as "570.86.15"; empty without one.
        cuda: newest CUDA that the driver takes, such as (12, 8); None without one.
        no_gpu_reason: why `gpus` is empty; empty if it is not.
        cores: that this process may use, at least 1.
        memory_limit: bytes that the container may take; None without a limit.
        memory_available: bytes that can still be taken; None where that cannot be told.
        disk_free: bytes free where `folder` is, None if that cannot be told.
        shm_total: bytes of /dev/shm, None without one.
        mount: where `folder` is kept; None where that cannot be told.
        in_container: whether this is a container of Docker, Podman or Kubernetes.
        image: which image of this project it is ("gpu", "cpu" or "serve"); empty outside of them.
    """

    gpus: tuple[Gpu, ...]
    driver: str
    cuda: tuple[int, int] | None
    no_gpu_reason: str
    cores: int
    memory_limit: int | None
    memory_available: int | None
    disk_free: int | None
    shm_total: int | None
    mount: Mount | None
    in_container: bool
    image: str


def read_resources(folder: str | os.PathLike[str] = ".") -> Resources:
    """Look at the machine, or the container; `folder` is where the disk is looked at."""
    gpus, driver, cuda, reason = read_gpus()
    return Resources(
        gpus=gpus,
        driver=driver,
        cuda=cuda,
        no_gpu_reason=reason,
        cores=usable_cores(),
        memory_limit=memory_limit(),
        memory_available=available_memory(),
        disk_free=disk_free(folder),
        shm_total=_shm_total(),
        mount=mount_of(folder),
        in_container=in_container(),
        image=os.environ.get("DEEPSPEECH_IMAGE", ""),
    )


# --- GPUs ----------------------------------------------------------------------------------------------------------


def read_gpus() -> tuple[tuple[Gpu, ...], str, tuple[int, int] | None, str]:
    """The GPUs, the driver's version, the newest CUDA it takes, and the reason if there is no GPU."""
    import pynvml

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return (), "", None, _reason(error)
    try:
        driver = pynvml.nvmlSystemGetDriverVersion()
        cuda = pynvml.nvmlSystemGetCudaDriverVersion()
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        handles.sort(key=_pci_address)
        gpus = tuple(_read_gpu(index, handle) for index, handle in enumerate(handles))
        return gpus, driver, (cuda // 1000, cuda % 1000 // 10), "" if gpus else "NVIDIA's driver knows no GPU"
    except pynvml.NVMLError as error:
        return (), "", None, _reason(error)
    finally:
        pynvml.nvmlShutdown()


def visible_gpus() -> tuple[Gpu, ...]:
    """The GPUs that CUDA_VISIBLE_DEVICES leaves to this process, in its order, as TensorFlow counts them."""
    return select_gpus(read_gpus()[0], os.environ.get("CUDA_VISIBLE_DEVICES"))


def select_gpus(gpus: Sequence[Gpu], setting: str | None) -> tuple[Gpu, ...]:
    """Those of `gpus` that a value of CUDA_VISIBLE_DEVICES names: numbers or the beginnings of UUIDs.

    As in CUDA, the first name that is none of a GPU ends the list.
    """
    if setting is None:
        return tuple(gpus)
    chosen: list[Gpu] = []
    for name in (word.strip() for word in setting.split(",")):
        found = [gpu for gpu in gpus if name and (str(gpu.index) == name or gpu.uuid.startswith(name))]
        if len(found) != 1:
            break
        chosen += found
    return tuple(chosen)


def _reason(error: Any) -> str:
    """Why an NVMLError leaves us without a GPU."""
    import pynvml

    reasons = {
        pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "NVIDIA's driver library (libnvidia-ml.so.1) is not here",
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "NVIDIA's driver is not loaded",
        pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "NVIDIA's driver and its library have different versions: reboot",
        pynvml.NVML_ERROR_NO_PERMISSION: "this user may not use NVIDIA's driver",
    }
    return reasons.get(error.value, f"NVIDIA's driver says: {error}")


def _pci_address(handle: Any) -> str:
    import pynvml

    address: str = pynvml.nvmlDeviceGetPciInfo(handle).busId
    return address


def _read_gpu(index: int, handle: Any) -> Gpu:
    import pynvml

    memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
    busy = _or_none(lambda: pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)
    power_mw = _or_none(lambda: pynvml.nvmlDeviceGetPowerUsage(handle))
    limit_mw = _or_none(lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle))
    return Gpu(
        index=index,
        name=pynvml.nvmlDeviceGetName(handle),
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        pci=_pci_address(handle),
        memory_total=memory.total,
        memory_free=memory.free,
        compute_capability=pynvml.nvmlDeviceGetCudaComputeCapability(handle),
        utilisation=None if busy is None else busy / 100,
        temperature_c=_or_none(lambda: pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)),
        power_w=None if power_mw is None else power_mw / 1000,
        power_limit_w=None if limit_mw is None else limit_mw / 1000,
    )


def _or_none(read: Callable[[], Any]) -> Any:
    """What not every GPU can tell: a part of a GPU (MIG) knows no utilisation."""
    import pynvml

    try:
        return read()
    except pynvml.NVMLError:
        return None


# --- cores and memory ----------------------------------------------------------------------------------------------


def usable_cores() -> int:
    """Cores that this process may use: its affinity and the container's CPU quota, at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for folder in _cgroup_folders("cpu"):
        try:
            if (folder / "cpu.max").exists():
                quota, period = (folder / "cpu.max").read_text().split()
            else:
                quota = (folder / "cpu.cfs_quota_us").read_text().strip()
                period = (folder / "cpu.cfs_period_us").read_text()
            if quota not in ("max", "-1"):
                cores = min(cores, max(1, round(int(quota) / int(period))))
        except (OSError, ValueError, ZeroDivisionError):
            continue
    return cores


def memory_limit() -> int | None:
    """Bytes that the container may take; None without a limit."""
    return min((limit for limit, _ in _memory_cgroups()), default=None)


def available_memory() -> int | None:
    """Bytes that can still be taken without swapping or an out-of-memory kill; None where that cannot be told."""
    amounts = [free for _, free in _memory_cgroups()]
    try:
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                amounts.append(int(line.split()[1]) * 1024)
    except (OSError, ValueError):
        pass
    return max(0, min(amounts)) if amounts else None


def _memory_cgroups() -> Iterator[tuple[int, int]]:
    """(limit, what is left of it) in bytes, of each cgroup of this process that has a limit."""
    for folder in _cgroup_folders("memory"):
        second = (folder / "memory.max").exists()
        names = ("memory.max", "memory.current") if second else ("memory.limit_in_bytes", "memory.usage_in_bytes")
        try:
            limit, used = (int((folder / name).read_text()) for name in names)
            statistics = dict(line.split() for line in (folder / "memory.stat").read_text().splitlines())
            # Files that were read lately count as used, but the kernel gives them up when memory is wanted.
            prefix = "" if second else "total_"
            files = sum(int(statistics.get(f"{prefix}{kind}_file", 0)) for kind in ("active", "inactive"))
        except (OSError, ValueError):
            continue  # no such file, or "max"
        if limit < UNLIMITED:
            yield limit, limit - used + files


def _cgroup_folders(controller: str) -> Iterator[Path]:
    """The folders with the limits of this process: of its cgroup and those above it, as far as they can be seen.

    In a container its own cgroup is mostly mounted as the top, whatever /proc/self/cgroup calls it.
    """
    root = Path("/sys/fs/cgroup")
    tops = {"0": (root, ""), "1": (root / controller, "")}
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            hierarchy, controllers, path = line.split(":", 2)
            if hierarchy == "0" or controller in controllers.split(","):
                version = "0" if hierarchy == "0" else "1"
                tops[version] = (tops[version][0], path.strip("/"))
    except (OSError, ValueError):
        pass
    for top, path in tops.values():
        folder = top / path
        while folder != top:
            yield folder
            folder = folder.parent
        yield top


# --- disk and container --------------------------------------------------------------------------------------------


def existing_part(folder: str | os.PathLike[str]) -> Path:
    """`folder`, or the folder above it that is there already."""
    path = Path(folder).absolute()
    while not path.exists() and path != path.parent:
        path = path.parent
    return path


def disk_free(folder: str | os.PathLike[str]) -> int | None:
    """Bytes free where `folder` is, or will be made."""
    try:
        return shutil.disk_usage(existing_part(folder)).free
    except OSError:
        return None


def _shm_total() -> int | None:
    try:
        return shutil.disk_usage("/dev/shm").total
    except OSError:
        return None


def mount_of(folder: str | os.PathLike[str]) -> Mount | None:
    """The mount that `folder` is on, or will be; None where /proc does not tell."""
    path = os.path.realpath(folder)
    best = None
    try:
        lines = Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        words, _, tail = line.partition(" - ")
        try:
            _, _, _, root, point = words.split()[:5]
            filesystem = tail.split()[0]
        except (ValueError, IndexError):
            continue
        root, point = _unescape(root), _unescape(point)
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and (best is None or len(point) >= len(best.point)):  # of two on one point, the later covers
            kept = point != "/" and filesystem not in KEPT_NOWHERE and not ANONYMOUS_VOLUME.search(root)
            best = Mount(point, filesystem, kept)
    return best


def will_be_lost(folder: str | os.PathLike[str]) -> bool:
    """Whether this is an image of the project and `folder` is on nothing that outlives its container."""
    mount = mount_of(folder)
    return bool(os.environ.get("DEEPSPEECH_IMAGE")) and mount is not None and not mount.outlives_container


def _unescape(text: str) -> str:
    r"""/proc writes a space as \040."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def in_container() -> bool:
    """Whether this process runs in a container of Docker, Podman or Kubernetes."""
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists() or "container" in os.environ:
        return True
    try:
        return bool(re.search(r"docker|containerd|kubepods|libpod", Path("/proc/1/cgroup").read_text()))
    except OSError:
        return False
