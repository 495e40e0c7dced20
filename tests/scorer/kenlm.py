"""KenLM's own programs, built from its source distribution, for the tests that compare with them."""

import fcntl
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

VERSION = "0.3.0"
PROGRAMS = ("lmplz", "filter", "build_binary")
ADVICE = "apt-get install cmake g++ libboost-{program-options,system,thread,test}-dev zlib1g-dev libbz2-dev liblzma-dev"


def built_kenlm(cache: Path) -> Path:
    """The folder of the programs: $KENLM_BINS, or built once into the cache; the test is skipped where that fails."""
    if os.environ.get("KENLM_BINS"):
        return Path(os.environ["KENLM_BINS"])
    with open(cache / "lock", "w", encoding="utf-8") as lock:  # tests run in several processes
        fcntl.flock(lock, fcntl.LOCK_EX)
        return _build(cache)


def _build(cache: Path) -> Path:
    bins = cache / f"kenlm-{VERSION}" / "build" / "bin"
    if all((bins / name).is_file() for name in PROGRAMS):
        return bins
    if not shutil.which("cmake"):
        pytest.skip(f"KenLM cannot be built here, there is no cmake: {ADVICE}")
    # Only KenLM itself from source: with :all: pip would compile cmake as well.
    _do(
        [
            sys.executable,
            "-m",
            "pip",
            "--disable-pip-version-check",
            "download",
            "--quiet",
            "--no-deps",
            "--no-binary",
            "kenlm",
            "--dest",
            str(cache),
            f"kenlm=={VERSION}",
        ],
        cache,
    )
    with tarfile.open(cache / f"kenlm-{VERSION}.tar.gz") as archive:
        archive.extractall(cache, filter="data")
    build = bins.parent
    build.mkdir(exist_ok=True)
    _do(["cmake", "-DCMAKE_BUILD_TYPE=Release", "-DBUILD_TESTING=OFF", "-DENABLE_PYTHON=OFF", ".."], build)
    _do(["make", f"-j{os.cpu_count()}", *PROGRAMS], build)
    return bins


def _do(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
    if done.returncode != 0:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1]
        pytest.skip(f"KenLM cannot be built here ({command[0]}: {last}): {ADVICE}")
