"""What the headers of audio files say, read by threads and kept for the next start.

A header in the page cache costs 0.03 ms, nearly all of it in Python; on a network volume latency counts, and threads
hide it. (Measured on 10,000 clips: processes would save 0.1 s.) Of a clip in a shard the index says it.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio.files import READER, AudioError, AudioInfo, read_audio_info
from deepspeech_training.audio.shards import Stretch, open_shard, stretch_of
from deepspeech_training.console import Console
from deepspeech_training.data.rows import audio_path
from deepspeech_training.errors import UserError

CACHE_FORMAT = f"deepspeech_training audio headers 2, reader {READER}"


@dataclass(frozen=True, slots=True)
class Header:
    """What is known of one clip: size in bytes, time of change in ns, and either its header or its fault.

    `shard` is the archive that it lies in, whose time it has; "" for a file of its own.
    """

    size: int = 0
    mtime_ns: int = 0
    info: AudioInfo | None = None
    fault: AudioError | None = None
    shard: str = ""

    @property
    def known(self) -> AudioInfo:
        """What the header says of a file without a fault."""
        assert self.info is not None, "a file with a fault has no samples"
        return self.info


class Headers:
    """Reads headers; for many threads. Those of files of their own are read once, those in shards are not kept.

    Args:
        cache_dir: where they are kept for the next start; None: nowhere.
        console: gets a cache that cannot be used.
    """

    def __init__(self, cache_dir: Path | None, console: Console):
        self._cache_dir, self._console = cache_dir, console
        self._known: dict[str, Header] = {}
        self._read: dict[str, Header] = {}
        self.shards: dict[str, tuple[int, int]] = {}  # their states

    @property
    def from_cache(self) -> int:
        """Of how many files the header was known."""
        return sum(header is self._known.get(path) for path, header in self._read.items())

    def load(self, csv_path: str) -> None:
        """Take in what an earlier start has kept of the files of a CSV."""
        if self._cache_dir is not None:
            self._known.update(_load_cache(_cache_path(self._cache_dir, csv_path), csv_path, self._console))

    def save(self, csv_path: str, paths: Iterable[str]) -> None:
        """Keep what was read of the files of a CSV, if that is news."""
        if self._cache_dir is None:
            return
        read = {path: header for path in paths if (header := self._read.get(path)) is not None}
        if any(header.info and header is not self._known.get(path) for path, header in read.items()):
            _save_cache(_cache_path(self._cache_dir, csv_path), csv_path, read, self._console)

    def of(self, path: str) -> Header:
        """The header of a clip, or what is wrong with it."""
        if where := stretch_of(path):
            return self._in_shard(path, where)
        header = self._read.get(path)
        if header is None:
            header = self._read[path] = _read_header(path, self._known.get(path))
        return header

    def _in_shard(self, path: str, where: Stretch) -> Header:
        state = self.shards.get(where.shard)
        if state is None:
            state = self.shards[where.shard] = state_of(where.shard)
        try:
            info = open_shard(where.shard).info(where, READER) or read_audio_info(path)
            return Header(where.size, state[1], info=info, shard=where.shard)
        except AudioError as error:
            return Header(where.size, state[1], fault=error, shard=where.shard)


def state_of(path: str) -> tuple[int, int]:
    """Size and time of change in ns of a file; -1 where there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return -1, -1
    return status.st_size, status.st_mtime_ns


def _read_header(path: str, known: Header | None) -> Header:
    """`known` itself if the file still has its size and time."""
    size = mtime_ns = 0
    try:
        status = os.stat(path)
        size, mtime_ns = status.st_size, status.st_mtime_ns
        if known and (known.size, known.mtime_ns) == (size, mtime_ns) and stat.S_ISREG(status.st_mode):
            return known
    except (OSError, ValueError):
        pass  # read_audio_info says why
    try:
        return Header(size, mtime_ns, info=read_audio_info(path))
    except AudioError as error:
        return Header(size, mtime_ns, fault=error)


def _cache_path(cache_dir: Path, csv_path: str) -> Path:
    absolute = os.path.abspath(csv_path)
    key = hashlib.blake2b(absolute.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return Path(cache_dir) / f"{Path(absolute).stem}-{key}.jsonl"


def table_path(cache_dir: Path, csv_path: str) -> Path:
    """Where the table of a CSV is kept."""
    return _cache_path(cache_dir, csv_path).with_suffix(".columns")


def _load_cache(cache_path: Path, csv_path: str, console: Console) -> dict[str, Header]:
    """Headers by absolute path; empty if there is no cache, or if anything about it is not as it should be."""
    try:
        first, _, body = cache_path.read_bytes().partition(b"\n")
        described = json.loads(first)
        if described != {"format": CACHE_FORMAT, "sha256": hashlib.sha256(body).hexdigest()}:
            raise ValueError("another format, or a wrong checksum")
        headers = {}
        for line in body.splitlines():
            wav_filename, note, *numbers = json.loads(line)
            if [type(value) for value in (wav_filename, note, *numbers)] != [str, str] + [int] * 5:
                raise ValueError("a line of another kind")
            size, mtime_ns, num_frames, sample_rate, channels = numbers
            if min(num_frames, sample_rate, channels) <= 0:
                raise ValueError("a line with a header that cannot be")
            info = AudioInfo(num_frames, sample_rate, channels, note)
            headers[audio_path(csv_path, wav_filename)] = Header(size, mtime_ns, info)
        return headers
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, RecursionError) as error:
        console.debug(f"{cache_path}: not used, and rewritten: {error}")
        return {}


def _save_cache(cache_path: Path, csv_path: str, headers: Mapping[str, Header], console: Console) -> None:
    """Remember the headers that could be read; faults are looked at again at each start.

    It knows nothing of alphabet, transcripts and geometry, so that no change of these can make it wrong.
    """
    folder = os.path.dirname(os.path.abspath(csv_path))
    lines = []
    for path, header in headers.items():
        if header.info:
            info = header.info
            # Relative to the CSV, as in it: the volume may move.
            wav_filename = os.path.relpath(path, folder)
            file = [wav_filename, info.note, header.size, header.mtime_ns]
            lines.append(json.dumps([*file, info.num_frames, info.sample_rate, info.channels]) + "\n")
    body = "".join(lines).encode("ascii")
    first = json.dumps({"format": CACHE_FORMAT, "sha256": hashlib.sha256(body).hexdigest()})
    try:
        os.makedirs(cache_path.parent, exist_ok=True)
        write_atomically(cache_path, [first.encode("ascii"), b"\n", body])
    except (OSError, UserError) as error:
        console.warn(f"The headers of the audio files cannot be kept for the next start: {error}")
