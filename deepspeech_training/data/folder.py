"""A folder of recordings with transcripts -> CSVs to train on (--voice_data_dir), or a report (--check_voice_data).

Where the transcripts come from is told in `folder_texts`.
"""

import csv
import hashlib
import io
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio.files import AudioError, AudioInfo, read_audio_info
from deepspeech_training.audio.formats import EXAMPLES, is_audio_name
from deepspeech_training.console import Console
from deepspeech_training.data.copies import Recording, find_copies
from deepspeech_training.data.folder_texts import Said, read_transcripts
from deepspeech_training.data.sample import Rejection
from deepspeech_training.data.text import Cleaner
from deepspeech_training.data.walk import names_below
from deepspeech_training.errors import UserError

SETS = ("train", "dev", "test")
SHARE = 0.1  # of the clips, for dev and for test
FEWEST_TO_SPLIT = 20  # clips: with fewer all are trained on
FEWEST_SPEAKERS = 5  # or folders, to divide by them: no speaker in two sets
WORKERS = 8
FAULTS_SHOWN = 10
LOSSLESS = (".wav", ".flac", ".aiff", ".aif", ".w64", ".caf", ".au")
SAME_LENGTH_S = 0.15  # encoders of lossy formats add silence at both ends


@dataclass(frozen=True)
class VoiceClip:
    """A recording, and what is said in it.

    Args:
        info: None where it cannot be read, and `error` says why.
        said: None where there is no transcript.
        taken_from: the same recording in another format beside it, which is taken instead.
    """

    path: Path
    size: int
    info: AudioInfo | None
    error: AudioError | None = None
    said: Said | None = None
    taken_from: Path | None = None

    @property
    def transcript(self) -> str:
        return self.said.transcript if self.said and not self.said.fault else ""

    @property
    def duration_s(self) -> float:
        return self.info.num_frames / self.info.sample_rate if self.info else 0.0

    @property
    def usable(self) -> bool:
        return self.info is not None and bool(self.transcript) and self.taken_from is None


@dataclass(frozen=True)
class VoiceFolder:
    """What a folder has.

    Args:
        clips: its recordings in the order of their paths.
        csvs: by set ("train", "dev", "test"), if it has CSVs of its own.
        texts: files of text that belong to no recording.
        copies: recordings with the samples and the text of an earlier one, by their paths; they stay in one set.
        notes: what else was found, and is not taken.
    """

    folder: Path
    clips: tuple[VoiceClip, ...]
    csvs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    texts: tuple[Path, ...] = ()
    copies: Mapping[Path, Path] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def usable(self) -> list[VoiceClip]:
        return [clip for clip in self.clips if clip.usable]


def has_audio(folder: Path) -> bool:
    """Whether there is any recording below a folder."""
    return any(is_audio_name(path) for path in _files(folder, []))


def _files(folder: Path, faults: list[str]) -> Iterator[Path]:
    if not folder.is_dir():
        raise UserError(f"--voice_data_dir {folder}: no such folder")
    yield from (folder / name for name in names_below(folder, hidden=False, faults=faults))


def scan(folder: Path, console: Console) -> VoiceFolder:
    """Look at every file below a folder.

    Raises:
        UserError: there is no such folder, or it cannot be read.
    """
    notes: list[str] = []
    files = list(_files(folder, notes))
    audio = [path for path in files if is_audio_name(path)]
    transcripts = read_transcripts(files, audio)
    clips = []
    with (
        ThreadPoolExecutor(WORKERS) as pool,
        console.progress("Looking at recordings", total=len(audio), unit="files") as progress,
    ):
        for path, (info, error) in zip(audio, pool.map(_info, audio), strict=True):
            size = path.stat().st_size if path.exists() else 0
            clips.append(VoiceClip(path, size, info, error, transcripts.said.get(path)))
            progress.update()
    clips = _one_format(clips)
    others = [(clip.path, clip.taken_from) for clip in clips if clip.taken_from]
    if others:
        path, taken = others[0]
        notes.append(
            f"{len(others):,} recordings are there in another format too, which is taken instead, such as {taken.name} "
            f"for {path}"
        )
    csvs = {name: tuple(str(path) for path in transcripts.csvs if name in _words(path.stem)) for name in SETS}
    copies = {} if csvs["train"] else _copies([clip for clip in clips if clip.usable])
    if copies:
        copy, first = next(iter(copies.items()))
        notes.append(
            f"{len(copies):,} recordings are copies of another one, with which they stay in one set, such as {copy} of "
            f"{first}"
        )
    stems = {(path.parent, path.stem) for path in audio}
    texts = {path for path in files if path.suffix.lower() == ".txt" and (path.parent, path.stem) not in stems}
    return VoiceFolder(
        folder,
        tuple(clips),
        csvs if csvs["train"] else {},
        tuple(sorted(texts - transcripts.texts)),
        copies,
        (*notes, *transcripts.notes),
    )


