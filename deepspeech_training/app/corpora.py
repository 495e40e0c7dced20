"""What there is to train on: CSVs, or recordings with transcripts; the sets that are missing; the alphabet."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from deepspeech_training.alphabet import Alphabet, Labels
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.console import Console
from deepspeech_training.data.clips import Clip, read_clips
from deepspeech_training.data.folder import SETS, VoiceClip, VoiceFolder, rejections, scan, split, write_csvs
from deepspeech_training.data.folder_texts import Said
from deepspeech_training.data.text import Cleaner
from deepspeech_training.errors import UserError

ALPHABET_FILE = "alphabet.txt"
FAULTS_SHOWN = 20


@dataclass(frozen=True)
class Material:
    """What was found, before anything is written.

    Args:
        csvs: by set: those that are used as they are.
        divided: recordings that are divided into the sets that `csvs` lacks; None where nothing is.
        alphabet: that is trained with.
        alphabet_path: of its file; None where the flags name it, or where it is made of the transcripts.
        makes_alphabet: whether it is made of the transcripts.
        hours: of training data.
        num_clips: of it.
        times_said: how often a text is said in it, on average.
        says: what was found, for a person.
    """

    csvs: Mapping[str, tuple[str, ...]]
    divided: VoiceFolder | None
    alphabet: Labels
    alphabet_path: Path | None
    makes_alphabet: bool
    hours: float
    num_clips: int
    times_said: float
    says: Sequence[str] = field(default=(), repr=False)

    def contents(self) -> Iterator[bytes]:
        """What decides whether two trainings have the same data."""
        for name, paths in sorted(self.csvs.items()):
            yield from (name.encode() + b"\0" + Path(path).read_bytes() for path in paths)
        if self.divided is not None:
            for clip in self.divided.usable:
                yield f"{clip.path.name}\0{clip.size}\0{clip.transcript}\n".encode(errors="surrogateescape")
        yield self.alphabet.serialize()

    def write(self, folder: Path) -> dict[str, tuple[str, ...]]:
        """Write the CSVs and the alphabet that are made of it; -> the CSVs of each set.

        Raises:
            UserError: they cannot be written.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(
                f"{folder} cannot be made ({error.strerror}), so nothing can be trained\n"
                "Mount the volume for writing, owned by the user of the container."
            ) from error
        if self.makes_alphabet:
            assert isinstance(self.alphabet, Alphabet), "it is made of characters"
            write_atomically(folder / ALPHABET_FILE, [self.alphabet.to_text().encode()])
        csvs = dict(self.csvs)
        if self.divided is not None:
            parts = _parts(self.divided, missing=[name for name in SETS if name != "train" and name not in csvs])
            written = write_csvs(self.divided, folder, self.alphabet, parts)
            csvs |= {name: (path,) for name, path in written.items()}
        return csvs

    def alphabet_flag(self, folder: Path) -> str:
        """The file of the alphabet; empty where the flags name it."""
        return str(folder / ALPHABET_FILE) if self.makes_alphabet else str(self.alphabet_path or "")


@dataclass(frozen=True)
class CommandClips:
    """CSVs of spoken commands, which are used as they are; see `Material`."""

    csvs: Mapping[str, tuple[str, ...]]
    says: Sequence[str] = field(default=(), repr=False)
    hours: float | None = None  # its clips are counted, not measured

    def contents(self) -> Iterator[bytes]:
        for name, paths in sorted(self.csvs.items()):
            yield from (name.encode() + b"\0" + Path(path).read_bytes() for path in paths)

    def write(self, folder: Path) -> dict[str, tuple[str, ...]]:
        return dict(self.csvs)

    def alphabet_flag(self, folder: Path) -> str:
        return ""


def _parts(found: VoiceFolder, missing: Sequence[str]) -> dict[str, list[VoiceClip]]:
    """The clips of each set; what would be a set that is there already is trained on."""
    parts = split(found)
    train = [clip for name in SETS if name not in missing for clip in parts[name]]
    return {"train": train} | {name: parts[name] for name in missing}


