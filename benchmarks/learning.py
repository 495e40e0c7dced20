#!/usr/bin/env python3
"""What training reaches on small real corpora, seed by seed: WER, CER and seconds of whole runs.

    python benchmarks/learning.py digits   --seeds 5 -- --noshuffle
    python benchmarks/learning.py commands --seeds 3 -- --automatic_mixed_precision
    python benchmarks/learning.py smoke    --seeds 10

"digits" and "commands" are the folders fsdd and commands of the test data ($DEEPSPEECH_TEST_DATA, else ../shared/data
beside the project), with the flags that DeepSpeech 0.9.3 was run with; "smoke" is bin/run-ldc93s1.sh. Flags after --
are added. The figures are of the dev set and the checkpoint with the best dev loss, as the ancestor's are.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("DEEPSPEECH_TEST_DATA", ROOT.parent / "shared" / "data"))
FLAGS = [
    "--n_hidden", "256", "--train_batch_size", "32", "--dev_batch_size", "32", "--test_batch_size", "32",
    "--dropout_rate", "0.2", "--learning_rate", "0.001", "--epochs", "30", "--report_count", "0",
]  # fmt: skip


def command(what: str, seed: int, folder: Path, extra: list[str]) -> list[str]:
    checkpoints = ["--checkpoint_dir", str(folder / "checkpoints"), "--random_seed", str(seed)]
    output = ["--test_output_file", str(folder / "test.json")]
    if what == "smoke":
        return [str(ROOT / "bin/run-ldc93s1.sh"), *checkpoints, *output, *extra]
    corpus = DATA / {"digits": "fsdd", "commands": "commands"}[what]
    files = [
        "--train_files",
        f"{corpus}/train.csv",
        "--dev_files",
        f"{corpus}/dev.csv",
        "--test_files",
        f"{corpus}/dev.csv",
    ]
    if what == "commands":
        files += ["--alphabet_config_path", f"{corpus}/alphabet.txt"]
    return [sys.executable, str(ROOT / "DeepSpeech.py"), *files, *FLAGS, *checkpoints, *output, *extra]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("digits", "commands", "smoke"))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 1, 2, ...")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    extra = sys.argv[end + 1 :]
    options = parser.parse_args(sys.argv[1:end])
    found = []
    for seed in range(1, options.seeds + 1):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            started = time.perf_counter()
            environment = {**os.environ, "PYTHON": sys.executable}
            run = subprocess.run(
                command(options.what, seed, folder, extra), capture_output=True, text=True, env=environment
            )
            seconds = time.perf_counter() - started
            if not (folder / "test.json").exists():
                print(run.stderr, file=sys.stderr)
                return 1
            clips = json.loads((folder / "test.json").read_text())
        wer = sum(c["word_distance"] for c in clips) / sum(c["word_length"] for c in clips)
        cer = sum(c["char_distance"] for c in clips) / sum(c["char_length"] for c in clips)
        found.append((wer, cer, seconds))
        print(f"seed {seed}  WER {wer:.3f}  CER {cer:.3f}  {seconds:.0f} s  exit {run.returncode}", flush=True)
    for name, values in zip(("WER", "CER", "s"), zip(*found, strict=True), strict=True):
        print(f"{name}: {min(values):.3f} to {max(values):.3f}, mean {statistics.mean(values):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