def _words(stem: str) -> list[str]:
    return re.split(r"[^a-z]+", stem.lower())


def _info(path: Path) -> tuple[AudioInfo | None, AudioError | None]:
    try:
        return read_audio_info(str(path)), None
    except AudioError as error:
        return None, error


def _one_format(clips: Sequence[VoiceClip]) -> list[VoiceClip]:
    """Mark those that lie beside the same recording in another format: one.wav and one.mp3 have one text."""
    formats: dict[tuple[Path, str], list[VoiceClip]] = {}
    for clip in clips:
        if clip.usable:
            formats.setdefault((clip.path.parent, clip.path.stem), []).append(clip)

    def marked(clip: VoiceClip) -> VoiceClip:
        taken = min(formats[clip.path.parent, clip.path.stem], key=_rank_of_format) if clip.usable else clip
        return clip if clip is taken else replace(clip, taken_from=taken.path)

    return [marked(clip) for clip in clips]


def _rank_of_format(clip: VoiceClip) -> int:
    end = clip.path.suffix.lower()
    return LOSSLESS.index(end) if end in LOSSLESS else len(LOSSLESS)


def _copies(clips: Sequence[VoiceClip]) -> dict[Path, Path]:
    """Clips with the text and the samples of an earlier one; or with its text, its name and its length in another
    format, as a folder of MP3s made of a folder of WAVs has."""
    text_of = {clip.path: _letters(clip.transcript) for clip in clips}
    groups = [
        [Path(one.path) for one in group]
        for group in find_copies([Recording(str(clip.path), clip.size, clip.info) for clip in clips if clip.info])
    ]
    by_name: dict[tuple[str, str], list[VoiceClip]] = {}
    for clip in clips:
        by_name.setdefault((clip.path.stem, text_of[clip.path]), []).append(clip)
    for one, *others in by_name.values():
        alike = [other.path for other in others if abs(other.duration_s - one.duration_s) <= SAME_LENGTH_S]
        groups.append([one.path, *(path for path in alike if path.suffix.lower() != one.path.suffix.lower())])
    first_of = {clip.path: clip.path for clip in clips}

    def first(path: Path) -> Path:
        while first_of[path] != path:
            path = first_of[path]
        return path

    for group in groups:
        of_text: dict[str, Path] = {}
        for path in map(first, group):
            first_of[path] = first(of_text.setdefault(text_of[path], path))
    return {clip.path: first(clip.path) for clip in clips if first(clip.path) != clip.path}


def _letters(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.lower()))


# --- the report --------------------------------------------------------------------------------------------------


def missing(found: VoiceFolder, alphabet: Alphabet | ByteAlphabet) -> list[str]:
    """What is missing to train; empty where nothing is."""
    if not found.clips:
        return [f"there are no recordings ({EXAMPLES}) below {found.folder}"]
    if not any(clip.info for clip in found.clips):
        return ["not one of the recordings can be read"]
    faults = [f"{clip.said.place}: {clip.said.fault}" for clip in found.clips if clip.said and clip.said.fault]
    told = [f"{len(faults):,} transcripts cannot be read: {'; '.join(faults[:FAULTS_SHOWN])}"] if faults else []
    if not found.usable:
        what = "no recording has a transcript"
        return [*told, f"{what}: put one.txt beside one.wav, or give a CSV with wav_filename,transcript"]
    clean = Cleaner(alphabet)
    characters = Counter(c for clip in found.usable for c in alphabet.missing(clean(clip.transcript)))
    unknown = [repr(c) for c, _ in characters.most_common()]
    if unknown:
        told.append(
            f"transcripts have characters that the alphabet lacks: {' '.join(unknown[:20])}; give an alphabet with "
            "--alphabet_config_path, or --on_bad_row drop to leave those clips out"
        )
    return told


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
    broken = [f"{clip.path}: {clip.error.reason}" for clip in found.clips if clip.error]
    yield from _listed(f"Broken    {len(broken):,}", broken)
    sources = Counter(clip.said.kind for clip in found.clips if clip.said and clip.transcript)
    named = ", ".join(f"{count:,} from {name}" for name, count in sources.most_common())
    yield f"Texts     {sum(sources.values()):,} transcripts" + (f": {named}" if named else "")
    unread = [f"{clip.said.place}: {clip.said.fault}" for clip in found.clips if clip.said and clip.said.fault]
    if unread:
        yield from _listed(f"          {len(unread):,} cannot be read", unread)
    without = [clip for clip in found.clips if clip.info and not (clip.said and (clip.transcript or clip.said.fault))]
    yield from _listed(f"          {len(without):,} recordings have none", [str(clip.path) for clip in without])
    yield from (f"Note      {note}" for note in found.notes)
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


