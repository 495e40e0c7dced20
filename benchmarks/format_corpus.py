#!/usr/bin/env python
"""How fast an import is: against DeepSpeech's way on the same clips, a second time, and its memory with many rows.

    python benchmarks/format_corpus.py compare FOLDER_OF_COMMON_VOICE --workers 2 --runs 3 --copies 4
    python benchmarks/format_corpus.py memory --rows 10000,100000

DeepSpeech's way (bin/import_cv2.py of 0.9.3): a pool of processes, in which each clip is one `sox` and one `soxi`
program. `sox` has to be installed, with what it needs to read MP3.
"""

import argparse
import csv
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing import Pool
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SAMPLE_RATE = 16000


def deepspeechs_clip(paths: tuple[str, str]) -> int:
    """What DeepSpeech does with one clip; returns its number of samples."""
    import sox

    mp3, wav = paths
    transformer = sox.Transformer()
    transformer.convert(samplerate=SAMPLE_RATE, n_channels=1)
    transformer.build(mp3, wav)
    os.path.getsize(wav)
    return int(subprocess.check_output(["soxi", "-s", wav], stderr=subprocess.STDOUT))


def deepspeechs_way(clips: list[Path], target: Path, workers: int) -> tuple[float, float]:
    """Wall and CPU seconds of DeepSpeech's way for some clips."""
    target.mkdir(parents=True)
    pairs = [(str(clip), str(target / f"{clip.stem}.wav")) for clip in clips]
    before, started = os.times(), time.perf_counter()
    pool = Pool(workers)
    for _ in pool.imap_unordered(deepspeechs_clip, pairs):
        pass
    wall = time.perf_counter() - started
    pool.close()
    pool.join()
    return wall, _children_s(before)


def _children_s(before: os.times_result) -> float:
    """CPU seconds of the processes that ended since then, and of theirs."""
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def our_way(source: Path, output: Path, workers: int) -> tuple[float, float, int, int]:
    """Wall seconds, CPU seconds, and peak memory in MB of one import's main process and of its largest worker."""
    command = [sys.executable, str(ROOT / "bin" / "import_cv2.py"), str(source), "--output_dir", str(output)]
    command += ["--workers", str(workers), "--log_level", "2", "--sample_rate", str(SAMPLE_RATE)]
    before = os.times()
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak_kb = worker_peak_kb = 0
    while process.poll() is None:
        peak_kb = max(peak_kb, peak_memory_kb(process.pid))
        worker_peak_kb = max([worker_peak_kb, *map(peak_memory_kb, children(process.pid))])
        time.sleep(0.02)
    if process.returncode:
        raise SystemExit(f"the import ended with exit code {process.returncode}")
    return time.perf_counter() - started, _children_s(before), peak_kb // 1024, worker_peak_kb // 1024


