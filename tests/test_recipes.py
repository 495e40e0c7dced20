"""The recipes for little data: their flags are those of this version, and what the user gives comes last."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("recipe", ["run-digits.sh", "run-commands.sh", "run-an4.sh", "run-speech-commands.sh"])
def test_a_recipe_takes_further_flags_and_paths_from_where_it_is_called(recipe, corpus, tmp_path):
    corpus(["one", "two"])
    flags = ["--train_files", "train.csv", "--checkpoint_dir", "checkpoints", "--epochs", "0", "--dropout_rate", "7"]

    def run(*words: str) -> subprocess.CompletedProcess:
        environment = {**os.environ, "PYTHON": sys.executable}
        return subprocess.run(
            [ROOT / "bin" / recipe, *words], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
        )

    wrong = run(*flags)
    assert wrong.returncode == 2 and "--dropout_rate 7: must be" in wrong.stderr
    nothing = run(*flags[:-2])
    assert nothing.returncode == 2 and "there is nothing to do" in nothing.stderr
    missing = run("--train_files", "none.csv", "--checkpoint_dir", "checkpoints")
    assert missing.returncode == 1 and "none.csv" in missing.stderr and "tensorflow" not in missing.stderr.lower()
