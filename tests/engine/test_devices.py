import os

import pytest

from deepspeech_training.engine import devices, memory

GIB = 2**30
MEMINFO = "MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\nSwapFree: 0 kB\n"  # 8 GiB can be had


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A function that writes files of /proc and /sys; the machine of the test has these files and no others."""
    monkeypatch.setattr(devices, "Path", lambda path: tmp_path / path.lstrip("/"))
    monkeypatch.setattr(memory, "Path", lambda path: tmp_path / path.lstrip("/"))
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)

    def write(files):
        for name, text in files.items():
            path = tmp_path / name.lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)

    return write


V1 = "/sys/fs/cgroup/cpu/cpu.cfs_"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 16),
        ({"/sys/fs/cgroup/cpu.max": "max 100000\n"}, 16),
        ({"/sys/fs/cgroup/cpu.max": "400000 100000\n"}, 4),
        ({"/sys/fs/cgroup/cpu.max": "150000 100000\n"}, 2),
        ({"/sys/fs/cgroup/cpu.max": "20000 100000\n"}, 1),
        ({"/sys/fs/cgroup/cpu.max": "9900000 100000\n"}, 16),
        ({"/sys/fs/cgroup/cpu.max": "nonsense"}, 16),
        ({f"{V1}quota_us": "-1\n", f"{V1}period_us": "100000\n"}, 16),
        ({f"{V1}quota_us": "300000\n", f"{V1}period_us": "100000\n"}, 3),
    ],
)
def test_the_quota_of_the_container_limits_the_cores(root, files, cores):
    root(files)
    assert devices.usable_cores() == cores


def test_the_affinity_limits_the_cores(root, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    root({"/sys/fs/cgroup/cpu.max": "400000 100000\n"})
    assert devices.usable_cores() == 2


V2 = "/sys/fs/cgroup/memory."


@pytest.mark.parametrize(
    ("files", "gib"),
    [
        ({}, None),
        ({"/proc/meminfo": "MemTotal: 5 kB\n"}, None),
        ({"/proc/meminfo": MEMINFO}, 8),
        ({"/proc/meminfo": MEMINFO, f"{V2}max": "max\n", f"{V2}current": "5\n", f"{V2}stat": ""}, 8),
        ({"/proc/meminfo": MEMINFO, f"{V2}max": f"{4 * GIB}", f"{V2}current": f"{GIB}", f"{V2}stat": "anon 1\n"}, 3),
        ({f"{V2}max": f"{GIB}", f"{V2}current": f"{2 * GIB}", f"{V2}stat": ""}, 0),
    ],
)
def test_what_is_left_of_the_containers_memory_counts(root, files, gib):
    root(files)
    assert memory.available_memory() == (None if gib is None else gib * GIB)


@pytest.mark.parametrize("version", [1, 2])
def test_memory_that_only_caches_files_is_free(root, version):
    """A container that has read or written a corpus is full of cached pages; they must not stop a training."""
    if version == 2:
        names, prefix = (f"{V2}max", f"{V2}current", f"{V2}stat"), ""
    else:
        folder = "/sys/fs/cgroup/memory/memory."
        names, prefix = (f"{folder}limit_in_bytes", f"{folder}usage_in_bytes", f"{folder}stat"), "total_"
    statistics = f"anon 1\n{prefix}active_file {GIB}\n{prefix}inactive_file {2 * GIB}\n"
    root({"/proc/meminfo": MEMINFO, **dict(zip(names, (f"{4 * GIB}", f"{4 * GIB}", statistics), strict=True))})
    assert memory.available_memory() == 3 * GIB


@pytest.mark.parametrize(
    ("text", "has"),
    [
        ("flags\t\t: fpu avx512_bf16 sse\n", True),
        ("model name: x\nflags\t: fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t: fpu avx512f avx2\n", False),
        ("", False),
    ],
)
def test_bfloat16_is_told_from_the_processors_flags(root, text, has):
    root({"/proc/cpuinfo": text})
    assert devices.cpu_has_bfloat16() is has


def test_without_proc_there_is_no_bfloat16(root):
    assert devices.cpu_has_bfloat16() is False


def test_the_memory_of_a_step_grows_with_what_it_holds():
    def needed(**changed):
        return memory.training_memory(**{"parameters": 10**6, "n_hidden": 64, "clips": 4, "frames": 100} | changed)

    assert all(needed(**{name: 200}) > needed() for name in ("n_hidden", "clips", "frames"))
    assert needed(parameters=10**8) > needed()
