"""Our beam against that of a deployed client, side by side in one run, and what a scorer costs to open.

    python benchmarks/decode.py --client PATH/libstt.so --scorer pruned_lm.scorer --text vocab.txt

The client decodes a `.tflite` that answers with the same probabilities (tests/decoding/posterior_model.py), so that it
does nothing but look them up, compute the features of silence, and search; what it takes with a beam of 1 is
subtracted. Times are of the processor, for utterances of `--frames` frames; the least of `--repeats`.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "decoding")]

from posterior_model import num_samples, posterior_model  # noqa: E402
from posteriors import sentence_posteriors  # noqa: E402

from deepspeech_training.alphabet import Alphabet  # noqa: E402
from deepspeech_training.decoding.beam import BeamDecoder  # noqa: E402
from deepspeech_training.decoding.scorer import Scorer  # noqa: E402
from deepspeech_training.machine.resources import usable_cores  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scorer", required=True, help="a scorer of the English alphabet")
    parser.add_argument("--text", required=True, help="a text whose words are spoken")
    parser.add_argument("--client", help="libdeepspeech.so or libstt.so; without one only ours is timed")
    parser.add_argument("--beams", type=int, nargs="+", default=[100, 500, 1024])
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3)
    flags = parser.parse_args()
    alphabet = Alphabet.english()
    clips = make_clips(Path(flags.text), alphabet, clips=flags.clips, frames=flags.frames)
    started = time.perf_counter()
    scorer = Scorer.read(flags.scorer)
    scorer.check_labels(alphabet.characters)
    print(
        f"{flags.scorer}: {sum(scorer.language_model.counts):,} n-grams, "
        f"opened and checked in {time.perf_counter() - started:.3f} s"
    )
    BeamDecoder(alphabet.characters, width=10, scorer=scorer).decode(clips[0])
    baseline = client_times(flags, clips, alphabet, [1])[1] if flags.client else 0.0
    for beam in flags.beams:
        for name, used in (("no scorer", None), ("scorer", scorer)):
            decoder = BeamDecoder(alphabet.characters, width=beam, scorer=used)
            ours = min(cpu_seconds(decoder, clips) for _ in range(flags.repeats))
            line = f"beam {beam:>5}, {name:<9}  ours {ours / len(clips):.4f} s a clip"
            if flags.client:
                theirs = client_times(flags, clips, alphabet, [beam], scorer=used)[beam] - baseline
                line += f", client {theirs / len(clips):.4f} s: {theirs / ours:.1f} times as fast"
            print(line, flush=True)
    threads(BeamDecoder(alphabet.characters, width=flags.beams[-1], scorer=scorer), clips * 4)
    print(f"Most memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


def make_clips(text: Path, alphabet: Alphabet, *, clips: int, frames: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    words = [word for word in text.read_text(encoding="utf-8").lower().split() if not alphabet.missing(word)]
    made = []
    for _ in range(clips):
        start = int(rng.integers(len(words) - frames))
        labels = alphabet.encode(" ".join(words[start : start + frames // 5]))
        probs = sentence_posteriors(labels, alphabet.num_classes, rng, confusion=0.15)
        made.append(probs[:frames])
    return made


def cpu_seconds(decoder: BeamDecoder, clips: list[np.ndarray]) -> float:
    started = time.process_time()
    for clip in clips:
        decoder.decode(clip)
    return time.process_time() - started


def client_times(
    flags, clips, alphabet: Alphabet, beams: list[int], *, scorer: Scorer | None = None
) -> dict[int, float]:
    """CPU seconds that the client took for all clips, by beam."""
    prefix = "DS" if "deepspeech" in Path(flags.client).name else "STT"
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for number, clip in enumerate(clips):
            path = Path(folder, f"{number}.tflite")
            path.write_bytes(posterior_model(clip, alphabet))
            cases += [
                {
                    "model": str(path),
                    "num_samples": num_samples(len(clip)),
                    "beam_width": beam,
                    "num_results": 1,
                    "scorer": scorer.path if scorer else "",
                    "alpha": scorer.alpha if scorer else 0,
                    "beta": scorer.beta if scorer else 0,
                }
                for beam in beams
            ]
        listed = Path(folder, "cases.json")
        listed.write_text(json.dumps(cases), encoding="utf-8")
        best = {beam: float("inf") for beam in beams}
        for _ in range(flags.repeats):
            command = [
                sys.executable,
                str(ROOT / "tests/exporting/client_process.py"),
                flags.client,
                prefix,
                json.dumps({"cases": str(listed)}),
            ]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            answers = json.loads(done.stdout.splitlines()[-1])
            for beam in beams:
                took = sum(a["decode_s"] for a, c in zip(answers, cases, strict=True) if c["beam_width"] == beam)
                best[beam] = min(best[beam], took)
        return best


def threads(decoder: BeamDecoder, clips: list[np.ndarray]) -> None:
    one = None
    for count in sorted({1, 2, usable_cores()}):
        started = time.perf_counter()
        decoder.decode_batch(clips, threads=count)
        took = time.perf_counter() - started
        one = one or took
        print(f"beam {decoder.width}, {count} threads: {took:.2f} s for {len(clips)} clips, {one / took:.2f} times one")


if __name__ == "__main__":
    main()
