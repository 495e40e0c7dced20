import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from deepspeech_training.console import Console
from deepspeech_training.decoding import beam, clip_decoder
from deepspeech_training.importers import corpus
from deepspeech_training.machine import resources

PACKAGE = Path(resources.__file__).resolve().parents[1]
GIB = 2**30
MEMINFO = "MemTotal:       16777216 kB\nMemAvailable:    8388608 kB\nSwapFree: 0 kB\n"  # 8 GiB are available
READ_GPUS = """
import json, dataclasses
from deepspeech_training.machine.resources import read_gpus
gpus, driver, cuda, reason = read_gpus()
print(json.dumps([[dataclasses.asdict(gpu) for gpu in gpus], driver, cuda, reason]))
"""


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A function that writes files of /proc and /sys; the machine of the test has these files and no others."""
    monkeypatch.setattr(resources, "Path", lambda path: tmp_path / str(path).lstrip("/"))
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
        ({"/proc/self/cgroup": "0::/a/b\n", "/sys/fs/cgroup/a/cpu.max": "200000 100000"}, 2),  # the one above counts
        (
            {
                "/proc/self/cgroup": "4:cpu,cpuacct:/d\n",
                "/sys/fs/cgroup/cpu/d/cpu.cfs_quota_us": "100000\n",
                "/sys/fs/cgroup/cpu/d/cpu.cfs_period_us": "100000",
            },
            1,
        ),
    ],
)
def test_the_quota_of_the_container_limits_the_cores(root, files, cores):
    root(files)
    assert resources.usable_cores() == cores


def test_the_affinity_limits_the_cores(root, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {3, 5}, raising=False)
    root({"/sys/fs/cgroup/cpu.max": "400000 100000\n"})
    assert resources.usable_cores() == 2


def test_decoding_and_imports_take_as_many_workers_as_the_container_has_cores(root, monkeypatch, tmp_path):
    root({"/sys/fs/cgroup/cpu.max": "200000 100000\n"})
    taken = []

    def workers(count, **_):
        taken.append(count)
        raise LookupError

    monkeypatch.setattr(beam, "ThreadPoolExecutor", workers)
    monkeypatch.setattr(clip_decoder, "ThreadPoolExecutor", workers)
    monkeypatch.setattr(corpus, "Converters", workers)
    for begin in (
        lambda: beam.BeamDecoder.decode_batch(None, []),
        lambda: clip_decoder.ClipDecoder(None, str),
        lambda: corpus.format_corpus(None, [], corpus.Options(tmp_path), Console()),
    ):
        with pytest.raises(LookupError):
            begin()
    assert taken == [2, 2, 2]


def test_one_module_counts_the_cores():
    counting = [path.name for path in PACKAGE.rglob("*.py") if "sched_getaffinity" in path.read_text(encoding="utf-8")]
    assert counting == ["resources.py"]


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
    assert resources.available_memory() == (None if gib is None else gib * GIB)


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
    assert resources.available_memory() == 3 * GIB
    assert resources.memory_limit() == 4 * GIB


def test_the_number_that_stands_for_no_limit_is_none(root):
    folder = "/sys/fs/cgroup/memory/memory."
    root({f"{folder}limit_in_bytes": "9223372036854771712", f"{folder}usage_in_bytes": "1", f"{folder}stat": ""})
    assert resources.memory_limit() is None and resources.available_memory() is None


# --- mounts --------------------------------------------------------------------------------------------------------

MOUNTS = r"""
600 500 0:60 / / rw,relatime - overlay overlay rw,lowerdir=x
601 600 0:61 / /tmp rw - tmpfs tmpfs rw
602 600 8:1 /var/lib/docker/volumes/deepspeech-data/_data /DeepSpeech/persistent-data rw - ext4 /dev/sda1 rw
603 600 8:1 /var/lib/docker/volumes/{anonymous}/_data /anonymous rw - ext4 /dev/sda1 rw
604 600 8:2 /home/me/my\040data /with\040space rw - ext4 /dev/sda2 rw
""".replace("{anonymous}", "0123456789abcdef" * 4)


@pytest.mark.parametrize(
    ("folder", "point", "outlives"),
    [
        ("/DeepSpeech", "/", False),
        ("/tmp/checkpoints", "/tmp", False),
        ("/DeepSpeech/persistent-data/checkpoints/first", "/DeepSpeech/persistent-data", True),
        ("/DeepSpeech/persistent-data-of-another", "/", False),
        ("/anonymous/x", "/anonymous", False),
        ("/with space/x", "/with space", True),
    ],
)
def test_a_mount_outlives_the_container_unless_it_is_a_layer_in_memory_or_nameless(root, folder, point, outlives):
    root({"/proc/self/mountinfo": MOUNTS})
    found = resources.mount_of(folder)
    assert (found.point, found.outlives_container) == (point, outlives)


def test_without_proc_no_mount_is_known(root):
    assert resources.mount_of("/x") is None


@pytest.mark.parametrize(
    ("files", "inside"),
    [
        ({}, False),
        ({"/.dockerenv": ""}, True),
        ({"/run/.containerenv": ""}, True),
        ({"/proc/1/cgroup": "0::/\n"}, False),
        ({"/proc/1/cgroup": "4:memory:/docker/0123\n"}, True),
    ],
)
def test_a_container_is_told_by_its_files(root, monkeypatch, files, inside):
    monkeypatch.delenv("container", raising=False)
    root(files)
    assert resources.in_container() is inside


def test_the_disk_of_a_folder_that_is_yet_to_be_made_is_that_of_the_one_above(tmp_path):
    assert resources.disk_free(tmp_path / "a" / "b") > 0


def test_all_of_it_can_be_read_here():
    found = resources.read_resources()
    assert found.cores >= 1 and found.disk_free > 0
    assert bool(found.gpus) != bool(found.no_gpu_reason)


# --- GPUs, with NVIDIA's own Python package on a library that has NVML's names ------------------------------------


@pytest.fixture(scope="module")
def fake_nvml(tmp_path_factory):
    """A function that reads the GPUs in a process of its own, in which the fake is NVIDIA's library."""
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    except FileNotFoundError:
        pytest.skip("no C compiler to make an NVML of; the GPU itself is not needed")

    def read(**settings):
        environment = os.environ | {"LD_LIBRARY_PATH": str(folder)} | {k: str(v) for k, v in settings.items()}
        found = subprocess.run([sys.executable, "-c", READ_GPUS], env=environment, capture_output=True, check=True)
        return json.loads(found.stdout)

    return read


