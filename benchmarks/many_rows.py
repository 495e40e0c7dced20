"""Memory and seconds from CSV to plan for millions of rows: benchmarks/many_rows.py --rows 1000000

The rows name clips in simulated shards: indices are written, and the tars are files without content, since neither the
check nor the plan opens a clip. Each measurement is a process of its own.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
CLIPS_PER_SHARD = 12_000
SENTENCE = "she had your dark suit in greasy wash water all year do not ask me to carry an oily rag like that"


def simulate(folder: Path, rows: int) -> Path:
    """Write the indices, the empty tars and train.csv; returns its path."""
    from deepspeech_training.audio.files import READER
    from deepspeech_training.audio.shards import INDEX_RECORD, TAR_BLOCK, IndexRecord, ShardIndex, index_path

    folder.mkdir(parents=True, exist_ok=True)
    generator, known = np.random.default_rng(0), SENTENCE.split()
    with open(folder / "train.csv", "w", encoding="utf-8") as file:
        file.write("wav_filename,wav_filesize,transcript,client_id\n")
        for number, first in enumerate(range(0, rows, CLIPS_PER_SHARD)):
            count = min(CLIPS_PER_SHARD, rows - first)
            seconds = generator.gamma(4, 1.35, count) + 2.5  # 5.4 s more on average: 10 million are 20,000 h
            frames = (seconds * 16000).astype(int)
            sizes = frames * 11 // 10
            ends = np.cumsum(sizes + 3 * TAR_BLOCK)
            records = [
                IndexRecord(int(end - size), int(size), first + place + 2, int(length), 16000, 0, 1, 0)
                for place, (end, size, length) in enumerate(zip(ends, sizes, frames, strict=True))
            ]
            tar = folder / f"train-{number:06}.tar"
            with open(tar, "wb") as empty:
                empty.truncate(int(ends[-1]))
            data = b"".join(INDEX_RECORD.pack(*record) for record in records)
            Path(index_path(tar)).write_bytes(ShardIndex(data, READER, bytes(32), int(ends[-1])).to_bytes())
            for record in records:
                words = generator.integers(0, len(known), 6)
                said = " ".join(known[word] for word in words) + f" {chr(97 + words[0])}"
                name, size = f"{tar.name}#{record.offset}+{record.size}.flac", record.size
                file.write(f"{name},{size},{said},speaker {words[1] * 40 + words[2]}\n")
    return folder / "train.csv"


def measure(csv_path: Path, cache_dir: Path) -> dict:
    """Check and plan in this process."""
    from deepspeech_training.alphabet import Alphabet
    from deepspeech_training.console import Console
    from deepspeech_training.data.plan import BatchRules, Plan
    from deepspeech_training.data.samples import check_sets
    from deepspeech_training.features.geometry import FeatureGeometry

    begun = started = time.perf_counter()
    seconds = {}

    def note(what: str) -> None:
        nonlocal started
        now = time.perf_counter()
        seconds[what], started = round(now - started, 2), now

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    checked = check_sets(
        {"train": [str(csv_path)]},
        alphabet=Alphabet.english(),
        geometry=FeatureGeometry(),
        on_bad_row="fail",
        cache_dir=cache_dir,
        console=Console(show_progressbar=False),
        alphabet_name="English",
    )
    note("check")
    plan = Plan(checked.sets["train"][0].samples, BatchRules(batch_seconds=600, unit=16000))
    plan.fingerprint()
    note("fingerprint")
    plan.batches(0)
    note("first epoch")
    batches = plan.batches(1)
    note("second epoch")
    [plan.samples[index] for index in batches[0]]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    total = round(time.perf_counter() - begun, 2)
    return {"rows": len(plan.samples), "total_s": total, **seconds, "MB": (peak - before) // 1000}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/many_rows"), help="for the simulated corpus; is kept")
    parser.add_argument("--measure", action="store_true", help="in this process, what is there")
    flags = parser.parse_args()
    folder = flags.folder / str(flags.rows)
    if flags.measure:
        print(json.dumps(measure(folder / "train.csv", folder / "data_check")), flush=True)
        return
    if not (folder / "train.csv").exists():
        simulate(folder, flags.rows)
    for path in (folder / "data_check").glob("*"):
        path.unlink()
    for what in ("first start", "next start"):
        command = [sys.executable, __file__, "--rows", str(flags.rows), "--folder", str(flags.folder), "--measure"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        print(f"{what:<12} {done.stdout.strip()}", flush=True)


if __name__ == "__main__":
    main()
