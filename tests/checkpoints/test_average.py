import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from checkpoints.tensor_bundle import model_arrays, write_bundle

from deepspeech_training.checkpoints.file import read_arrays, read_state, write_arrays, write_state
from deepspeech_training.commands.main import run as command
from deepspeech_training.models.deepspeech import DeepSpeech

ROOT = Path(__file__).resolve().parents[2]
NETWORK = DeepSpeech(num_classes=3, n_hidden=2)


def checkpoint(folder: Path, step: int, value: float, *, network=NETWORK, alphabet=("a", "b")) -> str:
    folder.mkdir(exist_ok=True)
    arrays = {name: np.full(shape, value, np.float32) for name, shape in network.weight_shapes().items()}
    arrays |= {f"adam_m/{name}": array for name, array in arrays.items()}
    name = f"train-{step:09}"
    checksum = write_arrays(folder / f"{name}.safetensors", arrays)
    state = {
        "task": "speech_to_text",
        "alphabet": list(alphabet),
        "features": {},
        "network": asdict(network),
        "run": {"step": step},
        "weights_file": f"{name}.safetensors",
        "weights_sha256": checksum,
    }
    write_state(folder / f"{name}.json", state)
    return str(folder / f"{name}.json")


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    for step, value in ((10, 100.0), (20, 1.0), (30, 2.0), (40, 6.0)):
        checkpoint(folder, step, value)
    return folder


def averaged(folder: Path) -> tuple[dict[str, np.ndarray], dict]:
    (path,) = folder.glob("best-*.json")
    state = read_state(path)
    return read_arrays(folder / state["weights_file"], sha256=state["weights_sha256"]), state


def test_the_last_checkpoints_of_a_run_are_averaged(run, tmp_path, capsys):
    assert command("average", [str(run), "--last", "3", "--output", str(tmp_path / "mean")]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'mean' / 'best-000000040.json'}\n"
    arrays, state = averaged(tmp_path / "mean")
    assert arrays.keys() == NETWORK.weight_shapes().keys()
    assert all((array == 3.0).all() for array in arrays.values())
    assert state["run"] == {"step": 40} and len(state["average_of"]) == 3 and state["alphabet"] == ["a", "b"]


def test_single_checkpoints_of_several_runs_are_averaged(run, tmp_path):
    other = checkpoint(tmp_path / "other", 7, 3.0)
    assert command("average", [str(run / "train-000000020.json"), other, "--output", str(tmp_path / "mean")]) == 0
    assert (averaged(tmp_path / "mean")[0]["lstm/kernel"] == 2.0).all()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["{run}", "--last", "9"], 1, "has 4 of the last 9"),
        (["{run}/train-000000020.json", "{run}/../run/train-000000020.json"], 2, "is named twice"),
        (["{run}", "{run}/train-000000040.json", "--last", "2"], 2, "train-000000040.json: is named twice"),
        (["{run}/train-000000040.json", "{twin}"], 2, "has the same weights as"),
        (["{empty}"], 1, "empty: no checkpoint in this folder"),
        (["{empty}/.."], 1, "One of these? "),
        (["{nowhere}"], 1, "nowhere: no such file or folder"),
        (["{best}"], 1, "has no checkpoints of a run (train-*.json)\nIts best can be named: "),
        (["{tf1}"], 1, "tf1: a checkpoint of DeepSpeech's own trainer"),
        (["{tf1}/train-70.index"], 1, "a checkpoint of DeepSpeech's own trainer"),
        (["{run}", "--last", "0"], 2, "--last 0: must be at least 1"),
        (["{run}/train-000000011.json"], 1, "no such file or folder"),
        (["{run}/train-000000010.safetensors"], 1, "neither a folder of checkpoints"),
        (["{run}", "{other}", "--last", "1"], 1, "another alphabet than"),
        (["{run}", "{wider}", "--last", "1"], 1, "another network than"),
        (["{broken}"], 1, "SHA-256 differs"),
    ],
)
def test_what_cannot_be_averaged_is_refused(run, tmp_path, capsys, arguments, code, message):
    checkpoint(tmp_path / "other", 1, 1.0, alphabet=("a", "c"))
    checkpoint(tmp_path / "wider", 1, 1.0, network=DeepSpeech(num_classes=3, n_hidden=4))
    broken = Path(checkpoint(tmp_path / "broken", 1, 1.0))
    damaged = bytearray(broken.with_suffix(".safetensors").read_bytes())
    damaged[-1] ^= 1
    broken.with_suffix(".safetensors").write_bytes(damaged)
    (tmp_path / "empty").mkdir()
    (tmp_path / "tf1").mkdir()
    write_bundle(tmp_path / "tf1/train-70", model_arrays(DeepSpeech(num_classes=29, n_hidden=2)))
    twin = Path(checkpoint(tmp_path / "twin", 40, 6.0))
    checkpoint(tmp_path / "best", 5, 1.0)
    for path in list((tmp_path / "best").iterdir()):
        path.rename(path.with_name(path.name.replace("train", "best")))
    places = {"run": run, "other": tmp_path / "other", "wider": tmp_path / "wider", "broken": broken, "twin": twin}
    places |= {name: tmp_path / name for name in ("empty", "nowhere", "best", "tf1")}
    words = [word.format(**places) for word in arguments]
    assert command("average", [*words, "--output", str(tmp_path / "mean")]) == code
    error = capsys.readouterr().err.replace("\nE ", "\n")
    assert message in error and ("--max_to_keep" in error) == (words[-1] == "9")
    assert not (tmp_path / "mean").exists()


def test_checkpoints_are_not_written_over(run, capsys):
    before = sorted(run.iterdir())
    assert command("average", [str(run), "--last", "2", "--output", str(run)]) == 1
    assert "has checkpoints already" in capsys.readouterr().err
    assert sorted(run.iterdir()) == before


def test_the_command_needs_no_tensorflow(run, tmp_path):
    script = (
        "import sys, runpy\nsys.modules['tensorflow'] = sys.modules['keras'] = None\n"
        f"sys.path.insert(0, {str(ROOT / 'bin')!r})\n"  # as for a program; runpy leaves it out
        f"sys.argv = ['average', {str(run)!r}, '--last=2', '--output', {str(tmp_path / 'mean')!r}]\n"
        f"runpy.run_path({str(ROOT / 'bin/average_checkpoints.py')!r}, run_name='__main__')\n"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert (averaged(tmp_path / "mean")[0]["lstm/bias"] == 4.0).all()
