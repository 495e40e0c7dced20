"""List, filter, sort, export and play the clips of CSVs: `bin/show_data.py train.csv --sort=-seconds --number 20`."""

import argparse
import csv
import heapq
import io
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.console import Console
from deepspeech_training.data.clips import Clip, csv_arguments, read_clips
from deepspeech_training.errors import EXIT_OK, FlagError, UserError

SORTS: dict[str, Callable[[Clip], object]] = {
    "seconds": lambda clip: clip.seconds,
    "pace": lambda clip: clip.pace,
    "characters": lambda clip: len(clip.transcript),
    "transcript": lambda clip: clip.transcript,
    "speaker": lambda clip: clip.speaker,
}
PLAYERS = (("play", "-q"), ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"), ("aplay", "-q"), ("afplay",))


def choose(clips: Iterable[Clip], flags: argparse.Namespace) -> Iterator[Clip]:
    """The clips that the flags ask for, in the order that they ask for.

    With --number only as many are kept in memory.
    """
    chosen = filter(_filter(flags), clips)
    if not flags.sort:
        for count, clip in enumerate(chosen):
            if flags.number and count >= flags.number:
                return
            yield clip
        return
    key = SORTS[flags.sort.lstrip("-")]
    descending = flags.sort.startswith("-")
    if flags.number:
        yield from (heapq.nlargest if descending else heapq.nsmallest)(flags.number, chosen, key=key)
    else:
        yield from sorted(chosen, key=key, reverse=descending)


def _filter(flags: argparse.Namespace) -> Callable[[Clip], bool]:
    try:
        pattern = re.compile(flags.match) if flags.match else None
    except re.error as error:
        raise FlagError(f"--match {flags.match}: not a regular expression: {error}") from error

    def matches(clip: Clip) -> bool:
        return (
            (pattern is None or pattern.search(clip.transcript) is not None)
            and (not flags.speaker or clip.speaker.startswith(flags.speaker))
            and clip.seconds >= flags.min_seconds
            and (not flags.max_seconds or clip.seconds <= flags.max_seconds)
            and (not flags.faults or bool(clip.fault))
        )

    return matches


def line(clip: Clip) -> str:
    """What is printed of a clip; control characters and line ends are escaped."""
    transcript = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in clip.transcript)
    what = f"FAULT {clip.fault}" if clip.fault else f"{clip.seconds:7.2f} s {clip.pace:5.1f} char/s"
    return (
        f"{os.path.basename(clip.csv_path)}:{clip.row:<7} {what}  {clip.speaker[:12]:<12}  {transcript}  [{clip.path}]"
    )


def export(clips: Sequence[Clip], path: Path) -> None:
    """Write clips as a CSV that trains; its paths count from its own folder."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["wav_filename", "wav_filesize", "transcript", "client_id"])
    for clip in clips:
        if clip.info is not None:
            name = os.path.relpath(clip.path, os.path.abspath(path.parent))
            writer.writerow([name, os.path.getsize(clip.path), clip.transcript, clip.speaker])
    write_atomically(path, [text.getvalue().encode("utf-8")])


def copy(clips: Sequence[Clip], folder: Path) -> None:
    """Copy the audio into one folder, numbered, with a list of the transcripts."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, clip in enumerate((clip for clip in clips if clip.info is not None), start=1):
        name = f"{number:04d}-{os.path.basename(clip.path)}"
        shutil.copyfile(clip.path, folder / name)
        lines.append(f"{name}\t{clip.transcript}\n")
    write_atomically(folder / "transcripts.tsv", ["".join(lines).encode("utf-8")])


def play(clips: Iterable[Clip], console: Console) -> None:
    """Play clips one after the other.

    Raises:
        UserError: no player is installed, or it fails.
    """
    player = next((list(command) for command in PLAYERS if shutil.which(command[0])), None)
    if player is None:
        raise UserError(
            f"--play needs one of the programs {', '.join(command[0] for command in PLAYERS)}\n"
            "Install sox, or copy the clips with --copy_to and listen to them elsewhere."
        )
    for clip in clips:
        if clip.info is None:
            continue
        console.info(line(clip))
        done = subprocess.run([*player, os.path.abspath(clip.path)], check=False)
        if done.returncode:
            raise UserError(f"{player[0]} could not play {clip.path} (exit code {done.returncode})")


def main(argv: Sequence[str] | None = None) -> int:
    """The command `bin/show_data.py`."""
    parser = argparse.ArgumentParser(
        prog="show_data.py",
        description="List, filter, sort, export and play clips: bin/show_data.py train.csv --sort=-seconds --number 20",
        allow_abbrev=False,
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
    flags = parser.parse_args(argv)
    console = Console()
    try:
        if flags.sort.lstrip("-") not in ("", *SORTS):
            raise FlagError(f"--sort {flags.sort}: it must be one of {', '.join(SORTS)}, or one of them after a minus")
        if flags.number < 0:
            raise FlagError(f"--number {flags.number}: it must be 0 or more")
        clips = choose(read_clips(csv_arguments(flags.csvs, ""), console), flags)
        if flags.export or flags.copy_to or flags.play:
            clips = list(clips)
        for clip in clips:
            print(line(clip))
        if flags.export:
            export(clips, Path(flags.export))
        if flags.copy_to:
            copy(clips, Path(flags.copy_to))
        if flags.play:
            play(clips, console)
    except UserError as error:
        console.error(str(error))
        return error.exit_code
    except OSError as error:
        if isinstance(error, BrokenPipeError):  # of `| head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            return EXIT_OK
        console.error(f"{error.filename}: {error.strerror}")
        return 1
    except KeyboardInterrupt:
        return 130
    return EXIT_OK
