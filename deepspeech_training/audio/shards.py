"""Clips inside of archives: "train-000012.tar#1536+84992.flac" is a stretch of a file, read at random by its offset.

Whatever reads audio takes such a path like that of a file. A shard is an uncompressed tar or an SDB of DeepSpeech.
Beside a tar that was packed here lies an index, train-000012.idx, with length and CRC-32 of each clip. Nothing in an
archive is trusted: no name in it becomes a path, a clip has `MAX_CLIP_BYTES` at most, and where there is no index the
archive itself must say that a file of this size begins there.
"""

import bisect
import functools
import mmap
import operator
import os
import re
import resource
import stat
import struct
import zlib
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple, overload

from deepspeech_training.audio import opus_packets
from deepspeech_training.audio.errors import AudioError
from deepspeech_training.audio.parts import AudioInfo

MAX_CLIP_BYTES = 1 << 28  # 2.3 hours of WAV at 16 kHz
# Each takes two of the files that a process may have open, and others need some too.
MAX_OPEN_SHARDS = min(2048, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4)
TAR_BLOCK = 512
_REFERENCE = re.compile(r"(.+\.(?:tar|[sS][dD][bB]))#(\d{1,18})\+(\d{1,18})(\.[A-Za-z0-9_]{1,16})", re.DOTALL)
_SDB_LENGTH = struct.Struct(">I")

INDEX_MAGIC = b"DSINDEX1"
INDEX_HEADER = struct.Struct("<8sQQII32s")  # magic, clips, bytes of the shard, reader, CRC-32 of the records, digest
INDEX_RECORD = struct.Struct("<QQQQIIII")  # as `IndexRecord`


