"""A folder of recordings with transcripts -> CSVs to train on (--voice_data_dir), or a report (--check_voice_data).

Transcripts are taken from CSVs with the columns wav_filename and transcript; from files *.trans.txt with a name and a
text on each line, as LibriSpeech has; from metadata.csv with name|text, as LJSpeech has; from transcripts.tsv or .txt
with a name, a tab and a text; and from a text file of the same name beside a recording (one.wav, one.txt).
"""

import csv
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio.files import AudioError, AudioInfo, read_audio_info
from deepspeech_training.audio.formats import EXAMPLES, is_audio_name
from deepspeech_training.console import Console
from deepspeech_training.data.samples import read_rows
from deepspeech_training.data.text import Cleaner
from deepspeech_training.errors import UserError

SETS = ("train", "dev", "test")
SHARE = 0.1  # of the clips, for dev and for test
FEWEST_TO_SPLIT = 20  # clips: with fewer all are trained on
FEWEST_SPEAKERS = 5  # folders, to divide by them: no speaker in two sets
WORKERS = 8
FAULTS_SHOWN = 10
MAX_TEXT_BYTES = 1 << 28


@dataclass(frozen=True)
class VoiceClip:
    """A recording: `info` is None where it cannot be read, and `fault` says why; not every one has a transcript."""

    path: Path
    size: int
    info: AudioInfo | None
    fault: str
    transcript: str | None
    transcript_from: str = ""

    @property
    def duration_s(self) -> float:
        return self.info.num_frames / self.info.sample_rate if self.info else 0.0

    @property
    def usable(self) -> bool:
        return self.info is not None and bool(self.transcript)


@dataclass(frozen=True)
class VoiceFolder:
    """What a folder has: its recordings in the order of their paths, and its CSVs by set ("train", "dev", "test")."""

    folder: Path
    clips: tuple[VoiceClip, ...]
    csvs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    texts: tuple[Path, ...] = ()

    @property
    def usable(self) -> list[VoiceClip]:
        return [clip for clip in self.clips if clip.usable]


def has_audio(folder: Path) -> bool:
    """Whether there is any recording below a folder."""
    return any(is_audio_name(path) for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise UserError(f"--voice_data_dir {folder}: no such folder")
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in sorted(names) if not name.startswith("."))


def scan(folder: Path, console: Console) -> VoiceFolder:
    """Look at every file below a folder.

    Raises:
        UserError: there is no such folder.
    """
    files = list(_files(folder))
    audio = [path for path in files if is_audio_name(path)]
    csvs, transcripts = _transcripts(files)
    clips = []
    with (
        ThreadPoolExecutor(WORKERS) as pool,
        console.progress("Looking at recordings", total=len(audio), unit="files") as progress,
    ):
        for path, (info, fault) in zip(audio, pool.map(_info, audio), strict=True):
            text, where = transcripts.get(str(path), (None, ""))
            clips.append(VoiceClip(path, path.stat().st_size if path.exists() else 0, info, fault, text, where))
            progress.update()
    sets = {name: tuple(str(path) for path in csvs if name in _words(path.stem)) for name in SETS}
    own = {path for path in files if path.suffix == ".txt"} - {p.with_suffix(".txt") for p in audio}
    return VoiceFolder(folder, tuple(clips), sets if sets["train"] else {}, tuple(sorted(own)))


def _words(stem: str) -> list[str]:
    return re.split(r"[^a-z]+", stem.lower())


def _info(path: Path) -> tuple[AudioInfo | None, str]:
    try:
        return read_audio_info(str(path)), ""
    except AudioError as error:
        advice = " (convert it: ffmpeg -i x.m4a x.wav)" if path.suffix.lower() == ".m4a" else ""
        return None, f"{error.reason}{advice}"


