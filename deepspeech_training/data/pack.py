"""CSVs and their clips into shards: a few large files in place of millions of small ones, which network disks dislike.

    train.csv -> train-000000.tar, train-000000.idx, train-000001.tar ..., and train.csv, whose wav_filename is
                 "train-000000.tar#512+84992.flac": see `audio.shards`

Rows keep their order and, where none is left out, their numbers: what trains on the shards trains as on the files.
"""

import csv
import io
import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio.errors import AudioError
from deepspeech_training.audio.files import AudioInfo, read_audio, read_audio_info
from deepspeech_training.audio.opus_packets import SUFFIX as OPUS_PACKETS
from deepspeech_training.audio.shards import (
    MAX_CLIP_BYTES,
    IndexRecord,
    ShardIndex,
    Stretch,
    in_memory,
    read_bytes,
    read_index,
    size_of,
    status_of,
)
from deepspeech_training.console import Console, Progress
from deepspeech_training.data.rows import Row, audio_path, read_table
from deepspeech_training.data.sample import Rejection
from deepspeech_training.data.samples import report
from deepspeech_training.data.tar_shard import PackedClip, TarShard, digest_of, encode, row_digest
from deepspeech_training.errors import UserError

FORMATS = ("keep", "flac", "opus", "wav")
THREADS = 8
CLIPS_AHEAD = 32  # read while one is written
SUFFIX = re.compile(r"\.[a-z0-9_]{1,16}")
OPUS_RATES = (8000, 12000, 16000, 24000, 48000)


@dataclass(frozen=True)
class PackRules:
    """How clips are packed.

    Args:
        format: one of `FORMATS`: "keep" takes the files as they are, the others make mono of 16 bits.
        sample_rate: Hz, of clips that are converted.
        shard_bytes: a shard that has as many is followed by another.
        on_bad_row: "fail" makes an error of rows whose clips cannot be read, "drop" leaves them out.
    """

    format: str = "keep"
    sample_rate: int = 16000
    shard_bytes: int = 1_000_000_000
    on_bad_row: str = "fail"

    @property
    def how(self) -> str:
        return self.format if self.format == "keep" else f"{self.format} {self.sample_rate}"


@dataclass(frozen=True)
class PackedSet:
    """What became of a CSV: `kept` of its shards were there already."""

    csv_path: Path
    clips: int
    shards: int
    num_bytes: int
    kept: int


_Line = tuple[Row, list[str]]  # with its fields as they are in the CSV


class _Fault(NamedTuple):
    row: Row
    code: str
    reason: str


def pack(csv_path: str, folder: Path, rules: PackRules, console: Console) -> PackedSet:
    """Pack the clips of a CSV. What an earlier call finished is kept if its rows and files are still the same.

    Raises:
        UserError: the CSV cannot be read, a clip cannot and rows are not dropped, or the folder cannot be written.
    """
    header, table = read_table(csv_path)
    lines = list(table)
    if not lines:
        raise UserError(f"{csv_path}: the CSV has a header and no rows\nAdd rows, or leave the file out.")
    with console.progress(f"packing {csv_path}", total=len(lines), unit="clips") as progress:
        packer = _Packer(csv_path, header, folder, rules, progress)
        packer.pack(lines)
    if packer.faults and rules.on_bad_row == "fail":
        rejected = [
            Rejection(csv_path, row.row, row.wav_filename, row.transcript, code, reason)
            for row, code, reason in packer.faults
        ]
        raise UserError(report(rejected, len(lines), ""))
    for row, _, reason in packer.faults:
        console.warn(f"{csv_path}, row {row.row}: left out: {reason}")
    if not packer.shards:
        raise UserError(f"{csv_path}: no row is left of {len(lines):,}")
    target = folder / f"{packer.name}.csv"
    write_atomically(target, packer.csv(lines))
    for surplus in _later_shards(folder, packer.name, len(packer.shards)):
        console.warn(f"{surplus} is of an earlier pack, and no row names it any more: it can be deleted")
    return PackedSet(
        target,
        sum(len(index) for _, index in packer.shards),
        len(packer.shards),
        sum(index.shard_bytes for _, index in packer.shards),
        packer.kept,
    )