class IndexRecord(NamedTuple):
    """One clip of a shard, as its index has it.

    Args:
        offset, size: where its bytes lie.
        row: of the CSV that was packed.
        num_frames, sample_rate, channels: of the sound.
        crc32: of its bytes.
        is_odd: there is a note on its sound; see `AudioInfo`.
    """

    offset: int
    size: int
    row: int
    num_frames: int
    sample_rate: int
    crc32: int
    channels: int
    is_odd: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Where a clip lies: `size` bytes of a shard from `offset` on; `suffix` is the end of its own name."""

    shard: str
    offset: int
    size: int
    suffix: str

    def __str__(self) -> str:
        return f"{self.shard}#{self.offset}+{self.size}{self.suffix}"


@dataclass(frozen=True)
class ShardIndex(Sequence[IndexRecord]):
    """What the index of a shard says: a record for each clip, by ascending offset.

    Args:
        data: the records, one after the other.
        reader: `audio.files.READER` of the program that found the lengths.
        digest: of the rows that were packed, 32 bytes.
        shard_bytes: how long the shard is.
    """

    data: bytes | mmap.mmap
    reader: int
    digest: bytes
    shard_bytes: int

    def __len__(self) -> int:
        return (len(self.data) - self._start) // INDEX_RECORD.size

    @property
    def _start(self) -> int:
        return INDEX_HEADER.size if isinstance(self.data, mmap.mmap) else 0

    @overload
    def __getitem__(self, place: int) -> IndexRecord: ...

    @overload
    def __getitem__(self, place: slice) -> list[IndexRecord]: ...

    def __getitem__(self, place: int | slice) -> IndexRecord | list[IndexRecord]:
        if isinstance(place, slice):
            return [self[one] for one in range(*place.indices(len(self)))]
        if not -len(self) <= place < len(self):
            raise IndexError(place)
        at = self._start + place % len(self) * INDEX_RECORD.size
        return IndexRecord._make(INDEX_RECORD.unpack_from(self.data, at))

    def find(self, offset: int, size: int) -> IndexRecord | None:
        """The record of a clip; None if no clip of this size begins there."""
        place = bisect.bisect_left(self, offset, key=operator.itemgetter(0))
        record = self[place] if place < len(self) else None
        return record if record and (record.offset, record.size) == (offset, size) else None

    def to_bytes(self) -> bytes:
        data = self.data[self._start :]
        head = INDEX_MAGIC, len(self), self.shard_bytes, self.reader, zlib.crc32(data), self.digest
        return INDEX_HEADER.pack(*head) + data


def stretch_of(path: str) -> Stretch | None:
    """Where the clip of a path lies; None for a file of its own.

    >>> stretch_of("/data/train-000012.tar#1536+84992.flac")
    Stretch(shard='/data/train-000012.tar', offset=1536, size=84992, suffix='.flac')
    >>> stretch_of("/data/one#2.flac")
    """
    if "#" not in path or (found := _REFERENCE.fullmatch(path)) is None:
        return None
    shard, offset, size, suffix = found.groups()
    return Stretch(shard, int(offset), int(size), suffix)


def index_path(shard: str | os.PathLike[str]) -> str:
    return os.path.splitext(shard)[0] + ".idx"


def read_index(shard: str | os.PathLike[str]) -> ShardIndex | None:
    """The index beside a shard, mapped into memory; None where there is none.

    Raises:
        AudioError: it is damaged, or of another shard.
    """
    path = index_path(shard)
    try:
        with open(path, "rb") as file:
            head = file.read(INDEX_HEADER.size)
            if len(head) < INDEX_HEADER.size:
                raise AudioError(f"{path} is cut: no index of a shard")
            magic, count, shard_bytes, reader, checksum, digest = INDEX_HEADER.unpack(head)
            if magic != INDEX_MAGIC:
                raise AudioError(f"{path} is no index of a shard that this version knows")
            left = os.fstat(file.fileno()).st_size - INDEX_HEADER.size
            if count * INDEX_RECORD.size != left:
                raise AudioError(f"{path} is damaged: it promises {count:,} clips, and has {left:,} bytes")
            if zlib.crc32(file.read()) != checksum:
                raise AudioError(f"{path} is damaged: its checksum is wrong")
            return ShardIndex(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ), reader, digest, shard_bytes)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise AudioError(f"{path} cannot be read: {error.strerror}") from error


class Shard:
    """An archive that is open for reading, for many threads.

    Raises:
        AudioError: it is not there, is no regular file, or its index is damaged or of another file.
    """

    def __init__(self, path: str):
        self.path = path
        self._descriptor = -1
        try:
            # To open a named pipe would wait for ever.
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            status = os.fstat(self._descriptor)
        except FileNotFoundError as error:
            raise AudioError(f"the shard {path} does not exist", code="missing_file") from error
        except OSError as error:
            raise AudioError(f"the shard {path} cannot be opened: {error.strerror}") from error
        if not stat.S_ISREG(status.st_mode):
            raise AudioError(f"{path} is not a regular file")
        self.size = status.st_size
        self.index = read_index(path) if path.endswith(".tar") else None
        if self.index is not None and self.index.shard_bytes != self.size:
            raise AudioError(
                f"the shard {path} has {self.size:,} bytes, and its index says {self.index.shard_bytes:,}: it is cut, "
                "or the two do not belong together"
            )

    def __del__(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)

    def read(self, where: Stretch) -> bytes:
        """The bytes of a clip, as a file of its own would have them.

        Raises:
            AudioError: no clip lies there, or it is damaged.
        """
        data = self._read(where)
        return opus_packets.to_ogg(data) if where.suffix == opus_packets.SUFFIX else data

    def _read(self, where: Stretch) -> bytes:
        self._check_bounds(where)
        if self.index is None:
            return self._read_after_header(where)
        record = self.index.find(where.offset, where.size)
        if record is None:
            raise _no_clip(where, "its index knows of none")
        data = self._pread(where.offset, where.size)
        if zlib.crc32(data) != record.crc32:
            raise AudioError(f"the shard {self.path} is damaged at this clip: its checksum is wrong")
        return data

    def info(self, where: Stretch, reader: int) -> AudioInfo | None:
        """Length and rate of a clip if the index has them and nothing is odd about it; `reader` is the present one.

        Raises:
            AudioError: the index knows of no clip there.
        """
        if self.index is None:
            return None
        record = self.index.find(where.offset, where.size)
        if record is None:
            raise _no_clip(where, "its index knows of none")
        if record.is_odd or self.index.reader != reader:
            return None
        return AudioInfo(record.num_frames, record.sample_rate, record.channels)

    def part(self, where: Stretch, start: int, length: int) -> bytes:
        """Some bytes of a clip, unchecked."""
        self._check_bounds(where)
        return self._pread(where.offset + start, max(0, min(length, where.size - start)))

    def _check_bounds(self, where: Stretch) -> None:
        if where.size > MAX_CLIP_BYTES:
            raise AudioError(f"it would have {where.size:,} bytes; a clip in a shard has {MAX_CLIP_BYTES:,} at most")
        if where.offset + where.size > self.size:
            raise _no_clip(where, f"the shard has {self.size:,} bytes")

    def _read_after_header(self, where: Stretch) -> bytes:
        """Of an archive without an index: what stands before a clip tells that it is one."""
        lead = TAR_BLOCK if self.path.endswith(".tar") else _SDB_LENGTH.size
        if where.offset < lead:
            raise _no_clip(where, "it would begin before the first one")
        data = self._pread(where.offset - lead, lead + where.size)
        if lead == TAR_BLOCK:
            is_there = data[257:262] == b"ustar" and _octal(data[124:136]) == where.size
        else:
            is_there = _SDB_LENGTH.unpack_from(data)[0] == where.size
        if not is_there:
            raise _no_clip(where, "no file of this size begins there")
        return data[lead:]

    def _pread(self, offset: int, size: int) -> bytes:
        try:
            data = os.pread(self._descriptor, size, offset)
            while len(data) < size and (more := os.pread(self._descriptor, size - len(data), offset + len(data))):
                data += more
        except OSError as error:
            raise AudioError(f"the shard {self.path} cannot be read: {error.strerror}") from error
        if len(data) < size:
            raise AudioError(f"the shard {self.path} is cut")
        return data


def _no_clip(where: Stretch, why: str) -> AudioError:
    return AudioError(f"the shard {where.shard} has no clip of {where.size:,} bytes at {where.offset:,}: {why}")


def _octal(field: bytes) -> int:
    digits = field.rstrip(b"\0 ")
    return int(digits, 8) if digits.isdigit() and not set(digits) & set(b"89") else -1


def open_shard(path: str) -> Shard:
    """A shard; the last used stay open. One that was exchanged for another is opened again.

    Raises:
        AudioError: see `Shard`.
    """
    try:
        status = os.stat(path)
        state: tuple[int, ...] = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    except OSError:
        state = ()  # Shard says what is wrong
    return _opened(path, state)


@functools.lru_cache(MAX_OPEN_SHARDS)
def _opened(path: str, state: tuple[int, ...]) -> Shard:
    return Shard(path)


def status_of(path: str) -> os.stat_result:
    """Of the file of a clip, or of the shard that it lies in.

    Raises:
        OSError, ValueError: it is not there.
    """
    where = stretch_of(path)
    return os.stat(path if where is None else where.shard)


def read_bytes(path: str) -> bytes:
    """All bytes of a clip, wherever it lies.

    Raises:
        AudioError: it is not there, is damaged, or longer than `MAX_CLIP_BYTES`.
    """
    if where := stretch_of(path):
        return open_shard(where.shard).read(where)
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_CLIP_BYTES + 1)
    except OSError as error:
        raise AudioError(f"it cannot be read: {error.strerror}") from error
    if len(data) > MAX_CLIP_BYTES:
        raise AudioError(f"it has more than {MAX_CLIP_BYTES:,} bytes, as no clip in a shard may")
    return data


def read_part(path: str, start: int, length: int) -> bytes:
    """Some bytes of a clip, unchecked.

    Raises:
        AudioError, OSError: they cannot be read.
    """
    if where := stretch_of(path):
        return open_shard(where.shard).part(where, start, length)
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        return file.read(length)


def size_of(path: str) -> int:
    """Bytes of a clip.

    Raises:
        OSError: there is no such file.
    """
    where = stretch_of(path)
    return os.path.getsize(path) if where is None else where.size


def in_memory(data: bytes, resources: ExitStack) -> str:
    """Bytes as a file for as long as `resources` are open: a path that this process and its children can open."""
    descriptor = os.memfd_create("clip")
    resources.callback(os.close, descriptor)
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]
    return f"/proc/{os.getpid()}/fd/{descriptor}"


def as_file(path: str, resources: ExitStack) -> str:
    """A path that decoders can open: that of a file, or of a clip of a shard in memory.

    Raises:
        AudioError: the clip cannot be read.
    """
    where = stretch_of(path)
    return path if where is None else in_memory(open_shard(where.shard).read(where), resources)