def _transcripts(files: Sequence[Path]) -> tuple[list[Path], dict[str, tuple[str, str]]]:
    """The CSVs of DeepSpeech's kind, and the transcript of each recording by its path, with the kind of its source."""
    csvs: list[Path] = []
    found: dict[str, tuple[str, str]] = {}
    audio = [path for path in files if is_audio_name(path)]
    by_stem: dict[tuple[Path, str], Path] = {(path.parent, path.stem): path for path in audio}
    below: dict[str, list[Path]] = {}
    for path in audio:
        below.setdefault(path.stem, []).append(path)
    for path in files:
        if path.suffix == ".csv" and _is_deepspeech_csv(path):
            csvs.append(path)
            for row in read_rows(path):
                place = os.path.normpath(path.parent / row.wav_filename)
                if row.fault is None:
                    found.setdefault(place, (row.transcript, "CSV"))
        elif path.name.endswith(".trans.txt"):
            for name, text in _named_lines(path, " "):
                if (path.parent, name) in by_stem:
                    found.setdefault(str(by_stem[path.parent, name]), (text, "*.trans.txt"))
        elif path.name in ("metadata.csv", "transcripts.tsv", "transcripts.txt"):
            for name, text in _named_lines(path, "|" if path.suffix == ".csv" else "\t"):
                here = [clip for clip in below.get(Path(name).stem, ()) if path.parent in clip.parents]
                for clip in here:
                    found.setdefault(str(clip), (text, path.name))
    for path in audio:
        text_path = path.with_suffix(".txt")
        if str(path) not in found and text_path.is_file():
            found[str(path)] = (" ".join(_text(text_path).split()), "text files")
    return csvs, found


def _is_deepspeech_csv(path: Path) -> bool:
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            header = file.readline(1 << 16)
    except OSError:
        return False
    return {"wav_filename", "transcript"} <= {name.strip().strip('"') for name in header.split(",")}


def _named_lines(path: Path, separator: str) -> Iterator[tuple[str, str]]:
    for line in _text(path).splitlines():
        name, _, rest = line.strip().partition(separator)
        text = rest.rsplit(separator, 1)[-1] if separator == "|" else rest  # LJSpeech: name|as written|as spoken
        if name and text.strip():
            yield name.strip(), " ".join(text.split())


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise UserError(f"{path}: too large to be transcripts")
        return path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error


# --- the report --------------------------------------------------------------------------------------------------


def missing(found: VoiceFolder, alphabet: Alphabet | ByteAlphabet) -> list[str]:
    """What is missing to train; empty where nothing is."""
    if not found.clips:
        return [f"there are no recordings ({EXAMPLES}) below {found.folder}"]
    if not any(clip.info for clip in found.clips):
        return ["not one of the recordings can be read"]
    if not found.usable:
        return ["no recording has a transcript: put one.txt beside one.wav, or give a CSV with wav_filename,transcript"]
    clean = Cleaner(alphabet)
    characters = Counter(c for clip in found.usable for c in alphabet.missing(clean(clip.transcript)))
    unknown = [repr(c) for c, _ in characters.most_common()]
    if unknown:
        return [
            f"transcripts have characters that the alphabet lacks: {' '.join(unknown[:20])}; give an alphabet with "
            "--alphabet_config_path, or --on_bad_row drop to leave those clips out"
        ]
    return []


