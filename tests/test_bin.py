import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def without_packages(tmp_path):
    """A function that calls a program of bin/ with a Python that has no packages; -> the finished process."""
    (tmp_path / "bin").mkdir()
    for name in ("_venv.py", "stats.py"):
        shutil.copy(ROOT / "bin" / name, tmp_path / "bin")

    def call(*arguments):
        command = [sys.executable, "-S", "-E", str(tmp_path / "bin" / "stats.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return call


def test_a_program_called_without_an_environment_goes_on_in_that_of_make(without_packages, tmp_path):
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "went on with $*"\n', encoding="utf-8")
    python.chmod(0o755)
    result = without_packages("--json", "a file.csv")
    assert result.returncode == 0
    assert result.stdout == f"went on with {tmp_path / 'bin' / 'stats.py'} --json a file.csv\n"


def test_a_program_without_any_environment_says_how_to_get_one(without_packages):
    result = without_packages("--help")
    assert result.returncode == 1 and "make smoke" in result.stderr and "Traceback" not in result.stderr
