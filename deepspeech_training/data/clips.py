"""The rows of CSVs with what the headers of their audio files say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from deepspeech_training.audio.files import AudioError, AudioInfo, read_audio_info
from deepspeech_training.console import Console
from deepspeech_training.data.in_order import batched, in_order
from deepspeech_training.data.rows import Row, audio_path, read_rows
from deepspeech_training.data.shard_folder import csvs_in
from deepspeech_training.errors import UserError


@dataclass(frozen=True, slots=True)
class Clip:
    """One row of a CSV; `info` is None where `fault` says why the audio or the row cannot be used."""

    csv_path: str
    row: int
    path: str
    transcript: str
    speaker: str
    info: AudioInfo | None
    fault: str = ""

    @property
    def seconds(self) -> float:
        return self.info.num_frames / self.info.sample_rate if self.info else 0.0

    @property
    def pace(self) -> float:
        """Characters a second."""
        return len(self.transcript) / self.seconds if self.seconds else 0.0


def read_clips(csv_paths: Sequence[str], console: Console) -> Iterator[Clip]:
    """The rows of some CSVs, in their order.

    Raises:
        UserError: a CSV cannot be read or lacks a column.
    """
    for csv_path in csv_paths:
        rows = read_rows(csv_path)
        if not rows:
            console.warn(f"{csv_path}: the CSV has a header and no rows")
        with console.progress(f"reading {csv_path}", total=len(rows), unit="clips") as progress:
            for clips in in_order(partial(_clips, csv_path), batched(rows)):
                progress.update(len(clips))
                yield from clips


def _clips(csv_path: str, rows: Sequence[Row]) -> list[Clip]:
    return [_clip(csv_path, row) for row in rows]


def _clip(csv_path: str, row: Row) -> Clip:
    path = audio_path(csv_path, row.wav_filename)
    if row.fault:
        return Clip(csv_path, row.row, row.wav_filename, row.transcript, row.speaker or "", None, row.fault)
    try:
        info, fault = read_audio_info(path), ""
    except AudioError as error:
        info, fault = None, error.reason
    return Clip(csv_path, row.row, path, row.transcript, row.speaker or "", info, fault)


def csv_arguments(positional: Sequence[str], listed: str) -> list[str]:
    """CSVs that were named one by one or, as DeepSpeech's tools have it, in a list with commas; those of folders.

    Raises:
        UserError: there are none, or a folder has none.
    """
    csv_paths = [csv for path in (*positional, *listed.split(",")) if path for csv in csvs_in(path)]
    if not csv_paths:
        raise UserError("name at least one CSV")
    return csv_paths
