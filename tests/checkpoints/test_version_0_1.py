"""What version 0.1.0 saved is used as it was then: the same export to the byte, the same report, the same resumed run.

The folder version_0_1 is what its trainer wrote (n_hidden 8, the shipped clip, three epochs).
"""

import hashlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from deepspeech_training.audio.synthetic_speech import SMOKE_SENTENCE

ROOT = Path(__file__).resolve().parents[2]
SAVED = Path(__file__).with_name("version_0_1")
TFLITE_SHA256 = "258583a4fe87341077c2c9189c744e2ae6233364c49e8b31c73e8aa58b836066"
FLAGS = shlex.split(
    "--train_files train.csv --dev_files train.csv --n_hidden 8 --dropout_rate 0.2 --augment volume[p=0.5] "
    "--augment frequency_mask[p=0.5] --ema 0.9 --normalise_features"
)
LOSS = re.compile(r"(?<=loss: )\d+\.\d+")


def rounded(loss: re.Match) -> str:
    """The last digits of a loss depend on the vector units of the processor."""
    return f"{float(loss[0]):.2f}"


@pytest.fixture
def folder(tmp_path):
    """A folder with the clip, its CSV and the checkpoint."""
    clip = tmp_path / "smoke.wav"
    shutil.copy(ROOT / "deepspeech_training" / "package_data" / "smoke.wav", clip)
    (tmp_path / "train.csv").write_text(
        f"wav_filename,wav_filesize,transcript\nsmoke.wav,{os.path.getsize(clip)},{SMOKE_SENTENCE}\n", encoding="utf-8"
    )
    (tmp_path / "checkpoint").mkdir()
    for name in ("train-000000003.json", "train-000000003.safetensors", "events.jsonl"):
        shutil.copy(SAVED / name, tmp_path / "checkpoint")
    return tmp_path


def run(folder, *flags) -> str:
    command = [sys.executable, str(ROOT / "DeepSpeech.py"), "--checkpoint_dir", "checkpoint", "--mode", "cpu", *flags]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_its_export_is_the_same_to_the_byte(folder):
    run(folder, "--load_evaluate", "last", "--export_dir", "export")
    written = (folder / "export" / "output_graph.tflite").read_bytes()
    assert hashlib.sha256(written).hexdigest() == TFLITE_SHA256


@pytest.mark.slow
def test_its_report_is_the_same_text(folder):
    expected = (SAVED / "test_report.txt").read_text(encoding="utf-8").format(folder=folder)
    found = run(folder, "--load_evaluate", "last", "--test_files", "train.csv")
    assert LOSS.sub(rounded, found) == LOSS.sub(rounded, expected)


@pytest.mark.slow
def test_its_run_resumes_and_ends_with_the_same_weights(folder):
    run(folder, *FLAGS, "--epochs", "6")
    ended = load_file(folder / "checkpoint" / "train-000000006.safetensors")
    for name, expected in load_file(SAVED / "after_six_epochs.safetensors").items():
        # Equal to the bit on one kind of processor; other vector units sum in another order.
        np.testing.assert_allclose(ended[name], expected, rtol=1e-4, atol=1e-5, err_msg=name)
