#!/usr/bin/env python3
"""How many people can talk to a served model at once, and how soon they get their text.

    python benchmarks/serving.py --model model.tflite --audio clips.csv --streams 10,20,40 [--scorer FILE]
    python benchmarks/serving.py --model model.tflite --audio clips.csv --search 8

`deepspeech serve` runs in one process, all clients in another, over the loopback. A client talks as the page does: a
websocket on /v1/stream, 100 ms of int16 at a time, in real time, clip after clip with a pause between them, so that
sentences end by themselves. Clients begin at random moments. Printed for each number of streams, in milliseconds:

    partial   from the moment when the last audio that a partial has heard was sent to its arrival
    final     from the moment when the end of the pause that ends a sentence was sent to the arrival of its final
    finish    from "finish" to the last final
    lag       audio that the server had received and not recognised, the worst that it told
    cpu       processor seconds of the server in a second; clients: those of the clients' process
    memory    resident, at the end

--search N doubles N while p95 of the finals stays below --bar_ms, then bisects; where it fails, that is said.
"""

import argparse
import asyncio
import csv
import json
import os
import random
import resource
import subprocess
import sys
import threading
import time
from bisect import bisect_left
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
CHUNK_S, PAUSE_S, RATE = 0.1, 1.5, 16000
PERCENTILES = (50, 95, 99)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a .tflite or an export folder")
    parser.add_argument("--scorer", help="a scorer beside it")
    parser.add_argument("--beam_width", type=int, help="of each session; by default, as the server has it")
    parser.add_argument("--audio", required=True, help="a CSV with wav_filename, or one audio file")
    parser.add_argument("--streams", default="10", help="numbers of streams, such as 10,20,40")
    parser.add_argument("--search", type=int, help="search the largest number, from this one on")
    parser.add_argument("--bar_ms", type=float, default=500, help="p95 of the finals that --search allows")
    parser.add_argument("--seconds", type=float, default=30, help="of each measurement (default 30)")
    parser.add_argument("--seed", type=int, default=1, help="which clips, and when clients begin")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.child:
        print(json.dumps(asyncio.run(clients(flags, **json.loads(flags.child)))))
        return 0
    print(
        "| streams | partial p50 / p95 / p99 | final p50 / p95 / p99 | finish p95 | lag | cpu | clients | MB | failed |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    with Server(flags) as server:
        measure(flags, server, 1, seconds=8, show=False)  # compiles and loads what the first session needs
        if flags.search is None:
            for streams in map(int, flags.streams.split(",")):
                measure(flags, server, streams)
            return 0
        good, bad = 0, flags.search
        while measure(flags, server, bad) < flags.bar_ms:
            good, bad = bad, 2 * bad
        while bad - good > max(1, good // 10):
            middle = (good + bad) // 2
            if measure(flags, server, middle) < flags.bar_ms:
                good = middle
            else:
                bad = middle
        print(f"\nthe most streams with p95 of the finals below {flags.bar_ms:g} ms: {good}, of {bad} no more")
    return 0


class Server:
    """`deepspeech serve` on a free port."""

    def __init__(self, flags: argparse.Namespace):
        command = [sys.executable, "-m", "deepspeech_training", "serve", "--model", flags.model, "--port", "0"]
        command += ["--max_sessions", "10000", "--access_log", "none"]
        command += ["--scorer", flags.scorer] if flags.scorer else []
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        self.url = ""
        for line in self.process.stdout:
            if " http://" in line:
                self.url = line.split(" http://")[1].split()[0].rstrip("/")
                break
        if not self.url:
            sys.exit(f"the server ended with {self.process.wait()}")
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e6

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *_exception: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()


def measure(flags: argparse.Namespace, server: Server, streams: int, *, seconds: float = 0, show: bool = True) -> float:
    """Run so many clients in a process of their own, print a row, and return p95 of the finals in ms."""
    seconds = seconds or flags.seconds
    child = json.dumps({"url": server.url, "streams": streams, "seconds": seconds})
    cpu_s, started = server.cpu_s(), time.monotonic()
    found = subprocess.run(
        [sys.executable, __file__, *sys.argv[1:], "--child", child], capture_output=True, text=True, check=False
    )
    if found.returncode:
        sys.exit(found.stderr)
    result = json.loads(found.stdout.splitlines()[-1])
    took = time.monotonic() - started
    final = percentiles(result["final"])
    if show:
        print(
            f"| {streams} | {row(percentiles(result['partial']))} | {row(final)} | "
            f"{percentiles(result['finish'])[1]:.0f} | {result['lag_s']:.1f} | {(server.cpu_s() - cpu_s) / took:.2f} | "
            f"{result['cpu_s'] / took:.2f} | {server.resident_mb():.0f} | {result['failed']} |",
            flush=True,
        )
        if result["failed"]:
            print(f"failed: {result['why']}", file=sys.stderr)
    return float("inf") if result["failed"] else final[1]


def percentiles(values: list[float]) -> list[float]:
    return np.percentile(values, PERCENTILES).tolist() if values else [float("nan")] * len(PERCENTILES)


def row(values: list[float]) -> str:
    return " / ".join(f"{value:.0f}" for value in values)


# --- the clients' process -------------------------------------------------------------------------------------------


@dataclass
class Found:
    """What the clients have measured, in ms."""

    partial: list[float] = field(default_factory=list)
    final: list[float] = field(default_factory=list)
    finish: list[float] = field(default_factory=list)
    lag_s: float = 0.0
    failed: int = 0
    why: str = ""


async def clients(flags: argparse.Namespace, url: str, streams: int, seconds: float) -> dict:
    clips, found = read_clips(flags.audio), Found()
    chance = random.Random(flags.seed)
    sessions = [
        session(
            f"ws://{url}/v1/stream",
            flags,
            speech(clips, random.Random(chance.random()), seconds),
            chance.random() * 2,
            found,
        )
        for _ in range(streams)
    ]
    for ended in await asyncio.gather(*sessions, return_exceptions=True):
        if isinstance(ended, BaseException):
            found.failed += 1
            found.why = f"{type(ended).__name__}: {ended}"
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {**vars(found), "cpu_s": usage.ru_utime + usage.ru_stime}


def read_clips(path: str) -> list[np.ndarray]:
    """int16 at RATE of up to 50 clips."""
    from deepspeech_training.console import Console
    from deepspeech_training.runtime.loading import read_int16

    paths = [path]
    if path.endswith(".csv"):
        with open(path, newline="", encoding="utf-8") as file:
            paths = [os.path.join(os.path.dirname(path), line["wav_filename"]) for line in csv.DictReader(file)]
        paths = paths[:: max(1, len(paths) // 50)]
    return [read_int16(name, sample_rate=RATE, console=Console()) for name in paths]


def speech(clips: list[np.ndarray], chance: random.Random, seconds: float) -> np.ndarray:
    """Clips and pauses, of faint noise, for that long."""
    parts, length = [], 0
    while length < seconds * RATE:
        clip = chance.choice(clips)
        pause = np.random.default_rng(len(parts)).integers(-3, 4, round(PAUSE_S * RATE)).astype(np.int16)
        parts += [clip, pause]
        length += len(clip) + len(pause)
    return np.concatenate(parts)[: round(seconds * RATE)]  # most end within a sentence: so "finish" is measured too


async def session(url: str, flags: argparse.Namespace, audio: np.ndarray, delay_s: float, found: Found) -> None:
    from websockets.asyncio.client import connect

    await asyncio.sleep(delay_s)
    query = f"?rate={RATE}" + (f"&beam_width={flags.beam_width}" if flags.beam_width is not None else "")
    async with connect(url + query, open_timeout=60, ping_timeout=None, compression=None, max_queue=None) as socket:
        ready = json.loads(await socket.recv())
        assert ready["type"] == "ready", ready
        hangover_s = ready["endpointing"]["hangover_s"]
        sent_s: list[float] = []  # how much audio had been sent ...
        sent_at: list[float] = []  # ... at what time
        finished_at = 0.0

        def since(audio_s: float) -> float:
            place = bisect_left(sent_s, audio_s - 1e-3)
            return 1000 * (time.monotonic() - sent_at[min(place, len(sent_at) - 1)])

        async def receive() -> None:
            async for message in socket:
                event = json.loads(message)
                found.lag_s = max(found.lag_s, event.get("lag_s", 0))
                if event["type"] == "partial":
                    found.partial.append(since(event["heard"]))
                elif event["type"] == "speech_end" and not finished_at:
                    found.final.append(since(event["at"] + hangover_s))
                elif event["type"] == "final" and event["reason"] == "finish":
                    found.finish.append(1000 * (time.monotonic() - finished_at))
                elif event["type"] == "error":
                    raise RuntimeError(message)

        receiver = asyncio.create_task(receive())
        started = time.monotonic()
        step = round(CHUNK_S * RATE)
        for place in range(0, len(audio), step):
            due = started + place / RATE
            await asyncio.sleep(max(0, due - time.monotonic()))
            sent_s.append(min(place + step, len(audio)) / RATE)
            sent_at.append(time.monotonic())
            await socket.send(audio[place : place + step].tobytes())
            if receiver.done():
                break
        finished_at = time.monotonic()
        await socket.send('{"type": "finish"}')
        await asyncio.wait_for(receiver, 60)


if __name__ == "__main__":
    sys.exit(main())
