#!/usr/bin/env python3
"""One process against two that train together on this host, one thread each; and what the sums would cost elsewhere.

    python benchmarks/several_workers.py [--n_hidden 512] [--clips 64] [--batch 16] [--epochs 3]

Trains twice on the same speech-like clips, in batches of the same size: in one process, and in two with half of each
batch. Prints steps per second (of the last epoch, in which nothing is compiled) and by how much the losses differ.

Then, computed and not measured, the seconds that a step needs to sum the gradients in a ring of W workers, which is
2 (W - 1) / W times the bytes of the weights over the bandwidth, and the share of the time that is left to compute, if a
device trains as fast as --audio_per_s says. The two are added: nothing is summed while the gradient is still computed.
"""

import argparse
import json
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from deepspeech_training.audio.synthetic_speech import synthesize

ROOT = Path(__file__).resolve().parent.parent
SENTENCE = "she had your dark suit in greasy wash water all year do not ask me to carry an oily rag like that"
NETWORKS = {"n_hidden 512": 3_155_485, "n_hidden 2048": 47_224_861}  # weights
LINKS = {"8 GPUs of a host, NVLink 4": (8, 400e9), "8 hosts, 100 Gbit/s": (8, 11e9), "8 hosts, 25 Gbit/s": (8, 2.7e9)}


def corpus(folder: Path, clips: int) -> Path:
    words = SENTENCE.split()
    lines = ["wav_filename,wav_filesize,transcript"]
    for number in range(clips):
        text = " ".join(words[number % 7 : number % 7 + 6 + number % 8])
        path = folder / f"{number}.wav"
        soundfile.write(path, synthesize(text, seed=number, sample_rate=16000), 16000)
        lines.append(f"{path.name},{path.stat().st_size},{text}")
    (folder / "train.csv").write_text("\n".join(lines) + "\n")
    return folder / "train.csv"


def train(folder: Path, flags: list[str], workers: int) -> list[dict]:
    """The figures of each epoch."""
    ports = [socket.create_server(("127.0.0.1", 0)) for _ in range(workers)]
    addresses = ",".join(f"127.0.0.1:{port.getsockname()[1]}" for port in ports)
    for port in ports:
        port.close()
    command = [sys.executable, str(ROOT / "DeepSpeech.py"), "--mode", "cpu", *flags, "--checkpoint_dir", str(folder)]
    ranks = [["--workers", addresses, "--rank", str(rank)] for rank in range(workers)] if workers > 1 else [[]]
    processes = [subprocess.Popen([*command, *rank], stderr=subprocess.DEVNULL) for rank in ranks]
    if any([process.wait() for process in processes]):
        sys.exit(f"a training with {workers} workers has failed: {folder}")
    newest = max(folder.glob("train-*.json"))
    return json.loads(newest.read_text())["run"]["history"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("n_hidden", 512), ("clips", 64), ("batch", 16), ("epochs", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--audio_per_s", type=float, default=3000.0, help="audio seconds a second of one device")
    parser.add_argument("--batch_audio", type=float, default=320.0, help="audio seconds in a device's share of a batch")
    args = parser.parse_args()
    losses, rates = {}, {}
    with tempfile.TemporaryDirectory() as folder:
        train_csv = corpus(Path(folder), args.clips)
        for workers in (1, 2):
            flags = ["--train_files", train_csv, "--n_hidden", args.n_hidden, "--epochs", args.epochs, "--noshuffle"]
            flags += ["--intra_op_parallelism_threads", 1, "--train_batch_size", args.batch // workers]
            history = train(Path(folder) / str(workers), [str(word) for word in flags], workers)
            losses[workers] = [entry["train_loss"] for entry in history]
            rates[workers] = -(-args.clips // args.batch) / history[-1]["seconds"]
            print(f"processes: {workers}; {rates[workers]:.3f} steps/s; losses {losses[workers]}")
    furthest = max(abs(one - two) / one for one, two in zip(losses[1], losses[2], strict=True))
    print(f"2 / 1: {rates[2] / rates[1]:.2f} times as fast, losses differ by at most {furthest:.1e} of them")
    compute_s = args.batch_audio / args.audio_per_s
    for name, weights in NETWORKS.items():
        for link, (workers, bandwidth) in LINKS.items():
            sum_s = 2 * (workers - 1) / workers * 4 * weights / bandwidth
            share = compute_s / (compute_s + sum_s)
            print(f"{name}, {link}: {1000 * sum_s:.1f} ms a step beside {1000 * compute_s:.0f} ms of work, {share:.0%}")


if __name__ == "__main__":
    main()