def find(
    folder: Path,
    alphabet: Labels | None,
    console: Console,
    *,
    named: Mapping[str, tuple[str, ...]],
    may_drop: bool = False,
) -> Material | None:
    """What lies in the folder of corpora: train.csv, dev.csv and test.csv in it or in its folders, else recordings.

    Args:
        alphabet: that the flags name.
        named: CSVs of sets that the flags name.
        may_drop: rows that cannot be used are left out (--on_bad_row drop).
    Returns:
        None where there is nothing.
    Raises:
        UserError: there is something, and it cannot be used.
    """
    if not folder.is_dir():
        return None
    csvs = _csvs_in(folder) | dict(named)
    if "train" in csvs:
        return of_csvs(csvs, alphabet, console, root=folder, may_drop=may_drop)
    return of_recordings(folder, alphabet, console, named=named)


def _csvs_in(folder: Path) -> dict[str, tuple[str, ...]]:
    """By set: train.csv, dev.csv and test.csv in a folder and in its folders."""
    folders = [folder, *sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))]
    csvs = {name: tuple(str(path) for f in folders if (path := f / f"{name}.csv").is_file()) for name in SETS}
    return {name: paths for name, paths in csvs.items() if paths}


def commands_in(folder: Path, named: Mapping[str, tuple[str, ...]]) -> CommandClips | None:
    """The CSVs of spoken commands in the folder of corpora.

    Args:
        named: CSVs of sets that the flags name.
    """
    csvs = (_csvs_in(folder) if folder.is_dir() else {}) | dict(named)
    return CommandClips(csvs, [f"{name}: {', '.join(csvs[name])}" for name in csvs]) if "train" in csvs else None


def of_csvs(
    csvs: Mapping[str, tuple[str, ...]],
    alphabet: Labels | None,
    console: Console,
    *,
    root: Path | None = None,
    may_drop: bool = False,
) -> Material:
    """CSVs, of which those for validation and test may be missing.

    Args:
        root: the folder of all; None where missing sets are not wanted.
    """
    clips = {name: list(read_clips(paths, console)) for name, paths in csvs.items()}
    hours = sum(clip.seconds for clip in clips["train"]) / 3600
    times_said = len(clips["train"]) / max(1, len({clip.transcript for clip in clips["train"]}))
    says = [f"{name}: {len(clips[name]):,} clips of {', '.join(csvs[name])}" for name in csvs]
    path, makes_alphabet = None, alphabet is None
    if alphabet is None:
        path = _alphabet_beside([*csvs["train"], *([str(root / "x")] if root else [])])
        texts = (clip.transcript for of_set in clips.values() for clip in of_set)
        alphabet = Alphabet.read(path) if path else _alphabet_of(texts, ", ".join(csvs["train"]))
        says.append(_shown(alphabet, path))
    divided, num_clips = None, len(clips["train"])
    missing = [name for name in ("dev", "test") if name not in csvs]
    if root is not None and missing:
        divided = _as_folder(root, clips["train"], may_drop=may_drop, console=console)
        says.append(_of_division(divided, missing))
        num_clips = len(_parts(divided, missing)["train"])
        csvs = {name: paths for name, paths in csvs.items() if name != "train"}
    return Material(csvs, divided, alphabet, path, makes_alphabet and path is None, hours, num_clips, times_said, says)