def test_a_driver_without_a_gpu(fake_nvml):
    assert fake_nvml(FAKE_GPUS=0) == [[], "570.86.15", [12, 8], "NVIDIA's driver knows no GPU"]


def test_one_gpu(fake_nvml):
    (gpu,), driver, cuda, reason = fake_nvml(FAKE_GPUS=1)
    assert gpu == {
        "index": 0,
        "name": "NVIDIA Fake 0",
        "uuid": "GPU-00000000",
        "pci": "00000000:41:00.0",
        "memory_total": 24 * GIB,
        "memory_free": 23 * GIB,
        "compute_capability": [8, 9],
        "utilisation": 0.42,
        "temperature_c": 61,
        "power_w": 231.5,
        "power_limit_w": 450.0,
    }
    assert (driver, cuda, reason) == ("570.86.15", [12, 8], "")


def test_two_gpus_are_in_the_order_of_their_pci_addresses(fake_nvml):
    (first, second), *_ = fake_nvml(FAKE_GPUS=2)
    assert [first["index"], first["name"], first["pci"]] == [0, "NVIDIA Fake 1", "00000000:31:00.0"]
    assert [second["index"], second["name"], second["pci"]] == [1, "NVIDIA Fake 0", "00000000:41:00.0"]


def test_a_part_of_a_gpu_has_no_utilisation_and_no_power(fake_nvml):
    (gpu,), *_ = fake_nvml(FAKE_GPUS=1, FAKE_MIG=1)
    assert gpu["utilisation"] is None and gpu["power_w"] is None and gpu["temperature_c"] == 61


@pytest.mark.parametrize(("error", "reason"), [(9, "driver is not loaded"), (18, "reboot"), (999, "says: ")])
def test_a_driver_that_does_not_work_is_a_reason_not_an_error(fake_nvml, error, reason):
    gpus, driver, cuda, told = fake_nvml(FAKE_GPUS=1, FAKE_NVML_ERROR=error)
    assert (gpus, driver, cuda) == ([], "", None) and reason in told


GPUS = tuple(
    resources.Gpu(index, f"Fake {index}", f"GPU-{index}abc", f"0:{index}", 2**34, 2**33, (8, 0)) for index in range(3)
)


@pytest.mark.parametrize(
    ("setting", "indices"),
    [
        (None, [0, 1, 2]),
        ("", []),
        ("1", [1]),
        ("2,0", [2, 0]),
        ("GPU-1a", [1]),
        ("0,9,1", [0]),
        ("-1", []),
        ("GPU-", []),
    ],
)
def test_cuda_visible_devices_chooses_among_the_gpus(setting, indices):
    assert [gpu.index for gpu in resources.select_gpus(GPUS, setting)] == indices
