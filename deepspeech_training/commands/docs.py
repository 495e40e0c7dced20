"""`deepspeech docs`: the pages and pictures of docs/ that are generated, in a checkout of the project."""

import argparse
import hashlib
import os
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from deepspeech_training.augment.catalogue import AUGMENTATIONS, augmentations_markdown
from deepspeech_training.commands.reference import commands_markdown
from deepspeech_training.config.help import flags_markdown
from deepspeech_training.console import Console
from deepspeech_training.errors import EXIT_OK, EXIT_RUN, UserError

PAGES: dict[str, Callable[[], str]] = {
    "flags.md": flags_markdown,
    "augmentations.md": augmentations_markdown,
    "cli.md": commands_markdown,
}
PICTURES = {"clip": "", **{name: f"{name}[{kind.shown}]" for name, kind in AUGMENTATIONS.items()}}
PICTURES_VERSION = 1  # raise it to redraw all
DOCS_DIR = Path(__file__).resolve().parents[2] / "docs"


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        description="Write the pages and pictures of docs/ that are generated from the code.",
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 if a page is not fresh")
    parser.add_argument(
        "--docs_dir", metavar="DIR", default=str(DOCS_DIR), help="the folder docs/ of a checkout (default: %(default)s)"
    )
    return parser


def run(flags: argparse.Namespace, console: Console) -> int:
    """Exit code 1 if --check finds a page that is not fresh."""
    folder = Path(flags.docs_dir)
    if not folder.is_dir():
        raise UserError(f"{folder}: there is no such folder\nIn a checkout of the project: --docs_dir docs")
    pages = {name: page() for name, page in PAGES.items()}
    stale = [name for name, text in pages.items() if _read(folder / name) != text.encode()]
    faded = [name for name in PICTURES if fingerprint(name).encode() not in _read(_picture(folder, name))]
    if flags.check:
        for name in [*stale, *(f"augmentations/{name}.png" for name in faded)]:
            console.error(f"docs/{name} is not fresh: run bin/make_docs.py (`deepspeech docs`)")
        return EXIT_RUN if stale or faded else EXIT_OK
    for name in stale:
        (folder / name).write_text(pages[name], encoding="utf-8")
    if faded:
        draw(faded, folder)
    return EXIT_OK


def _read(path: Path) -> bytes:
    return path.read_bytes() if path.is_file() else b""


def _picture(folder: Path, name: str) -> Path:
    return folder / "augmentations" / f"{name}.png"


def fingerprint(name: str) -> str:
    """Says what a picture shows; it is kept in the file, whose bytes depend on the version of the drawing library."""
    return hashlib.sha256(f"{PICTURES_VERSION} {PICTURES[name]}".encode()).hexdigest()[:16]


def draw(names: Sequence[str], folder: Path) -> None:
    """Draw what the network sees of the package's own clip, augmented; imports Keras."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    import numpy as np
    import soundfile

    from deepspeech_training.audio.synthetic_speech import smoke_clip, synthesize
    from deepspeech_training.augment.augmenter import Augmenter
    from deepspeech_training.augment.catalogue import parse_augmentations
    from deepspeech_training.augment.pictures import strip
    from deepspeech_training.augment.preview import Clip, seen
    from deepspeech_training.features.geometry import FeatureGeometry

    (folder / "augmentations").mkdir(exist_ok=True)
    geometry = FeatureGeometry(win_step_ms=10, n_mfcc=40)  # finer than in training
    clip = Clip(smoke_clip()[:36000].astype(np.float32), needed_frames=1)
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
            augmented = clip.augmented("clip", augmenter, epoch=0, clock=1.0)
            panel = seen(augmented, geometry, augmenter.in_the_step)
            picture = strip(panel, high=high, shape=(2 * len(panel) / 100, 0.8), description=fingerprint(name))
            _picture(folder, name).write_bytes(picture)
