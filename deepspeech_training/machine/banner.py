"""What an interactive shell of an image shows first: version, GPUs, the volume, who owns what is written, what to type.

`python -m deepspeech_training.machine.banner`; see docker/bashrc. Everything in it is read there and then.
"""

import os
import pwd
import sys
from pathlib import Path

from deepspeech_training.machine.resources import HOW_TO_MOUNT, Gpu, Mount, Resources, gigabytes, read_resources
from deepspeech_training.version import VERSION

VOLUME = "persistent-data"


def banner(found: Resources, *, mode: str, volume: Path, user: str, other_owner: str = "") -> list[str]:
    """The lines.

    Args:
        found: read for `volume`.
        mode: "gpu", "cpu" or "mixed"; see --mode.
        volume: folder of the volume.
        user: who runs this, in words.
        other_owner: "UID:GID" of the volume, if this is root and that is somebody else.
    """
    lines = [f"deepspeech_training {VERSION}, {found.image or 'no'} image"]
    if found.image != "serve":
        lines += _gpu_lines(found, mode)
    cores = "core" if found.cores == 1 else "cores"
    memory = f", {gigabytes(found.memory_available)} of memory free" if found.memory_available is not None else ""
    limit = f" (the container's limit is {gigabytes(found.memory_limit)})" if found.memory_limit is not None else ""
    lines.append(f"CPU       {found.cores} {cores}{memory}{limit}")
    lines += _volume_lines(found, volume)
    lines.append(f"User      {user} will own what is written")
    if other_owner:
        lines.append(
            f"          but the volume belongs to {other_owner}: start without --entrypoint, or with -u {other_owner}"
        )
    lines += ["", *_next_commands(found.image, has_volume=mounted(found.mount))]
    return lines


def describe_gpu(gpu: Gpu) -> str:
    """One GPU in words: name, memory, compute capability."""
    major, minor = gpu.compute_capability
    return f"{gpu.name}, {gigabytes(gpu.memory_total)}, compute capability {major}.{minor}"


def describe_user() -> str:
    """The user and group of this process, also if no passwd file knows them."""
    uid, gid = os.getuid(), os.getgid()
    try:
        return f"{pwd.getpwuid(uid).pw_name} ({uid}:{gid})"
    except KeyError:
        return f"{uid}:{gid}"


def _other_owner(volume: Path) -> str:
    try:
        status = volume.stat()
    except OSError:
        return ""
    return f"{status.st_uid}:{status.st_gid}" if os.getuid() == 0 and status.st_uid != 0 else ""


def _gpu_lines(found: Resources, mode: str) -> list[str]:
    if found.gpus:
        lines = [f"GPU {gpu.index}     {describe_gpu(gpu)}, driver {found.driver}" for gpu in found.gpus]
        return lines + (["          not used: the mode is cpu"] if mode == "cpu" else [])
    if found.image == "cpu":
        return ["GPU       this image trains on the CPU"]
    consequence = {
        "gpu": "training refuses to start (--mode cpu trains on the CPU)",
        "cpu": "training uses the CPU, as asked",
    }.get(mode, "training would use the CPU")
    return [
        "GPU       !!! NO GPU !!!",
        f"          {found.no_gpu_reason}: {consequence}.",
        "          Start the container with --gpus all; `doctor` says more.",
    ]


def _volume_lines(found: Resources, volume: Path) -> list[str]:
    free = gigabytes(found.disk_free)
    if not mounted(found.mount):
        return [
            f"Volume    !!! NOT MOUNTED !!! What is written to {volume.absolute()} is lost with this container.",
            f"          Start it with {HOW_TO_MOUNT}",
        ]
    if not os.access(volume, os.W_OK):
        return [f"Volume    {volume.absolute()}: !!! NOT WRITABLE !!! for this user; `doctor` says what to do"]
    return [f"Volume    {volume.absolute()}: mounted, writable, {free} free"]


def mounted(mount: Mount | None) -> bool:
    """Whether what is written there outlives the container, as far as can be told."""
    return mount is None or mount.outlives_container


def _next_commands(image: str, *, has_volume: bool) -> list[str]:
    if image == "serve":
        return [
            "  bin/transcribe --model persistent-data/exports/first/output_graph.tflite FILE_OR_FOLDER",
            "  bin/doctor",
        ]
    first = "persistent-data/corpora/first"
    commands = [
        "  bin/doctor                   check everything",
        "  bin/run-ldc93s1.sh           memorise one clip: half a minute",
        f"  python DeepSpeech.py --train_files {first}/train.csv --dev_files {first}/dev.csv \\",
        f"      --test_files {first}/test.csv --checkpoint_dir persistent-data/checkpoints/first",
    ]
    return ["Next:", *(commands if has_volume else commands[:2])]


def main() -> int:
    volume = Path(__file__).resolve().parents[2] / VOLUME
    mode = os.environ.get("DEEPSPEECH_MODE", "mixed")
    lines = banner(
        read_resources(volume), mode=mode, volume=volume, user=describe_user(), other_owner=_other_owner(volume)
    )
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
