#!/usr/bin/env python3
"""Check that the package without extras imports, is small, and has brought no TensorFlow along. Used by .ci/run.

To be run by the Python of a fresh virtual environment, in a folder that does not have the package itself.
"""

import importlib
import importlib.metadata
import importlib.util
import sys
import sysconfig
from pathlib import Path

# All that works without TensorFlow: data, checks, decoding, checkpoints, export, runtime, flags and checks of training.
MODULES = (
    "api",
    "audio.files",
    "checkpoints.inspection",
    "commands.main",
    "config",
    "data.loader",
    "data.samples",
    "decoding.beam",
    "exporting.folder",
    "exporting.parity",
    "importers.ldc93s1",
    "machine.doctor",
    "models.deepspeech.tflite",
    "reporting.events",
    "runtime",
    "scorer.build",
    "training.memory",
    "training.session",
)
HEAVY = ("tensorflow", "keras", "torch", "tensorboard")
LARGEST_MB = 500


def megabytes(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 1e6


def main() -> int:
    for module in MODULES:
        importlib.import_module(f"deepspeech_training.{module}")
    from deepspeech_training.commands import COMMANDS
    from deepspeech_training.commands.main import module_of

    for command in COMMANDS:
        module_of(command).parser(command)
    heavy = [name for name in HEAVY if name in sys.modules or importlib.util.find_spec(name)]
    if heavy:
        print(f"the package without extras brought along: {', '.join(heavy)}")
        return 1
    site = Path(sysconfig.get_path("purelib"))
    sizes = {folder.name: megabytes(folder) for folder in site.iterdir() if folder.is_dir()}
    sizes = {name: size for name, size in sizes.items() if not name.startswith(("pip", "setuptools"))}
    total = sum(sizes.values())
    largest = ", ".join(f"{name} {sizes[name]:.0f}" for name in sorted(sizes, key=sizes.get, reverse=True)[:5])
    print(", ".join(sorted(f"{d.name} {d.version}" for d in importlib.metadata.distributions())))
    print(f"{len(MODULES)} modules and {len(COMMANDS)} commands import without TensorFlow: {total:.0f} MB, {largest}")
    if total > LARGEST_MB:
        print(f"more than {LARGEST_MB} MB: what came along?")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