def report(found: VoiceFolder, alphabet: Alphabet | ByteAlphabet) -> Iterator[str]:
    """What --check_voice_data prints."""
    hours, size = sum(c.duration_s for c in found.clips) / 3600, sum(clip.size for clip in found.clips)
    yield f"{found.folder}: {len(found.clips):,} recordings, {hours:.3f} h, {size / 1e6:,.1f} MB"
    kinds: dict[str, list[VoiceClip]] = {}
    for clip in found.clips:
        kinds.setdefault(clip.path.suffix.lower(), []).append(clip)
    for suffix, of_kind in sorted(kinds.items(), key=lambda kind: -len(kind[1])):
        rates = Counter(clip.info.sample_rate for clip in of_kind if clip.info)
        known = ", ".join(f"{count:,} of {rate:,} Hz" for rate, count in rates.most_common(4))
        hours = sum(clip.duration_s for clip in of_kind) / 3600
        yield f"  {suffix[1:]:<5}{len(of_kind):>8,} files {hours:10.3f} h  {known or 'none can be read'}"
    broken = [clip for clip in found.clips if clip.info is None]
    yield f"Broken    {len(broken):,}"
    yield from (f"  {clip.path}: {clip.fault}" for clip in broken[:FAULTS_SHOWN])
    if len(broken) > FAULTS_SHOWN:
        yield f"  ... and {len(broken) - FAULTS_SHOWN:,} more"
    sources = Counter(clip.transcript_from for clip in found.clips if clip.transcript)
    named = ", ".join(f"{count:,} from {name}" for name, count in sources.most_common())
    without = [clip for clip in found.clips if clip.info and not clip.transcript]
    yield f"Texts     {sum(sources.values()):,} transcripts" + (f": {named}" if named else "")
    yield f"          {len(without):,} recordings have none"
    yield from (f"  {clip.path}" for clip in without[:FAULTS_SHOWN])
    durations = sorted(clip.duration_s for clip in found.usable)
    if durations:
        yield (
            f"Usable    {len(durations):,} clips, {sum(durations) / 3600:.3f} h, of {durations[0]:.1f} to "
            f"{durations[-1]:.1f} s, half of them over {durations[len(durations) // 2]:.1f} s"
        )
        parts = {name: len(clips) for name, clips in split(found).items()} if not found.csvs else {}
        division = ", ".join(f"{name} {count:,}" for name, count in parts.items())
        yield f"Sets      {division}" if parts else f"Sets      those of {len(found.csvs['train'])} CSVs for training"
    faults = missing(found, alphabet)
    yield from (f"Missing   {fault}" for fault in faults)
    if not faults:
        yield "Missing   nothing: it can be trained on"


# --- the CSVs ----------------------------------------------------------------------------------------------------


def split(found: VoiceFolder) -> dict[str, list[VoiceClip]]:
    """A tenth for dev and for test, the same at every call; with fewer than 20 clips all are trained on.

    Whole folders are taken where there are five or more, as a folder mostly is a speaker; else clips.
    """
    clips = found.usable
    if len(clips) < FEWEST_TO_SPLIT:
        return {"train": clips, "dev": [], "test": []}
    places = {clip.path: clip.path.relative_to(found.folder).parts for clip in clips}
    folders = {parts[0] for parts in places.values() if len(parts) > 1}
    by_folder = len(folders) >= FEWEST_SPEAKERS and all(len(parts) > 1 for parts in places.values())
    groups: dict[str, list[VoiceClip]] = {}
    for clip in clips:
        parts = places[clip.path]
        groups.setdefault(parts[0] if by_folder else "/".join(parts), []).append(clip)
    parts: dict[str, list[VoiceClip]] = {name: [] for name in SETS}
    wanted = max(1, round(SHARE * len(clips)))
    for key in sorted(groups, key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest()):
        name = next((name for name in ("dev", "test") if len(parts[name]) < wanted), "train")
        parts[name] += groups[key]
    return parts


def write_csvs(found: VoiceFolder, folder: Path, alphabet: Alphabet | ByteAlphabet) -> dict[str, str]:
    """Write train.csv, dev.csv and test.csv; returns their paths by set, without those that would be empty.

    Paths count from the CSV, so that a volume may move. The files are the same for the same recordings.
    """
    written = {}
    folder.mkdir(parents=True, exist_ok=True)
    clean = Cleaner(alphabet)
    for name, clips in split(found).items():
        path = folder / f"{name}.csv"
        if not clips:
            path.unlink(missing_ok=True)
            continue
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["wav_filename", "wav_filesize", "transcript"])
        for clip in clips:
            relative = os.path.relpath(clip.path.absolute(), folder.absolute())
            writer.writerow([relative, clip.size, clean(clip.transcript)])
        write_atomically(path, [text.getvalue().encode("utf-8", errors="surrogateescape")])
        written[name] = str(path)
    return written
