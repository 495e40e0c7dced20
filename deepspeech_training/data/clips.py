"""The rows of CSVs with what the headers of their audio files say."""

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from deepspeech_training.audio.files import AudioError, AudioInfo, read_audio_info
from deepspeech_training.console import Console
from deepspeech_training.data.samples import Row, audio_path, read_rows
from deepspeech_training.data.shard_folder import csvs_in
from deepspeech_training.errors import UserError

THREADS = 8  # headers on a network volume wait; threads hide it
ROWS_PER_TASK = 64


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
        tasks = [rows[start : start + ROWS_PER_TASK] for start in range(0, len(rows), ROWS_PER_TASK)]
        with console.progress(f"reading {csv_path}", total=len(rows), unit="clips") as progress:
            for clips in _in_order(lambda task, csv_path=csv_path: [_clip(csv_path, row) for row in task], tasks):
                progress.update(len(clips))
                yield from clips


def _in_order(function: Callable, tasks: Sequence) -> Iterator:
    """As `map`, on threads, with a few tasks ahead."""
    waiting = iter(tasks)
    with ThreadPoolExecutor(THREADS) as executor:
        ahead = deque(executor.submit(function, task) for task in itertools.islice(waiting, 2 * THREADS))
        while ahead:
            result = ahead.popleft().result()
            ahead.extend(executor.submit(function, task) for task in itertools.islice(waiting, 1))
            yield result


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
