"""What a scorer of a million n-grams costs to open, in time and in memory, beside a deployed client.

    python benchmarks/load_scorer.py --text lm-corpus.en.txt --client PATH/libstt.so

The scorer is built of a text as benchmarks/build_scorer.py makes it, or of invented words that are as frequent as
Zipf's law has it (`--invented 200000`), for a large dictionary; of a text that is made twice as long until there are
`--ngrams`; quantised as scorers are by default, and exact. Every figure is of a fresh process: "cold" with the file
dropped from memory before, so that the disk counts, "warm" right after it; the least of `--repeats`. Memory is what the
process gained: its own, and pages of the file, which all processes that use it share.
"""

import argparse
import multiprocessing
import os
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "decoding"), str(ROOT / "tests" / "export")]

from build_scorer import write_text  # noqa: E402
from client_process import Client  # noqa: E402
from decode import make_clips  # noqa: E402
from posterior_model import num_samples, posterior_model  # noqa: E402

from deepspeech_training.alphabet import Alphabet  # noqa: E402
from deepspeech_training.commands.main import run  # noqa: E402
from deepspeech_training.decoding.beam import BeamDecoder  # noqa: E402
from deepspeech_training.decoding.compiled import load_kernels  # noqa: E402
from deepspeech_training.decoding.scorer import Scorer  # noqa: E402

FIRST_WORDS = 250_000
WORDS_OF_A_SENTENCE = 12
BEAM_WIDTH = 500
KIB, MB = 1024, 1e6
KINDS = {"quantised": (), "exact": ("--binary_q_bits", "0", "--binary_a_bits", "0")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--text", nargs="+", help="texts to take words from")
    source.add_argument("--invented", type=int, help="how many words to invent instead")
    parser.add_argument("--ngrams", type=int, default=1_000_000, help="n-grams that the scorer has at least (1000000)")
    parser.add_argument("--client", help="libdeepspeech.so or libstt.so; without one only ours is measured")
    parser.add_argument("--repeats", type=int, default=5)
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        alphabet = Alphabet.english()
        (folder / "alphabet.txt").write_text("".join(f"{c}\n" for c in alphabet.characters), encoding="utf-8")
        num_words = text_of_ngrams(folder, flags.text or flags.invented, flags.ngrams)
        (clip,) = make_clips(folder / "text.txt", alphabet, clips=1, frames=500)
        np.save(folder / "clip.npy", clip)
        (folder / "clip.tflite").write_bytes(posterior_model(clip, alphabet))
        for kind, options in KINDS.items():
            scorer = build(folder, options)
            counts = Scorer.read(str(scorer)).language_model.counts
            print(
                f"{kind}: {sum(counts):,} n-grams ({', '.join(map(str, counts))}) of {num_words:,} words, "
                f"{scorer.stat().st_size / MB:.1f} MB",
                flush=True,
            )
            measure("ours", open_ours, scorer, (folder / "clip.npy",), flags.repeats)
            if flags.client:
                measure("client", open_client, scorer, (flags.client, folder / "clip.tflite"), flags.repeats)


def text_of_ngrams(folder: Path, source: list[str] | int, least: int) -> int:
    """Write text.txt, with as many words as it takes; returns how many."""
    num_words = FIRST_WORDS
    while True:
        if isinstance(source, int):
            write_invented(folder / "text.txt", source, num_words)
        else:
            write_text(folder / "text.txt", source, num_words)
        if sum(Scorer.read(str(build(folder, ()))).language_model.counts) >= least:
            return num_words
        num_words *= 2


def write_invented(path: Path, vocabulary: int, num_words: int) -> None:
    """Sentences of words of 2 to 10 letters; the word of rank r is r times as rare as the first."""
    rng = np.random.default_rng(0)
    words: dict[str, None] = {}
    while len(words) < vocabulary:
        letters = rng.integers(ord("a"), ord("z") + 1, (vocabulary, 10), np.uint8)
        lengths = rng.integers(2, 11, vocabulary)
        words.update((row[:length].tobytes().decode(), None) for row, length in zip(letters, lengths, strict=True))
    shares = 1 / np.arange(1, vocabulary + 1)
    drawn = rng.choice(np.array(list(words)[:vocabulary]), num_words, p=shares / shares.sum())
    sentences = (
        " ".join(drawn[start : start + WORDS_OF_A_SENTENCE]) for start in range(0, num_words, WORDS_OF_A_SENTENCE)
    )
    path.write_text("".join(f"{sentence}\n" for sentence in sentences), encoding="utf-8")


def build(folder: Path, options: tuple[str, ...]) -> Path:
    package = folder / "my.scorer"
    argv = ["--input_txt", folder / "text.txt", "--alphabet", folder / "alphabet.txt", "--package", package, *options]
    if run("scorer build", list(map(str, argv))):
        sys.exit("build_scorer has failed")
    return package


def measure(who: str, opens, scorer: Path, arguments: tuple, repeats: int) -> None:
    """Print what opening costs; `opens` runs in processes of its own."""
    for state in ("cold", "warm"):
        runs = []
        for _ in range(repeats):
            if state == "cold":
                with open(scorer, "rb") as file:
                    os.fsync(file.fileno())
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                runs.append(pool.submit(opens, str(scorer), *map(str, arguments)).result())
        wall, cpu, *opened, own, of_file = (min(values) for values in zip(*runs, strict=True))
        print(
            f"  {who:<6} {state}: {wall:.3f} s, {cpu:.3f} CPU-s; memory {opened[0]:.1f} MB own, {opened[1]:.1f} MB of "
            f"the file; after 500 frames at beam {BEAM_WIDTH} {own:.1f} and {of_file:.1f} MB",
            flush=True,
        )


def memory() -> np.ndarray:
    """MB that this process has of its own, and of files that it has mapped."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    fields = dict(line.split(":", 1) for line in status.splitlines())
    return np.array([int(fields[name].split()[0]) * KIB / MB for name in ("RssAnon", "RssFile")])


def timed(opens) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    opens()
    return time.perf_counter() - wall, time.process_time() - cpu


def open_ours(path: str, clip: str) -> tuple[float, ...]:
    """Open a scorer and check it against the alphabet, then decode a clip, as the runtime does.

    Returns:
        Seconds, processor seconds; MB own and of the file after opening, and the same after decoding.
    """
    alphabet, probs = Alphabet.english(), np.load(clip)
    load_kernels()
    BeamDecoder(alphabet.characters, width=BEAM_WIDTH).decode(probs)  # the code of the search and its working memory
    before, opened = memory(), []
    times = timed(lambda: opened.append(Scorer.read(path)) or opened[0].check_labels(alphabet.characters))
    after = memory()
    BeamDecoder(alphabet.characters, width=BEAM_WIDTH, scorer=opened[0]).decode(probs)
    return (*times, *(after - before), *(memory() - before))


def open_client(path: str, library: str, model: str) -> tuple[float, ...]:
    """The same with the library of a client, on a model that answers with the clip's probabilities."""
    client = Client(Path(library), "DS" if "deepspeech" in Path(library).name else "STT")
    if client.create(model):
        raise RuntimeError(f"{library} does not load {model}")
    silence = np.zeros(num_samples(500), np.int16)
    client.whole(silence)
    before, failed = memory(), []
    times = timed(lambda: failed.append(client.enable_scorer(path)))
    if failed[0]:
        raise RuntimeError(f"{library} does not load {path}")
    after = memory()
    client.whole(silence)
    return (*times, *(after - before), *(memory() - before))


if __name__ == "__main__":
    main()
