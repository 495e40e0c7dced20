"""`deepspeech augment`: clips of a CSV before and after augmentation, with pictures and costs."""

import argparse
import os
from pathlib import Path

from deepspeech_training.augment.augmenter import Augmenter
from deepspeech_training.augment.catalogue import AUGMENTATIONS, parse_augmentations
from deepspeech_training.augment.pictures import how_many_held_back, make_folder, write_preview
from deepspeech_training.augment.preview import costs, geometry_at, preview, read_clips
from deepspeech_training.console import Console
from deepspeech_training.errors import FlagError
from deepspeech_training.training.backends import BACKENDS, DEFAULT_BACKEND

DEFAULT_OUTPUT = "augmented"
MOST_NAMED = 20


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Write clips of a CSV before and after augmentation, a sheet of their spectrograms (sheet.png) "
        "and a page with both (index.html).",
        allow_abbrev=False,
        epilog="Example: deepspeech augment train.csv --augment 'gain[db=-7.5~17.5]' --augment 'noise[snr=30~20]' "
        "--output /tmp/augmented",
    )
    parser.add_argument("csv", metavar="CSV", help="clips, with wav_filename and transcript")
    parser.add_argument("--augment", action="append", default=[], metavar="NAME[...]", help="as in training")
    parser.add_argument("--clock", type=float, default=0.5, help="moment of the run, from 0 to 1 (default: 0.5)")
    parser.add_argument("--number", type=int, default=8, help="clips, spread evenly over the CSV (default: 8)")
    parser.add_argument(
        "--output",
        default=DEFAULT_OUTPUT,
        metavar="DIR",
        help="folder to write into; made if need be, and replaced only what this program wrote "
        f"(default: {DEFAULT_OUTPUT}, in the working folder)",
    )
    parser.add_argument("--random_seed", type=int, default=4568, help="another seed draws other values (default: 4568)")
    parser.add_argument("--audio_sample_rate", type=int, default=16000, metavar="HZ", help="(default: 16000)")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before TensorFlow is imported
    augmentations = parse_augmentations(flags.augment)
    if not augmentations:
        raise FlagError(f"--augment is missing; there are {', '.join(AUGMENTATIONS)}")
    if not 0 <= flags.clock <= 1:
        raise FlagError(f"--clock {flags.clock:g}: must be at least 0 and at most 1")
    if flags.number < 1:
        raise FlagError(f"--number {flags.number}: must be at least 1")
    geometry = geometry_at(flags.audio_sample_rate)
    augmenter = Augmenter(augmentations, geometry, seed=flags.random_seed)
    clips = read_clips(flags.csv, flags.number, geometry, console)
    folder = Path(flags.output)
    make_folder(folder, len(clips))
    with BACKENDS[DEFAULT_BACKEND].loading():
        import deepspeech_training.augment.spectrogram
        import deepspeech_training.features.mfcc_keras  # noqa: F401, both take seconds, for Keras
    previews = []
    with console.progress("Augmenting", total=len(clips), unit="clips") as progress:
        for name, transcript, clip in clips:
            previews.append(preview(name, transcript, clip, augmenter, geometry, epoch=0, clock=flags.clock))
            progress.update()
    measured = costs(augmentations, [clip for _, _, clip in clips], geometry, clock=flags.clock)
    title = f"{' '.join(map(str, augmentations))} at clock {flags.clock:g}"
    missing = write_preview(folder, previews, measured, geometry, title=title)
    if missing:
        console.warn(
            f"sheet.png has boxes for {' '.join(missing[:MOST_NAMED])}{' ...' * (len(missing) > MOST_NAMED)}, which no "
            "installed font has; index.html shows what the browser's fonts have"
        )
    held = [f"{p.name}: {p.held_back}" for p in previews if p.held_back]
    if held:
        more = [f"and {len(held) - MOST_NAMED} more, see index.html"] if len(held) > MOST_NAMED else []
        console.warn("\n".join([how_many_held_back(previews) + ":", *held[:MOST_NAMED], *more]))
    for cost in measured:
        print(f"{cost.milliseconds:9.2f} ms  {cost.augmentation}")
    print(folder / "index.html")
