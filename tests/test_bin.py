import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deepspeech_training.commands import COMMANDS

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def without_packages(tmp_path):
    """A function that calls a program of bin/ with a Python that has no packages; -> the finished process."""
    (tmp_path / "bin").mkdir()
    shutil.copy(ROOT / "bin" / "_program.py", tmp_path / "bin")
    (tmp_path / "bin" / "stats.py").symlink_to("_program.py")

    def call(*arguments):
        command = [sys.executable, "-S", "-E", str(tmp_path / "bin" / "stats.py"), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)

    return call


def test_a_program_called_without_an_environment_goes_on_in_that_of_make(without_packages, tmp_path):
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "continued with $*"\n', encoding="utf-8")
    python.chmod(0o755)
    result = without_packages("--json", "a file.csv")
    assert result.returncode == 0
    assert result.stdout == f"continued with {tmp_path / 'bin' / 'stats.py'} --json a file.csv\n"


def test_a_program_without_any_environment_says_how_to_get_one(without_packages):
    result = without_packages("--help")
    assert result.returncode == 1 and "make smoke" in result.stderr and "Traceback" not in result.stderr


def test_every_link_is_a_command_and_every_command_of_the_table_has_its_link():
    links = {path.name for path in (ROOT / "bin").iterdir() if path.is_symlink()}
    named = runpy.run_path(str(ROOT / "bin" / "_program.py"))["COMMANDS"]
    imports = {name: f"import {name.removeprefix('import_').removesuffix('.py')}" for name in links - {*named}}
    assert imports.pop("deepspeech") == "import deepspeech"  # the program itself
    assert links == {*named, *imports, "deepspeech"} and {*named.values(), *imports.values()} <= {*COMMANDS}
    assert {*imports.values()} == {name for name in COMMANDS if name.startswith("import ")}


@pytest.mark.parametrize("words", [["stats.py"], ["deepspeech", "data", "stats"]])
def test_a_program_of_the_folder_does_its_work_wherever_it_is_called(words, corpus, tmp_path):
    command = [sys.executable, ROOT / "bin" / words[0], *words[1:], corpus(["one"]), "--json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0 and '"clips": 1' in done.stdout, done.stderr
