"""`deepspeech inspect`: what a checkpoint or an export is, where it comes from, whether it is sound."""

import argparse
import json
from pathlib import Path
from typing import Any

from deepspeech_training.checkpoints.inspection import inspect
from deepspeech_training.checkpoints.inspection_lines import lines
from deepspeech_training.console import Console
from deepspeech_training.errors import EXIT_OK, EXIT_RUN
from deepspeech_training.exporting.card import read_parity
from deepspeech_training.runtime.detection import Curve


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        allow_abbrev=False,
        description="Say what a checkpoint or an exported model is, where it comes from, and whether it is sound.",
        epilog="Example: deepspeech inspect persistent-data/checkpoints/first --strict",
    )
    parser.add_argument(
        "path",
        metavar="PATH",
        help="folder of checkpoints, one of its files, an exported model, or a checkpoint of DeepSpeech's own trainer",
    )
    parser.add_argument(
        "--which",
        choices=("auto", "best", "last"),
        default="auto",
        help="which checkpoint of a folder (default auto: the best, without one the last)",
    )
    parser.add_argument("--clip", metavar="FILE", help="a recording for the model to answer to, not a synthetic one")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--strict", action="store_true", help="exit with 1 where the diagnosis is not healthy")
    return parser


def run(flags: argparse.Namespace, console: Console) -> int:
    """Exit code 1 for a fault, with --strict for an unhealthy model too."""
    found = inspect(Path(flags.path), which=flags.which, clip=flags.clip, console=console)
    detection = _detection(Path(flags.path))
    if flags.json:
        values = {**found.as_dict(), **({"detection": detection} if detection else {})}
        print(json.dumps(values, ensure_ascii=False, indent=1, allow_nan=False))
    else:
        print("\n".join([*lines(found), *_detection_lines(detection)]))
    return EXIT_RUN if flags.strict and not found.diagnosis.healthy else EXIT_OK


def _detection(path: Path) -> dict[str, Any] | None:
    """What the parity report of an export of spoken commands says of misses and false alarms."""
    found = read_parity(path if path.is_dir() else path.parent).get("detection")
    return found if isinstance(found, dict) else None


def _detection_lines(detection: dict[str, Any] | None) -> list[str]:
    if detection is None:
        return []
    try:
        curve, threshold = Curve.of_json(detection), float(detection["rule"]["threshold"])
    except (KeyError, TypeError, ValueError):
        return []  # somebody has edited it
    return ["", "In a stream, at its export:", *curve.lines(), curve.sentence(threshold)]
