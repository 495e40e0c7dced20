"""Recordings that augmentations mix into clips: a folder, a CSV, a sample database or a file."""

import csv
import hashlib
import os
import threading
from pathlib import Path

import numpy as np

from deepspeech_training.audio.files import AudioError, read_audio, read_audio_info
from deepspeech_training.audio.formats import EXAMPLES, is_audio_name
from deepspeech_training.audio.sdb import is_sdb
from deepspeech_training.audio.shards import size_of
from deepspeech_training.data.rows import audio_path, read_rows
from deepspeech_training.data.walk import names_below
from deepspeech_training.errors import UserError

FAULTS_TOLD = 10
KEEP_BYTES = 256_000_000  # decoded: 67 minutes at 16 kHz


class AudioSource:
    """Recordings by number; those that fit are kept in memory once they are read. Safe to use from many threads.

    Args:
        path: of a folder (searched through for audio files), a CSV (its `wav_filename`), a sample
            database of DeepSpeech, or an audio file.
        sample_rate: Hz, that they are resampled to.
    Raises:
        UserError: there is no such path, no recording in it, one that is not audio, or nothing but silence.
    """

    def __init__(self, path: str, *, sample_rate: int):
        self.path, self._rate = path, sample_rate
        self._files = _files_of(path)
        faults = []
        for file in self._files:
            try:
                read_audio_info(file)
            except AudioError as error:
                faults.append(f"{file}: {error.reason}")
        if faults:
            more = f"\n... and {len(faults) - FAULTS_TOLD:,} more" if len(faults) > FAULTS_TOLD else ""
            them = "that file" if len(faults) == 1 else "these files"
            raise UserError(f"{path}: " + "\n".join(faults[:FAULTS_TOLD]) + f"{more}\nFix or remove {them}.")
        self._kept: dict[int, np.ndarray] = {}
        self._bytes_left = KEEP_BYTES
        self._lock = threading.Lock()
        if not any(np.any(self.read(number)) for number in range(len(self._files))):  # ends at the first with sound
            raise UserError(
                f"{path}: recordings with nothing but silence ({len(self._files):,} of {len(self._files):,})\n"
                "Name recordings in which something can be heard."
            )

    def __len__(self) -> int:
        return len(self._files)

    def fingerprint(self) -> str:
        """A hash of the recordings' names, in their order, and sizes."""
        found = hashlib.blake2b(digest_size=16)
        for file in self._files:
            found.update(f"{os.path.basename(file)}\0{size_of(file)}\n".encode())
        return found.hexdigest()

    def read(self, number: int) -> np.ndarray:
        """Recording `number` as float32 [samples]; do not write into it."""
        audio = self._kept.get(number)
        if audio is not None:
            return audio
        try:
            audio = read_audio(self._files[number], sample_rate=self._rate)
        except (AudioError, OSError) as error:
            raise UserError(f"{self.path}: {self._files[number]}: {error}\nFix or remove that file.") from error
        audio.flags.writeable = False
        with self._lock:
            if number not in self._kept and audio.nbytes <= self._bytes_left:
                self._bytes_left -= audio.nbytes
                self._kept[number] = audio
        return audio


def _files_of(path: str) -> list[str]:
    place = Path(os.path.expanduser(path))
    if is_sdb(place):
        files = [audio_path(str(place), row.wav_filename) for row in read_rows(place) if not row.fault]
    elif place.suffix.lower() == ".csv":
        files = _files_of_csv(place)
    elif place.is_dir():
        files = sorted(str(place / name) for name in names_below(place, is_audio_name))
    elif place.is_file():
        files = [str(place)]
    else:
        raise UserError(f"{path}: there is no such file or folder")
    if not files:
        raise UserError(f"{path}: there is no recording in it\nAudio files end in {EXAMPLES}.")
    return files


def _files_of_csv(path: Path) -> list[str]:
    """The `wav_filename` of every row, relative to the CSV; other columns, the transcript too, may be missing."""
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot read the CSV: {error}") from error
    names = []
    for number, row in enumerate(rows, start=2):
        name = row.get("wav_filename")
        if not name:
            raise UserError(f"{path}, record {number}: it has no wav_filename")
        names.append(str(path.parent / name))
    return names