def _listed(head: str, lines: Sequence[str]) -> Iterator[str]:
    yield head
    yield from (f"  {line}" for line in lines[:FAULTS_SHOWN])
    if len(lines) > FAULTS_SHOWN:
        yield f"  ... and {len(lines) - FAULTS_SHOWN:,} more"


def rejections(found: VoiceFolder) -> list[Rejection]:
    """The recordings that are not taken, and why."""
    rejected = []
    for clip in found.clips:
        said = clip.said
        if clip.error:
            code, reason = clip.error.code, clip.error.reason
        elif clip.taken_from:
            code, reason = "duplicate", f"the same recording is taken from {clip.taken_from.name}"
        elif said and said.fault:
            code, reason = "bad_row", said.fault
        elif not clip.transcript:
            code, reason = "empty_transcript", "it has no transcript"
        else:
            continue
        path, row = (said.path, said.row) if said else (clip.path, 1)
        rejected.append(Rejection(str(path), row, str(clip.path), said.transcript if said else "", code, reason))
    return rejected


# --- the CSVs ----------------------------------------------------------------------------------------------------


def split(found: VoiceFolder) -> dict[str, list[VoiceClip]]:
    """A tenth for dev and for test, the same at every call; with fewer than 20 clips all are trained on.

    Whole speakers are taken where five or more are named, else whole folders where there are as many, as a folder
    mostly is a speaker; else clips. A copy goes where its recording is.
    """
    clips = found.usable
    if len(clips) < FEWEST_TO_SPLIT:
        return {"train": clips, "dev": [], "test": []}
    groups: dict[str, list[VoiceClip]] = {}
    for clip, name in zip(clips, _groups(clips, found.folder), strict=True):
        groups.setdefault(name, []).append(clip)
    order = sorted(groups, key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest())
    part_of: dict[Path, str] = {}
    counts = dict.fromkeys(SETS, 0)
    wanted = max(1, round(SHARE * len(clips)))
    for key in order:
        part = next((part for part in ("dev", "test") if counts[part] < wanted), "train")
        counts[part] += len(groups[key])
        part_of.update((clip.path, part) for clip in groups[key])
    parts: dict[str, list[VoiceClip]] = {part: [] for part in SETS}
    for clip in (clip for key in order for clip in groups[key]):
        parts[part_of[found.copies.get(clip.path, clip.path)]].append(clip)
    return parts


def _groups(clips: Sequence[VoiceClip], folder: Path) -> list[str]:
    """What is not to be divided, by its name, for each clip: a speaker, a folder, or the clip itself."""
    speakers = [clip.said.speaker for clip in clips if clip.said]
    if all(speakers) and len(set(speakers)) >= FEWEST_SPEAKERS:
        return speakers
    places = [clip.path.relative_to(folder).parts for clip in clips]
    folders = {parts[0] for parts in places if len(parts) > 1}
    if len(folders) >= FEWEST_SPEAKERS and all(len(parts) > 1 for parts in places):
        return [parts[0] for parts in places]
    return ["/".join(parts) for parts in places]


def write_csvs(
    found: VoiceFolder,
    folder: Path,
    alphabet: Alphabet | ByteAlphabet,
    parts: Mapping[str, Sequence[VoiceClip]] | None = None,
) -> dict[str, str]:
    """Write train.csv, dev.csv and test.csv; returns their paths by set, without those that would be empty.

    Paths count from the CSV, so that a volume may move. The files are the same for the same recordings.

    Args:
        parts: the clips of each set, if not those of `split`.
    """
    written = {}
    folder.mkdir(parents=True, exist_ok=True)
    clean = Cleaner(alphabet)
    names_speakers = any(clip.said and clip.said.speaker for clip in found.usable)
    for name, clips in (split(found) if parts is None else parts).items():
        path = folder / f"{name}.csv"
        if not clips:
            path.unlink(missing_ok=True)
            continue
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(["wav_filename", "wav_filesize", "transcript", *(["client_id"] if names_speakers else [])])
        for clip in clips:
            relative = os.path.relpath(clip.path.absolute(), folder.absolute())
            speaker = [clip.said.speaker if clip.said else ""] if names_speakers else []
            writer.writerow([relative, clip.size, clean(clip.transcript), *speaker])
        write_atomically(path, [text.getvalue().encode("utf-8", errors="surrogateescape")])
        written[name] = str(path)
    return written
