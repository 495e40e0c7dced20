#!/usr/bin/env python
"""CPU time and memory of `scorer build` on a text of any length, beside an installed KenLM.

    python benchmarks/build_scorer.py --text lm-corpus.en.txt --words 5000000 --kenlm_bins kenlm/build/bin

The text is made of the words of other texts: each word is followed by one that follows it there, or, one time in
fifty, by any; so it has the vocabulary and the pairs of a real one, and new longer n-grams as it grows.
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LONGEST_SENTENCE = 40
JUMP = 0.02
KIB = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, nargs="+", help="texts to take words from")
    parser.add_argument("--words", type=int, default=5_000_000, help="length of the text that is made (5000000)")
    parser.add_argument("--kenlm_bins", help="folder of a built KenLM, for comparison")
    parser.add_argument("--arpa_order", type=int, default=5)
    parser.add_argument("--arpa_prune", default="0|0|1")
    flags = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_text(folder / "text.txt", flags.text, flags.words)
        options = ["--arpa_order", str(flags.arpa_order), "--arpa_prune", flags.arpa_prune]
        measure("numpy", folder, options)
        if flags.kenlm_bins:
            measure("KenLM", folder, [*options, "--kenlm_bins", flags.kenlm_bins, "--max_arpa_memory", "2G"])


def write_text(path: Path, sources: list[str], num_words: int) -> None:
    """Write the text that the module's docstring describes."""
    chance = random.Random(1)
    words, followers = [], {}
    for source in sources:
        for line in Path(source).read_text(encoding="utf-8").splitlines():
            sentence = line.split()
            words += sentence
            for first, second in zip(["<", *sentence], [*sentence, ">"], strict=True):
                followers.setdefault(first, []).append(second)
    written = 0
    with open(path, "w", encoding="utf-8") as file:
        while written < num_words:
            sentence, word = [], chance.choice(followers["<"])
            while word != ">" and len(sentence) < LONGEST_SENTENCE:
                sentence.append(word)
                if chance.random() < JUMP:
                    word = chance.choice(words)
                word = chance.choice(followers[word])
            written += len(sentence)
            file.write(" ".join(sentence) + "\n")


def measure(what: str, folder: Path, options: list[str]) -> None:
    """Build a scorer in a process of its own, and print what it took."""
    alphabet, package = folder / "alphabet.txt", folder / "my.scorer"
    alphabet.write_text(" \n" + "".join(f"{chr(code)}\n" for code in range(97, 123)) + "'\n")
    command = [
        sys.executable,
        ROOT / "bin" / "build_scorer",
        "--input_txt",
        folder / "text.txt",
        "--alphabet",
        alphabet,
    ]
    command += ["--package", package, *options]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{what}: build_scorer ended with exit code {process.returncode}")
    print(
        f"{what}: {used.ru_utime + used.ru_stime:.1f} CPU-s, at most {used.ru_maxrss * KIB / 1e9:.2f} GB in one "
        f"process, {package.stat().st_size:,} bytes",
        flush=True,
    )


if __name__ == "__main__":
    main()
