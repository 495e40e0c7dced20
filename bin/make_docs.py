#!/usr/bin/env python3
"""Write the pages and pictures of docs/ that are generated; with --check, say which are not fresh."""

import argparse
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from deepspeech_training.augment.catalogue import AUGMENTATIONS, augmentations_markdown
from deepspeech_training.config.help import flags_markdown

PAGES: dict[str, Callable[[], str]] = {"flags.md": flags_markdown, "augmentations.md": augmentations_markdown}
PICTURES = {"clip": "", **{name: f"{name}[{kind.shown}]" for name, kind in AUGMENTATIONS.items()}}
PICTURES_VERSION = 1  # one more, and all are drawn anew
DOCS_DIR = Path(__file__).resolve().parents[1] / "docs"


def main(argv: Sequence[str], *, docs_dir: Path = DOCS_DIR) -> int:
    """Write or check the pages; returns the exit code."""
    parser = argparse.ArgumentParser(prog="make_docs.py", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is not fresh")
    check = parser.parse_args(argv).check
    exit_code = 0
    for name, page in PAGES.items():
        path, text = docs_dir / name, page()
        if not check:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text(encoding="utf-8") != text:
            print(f"docs/{name} is not fresh: run python bin/make_docs.py", file=sys.stderr)
            exit_code = 1
    stale = [name for name in PICTURES if not is_fresh(docs_dir / "augmentations" / f"{name}.png", name)]
    if check:
        for name in stale:
            print(f"docs/augmentations/{name}.png is not fresh: run python bin/make_docs.py", file=sys.stderr)
        return 1 if stale else exit_code
    if stale:
        draw(stale, docs_dir / "augmentations")
    return exit_code


def fingerprint(name: str) -> str:
    """Says what a picture shows; it is kept in the file, whose bytes depend on the version of the drawing library."""
    return hashlib.sha256(f"{PICTURES_VERSION} {PICTURES[name]}".encode()).hexdigest()[:16]


def is_fresh(path: Path, name: str) -> bool:
    return path.is_file() and fingerprint(name).encode() in path.read_bytes()


def draw(names: Sequence[str], folder: Path) -> None:
    """Draw what the network sees of the package's own clip, augmented; imports Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import numpy as np
    import soundfile

    from deepspeech_training.audio.synthetic_speech import smoke_clip, synthesize
    from deepspeech_training.augment.augmenter import Augmenter
    from deepspeech_training.augment.catalogue import parse_augmentations
    from deepspeech_training.commands.augment import seen, strip
    from deepspeech_training.data.loader import Clip
    from deepspeech_training.features.geometry import FeatureGeometry

    folder.mkdir(exist_ok=True)
    geometry = FeatureGeometry(win_step_ms=10, n_mfcc=40)  # finer than in training
    clip = Clip(smoke_clip()[:36000].astype(np.float32), np.zeros(1, np.int32))
    high = float(seen(clip, geometry).max())
    with tempfile.TemporaryDirectory() as sources:
        for name in ("recordings", "rooms"):
            (Path(sources) / name).mkdir()
        soundfile.write(f"{sources}/recordings/other.wav", synthesize("do not ask me to carry it", seed=5), 16000)
        seconds = np.arange(12000) / 16000
        room = np.random.default_rng(1).standard_normal(len(seconds)) * 10 ** (-3 * seconds / 0.7)  # T60 of 0.7 s
        room[0] = 4.0
        soundfile.write(f"{sources}/rooms/room.wav", room / 8, 16000, subtype="FLOAT")
        for name in names:
            text = PICTURES[name].replace("source=", f"source={sources}/")
            augmenter = Augmenter(parse_augmentations([text] if text else []), geometry, seed=3)
            augmented = augmenter("clip", clip, epoch=0, clock=1.0)
            panel = seen(augmented, geometry, augmenter.in_the_step)
            shape = (2 * len(panel) / 100, 0.8)
            (folder / f"{name}.png").write_bytes(strip(panel, high=high, shape=shape, description=fingerprint(name)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
