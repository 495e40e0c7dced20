import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deepspeech_training.config.groups import ComputeFlags
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.machine.device_choice import choose, resource_lines
from deepspeech_training.machine.resources import Gpu, Resources

ROOT = Path(__file__).resolve().parents[2]
GIB = 2**30


def gpu(index: int, *, free: float = 20, capability=(8, 9)) -> Gpu:
    return Gpu(
        index, f"Fake {index}", f"GPU-{index}{index}", f"00000000:0{index}:00.0", 24 * GIB, int(free * GIB), capability
    )


def machine(*gpus: Gpu, cuda=(12, 8), driver="570.86.15", reason="no driver") -> Resources:
    return Resources(
        gpus=gpus,
        driver=driver if gpus else "",
        cuda=cuda if gpus else None,
        no_gpu_reason="" if gpus else reason,
        cores=4,
        memory_limit=None,
        memory_available=8 * GIB,
        disk_free=GIB,
        shm_total=GIB,
        mount=None,
        in_container=False,
        image="",
    )


@pytest.fixture(autouse=True)
def _no_mode_in_the_environment(monkeypatch):
    monkeypatch.delenv("DEEPSPEECH_MODE", raising=False)


def chosen(found: Resources, *, visible=None, **flags) -> list[int]:
    return [g.index for g in choose(ComputeFlags(**flags), found, visible=visible).gpus]


