#!/usr/bin/env python3
"""What training reaches on small real corpora, seed by seed: WER, CER and seconds of whole runs.

    python benchmarks/learning.py digits   --seeds 5 -- --noshuffle
    python benchmarks/learning.py commands --seeds 3 -- --automatic_mixed_precision
    python benchmarks/learning.py digits   --seeds 5 --recipe
    python benchmarks/learning.py digits   --folds 5 --recipe
    python benchmarks/learning.py an4      --seeds 5 --recipe -- --network conformer --test_files an4/test.csv
    python benchmarks/learning.py smoke    --seeds 10

"digits", "commands" and "an4" are the folders fsdd, commands and an4_en of the test data ($DEEPSPEECH_TEST_DATA, else
../shared/data beside the project), with the flags that DeepSpeech 0.9.3 was run with, or with --recipe those of
bin/run-digits.sh, bin/run-commands.sh and bin/run-an4.sh, which decode with a scorer of the training transcripts: the
greedy WER is told too; "smoke" is bin/run-ldc93s1.sh. With --folds the speakers of both CSVs are dealt into so many
groups, and each is dev once while the others are trained on, with seed 1: how much depends on who speaks. Flags after
-- are added. The figures are of the dev set, unless --test_files after -- names another, and the best checkpoint
(--best_by); the seconds are those of the clock, and of the processor divided by the number of cores.
"""

import argparse
import csv
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("DEEPSPEECH_TEST_DATA", ROOT.parent / "shared" / "data"))
FLAGS = [
    "--n_hidden",
    "256",
    "--train_batch_size",
    "32",
    "--dev_batch_size",
    "32",
    "--test_batch_size",
    "32",
    "--dropout_rate",
    "0.2",
    "--learning_rate",
    "0.001",
    "--epochs",
    "30",
    "--report_count",
    "0",
    "--beam_width",
    "0",
]


def corpus_of(what: str) -> Path:
    return DATA / {"digits": "fsdd", "commands": "commands", "an4": "an4_en"}[what]


def speaker_of(row: dict[str, str]) -> str:
    return row.get("speaker") or Path(row["wav_filename"]).stem.split("_")[1]  # digit_speaker_take.wav


def write_folds(what: str, count: int, folder: Path) -> list[tuple[str, Path, Path]]:
    """Deals the speakers of a corpus into groups.

    Returns for each group its speakers, and the CSVs of all others' clips and of its own.
    """
    rows = []
    for name in ("train.csv", "dev.csv"):
        with open(corpus_of(what) / name, encoding="utf-8", newline="") as file:
            rows += csv.DictReader(file)
    for row in rows:
        row["wav_filename"] = str(corpus_of(what).resolve() / row["wav_filename"])
    speakers = sorted({speaker_of(row) for row in rows})
    if not 2 <= count <= len(speakers):
        raise SystemExit(f"--folds {count}: there are {len(speakers)} speakers")
    folds = []
    for index in range(count):
        group = speakers[index::count]
        paths = folder / f"train-{index}.csv", folder / f"dev-{index}.csv"
        for path, wanted in zip(paths, (False, True), strict=True):
            with open(path, "w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, rows[0].keys())
                writer.writeheader()
                writer.writerows(row for row in rows if (speaker_of(row) in group) == wanted)
        folds.append((" ".join(group), *paths))
    return folds


def command(
    what: str, seed: int, folder: Path, extra: list[str], fold: tuple[Path, Path] | None, *, recipe: bool
) -> list[str]:
    checkpoints = ["--checkpoint_dir", str(folder / "checkpoints"), "--random_seed", str(seed)]
    output = ["--test_output_file", str(folder / "test.json")]
    if what == "smoke":
        return [str(ROOT / "bin/run-ldc93s1.sh"), *checkpoints, *output, *extra]
    corpus = corpus_of(what)
    train, dev = map(str, fold or (corpus / "train.csv", corpus / "dev.csv"))
    files = ["--train_files", train, "--dev_files", dev, "--test_files", dev]
    if what in ("commands", "an4"):
        files += ["--alphabet_config_path", f"{corpus}/alphabet.txt"]
    program = [sys.executable, str(ROOT / "DeepSpeech.py"), *FLAGS]
    if recipe:
        program = [str(ROOT / f"bin/run-{what}.sh"), "--report_count", "0"]
    return [*program, *files, *checkpoints, *output, *extra]


def processor_seconds() -> float:
    """Of all processes that have been waited for, divided by the number of cores."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (used.ru_utime + used.ru_stime) / len(os.sched_getaffinity(0))


def measure(
    title: str, seed: int, fold: tuple[Path, Path] | None, what: str, extra: list[str], *, recipe: bool
) -> tuple[float, float, float, float, float]:
    """Of one run, which it prints: WER, CER, greedy WER, seconds of the clock and of the processor."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        started, processor = time.perf_counter(), processor_seconds()
        environment = {**os.environ, "PYTHON": sys.executable}
        words = command(what, seed, folder, extra, fold, recipe=recipe)
        run = subprocess.run(words, capture_output=True, text=True, env=environment)
        seconds, processor = time.perf_counter() - started, processor_seconds() - processor
        if not (folder / "test.json").exists():
            raise SystemExit(run.stderr)
        clips = json.loads((folder / "test.json").read_text())
    wer = sum(c["word_distance"] for c in clips) / sum(c["word_length"] for c in clips)
    cer = sum(c["char_distance"] for c in clips) / sum(c["char_length"] for c in clips)
    greedy = re.search(r"^Greedy, without beam and scorer - WER: ([0-9.]+)", run.stdout, re.MULTILINE)
    greedy = float(greedy[1]) if greedy else wer
    print(
        f"{title}  WER {wer:.3f}  CER {cer:.3f}  greedy WER {greedy:.3f}  {seconds:.0f} s, "
        f"processor {processor:.0f} s  exit {run.returncode}",
        flush=True,
    )
    return wer, cer, greedy, seconds, processor


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=("digits", "commands", "an4", "smoke"))
    parser.add_argument("--seeds", type=int, default=3, help="seeds 1, 2, ...")
    parser.add_argument("--folds", type=int, help="instead of seeds: groups of speakers, each of which is dev once")
    parser.add_argument("--recipe", action="store_true", help="with the flags of bin/run-*.sh of the corpus")
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    extra = sys.argv[end + 1 :]
    options = parser.parse_args(sys.argv[1:end])
    if options.folds is not None and options.what == "smoke":
        parser.error("--folds is for corpora: the smoke test has one clip")
    with tempfile.TemporaryDirectory() as name:
        runs = [(f"seed {seed}", seed, None) for seed in range(1, options.seeds + 1)]
        if options.folds is not None:
            runs = [(group, 1, paths) for group, *paths in write_folds(options.what, options.folds, Path(name))]
        found = [measure(*run, options.what, extra, recipe=options.recipe) for run in runs]
    for name, values in zip(("WER", "CER", "greedy WER", "s", "processor s"), zip(*found, strict=True), strict=True):
        print(f"{name}: {min(values):.3f} to {max(values):.3f}, mean {statistics.mean(values):.3f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
