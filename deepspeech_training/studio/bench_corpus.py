"""The accepted pieces of a bench -> a corpus. A saved corpus is kept as it was; what is saved next is a new version."""

import csv
import io
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio.files import AudioInfo
from deepspeech_training.data.folder import SETS, VoiceClip, VoiceFolder, split
from deepspeech_training.data.folder_texts import Said
from deepspeech_training.data.text import Cleaner
from deepspeech_training.studio.bench import VERSIONS_DIR, BenchFolder
from deepspeech_training.studio.corpus import CLIPS_DIR, SAMPLE_RATE, made_clip
from deepspeech_training.studio.heard import Heard
from deepspeech_training.studio.project import Refused

COLUMNS = ("wav_filename", "wav_filesize", "transcript", "recording", "original", "heard", "confidence")


@dataclass(frozen=True)
class SavedBench:
    """A corpus that was written.

    Args:
        version: of its CSVs; the number of the last one where nothing has changed since.
        sets: clips of each set.
    """

    folder: Path
    version: int
    sets: dict[str, int]


def save(bench: BenchFolder, folder: Path) -> SavedBench:
    """Write what is accepted now; clips that are there stay, so that a training that reads them is not disturbed.

    Raises:
        Refused: nothing is accepted.
        UserError: it cannot be written; the CSVs that were there are as they were.
    """
    accepted = [piece for piece in bench.pieces() if bench.verdict(piece).state == "accepted"]
    if not accepted:
        raise Refused("nothing is accepted yet")
    (folder / CLIPS_DIR).mkdir(parents=True, exist_ok=True)
    clean = Cleaner(language=bench.bench.language)
    pieces = {_clip(bench, piece, folder): piece for piece in accepted}
    voices = tuple(_voice(path, piece, clean(bench.said(piece))) for path, piece in sorted(pieces.items()))
    parts = {name: clips for name, clips in split(VoiceFolder(folder, voices)).items() if clips}
    csvs = {name: _csv(bench, clips, pieces).encode() for name, clips in parts.items()}
    version = _keep(bench, csvs)
    # The sets for tests first: whoever looks in between finds no train.csv, or the one before.
    for name in reversed(SETS):
        if name in csvs:
            write_atomically(folder / f"{name}.csv", [csvs[name]])
        else:
            (folder / f"{name}.csv").unlink(missing_ok=True)
    return SavedBench(folder, version, {name: len(clips) for name, clips in parts.items()})


def forget(bench: BenchFolder, folder: Path, recording: str) -> None:
    """Delete the clips of a recording that is no longer on a bench, and every version of the CSVs that may name it.

    Raises:
        OSError, UserError: something cannot be deleted or written.
    """
    if (bench.folder / VERSIONS_DIR).is_dir():
        shutil.rmtree(bench.folder / VERSIONS_DIR)
    if not folder.is_dir():
        return
    if any(bench.verdict(piece).state == "accepted" for piece in bench.pieces()):
        save(bench, folder)
    else:
        for name in SETS:
            (folder / f"{name}.csv").unlink(missing_ok=True)
    for path in (folder / CLIPS_DIR).glob(f"{recording}-*.wav"):
        path.unlink()


def _keep(bench: BenchFolder, csvs: dict[str, bytes]) -> int:
    """Write the CSVs as the next version, unless they are those of the last one; -> its number."""
    versions = bench.folder / VERSIONS_DIR
    last = max((int(path.name) for path in versions.glob("[0-9]*")), default=0)
    before = {path.stem: path.read_bytes() for path in (versions / f"{last:04}").glob("*.csv")}
    if csvs == before:
        return last
    folder = versions / f"{last + 1:04}"
    folder.mkdir(parents=True)
    for name, content in csvs.items():
        write_atomically(folder / f"{name}.csv", [content])
    return last + 1


def _clip(bench: BenchFolder, piece: Heard, folder: Path) -> Path:
    """The clip of a piece, which is made where it is not there."""
    return made_clip(folder / CLIPS_DIR / f"{piece.id}.wav", bench.sound_of(piece))


def _voice(path: Path, piece: Heard, transcript: str) -> VoiceClip:
    """A clip for `split`, which keeps those of a recording in one set where there are five recordings or more."""
    info = AudioInfo(round((piece.end_s - piece.start_s) * SAMPLE_RATE), SAMPLE_RATE, 1)
    return VoiceClip(path, path.stat().st_size, info, said=Said(transcript, path, 0, "studio", piece.recording))


def _csv(bench: BenchFolder, clips: Sequence[VoiceClip], pieces: dict[Path, Heard]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip in clips:
        piece = pieces[clip.path]
        name = f"{CLIPS_DIR}/{clip.path.name}"
        facts = (piece.recording, bench.said(piece), piece.text, f"{piece.confidence:.3f}")
        writer.writerow((name, clip.size, clip.transcript, *facts))
    return text.getvalue()