def children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def peak_memory_kb(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def copy_corpus(source: Path, folder: Path, copies: int) -> Path:
    """The validated clips of a Common Voice several times, under other names: what a start costs counts for less."""
    (folder / "clips").mkdir(parents=True)
    header, *rows = (source / "validated.tsv").read_text(encoding="utf-8").splitlines()
    place = header.split("\t").index("path")
    with open(folder / "validated.tsv", "w", encoding="utf-8") as file:
        file.write(header + "\n")
        for row in rows:
            fields = row.split("\t")
            clip = fields[place]
            for copy in range(copies):
                fields[place] = f"{copy}_{clip}"
                shutil.copy(source / "clips" / clip, folder / "clips" / fields[place])
                file.write("\t".join(fields) + "\n")
    return folder


def compare(source: Path, workers: int, runs: int, copies: int) -> dict:
    """Both ways on the clips that an import keeps, in turns; the median of the runs counts."""
    times: dict[str, list[float]] = {"deepspeech": [], "deepspeech_cpu": [], "ours": [], "ours_cpu": [], "second": []}
    with tempfile.TemporaryDirectory(prefix="format-corpus-") as folder:
        if copies > 1:
            source = copy_corpus(source, Path(folder) / "in", copies)
        for run in range(runs):
            output = Path(folder) / f"ours{run}"
            wall, cpu, *_ = our_way(source, output, workers)
            times["ours"].append(wall)
            times["ours_cpu"].append(cpu)
            times["second"].append(our_way(source, output, workers)[0])
            clips = [source / "clips" / f"{path.stem}.mp3" for path in sorted((output / "clips").glob("*.wav"))]
            wall, cpu = deepspeechs_way(clips, Path(folder) / f"deepspeech{run}", workers)
            times["deepspeech"].append(wall)
            times["deepspeech_cpu"].append(cpu)
            shutil.rmtree(output)
            shutil.rmtree(Path(folder) / f"deepspeech{run}")
    medians = {name: round(statistics.median(values), 2) for name, values in times.items()}
    return {
        "clips": len(clips),
        "workers": workers,
        "runs": runs,
        **{f"{name}_s": value for name, value in medians.items()},
        "times_as_fast": round(medians["deepspeech"] / medians["ours"], 2),
        "times_less_cpu": round(medians["deepspeech_cpu"] / medians["ours_cpu"], 2),
        "load": os.getloadavg()[0],
    }


def make_corpus(folder: Path, rows: int) -> None:
    """A corpus in Common Voice's layout: each clip a hard link to one of 16 short files, 50 clips a speaker."""
    import numpy as np
    import soundfile

    clips = folder / "clips"
    clips.mkdir(parents=True)
    noise = np.random.default_rng(1).normal(0, 0.1, 4000)
    for number in range(16):
        soundfile.write(folder / f"{number}.wav", noise[: 3200 + 40 * number], SAMPLE_RATE)
    with open(folder / "validated.tsv", "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="\t", quoting=csv.QUOTE_NONE, quotechar=None, lineterminator="\n")
        writer.writerow(["client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accents"])
        for row in range(rows):
            os.link(folder / f"{row % 16}.wav", clips / f"clip_{row:07d}.wav")
            sentence = f"word {'abcdefghij'[row % 10]}"
            writer.writerow([f"{row // 50:0128x}", f"clip_{row:07d}.wav", sentence, 2, 0, "", "", ""])
    with open(folder / "clip_durations.tsv", "w", encoding="utf-8") as file:
        file.write("clip\tduration[ms]\n")
        file.writelines(f"clip_{row:07d}.wav\t{200 + row % 16 * 2}\n" for row in range(rows))


def memory(counts: list[int], workers: int) -> list[dict]:
    """Peak memory and times of a first and a second import of a generated corpus."""
    results = []
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="format-corpus-") as name:
            folder = Path(name)
            make_corpus(folder / "in", count)
            result = {"rows": count}
            for run in ("first", "second"):
                wall, cpu, peak, worker_peak = our_way(folder / "in", folder / "out", workers)
                result |= {f"{run}_s": round(wall, 1), f"{run}_cpu_s": round(cpu, 1)}
                result |= {f"{run}_peak_mb": peak, f"{run}_worker_peak_mb": worker_peak}
            results.append({**result, "load": os.getloadavg()[0]})
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["compare", "memory"])
    parser.add_argument("folder", nargs="?", help="of Common Voice, with clips/ and the TSVs")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--copies", type=int, default=1, help="compare: of each validated clip")
    parser.add_argument("--rows", default="10000,100000")
    arguments = parser.parse_args()
    if arguments.what == "compare":
        if shutil.which("sox") is None or arguments.folder is None:
            parser.error("compare needs a folder, and sox installed")
        print(json.dumps(compare(Path(arguments.folder), arguments.workers, arguments.runs, arguments.copies)))
    else:
        for result in memory([int(count) for count in arguments.rows.split(",")], arguments.workers):
            print(json.dumps(result))


if __name__ == "__main__":
    main()