def test_the_gpu_with_the_most_free_memory_is_taken_by_its_uuid():
    choice = choose(ComputeFlags(), machine(gpu(0, free=5), gpu(1, free=20), gpu(2, free=9)), visible=None)
    environment: dict[str, str] = {}
    choice.apply(environment)
    assert environment == {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": "GPU-11"}
    assert choice.mode == "mixed" and not choice.loud and "2 more fit" in choice.reason


@pytest.mark.parametrize(
    ("device", "indices"),
    [
        ("gpu", [1]),
        ("cuda", [1]),
        ("gpu:0", [0]),
        ("cuda:1", [1]),
        ("gpu:1,0", [1, 0]),
        ("GPU:all", [1, 0]),
        ("cpu", []),
    ],
)
def test_a_device_is_taken_by_name(device, indices):
    assert chosen(machine(gpu(0, free=5), gpu(1, free=20)), device=device) == indices


def test_gpus_that_are_too_full_or_too_old_are_passed_over():
    found = machine(gpu(0, free=1), gpu(1, capability=(5, 2)), gpu(2, free=3))
    assert chosen(found) == [2]
    assert chosen(found, min_gpu_memory=0.5, device="gpu:all") == [2, 0]
    assert chosen(found, min_gpu_memory=10) == []


def test_mode_gpu_without_one_that_fits_names_each_with_its_reason():
    with pytest.raises(UserError) as caught:
        choose(ComputeFlags(mode="gpu"), machine(gpu(0, free=1), gpu(1, capability=(5, 2))), visible=None)
    message = str(caught.value)
    assert caught.value.exit_code == 1
    assert "GPU 0, Fake 0" in message and "too full: 1.1 of 25.8 GB are free" in message
    assert "GPU 1, Fake 1" in message and "too old: compute capability 5.2" in message
    with pytest.raises(UserError, match="No GPU was seen: no driver"):
        choose(ComputeFlags(mode="gpu"), machine(), visible=None)
    with pytest.raises(UserError, match=r"its driver 470 is too old: it takes CUDA 11\.4"):
        choose(ComputeFlags(mode="gpu"), machine(gpu(0), cuda=(11, 4), driver="470"), visible=None)


def test_mode_mixed_without_one_takes_the_cpu_and_says_so_loudly():
    for found, why in ((machine(), "no driver"), (machine(gpu(0, free=1)), "GPU 0 (Fake 0): too full")):
        choice = choose(ComputeFlags(mode="mixed"), found, visible=None)
        assert not choice.uses_gpu and choice.loud and why in choice.reason and "NO GPU IS USED" in choice.line[1]
        environment: dict[str, str] = {}
        choice.apply(environment)
        assert environment["CUDA_VISIBLE_DEVICES"] == "-1"


def test_mode_cpu_takes_the_cpu_quietly():
    choice = choose(ComputeFlags(mode="cpu"), machine(gpu(0)), visible=None)
    assert not choice.uses_gpu and not choice.loud


def test_the_mode_comes_from_the_flag_then_the_environment(monkeypatch):
    monkeypatch.setenv("DEEPSPEECH_MODE", "gpu")
    with pytest.raises(UserError):
        choose(ComputeFlags(), machine(), visible=None)
    assert chosen(machine(gpu(0)), mode="cpu") == [] and chosen(machine(gpu(0)), device="cpu") == []
    monkeypatch.setenv("DEEPSPEECH_MODE", "cpu")
    assert chosen(machine(gpu(0))) == [] and chosen(machine(gpu(0)), device="gpu:0") == [0]
    monkeypatch.setenv("DEEPSPEECH_MODE", "tpu")
    with pytest.raises(FlagError, match="DEEPSPEECH_MODE=tpu"):
        choose(ComputeFlags(), machine(), visible=None)


def test_gpus_that_the_environment_hides_are_not_taken():
    two = machine(gpu(0, free=20), gpu(1, free=5))
    assert chosen(two, visible="1") == [1] and chosen(two, visible="GPU-11") == [1] and chosen(two, visible="") == []
    with pytest.raises(UserError, match="CUDA_VISIBLE_DEVICES=1 hides it"):
        chosen(two, visible="1", device="gpu:0")
    choice = choose(ComputeFlags(), two, visible="MIG-1234")
    environment = {"CUDA_VISIBLE_DEVICES": "MIG-1234"}
    choice.apply(environment)
    assert choice.uses_gpu and environment["CUDA_VISIBLE_DEVICES"] == "MIG-1234"


@pytest.mark.parametrize("device", ["gpu:", "gpu:x", "tpu", "cuda:-1", "0", "cpu:0", "gpu:0,"])
def test_what_is_no_device_is_refused(device):
    with pytest.raises(FlagError, match="--device"):
        choose(ComputeFlags(device=device), machine(gpu(0)), visible=None)


def test_contradictions_and_gpus_that_are_not_there_are_refused():
    for flags in ({"mode": "gpu", "device": "cpu"}, {"mode": "cpu", "device": "gpu:0"}):
        with pytest.raises(FlagError, match="contradict"):
            choose(ComputeFlags(**flags), machine(gpu(0)), visible=None)
    for device in ("gpu:3", "gpu:0,3", "gpu"):
        found = machine(gpu(0)) if device != "gpu" else machine()
        with pytest.raises(UserError, match="demands a GPU that there is not"):
            choose(ComputeFlags(device=device), found, visible=None)


def test_the_resources_are_listed_with_the_choice():
    found = replace(machine(gpu(0), gpu(1, free=1)), memory_limit=4 * GIB, in_container=True, image="gpu")
    text = "\n".join(resource_lines(ComputeFlags(), found, visible=None))
    for words in (
        "GPU 0, Fake 0",
        "GPU-00",
        "too full",
        "4 cores can be used",
        "the limit is 4.3 GB",
        "gpu image",
        "Mode      mixed: GPU 0",
        "NVIDIA 570.86.15, takes CUDA up to 12.8",
    ):
        assert words in text, words
    text = "\n".join(resource_lines(ComputeFlags(mode="gpu"), machine(), visible=None))
    assert "GPU       none: no driver" in text and "would end with exit code 1" in text


# --- the program, on a library that has NVML's names --------------------------------------------------------------


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    """A function that runs DeepSpeech.py where NVIDIA's library is the fake one."""
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    try:
        subprocess.run(["cc", "-shared", "-fPIC", "-o", folder / "libnvidia-ml.so.1", source], check=True)
    except FileNotFoundError:
        pytest.skip("no C compiler to make an NVML of; the GPU itself is not needed")

    def run(*flags, **settings):
        environment = {k: v for k, v in os.environ.items() if k not in ("CUDA_VISIBLE_DEVICES", "DEEPSPEECH_MODE")}
        environment |= {"LD_LIBRARY_PATH": str(folder)} | {k: str(v) for k, v in settings.items()}
        command = [sys.executable, str(ROOT / "DeepSpeech.py"), *flags]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)

    return run


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"FAKE_GPUS": 0}, "Mode      mixed: NO GPU IS USED"),
        ({"FAKE_GPUS": 1}, "Mode      mixed: GPU 0, NVIDIA Fake 0"),
        ({"FAKE_GPUS": 2, "FAKE_USED_0": 9}, "Mode      mixed: GPU 0, NVIDIA Fake 1"),
        ({"FAKE_GPUS": 2, "FAKE_USED_1": 23}, "Mode      mixed: GPU 1, NVIDIA Fake 0"),
        ({"FAKE_GPUS": 2, "FAKE_CAPABILITY_0": 52}, "Mode      mixed: GPU 0, NVIDIA Fake 1"),
        ({"FAKE_GPUS": 1, "FAKE_NVML_ERROR": 9}, "GPU       none: NVIDIA's driver is not loaded"),
        ({"FAKE_GPUS": 1, "FAKE_CUDA": 11080}, "Mode      mixed: NO GPU IS USED"),
    ],
)
def test_the_program_lists_what_nvml_says(program, settings, words):
    found = program("--show_resources", **settings)
    assert found.returncode == 0 and words in found.stdout, found.stdout + found.stderr


def test_mode_gpu_ends_with_1_and_the_list_before_anything_is_read(program):
    settings = {"FAKE_GPUS": 2, "FAKE_USED_0": 23, "FAKE_CAPABILITY_1": 52}
    found = program("--mode", "gpu", "--train_files", "nowhere.csv", **settings)
    assert found.returncode == 1 and found.stdout == ""
    assert "too full" in found.stderr and "too old" in found.stderr and "nowhere" not in found.stderr
    assert program("--mode", "gpu", "--train_files", "nowhere.csv", FAKE_GPUS=1, FAKE_NVML_ERROR=999).returncode == 1
