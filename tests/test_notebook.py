"""docs/fine_tune.ipynb: a notebook as the format wants it, whose cells run and show what its text says."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTEBOOK = ROOT / "docs" / "fine_tune.ipynb"


def cells() -> list[dict]:
    return json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_it_is_a_notebook_without_outputs():
    """The format is that of nbformat 4.5 (https://nbformat.readthedocs.io)."""
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert (notebook["nbformat"], notebook["nbformat_minor"]) == (4, 5)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert len({cell["id"] for cell in cells()}) == len(cells())
    for cell in cells():
        wanted = {"cell_type", "id", "metadata", "source"}
        wanted |= {"execution_count", "outputs"} if cell["cell_type"] == "code" else set()
        assert set(cell) == wanted and cell["cell_type"] in ("code", "markdown")
        if cell["cell_type"] == "code":
            assert cell["outputs"] == [] and cell["execution_count"] is None
            compile("".join(cell["source"]), cell["id"], "exec")  # plain Python: no ! and no %


@pytest.mark.slow
def test_its_cells_run_and_a_start_from_other_voices_helps(tmp_path):
    code = ["".join(cell["source"]) for cell in cells() if cell["cell_type"] == "code"]
    script = tmp_path / "cells.py"
    script.write_text("\n".join([*code, "print(json.dumps({**results, 'heard': heard}))"]), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DEEPSPEECH_TRAINING": str(ROOT)}
    for name in ("DIGITS_FOLDER", "FINE_TUNE_FOLDER"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    tuned = found["fine-tuned: four voices, then the twenty"]
    assert tuned <= 0.1 and tuned < found["four other voices"] - 0.2
    assert tuned < found["the twenty recordings alone"] - 0.2
    assert found["Spanish from the English model"] < found["Spanish alone"] - 0.1
    assert sum(word == heard for word, heard in found["heard"].items()) >= 7
    assert "of layer_6 those of the blank and of 27 shared characters" in done.stdout
