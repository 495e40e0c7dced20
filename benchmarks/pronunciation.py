#!/usr/bin/env python3
"""WER and PER of word_to_ipa on the languages of SIGMORPHON 2021, one recipe for all, beside the published baseline.

    python benchmarks/pronunciation.py ../shared/data/sigmorphon2021/low --runs /tmp/low [flags of `deepspeech train`]
    python benchmarks/pronunciation.py ../shared/data/sigmorphon2021/low --runs /tmp/low --languages gre rum --epochs 9

Trains each language of the folder (LANGUAGE_train.tsv, LANGUAGE_dev.tsv) in a process of its own, and tests the best
checkpoint on dev, by which it was chosen too, as the baseline's was. The same command resumes. The baseline is an
ensemble of neural transition systems (Makarov and Clematide; README of github.com/sigmorphon/2021-task1), WER on dev.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = {
    **{"eng_us": 45.13},
    **{"arm_e": 4.5, "bul": 8.3, "dut": 10.8, "fre": 7.4, "geo": 0.0, "hbs_latn": 34.7, "hun": 1.5, "jpn_hira": 6.2},
    **{"kor": 18.4, "vie_hanoi": 1.3},
    **{"ady": 22.0, "gre": 5.0, "ice": 11.0, "ita": 22.0, "khm": 34.0, "lav": 41.0, "mlt_latn": 20.0, "rum": 10.0},
    **{"slv": 43.0, "wel_sw": 16.0},
}


def measured(train: Path, runs: Path, flags: list[str]) -> dict[str, float]:
    """Train on a language and test it: percentages, seconds and epochs."""
    language, folder = train.stem.removesuffix("_train"), runs / train.stem.removesuffix("_train")
    dev, results = train.with_name(f"{language}_dev.tsv"), folder.with_suffix(".json")
    files = ["--train_files", str(train), "--dev_files", str(dev), "--test_files", str(dev)]
    where = ["--checkpoint_dir", str(folder), "--test_output_file", str(results)]
    started = time.perf_counter()
    command = [sys.executable, str(ROOT / "DeepSpeech.py"), "--task", "word_to_ipa", *files, *where, *flags]
    finished = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    figures = dict(part.split(": ") for part in finished.stdout.splitlines()[0].split(" - ")[1].split(", ")[:2])
    entries = json.loads(results.read_text(encoding="utf-8"))
    in_five = sum(any(answer["text"] in entry["right"] for answer in entry["answers"]) for entry in entries)
    return {
        "wer": 100 * float(figures["WER"]),
        "per": 100 * float(figures["PER"]),
        "top": 100 * in_five / len(entries),
        "seconds": time.perf_counter() - started,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--runs", type=Path, required=True, help="folder for the checkpoints")
    parser.add_argument("--languages", nargs="*", default=[], help="some of them; default: all of the folder")
    arguments, flags = parser.parse_known_args()
    arguments.runs.mkdir(parents=True, exist_ok=True)
    found: list[dict[str, float]] = []
    print(
        "| language | WER | PER | right among the first 5 | baseline's WER | s |\n|---|--:|--:|--:|--:|--:|", flush=True
    )
    languages = [
        path
        for path in sorted(arguments.folder.glob("*_train.tsv"))
        if not arguments.languages or path.stem.removesuffix("_train") in arguments.languages
    ]
    for path in languages:
        one = measured(path, arguments.runs, flags)
        one["baseline"] = BASELINE[path.stem.removesuffix("_train")]
        found.append(one)
        print(_row(path.stem.removesuffix("_train"), one), flush=True)
    if found:
        print(_row("mean", {name: sum(one[name] for one in found) / len(found) for name in found[0]}))


def _row(name: str, one: dict[str, float]) -> str:
    return (
        f"| {name} | {one['wer']:.2f} | {one['per']:.2f} | {one['top']:.1f} | {one['baseline']:.2f} | "
        f"{one['seconds']:,.0f} |"
    )


if __name__ == "__main__":
    main()