def of_recordings(
    folder: Path, alphabet: Labels | None, console: Console, *, named: Mapping[str, tuple[str, ...]]
) -> Material | None:
    """A folder of recordings with transcripts beside them, in the forms of --voice_data_dir."""
    found = scan(folder, console)
    if not found.clips:
        return None
    if not found.usable:
        raise UserError(
            f"{folder}: {len(found.clips):,} recordings, and no transcript for any of them\n"
            "Put one.txt beside one.wav, or a train.csv with wav_filename,wav_filesize,transcript."
        )
    if found.csvs:
        return of_csvs({**found.csvs, **named}, alphabet, console, root=folder)
    says = [f"{folder}: {len(found.usable):,} recordings with transcripts", *found.notes]
    if left_out := rejections(found):
        first = left_out[0]
        says.append(f"{len(left_out):,} recordings are left out, such as {first.wav_filename}: {first.reason}")
    path, makes_alphabet = None, alphabet is None
    if alphabet is None:
        path = _alphabet_beside([str(folder / "x"), *(str(clip.path) for clip in found.usable)])
        clean = Cleaner()
        alphabet = (
            Alphabet.read(path)
            if path
            else _alphabet_of((clean(clip.transcript) for clip in found.usable), str(folder))
        )
        says.append(_shown(alphabet, path))
    missing = [name for name in ("dev", "test") if name not in named]
    if missing:
        says.append(_of_division(found, missing))
    train = _parts(found, missing)["train"]
    hours = sum(clip.duration_s for clip in train) / 3600
    times_said = len(train) / max(1, len({clip.transcript for clip in train}))
    makes_alphabet = makes_alphabet and path is None
    return Material(dict(named), found, alphabet, path, makes_alphabet, hours, len(train), times_said, says)


def _as_folder(root: Path, clips: Sequence[Clip], *, may_drop: bool, console: Console) -> VoiceFolder:
    """The rows of CSVs as recordings that can be divided.

    Raises:
        UserError: rows cannot be used.
    """
    faults = [f"{clip.csv_path}, row {clip.row}: {Path(clip.path).name}: {clip.fault}" for clip in clips if clip.fault]
    if faults:
        shown = [
            *faults[:FAULTS_SHOWN],
            *([f"... and {len(faults) - FAULTS_SHOWN:,} more"] * (len(faults) > FAULTS_SHOWN)),
        ]
        told = "\n".join([f"{len(faults):,} of {len(clips):,} rows cannot be used:", *shown])
        if not may_drop:
            raise UserError(f"{told}\nFix them, or leave them out: --on_bad_row drop in train.flags.")
        console.warn(told)
    usable = [clip for clip in clips if not clip.fault]
    return VoiceFolder(root, tuple(_as_voice(clip) for clip in usable))


def _as_voice(clip: Clip) -> VoiceClip:
    said = Said(clip.transcript, Path(clip.csv_path), clip.row, "CSV", clip.speaker)
    return VoiceClip(Path(clip.path), os.path.getsize(clip.path), clip.info, said=said)


def _alphabet_beside(files: Sequence[str]) -> Path | None:
    """The alphabet.txt in the folders of some files.

    Raises:
        UserError: there are several that differ.
    """
    folders = dict.fromkeys(Path(file).parent for file in files)
    found = [path for folder in folders if (path := folder / ALPHABET_FILE).is_file()]
    others = [path for path in found[1:] if Alphabet.read(path) != Alphabet.read(found[0])]
    if others:
        raise UserError(
            f"{found[0]} and {others[0]} are two alphabets\nKeep one, or name it: --alphabet_config_path FILE in "
            "train.flags."
        )
    return found[0] if found else None


def _alphabet_of(texts: Iterator[str], where: str) -> Alphabet:
    characters = set().union(*texts)
    if not characters:
        raise UserError(f"{where}: not one row has a transcript")
    try:
        return Alphabet(sorted(characters | {" "}))  # commands of one word have none, and a scorer needs it
    except ValueError as error:
        raise UserError(f"{where}: no alphabet can be made of the transcripts: {error}") from error


def _shown(alphabet: Labels, path: Path | None) -> str:
    letters = " ".join("space" if character == " " else character for character in alphabet.characters)
    return f"Alphabet ({path or 'made of the transcripts'}), {alphabet.size} characters: {letters}"


def _of_division(found: VoiceFolder, missing: Sequence[str]) -> str:
    counts = {name: len(clips) for name, clips in _parts(found, missing).items()}
    how = "divided by speaker where speakers are named, else by folder or clip"
    return f"{' and '.join(missing)} are missing; {how}: " + ", ".join(f"{k} {n:,}" for k, n in counts.items())
