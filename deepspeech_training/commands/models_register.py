"""`deepspeech models register`: an export becomes a version of the registry, and is promoted unless it is worse."""

import argparse
from pathlib import Path

from deepspeech_training.commands.models_options import add_test_options, models_parser, registry_of, test_files_of
from deepspeech_training.console import Console
from deepspeech_training.registry.register import register


def parser(prog: str) -> argparse.ArgumentParser:
    parser = models_parser(
        prog,
        "Register an export as the next version of a model. It is promoted unless it makes more word errors on the "
        "test set than the version that is.",
        "exports/en-small --test_files test.csv --checkpoint_dir persistent-data/checkpoints/en",
    )
    parser.add_argument("export_dir", metavar="EXPORT_DIR", help="the folder of an export (--export_dir)")
    parser.add_argument("--name", metavar="NAME", help="of the model (default: the name of the folder)")
    parser.add_argument(
        "--scorer", metavar="FILE", help="the .scorer that it is decoded with (default: one in the folder)"
    )
    parser.add_argument(
        "--checkpoint_dir",
        metavar="DIR",
        help="where the exported checkpoint is now, for data, flags and diagnosis (default: where it was)",
    )
    parser.add_argument(
        "--promote",
        choices=("better", "always", "never"),
        default="better",
        help="have it served from now on (default better: unless it is worse)",
    )
    add_test_options(parser, "test sets to measure it on, and to compare it with the promoted version on")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    done = register(
        registry_of(flags),
        Path(flags.export_dir),
        name=flags.name,
        scorer=Path(flags.scorer) if flags.scorer else None,
        test_files=test_files_of(flags),
        checkpoint_dir=Path(flags.checkpoint_dir) if flags.checkpoint_dir else None,
        promote=flags.promote,
        processes=flags.proc,
        console=console,
    )
    if not done.is_new:
        console.info(f"These files are {done.version} already")
    console.say(
        1 if done.promoted else 2,
        f"{done.version} is {'promoted' if done.promoted else 'registered, not promoted'}: {done.why}",
    )
    if not done.promoted:
        console.info(f"All the same: deepspeech models promote {done.version}")
    print(done.version)
