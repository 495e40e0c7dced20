#!/usr/bin/env python3
"""How fast an exported model transcribes here, beside DeepSpeech's and Coqui's own libraries, on one core.

    python benchmarks/inference.py --model model.tflite --audio clip.wav [--repeat 5] [--wheels FOLDER]

Each engine is a process of its own, bound to one core, and they take turns, so that a slow moment meets all of them.
Printed for each: the best real-time factor over the rounds (CPU time of one call / duration of the audio), the time to
load, the peak of resident memory, the text. Ours decodes greedily; the clients always search with a beam, so they are
run with a beam of 1, which is closest to it, and with the 500 of an export. The wheels come from PyPI with pip the
first time.
"""

import argparse
import ctypes
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

WHEELS = {
    "libdeepspeech 0.9.3": ("deepspeech-tflite==0.9.3", "37", "manylinux1_x86_64", "deepspeech/lib/libdeepspeech.so"),
    "libstt 1.4.0": ("stt==1.4.0", "310", "manylinux_2_24_x86_64", "stt/lib/libstt.so"),
}
OURS = "deepspeech_training"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="the exported model, a .tflite")
    parser.add_argument("--audio", required=True, help="any audio file")
    parser.add_argument("--repeat", type=int, default=5, help="rounds; each runs every engine once (default 5)")
    parser.add_argument("--wheels", help="folder that keeps the unpacked wheels (default: a temporary one)")
    parser.add_argument("--engine", help=argparse.SUPPRESS)  # the child's: JSON of what to run
    flags = parser.parse_args()
    if flags.engine:
        print(json.dumps(measure(flags.model, flags.audio, **json.loads(flags.engine))))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(flags.wheels or temporary)
        engines = [{"name": OURS, "library": None, "beam_width": 1}]
        for name, (requirement, python, platform, library) in WHEELS.items():
            path = fetch(folder / requirement.replace("==", "-"), requirement, python, platform) / library
            engines += [{"name": name, "library": str(path), "beam_width": width} for width in (1, 500)]
        results = [[run(flags, engine) for engine in engines] for _ in range(flags.repeat)]
    print(f"{flags.model} ({os.path.getsize(flags.model):,} bytes), {flags.audio}, best of {flags.repeat}, one core\n")
    print("| engine | beam | real-time factor | load ms | peak MB | text |\n|---|---|---|---|---|---|")
    for engine, rounds in zip(engines, zip(*results, strict=True), strict=True):
        best = {key: min(found[key] for found in rounds) for key in ("rtf", "load_ms", "peak_mb")}
        beam = "greedy" if engine["name"] == OURS else engine["beam_width"]
        print(
            f"| {engine['name']} | {beam} | {best['rtf']:.5f} | {best['load_ms']:.0f} | {best['peak_mb']:.0f} | "
            f"{rounds[0]['text'][:60]} |"
        )
    return 0


def fetch(folder: Path, requirement: str, python: str, platform: str) -> Path:
    """The folder of an unpacked wheel, which is made for another Python: its library is plain C."""
    if not any(folder.glob("*.whl")):
        subprocess.run(
            [
                sys.executable,
                "-m",
                "pip",
                "download",
                "--quiet",
                "--no-deps",
                "--only-binary=:all:",
                "--python-version",
                python,
                "--implementation",
                "cp",
                "--platform",
                platform,
                "--dest",
                folder,
                requirement,
            ],
            check=True,
        )
        zipfile.ZipFile(next(folder.glob("*.whl"))).extractall(folder)
    return folder


def run(flags: argparse.Namespace, engine: dict) -> dict:
    command = [sys.executable, __file__, "--model", flags.model, "--audio", flags.audio, "--engine", json.dumps(engine)]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        sys.exit(f"{engine['name']} failed with {finished.returncode}:\n{finished.stderr}")
    return json.loads(finished.stdout.splitlines()[-1])


def measure(model: str, audio: str, *, name: str, library: str | None, beam_width: int) -> dict:
    """In a process of its own: load, transcribe twice to warm up, then the best of five calls."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    from deepspeech_training.console import Console
    from deepspeech_training.runtime.loading import read_int16

    # The models of the comparison take 16 kHz; the clients do not resample either.
    samples = read_int16(audio, sample_rate=16000, console=Console())
    started = time.process_time()
    transcribe = load_ours(model) if library is None else load_client(name, library, model, beam_width)
    load_ms = 1000 * (time.process_time() - started)
    text = transcribe(samples)
    transcribe(samples)
    seconds = []
    for _ in range(5):
        started = time.process_time()
        transcribe(samples)
        seconds.append(time.process_time() - started)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"rtf": min(seconds) / (len(samples) / 16000), "load_ms": load_ms, "peak_mb": peak_mb, "text": text}


def load_ours(model: str) -> Callable:
    from deepspeech_training.runtime import Model

    return Model(model, num_threads=1).stt


def load_client(name: str, library: str, model: str, beam_width: int) -> Callable:
    kenlm = Path(library).with_name("libkenlm.so")
    if kenlm.is_file():
        ctypes.CDLL(str(kenlm), mode=ctypes.RTLD_GLOBAL)
    client, prefix = ctypes.CDLL(library), "STT" if "stt" in name else "DS"
    speech_to_text = getattr(client, f"{prefix}_SpeechToText")
    speech_to_text.restype = ctypes.c_void_p
    speech_to_text.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint]
    free = getattr(client, f"{prefix}_FreeString")
    free.argtypes = [ctypes.c_void_p]
    context = ctypes.c_void_p()
    for result in (
        getattr(client, f"{prefix}_CreateModel")(model.encode(), ctypes.byref(context)),
        getattr(client, f"{prefix}_SetModelBeamWidth")(context, ctypes.c_uint(beam_width)),
    ):
        if result:
            sys.exit(f"{name}: error {result:#x}")

    def transcribe(samples) -> str:
        pointer = speech_to_text(context, samples.ctypes.data, len(samples))
        text = ctypes.string_at(pointer).decode()
        free(pointer)
        return text

    return transcribe


if __name__ == "__main__":
    sys.exit(main())
