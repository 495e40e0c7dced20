import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from deepspeech_training.commands.main import run
from deepspeech_training.machine import banner, doctor, resources
from deepspeech_training.machine.doctor import FAULT, NOTE, OK
from deepspeech_training.machine.resources import Gpu, Mount, Resources

ROOT = Path(__file__).resolve().parents[2]
KERNELS = ("sm_60", "sm_70", "sm_80", "sm_89", "compute_90")  # of the wheel tensorflow 2.21.0
GPU = Gpu(0, "NVIDIA Fake", "GPU-0", "0:1", 24 * 10**9, 20 * 10**9, (8, 9), 0.1, 50)
IN_IMAGE = Resources(
    gpus=(GPU,),
    driver="570.86.15",
    cuda=(12, 8),
    no_gpu_reason="",
    cores=4,
    memory_limit=None,
    memory_available=8 * 10**9,
    disk_free=90 * 10**9,
    shm_total=2**26,
    in_container=True,
    image="gpu",
    mount=Mount("/DeepSpeech/persistent-data", "ext4", True),
)
NO_GPU = replace(IN_IMAGE, gpus=(), driver="", cuda=None, no_gpu_reason="NVIDIA's driver is not loaded")
PROBED = {
    "versions": {"tensorflow": "2.21.0", "keras": "3.15.1"},
    "cuda": "12.5.1",
    "cudnn": "9",
    "capabilities": list(KERNELS),
    "on_gpu": True,
    "devices": "GPU:0",
    "right": {"GPU:0": True},
}


def levels(findings) -> list[str]:
    return [finding.level for finding in findings]


# --- GPU and driver ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capability", "driver", "level", "words"),
    [
        ((8, 9), "535.1", OK, "has kernels"),
        ((8, 6), "535.1", OK, "has kernels"),  # code for 8.0 runs on 8.6
        ((7, 5), "535.1", NOTE, "older than Ampere"),
        ((6, 1), "535.1", NOTE, "older than Ampere"),
        ((5, 2), "535.1", FAULT, "from 6.0 on only"),
        ((9, 0), "535.1", NOTE, "half an hour"),
        ((12, 0), "570.86.15", NOTE, "Blackwell"),
        ((10, 0), "560.35.03", FAULT, "driver 570"),
    ],
)
def test_each_generation_of_gpus_is_told_what_it_can_do(capability, driver, level, words):
    found = doctor.check_capability(replace(GPU, compute_capability=capability), driver, KERNELS)
    assert (found.level, words in str(found)) == (level, True), found


@pytest.mark.parametrize(
    ("found", "mode", "expected"),
    [
        (IN_IMAGE, "gpu", [OK, OK]),
        (replace(IN_IMAGE, driver="470.82.01"), "gpu", [OK, FAULT]),
        (NO_GPU, "gpu", [FAULT]),
        (NO_GPU, "mixed", [NOTE]),
        (NO_GPU, "cpu", [OK]),
        (IN_IMAGE, "cpu", [OK]),
    ],
)
def test_a_missing_gpu_is_a_fault_where_one_is_wanted(found, mode, expected):
    assert levels(doctor.check_gpus(found, mode)) == expected


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, [OK, OK]),
        ({"on_gpu": False, "devices": "CPU:0", "right": {"CPU:0": True}}, [OK, FAULT, OK]),
        ({"right": {"GPU:0": False}}, [OK, FAULT]),
        ({"cuda": ""}, [FAULT, OK]),
        ({"failed": "CUDA_ERROR_INVALID_PTX"}, [FAULT]),
    ],
)
def test_what_tensorflow_computed_is_judged(changed, expected):
    assert levels(doctor.check_probe(PROBED | changed, IN_IMAGE, "gpu")) == expected


# --- memory, shared memory, volume, clock --------------------------------------------------------------------------


@pytest.mark.parametrize(("available", "level"), [(8 * 10**9, OK), (512 * 2**20, FAULT), (None, OK)])
def test_too_little_memory_is_a_fault(available, level):
    found = doctor.check_memory(replace(IN_IMAGE, memory_available=available, memory_limit=available), trains=True)
    assert found.level == level