class _Packer:
    """Packs one CSV; `shards` are those that are there, `faults` the rows that are in none of them."""

    def __init__(self, csv_path: str, header: Sequence[str], folder: Path, rules: PackRules, progress: Progress):
        self.name = Path(csv_path).stem
        self.shards: list[tuple[Path, ShardIndex]] = []
        self.faults: list[_Fault] = []
        self.kept = 0
        self._csv_path, self._header, self._progress = csv_path, header, progress
        self._folder, self._rules = folder, rules

    def pack(self, lines: Sequence[_Line]) -> None:
        with ThreadPoolExecutor(THREADS, thread_name_prefix="pack") as pool:
            at = 0
            try:
                while at < len(lines):
                    path = self._folder / f"{self.name}-{len(self.shards):06}.tar"
                    at = self._taken_over(path, lines, at) or self._write(path, lines, at, pool)
            finally:
                pool.shutdown(cancel_futures=True)

    def _taken_over(self, path: Path, lines: Sequence[_Line], at: int) -> int:
        """The place after the rows of a shard that is there and holds the next rows; 0 if there is none."""
        index = _index_of_whole(path)
        if index is None:
            return 0
        rows = {record.row for record in index}
        last, digests, faults = index[-1].row, [], []
        for end in range(at, len(lines)):
            number = lines[end][0].row
            if number > last:
                break
            if number in rows:
                try:
                    digests.append(self._digest(lines[end]))
                except (OSError, ValueError):
                    return 0
            elif isinstance(found := self._load(lines[end]), _Fault):
                faults.append(found)
            else:  # its clip has been replaced since
                return 0
        else:
            end = len(lines)
        if digest_of(digests) != index.digest:
            return 0
        if end == len(lines) or index.shard_bytes >= self._rules.shard_bytes:  # else it was the last of fewer rows
            self.shards.append((path, index))
            self.faults += faults
            self.kept += 1
            self._progress.update(end - at)
            return end
        return 0

    def _write(self, path: Path, lines: Sequence[_Line], at: int, pool: ThreadPoolExecutor) -> int:
        """Write a shard of the rows from `at` on; returns where the next one begins."""
        ahead: deque[Future[PackedClip | _Fault]] = deque()
        submitted = at
        with TarShard(path) as shard:
            while at < len(lines) and shard.size < self._rules.shard_bytes:
                while submitted < len(lines) and len(ahead) < CLIPS_AHEAD:
                    ahead.append(pool.submit(self._load, lines[submitted]))
                    submitted += 1
                found = ahead.popleft().result()
                if isinstance(found, _Fault):
                    self.faults.append(found)
                else:
                    shard.add(found)
                at += 1
                self._progress.update()
            for future in ahead:
                future.cancel()
            if len(shard):
                shard.close()
                index = _index_of_whole(path)
                assert index is not None, "it was written just now"
                self.shards.append((path, index))
        return at

    def _path(self, row: Row) -> str:
        return audio_path(self._csv_path, row.wav_filename)

    def _digest(self, line: _Line) -> bytes:
        row, fields = line
        return row_digest(self._columns(fields), status_of(self._path(row)), self._rules.how)

    def _columns(self, fields: Sequence[str]) -> dict[str, str]:
        return dict(zip(self._header, fields, strict=True))

    def _load(self, line: _Line) -> PackedClip | _Fault:
        row, fields = line
        if row.fault:
            return _Fault(row, "bad_row", row.fault)
        path = self._path(row)
        digest = b""
        with suppress(OSError, ValueError):  # the reader says what is wrong
            digest = self._digest(line)
        try:
            data, info = _packed(path, self._rules)
        except AudioError as error:
            return _Fault(row, error.code, error.reason)
        suffix = _suffix(path, self._rules)
        return PackedClip(row.row, suffix, data, info, row.transcript, self._columns(fields), digest)

    def csv(self, lines: Sequence[_Line]) -> Iterator[bytes]:
        """The rows that are in shards, with all their columns and, as `original`, the file that each was made from."""
        columns = [*self._header, *(name for name in ("wav_filesize", "original") if name not in self._header)]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        waiting = iter(lines)
        for path, index in self.shards:
            for record in index:
                row, fields = next(line for line in waiting if line[0].row == record.row)
                writer.writerow(map(self._packed_row(row, fields, path.name, record).__getitem__, columns))
            yield text.getvalue().encode("utf-8", "surrogateescape")
            text.seek(0)
            text.truncate()

    def _packed_row(self, row: Row, fields: Sequence[str], shard: str, record: IndexRecord) -> dict[str, str]:
        source, size = self._path(row), record.size
        place = Stretch(shard, record.offset, size, _suffix(source, self._rules))
        said = self._columns(fields)
        said.setdefault("original", row.wav_filename)
        # What --noshuffle sorts by stays as it was for clips that stay as they were.
        said["wav_filesize"] = str((row.wav_filesize or size) if self._rules.format == "keep" else size)
        return said | {"wav_filename": str(place)}


def _packed(path: str, rules: PackRules) -> tuple[bytes, AudioInfo]:
    info = read_audio_info(path)
    if rules.format == "keep":
        if size_of(path) > MAX_CLIP_BYTES:
            raise AudioError(f"it has {size_of(path):,} bytes; a clip in a shard has {MAX_CLIP_BYTES:,} at most")
        return read_bytes(path), info
    samples = read_audio(path, sample_rate=rules.sample_rate, dtype="int16")
    data = encode(samples, rules.sample_rate, rules.format)
    with ExitStack() as resources:
        return data, read_audio_info(in_memory(data, resources))


def _suffix(path: str, rules: PackRules) -> str:
    """The end of a clip's name in a shard, which says what kind it is."""
    end = os.path.splitext(path)[1].lower() if rules.format == "keep" else f".{rules.format}"
    end = ".opus" if end == OPUS_PACKETS else end  # what is read of them is in Ogg
    return end if SUFFIX.fullmatch(end) else ".audio"


def _index_of_whole(path: Path) -> ShardIndex | None:
    """The index of a shard that was finished; None for any other."""
    try:
        index = read_index(path)
        if index is not None and len(index) and path.stat().st_size == index.shard_bytes:
            return index
    except (AudioError, OSError):
        pass
    return None


def _later_shards(folder: Path, name: str, count: int) -> Iterator[Path]:
    """Shards of this name with higher numbers than there are."""
    for path in sorted(folder.iterdir()):
        found = re.fullmatch(re.escape(name) + r"-(\d{6,})\.tar", path.name)
        if found and int(found[1]) >= count:
            yield path
