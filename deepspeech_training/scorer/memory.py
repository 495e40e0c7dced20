"""How much memory can still be taken, for work that says beforehand what it needs."""

from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")  # version 2, as in a container


def available_bytes() -> int | None:
    """Memory that is free or can be freed, within the limit of the container; None where Linux does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return None
    try:
        limit, used = (int((_CGROUP / name).read_text()) for name in ("memory.max", "memory.current"))
    except (OSError, ValueError):  # no limit: the word "max"
        return free
    return min(free, max(0, limit - used))