@pytest.mark.parametrize(("gpus", "shm", "level"), [(1, 2**26, OK), (2, 2**26, NOTE), (2, 2**30, OK), (1, None, NOTE)])
def test_little_shared_memory_matters_with_several_gpus(gpus, shm, level):
    assert doctor.check_shm(replace(IN_IMAGE, gpus=(GPU,) * gpus, shm_total=shm)).level == level


def test_a_volume_that_can_be_written_is_fine(tmp_path):
    assert levels(doctor.check_volume(tmp_path, IN_IMAGE)) == [OK, OK]
    assert levels(doctor.check_volume(tmp_path / "new", IN_IMAGE)) == [OK, OK] and not (tmp_path / "new").exists()


def test_a_volume_that_is_not_mounted_is_a_fault_in_an_image(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPSPEECH_IMAGE", "cpu")
    monkeypatch.setattr(resources, "mount_of", lambda folder: Mount("/", "overlay", False))
    first, *_ = doctor.check_volume(tmp_path, IN_IMAGE)
    assert first.level == FAULT and "--mount type=volume" in first.advice


def test_a_volume_that_cannot_be_written_is_a_fault_with_its_owner(tmp_path):
    (tmp_path / "file").touch()  # a folder cannot be made in a file, for root neither
    findings = list(doctor.check_volume(tmp_path / "file" / "volume", IN_IMAGE))
    assert findings[1].level == FAULT and "volume own" in findings[1].advice


def test_a_full_disk_is_told(tmp_path):
    assert levels(doctor.check_volume(tmp_path, replace(IN_IMAGE, disk_free=10**9))) == [OK, NOTE]


def test_a_clock_before_the_program_was_made_is_a_fault(tmp_path, monkeypatch):
    assert doctor.check_clock(tmp_path).level == OK
    monkeypatch.setattr(doctor.time, "time", lambda: 0.0)
    assert doctor.check_clock(tmp_path).level == FAULT


# --- the whole -----------------------------------------------------------------------------------------------------


@pytest.mark.slow  # it starts TensorFlow
def test_the_program_examines_this_machine(tmp_path):
    command = [sys.executable, ROOT / "bin" / "doctor", "--mode", "cpu", "--volume", tmp_path]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"DEEPSPEECH_IMAGE": ""})
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.endswith("No faults\n")
    assert re.search(r"^OK +TensorFlow .*a product on CPU:0 .*is right$", ended.stdout, re.MULTILINE)


def test_the_program_ends_with_1_on_a_fault(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(doctor, "probe", lambda: PROBED | {"failed": "it was killed"})
    assert run("doctor", ["--mode", "cpu", "--volume", str(tmp_path)]) == 1
    assert "FAULT TensorFlow" in capsys.readouterr().out


# --- the banner ----------------------------------------------------------------------------------------------------


def shown(found, mode="gpu", tmp_path=Path("/tmp")) -> str:
    return "\n".join(banner.banner(found, mode=mode, volume=tmp_path, user="me (1000:1000)"))


def test_the_banner_names_gpu_volume_user_and_what_to_type():
    text = shown(IN_IMAGE)
    assert "GPU 0     NVIDIA Fake, 24.0 GB, compute capability 8.9, driver 570.86.15" in text
    assert "mounted, writable, 90.0 GB free" in text
    assert "me (1000:1000) will own what is written" in text
    assert "bin/doctor" in text and "--train_files" in text and "!!!" not in text


def test_the_banner_is_loud_about_a_missing_gpu():
    assert "!!! NO GPU !!!" in shown(NO_GPU) and "refuses to start" in shown(NO_GPU)
    assert "training would use the CPU" in shown(NO_GPU, mode="mixed")
    assert "!!!" not in shown(replace(NO_GPU, image="cpu"), mode="cpu")


def test_the_banner_is_loud_about_a_missing_volume():
    text = shown(replace(IN_IMAGE, mount=Mount("/", "overlay", False)))
    assert "!!! NOT MOUNTED !!!" in text and "--mount type=volume" in text and "--train_files" not in text
