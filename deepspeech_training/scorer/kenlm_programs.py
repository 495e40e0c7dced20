"""The programs of an installed KenLM, for corpora that are too large for numpy: lmplz, filter and build_binary."""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.machine.resources import memory_limit
from deepspeech_training.scorer.kenlm_trie import TrieBits

PROGRAMS = ("lmplz", "filter", "build_binary")


def check_programs(kenlm_bins: str) -> None:
    """See that all programs are there.

    Raises:
        FlagError: one is not, or cannot be run.
    """
    for name in PROGRAMS:
        path = Path(kenlm_bins, name)
        if not os.access(path, os.X_OK) or not path.is_file():
            raise FlagError(
                f"--kenlm_bins {kenlm_bins}: there is no program {name}\n"
                "Name the folder of a built KenLM with lmplz, filter and build_binary, or leave the flag out."
            )


def write_sentences(path: Path, sentences: Iterable[Sequence[str]]) -> Counter[str]:
    """Write sentences for `lmplz`; returns how often each word occurs."""
    counts: Counter[str] = Counter()
    try:
        with open(path, "w", encoding="utf-8") as file:
            for words in sentences:
                counts.update(words)
                file.write(" ".join(words) + "\n")
    except OSError as error:
        raise UserError(f"{path}: cannot write the text for lmplz: {error.strerror}") from error
    return counts


def estimate_and_build(
    kenlm_bins: str,
    folder: Path,
    text_path: Path,
    vocabulary: Sequence[str] | None,
    *,
    order: int,
    prune: Sequence[int],
    memory: str,
    bits: TrieBits,
    console: Console,
) -> tuple[Path, Path]:
    """Estimate with `lmplz`, limit with `filter`, and build with `build_binary`.

    Args:
        folder: where the files go.
        vocabulary: the words to keep; None: all.
        memory: for lmplz, as in "85%" (of the container's memory where that is limited, else of the machine's) or "4G".
    Returns:
        The paths of the ARPA file and of the binary one.
    Raises:
        UserError: a program fails; the message has its last lines.
    """
    arpa_path, limited_path, binary_path = folder / "lm.arpa", folder / "lm_filtered.arpa", folder / "lm.binary"
    command = [
        "--order",
        str(order),
        "--temp_prefix",
        f"{folder}/",
        "--memory",
        _in_container(memory),
        "--text",
        str(text_path),
    ]
    command += ["--arpa", str(arpa_path), "--prune", *map(str, prune)]
    _run(kenlm_bins, "lmplz", [*command, "--discount_fallback"], console)
    if vocabulary is not None:
        names = "\n".join(vocabulary).encode()
        _run(kenlm_bins, "filter", ["single", f"model:{arpa_path}", str(limited_path)], console, given=names)
        arpa_path.unlink()
        arpa_path = limited_path
    command = ["-v", "-T", f"{folder}/"]
    if bits.pointer is not None:
        command += ["-a", str(bits.pointer)]
    if bits.prob:
        command += ["-q", str(bits.prob), "-b", str(bits.backoff)]
    _run(kenlm_bins, "build_binary", [*command, "trie", str(arpa_path), str(binary_path)], console)
    return arpa_path, binary_path


def _in_container(memory: str) -> str:
    """lmplz takes a share of the machine's memory, whatever its container may take."""
    limit = memory_limit()
    if limit is None or not re.fullmatch(r"\d+(\.\d+)?%", memory):
        return memory
    return f"{int(limit * float(memory[:-1]) / 100 / 2**20)}M"


def _run(kenlm_bins: str, name: str, arguments: list[str], console: Console, *, given: bytes = b"") -> None:
    console.info(f"running {name}")
    path = str(Path(kenlm_bins, name))
    try:
        done = subprocess.run([path, *arguments], input=given, capture_output=True, check=False)
    except OSError as error:
        raise UserError(f"{path} cannot be run: {error.strerror}") from error
    if done.returncode:
        last = "\n".join(done.stderr.decode(errors="replace").strip().splitlines()[-5:])
        raise UserError(f"{name} ended with exit code {done.returncode}:\n{last}")
