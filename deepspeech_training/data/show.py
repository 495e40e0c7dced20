"""Clips of CSVs listed, filtered, sorted, exported and played."""

import csv
import heapq
import io
import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio.errors import AudioError
from deepspeech_training.audio.opus_packets import SUFFIX as OPUS_PACKETS
from deepspeech_training.audio.shards import as_file, read_bytes, size_of, stretch_of
from deepspeech_training.console import Console
from deepspeech_training.data.clips import Clip
from deepspeech_training.errors import FlagError, UserError

SORTS: dict[str, Callable[[Clip], Any]] = {
    "seconds": lambda clip: clip.seconds,
    "pace": lambda clip: clip.pace,
    "characters": lambda clip: len(clip.transcript),
    "transcript": lambda clip: clip.transcript,
    "speaker": lambda clip: clip.speaker,
}
PLAYERS = (("play", "-q"), ("ffplay", "-nodisp", "-autoexit", "-loglevel", "error"), ("aplay", "-q"), ("afplay",))


@dataclass(frozen=True)
class Selection:
    """Which clips, in which order.

    Args:
        match: a regular expression that is found in the transcript.
        speaker: what the speaker's name begins with.
        min_seconds, max_seconds: their length; 0: any.
        faults: only rows that cannot be used.
        sort: one of `SORTS`, after a minus from the other end; "": as they come.
        number: only the first so many; 0: all.
    """

    match: str = ""
    speaker: str = ""
    min_seconds: float = 0
    max_seconds: float = 0
    faults: bool = False
    sort: str = ""
    number: int = 0

    def __post_init__(self):
        if self.sort.lstrip("-") not in ("", *SORTS):
            raise FlagError(f"--sort {self.sort}: it must be one of {', '.join(SORTS)}, or one of them after a minus")
        if self.number < 0:
            raise FlagError(f"--number {self.number}: it must be 0 or more")
        try:
            re.compile(self.match)
        except re.error as error:
            raise FlagError(f"--match {self.match}: not a regular expression: {error}") from error

    def takes(self, clip: Clip) -> bool:
        return (
            (not self.match or re.search(self.match, clip.transcript) is not None)
            and (not self.speaker or clip.speaker.startswith(self.speaker))
            and clip.seconds >= self.min_seconds
            and (not self.max_seconds or clip.seconds <= self.max_seconds)
            and (not self.faults or bool(clip.fault))
        )


def choose(clips: Iterable[Clip], selection: Selection) -> Iterator[Clip]:
    """The clips that are asked for, in the order that is; with a `number` only as many are kept in memory."""
    chosen = filter(selection.takes, clips)
    if not selection.sort:
        yield from itertools.islice(chosen, selection.number or None)
        return
    key, descending = SORTS[selection.sort.lstrip("-")], selection.sort.startswith("-")
    if selection.number:
        yield from (heapq.nlargest if descending else heapq.nsmallest)(selection.number, chosen, key=key)
    else:
        yield from sorted(chosen, key=key, reverse=descending)


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
            writer.writerow([name, size_of(clip.path), clip.transcript, clip.speaker])
    write_atomically(path, [text.getvalue().encode("utf-8")])


def copy(clips: Sequence[Clip], folder: Path) -> None:
    """Copy the audio into one folder, numbered, with a list of the transcripts.

    Raises:
        AudioError: a clip of a shard is damaged.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for number, clip in enumerate((clip for clip in clips if clip.info is not None), start=1):
        name = f"{number:04d}-{os.path.basename(clip.path)}"
        if stretch_of(clip.path):
            name = name.removesuffix(OPUS_PACKETS) + (".opus" if name.endswith(OPUS_PACKETS) else "")
            (folder / name).write_bytes(read_bytes(clip.path))
        else:
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
        with ExitStack() as resources:
            try:
                path = as_file(os.path.abspath(clip.path), resources)
            except AudioError as error:
                raise UserError(f"{clip.path}: {error}") from error
            done = subprocess.run([*player, path], check=False)
        if done.returncode:
            raise UserError(f"{player[0]} could not play {clip.path} (exit code {done.returncode})")
