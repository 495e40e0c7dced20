"""The takes of a project -> a corpus: clips of 16 kHz, and the CSVs of the trainer, speakers kept apart."""

import csv
import io
import re
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio.files import AudioInfo, read_audio
from deepspeech_training.data.folder import SETS, VoiceClip, VoiceFolder, split
from deepspeech_training.data.folder_texts import Said
from deepspeech_training.data.text import Cleaner
from deepspeech_training.studio.project import Project, Refused
from deepspeech_training.studio.records import Take

CLIPS_DIR = "clips"
SAMPLE_RATE = 16000
COLUMNS = ("wav_filename", "wav_filesize", "transcript", "speaker", "original", "recorded_at")


@dataclass(frozen=True)
class SetFacts:
    """What a set has."""

    clips: int
    seconds: float
    speakers: int


@dataclass(frozen=True)
class Saved:
    """A corpus that was written.

    Args:
        left_out: takes in which nothing is said that could be learned, and those that were dropped.
    """

    folder: Path
    sets: dict[str, SetFacts]
    left_out: int


def save(project: Project, folder: Path) -> Saved:
    """Write what the takes are now; clips that are there stay, so that a training that reads them is not disturbed.

    Raises:
        Refused: there is no take.
        UserError: it cannot be written; the CSVs that were there are as they were.
    """
    takes = project.takes()
    usable = [take for take in takes if _is_wanted(project, take)]
    if not usable:
        raise Refused("there is no take yet of which anything can be learned")
    (folder / CLIPS_DIR).mkdir(parents=True, exist_ok=True)
    clean = Cleaner(language=project.plan.language)
    clips = {path: take for take in usable if (path := _clip(project, take, folder))}
    voices = tuple(_voice(path, take, clean(_said(project, take))) for path, take in sorted(clips.items()))
    parts = split(VoiceFolder(folder, voices))
    # The sets for tests first: whoever looks in between finds no train.csv, or the one before.
    for name in reversed(SETS):
        path = folder / f"{name}.csv"
        if parts[name]:
            write_atomically(path, [_csv(project, parts[name], clips).encode()])
        else:
            path.unlink(missing_ok=True)
    sets = {name: _facts(parts[name]) for name in SETS if parts[name]}
    return Saved(folder, sets, len(takes) - len(usable))


def forget(project: Project, folder: Path, person: str) -> None:
    """Delete the clips of somebody who is no longer in a project, and write the CSVs without them.

    Raises:
        OSError, UserError: something cannot be deleted or written.
    """
    if not folder.is_dir():
        return
    mine = re.compile(re.escape(person) + r"-\d{5,}-[0-9a-f]{8}\.wav")
    if any(_is_wanted(project, take) for take in project.takes()):
        save(project, folder)
    else:
        for name in SETS:
            (folder / f"{name}.csv").unlink(missing_ok=True)
    for path in (folder / CLIPS_DIR).iterdir():
        if mine.fullmatch(path.name):
            path.unlink()


def _is_wanted(project: Project, take: Take) -> bool:
    return take.is_usable and not project.mark_of(take).dropped


def _said(project: Project, take: Take) -> str:
    return project.mark_of(take).text or take.text


def _clip(project: Project, take: Take, folder: Path) -> Path:
    """The clip of a take, which is made where it is not there."""
    name = f"{take.person}-{take.prompt + 1:05}-{take.id[:8]}.wav"
    return made_clip(folder / CLIPS_DIR / name, project.sound_of(take))


def made_clip(path: Path, sound: Path) -> Path:
    """A clip of a recording at the rate of the trainer; one that is there stays as it is."""
    if not path.is_file():
        samples = read_audio(str(sound), sample_rate=SAMPLE_RATE, dtype="int16")
        write_atomically(path, [as_wav(samples, SAMPLE_RATE)])
    return path


def as_wav(samples: np.ndarray, sample_rate: int) -> bytes:
    """int16 [samples] as a WAV."""
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(samples.astype("<i2").tobytes())
    return content.getvalue()


def _voice(path: Path, take: Take, transcript: str) -> VoiceClip:
    info = AudioInfo(round(take.sound.seconds * SAMPLE_RATE), SAMPLE_RATE, 1)
    return VoiceClip(path, path.stat().st_size, info, said=Said(transcript, path, 0, "studio", take.person))


def _csv(project: Project, clips: Sequence[VoiceClip], takes: dict[Path, Take]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for clip in clips:
        take = takes[clip.path]
        name = f"{CLIPS_DIR}/{clip.path.name}"
        writer.writerow((name, clip.size, clip.transcript, take.person, _said(project, take), take.recorded_at))
    return text.getvalue()


def _facts(clips: Sequence[VoiceClip]) -> SetFacts:
    speakers = {clip.said.speaker for clip in clips if clip.said}
    return SetFacts(len(clips), round(sum(clip.duration_s for clip in clips), 2), len(speakers))
