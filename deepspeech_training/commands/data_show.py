"""`deepspeech data show`: list, filter, sort, export and play the clips of CSVs."""

import argparse
from collections.abc import Iterable
from pathlib import Path

from deepspeech_training.audio.errors import AudioError
from deepspeech_training.console import Console
from deepspeech_training.data.clips import Clip, csv_arguments, read_clips
from deepspeech_training.data.show import SORTS, Selection, choose, copy, export, line, play
from deepspeech_training.errors import UserError


def parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="List, filter, sort, export and play clips.",
        allow_abbrev=False,
        epilog="Example: deepspeech data show train.csv --sort=-seconds --number 20",
    )
    parser.add_argument("csvs", nargs="+", metavar="CSV")
    parser.add_argument("--match", default="", metavar="REGEX", help="only transcripts in which this is found")
    parser.add_argument("--speaker", default="", metavar="ID", help="only speakers whose name starts so")
    parser.add_argument("--min_seconds", type=float, default=0, metavar="S", help="only clips as long")
    parser.add_argument("--max_seconds", type=float, default=0, metavar="S", help="only clips no longer; 0: any")
    parser.add_argument("--faults", action="store_true", help="only rows whose audio cannot be used")
    parser.add_argument(
        "--sort", default="", metavar="BY", help=f"{', '.join(SORTS)}; from the other end with a minus: --sort=-seconds"
    )
    parser.add_argument("--number", type=int, default=0, metavar="N", help="only the first N; 0: all")
    parser.add_argument("--export", default="", metavar="FILE.csv", help="write them as a CSV that trains")
    parser.add_argument("--copy_to", default="", metavar="DIR", help="copy the audio there, with a list of transcripts")
    parser.add_argument("--play", action="store_true", help="play them (sox, ffplay, aplay or afplay)")
    return parser


def run(flags: argparse.Namespace, console: Console) -> None:
    selection = Selection(
        flags.match, flags.speaker, flags.min_seconds, flags.max_seconds, flags.faults, flags.sort, flags.number
    )
    clips: Iterable[Clip] = choose(read_clips(csv_arguments(flags.csvs, ""), console), selection)
    kept: list[Clip] = []
    if flags.export or flags.copy_to or flags.play:
        clips = kept = list(clips)
    for clip in clips:
        print(line(clip))
    try:
        if flags.export:
            export(kept, Path(flags.export))
        if flags.copy_to:
            copy(kept, Path(flags.copy_to))
    except OSError as error:
        raise UserError(f"{error.filename}: {error.strerror}") from error
    except AudioError as error:
        raise UserError(str(error)) from error
    if flags.play:
        play(clips, console)
