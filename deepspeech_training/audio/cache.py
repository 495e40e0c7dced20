"""Decoded, resampled audio on disk, so that an MP3 is decoded once and not in every epoch of every run.

A folder has packs: NAME.pack holds samples one after the other, NAME.index a record for each clip. Both only ever grow,
and only the process that made them writes to them; every process reads all of them, through memory maps. So several
runs can share a folder, and a process that is killed leaves at most samples that no record points to.

A clip is found by the content of its file, the wanted sample rate and the versions of the decoders: what has changed is
not found. Augmentation comes later, so it is never in here. Samples are kept exactly: in 16 bits if they fit, else as
float32.
"""

import errno
import fcntl
import hashlib
import mmap
import os
import re
import struct
import threading
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from deepspeech_training.audio.errors import AudioError
from deepspeech_training.audio.files import READER, AudioFile, read_audio
from deepspeech_training.audio.shards import read_bytes, status_of, stretch_of
from deepspeech_training.errors import UserError

FORMAT = 1
RECORD = struct.Struct("<32sQQII")  # key, offset, samples, CRC-32 of the bytes, kind
KINDS = (np.dtype("<i2"), np.dtype("<f4"))
PACK_BYTES = 1_000_000_000  # a pack that is larger is followed by another
PACK_NAME = re.compile(rf"[0-9a-f]{{16}}\.v{FORMAT}\.pack")
SECONDS_BETWEEN_LOOKS = 1.0  # for what other processes have added


@dataclass
class _Pack:
    """One pack, as far as its index has been read."""

    path: Path
    samples: int  # file descriptors
    index: int
    index_read: int = 0
    mapped: mmap.mmap | None = None

    def bytes_at(self, offset: int, length: int) -> memoryview | None:
        """Bytes of the pack; None if it does not have them."""
        if self.mapped is None or len(self.mapped) < offset + length:
            size = os.fstat(self.samples).st_size
            if size < offset + length:
                return None
            self.mapped = mmap.mmap(self.samples, size, access=mmap.ACCESS_READ)
        return memoryview(self.mapped)[offset : offset + length]


class AudioCache:
    """Reads audio as `audio.read_audio` does, to the bit, and from the folder where it can. For many threads.

    Args:
        folder: of the cache; made if need be. Nothing else should be in it.
        sample_rate: Hz, that all audio is resampled to.
        max_bytes: how large the folder may become; then nothing more is stored. What is there beyond it when the cache
            is opened is removed, the oldest first, unless another process uses it.
        warn: receives a line when something keeps the cache from storing.
    Raises:
        UserError: the folder cannot be made or read.
    """

    def __init__(self, folder: Path, *, sample_rate: int, max_bytes: int, warn: Callable[[str], None]):
        self.folder, self._rate, self._max_bytes, self._warn = folder, sample_rate, max_bytes, warn
        self._packs: dict[str, _Pack] = {}
        self._entries: dict[bytes, tuple[_Pack, int, int, int, int]] = {}
        self._digests: dict[str, tuple[tuple[int, ...], bytes]] = {}
        self._own: _Pack | None = None
        self._stores = True
        self._renewed: set[bytes] | None = None
        self._lock = threading.RLock()
        self._last_look = 0.0
        versions = f"{FORMAT}.{READER}/{sample_rate}/{soundfile.__libsndfile_version__}/{soxr.__libsoxr_version__}"
        self._what_decodes = versions.encode()
        self.hits = self.misses = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._remove_beyond_the_bound()
            self._look()
        except OSError as error:
            raise UserError(f"--feature_cache {folder}: cannot use this folder: {error.strerror}") from error

    def __len__(self) -> int:
        return len(self._entries)

    def close(self) -> None:
        """Let go of all packs, so that another process may remove them; nothing can be read after it."""
        for pack in self._packs.values():
            os.close(pack.samples)
            os.close(pack.index)
        self._packs, self._entries, self._own = {}, {}, None

    def size(self) -> int:
        """Bytes of all packs and indices in the folder, those of other processes too."""
        return sum(_size(path) + _size(_index_of(path)) for path in self._pack_paths())

    def describe(self) -> str:
        if not self.folder.is_dir():
            return f"{self.folder}: is not there any more"
        return f"{self.folder}: {len(self):,} clips, {self.size() / 1e9:.2f} GB of at most {self._max_bytes / 1e9:g} GB"

    def renew(self) -> None:
        """Decode every clip once more from its file before it is taken from here again."""
        with self._lock:
            self._renewed = set()
            self._digests.clear()

    def read(self, path: str) -> np.ndarray:
        """As `audio.read_audio(path, sample_rate=...)`."""
        if path.lower().endswith(".wav"):
            with AudioFile(path) as file:
                if file.info.sample_rate == self._rate:  # it is as quick to read as the cache
                    return file.read(sample_rate=self._rate)
        key, status = self._key(path)
        try:
            audio = self._find(key)
        except OSError:  # the folder is gone, or its disk
            audio = None
        if audio is not None:
            self.hits += 1
            return audio
        self.misses += 1
        audio = read_audio(path, sample_rate=self._rate, tell=lambda note: self._warn(f"{path}: {note}"))
        if key is not None and _status(path) == status:  # else the file is being written just now
            self._store(key, audio)
        return audio

    # --- finding ---------------------------------------------------------------------------------------------------

    def _key(self, path: str) -> tuple[bytes | None, tuple[int, ...] | None]:
        """The key of a file's content, and the status that it had; read once for as long as its status stays."""
        status = _status(path)
        if status is None:
            return None, None  # read_audio says what is wrong
        known = self._digests.get(path)
        if known is not None and known[0] == status:
            return known[1], status
        try:
            if stretch_of(path):
                key = hashlib.blake2b(self._what_decodes + read_bytes(path), digest_size=32).digest()
            else:
                with open(path, "rb") as file:
                    key = hashlib.file_digest(
                        file, lambda: hashlib.blake2b(self._what_decodes, digest_size=32)
                    ).digest()
        except (OSError, AudioError):
            return None, status  # read_audio says what is wrong
        if status is not None:
            self._digests[path] = (status, key)
        return key, status

    def _find(self, key: bytes | None) -> np.ndarray | None:
        if key is None:
            return None
        with self._lock:
            if self._renewed is not None and key not in self._renewed:
                self._renewed.add(key)
                return None
            if key not in self._entries and time.monotonic() - self._last_look > SECONDS_BETWEEN_LOOKS:
                self._look()
            found = self._entries.get(key)
            if found is None:
                return None
            pack, offset, samples, checksum, kind = found
            data = pack.bytes_at(offset, samples * KINDS[kind].itemsize)
        if data is None or zlib.crc32(data) != checksum:
            with self._lock:
                self._entries.pop(key, None)  # a damaged disk, or a crash of the machine: decode it again
            return None
        audio: np.ndarray = np.frombuffer(data, KINDS[kind])
        return audio * np.float32(2**-15) if kind == 0 else audio.copy()

    def _look(self) -> None:
        """Take in what the indices have that they had not before; what is wrong in them is passed over."""
        self._last_look = time.monotonic()
        for path in self._pack_paths():
            if path.name not in self._packs:
                pack = _open_pack(path)
                if pack is None:
                    continue
                self._packs[path.name] = pack
            pack = self._packs[path.name]
            if pack is self._own:
                continue
            added = os.fstat(pack.index).st_size - pack.index_read
            records = os.pread(pack.index, added, pack.index_read) if added > 0 else b""
            records = records[: len(records) // RECORD.size * RECORD.size]  # the last may be half written
            pack.index_read += len(records)
            size = os.fstat(pack.samples).st_size
            for key, offset, samples, checksum, kind in RECORD.iter_unpack(records):
                if kind < len(KINDS) and offset + samples * KINDS[kind].itemsize <= size:
                    self._entries[key] = (pack, offset, samples, checksum, kind)

    def _pack_paths(self) -> list[Path]:
        return sorted(path for path in self.folder.iterdir() if PACK_NAME.fullmatch(path.name))

    # --- storing ---------------------------------------------------------------------------------------------------

    def _store(self, key: bytes, audio: np.ndarray) -> None:
        whole = audio * np.float32(32768)
        kind = 0 if np.array_equal(whole, np.clip(np.rint(whole), -32768, 32767)) else 1
        data = (whole.astype(KINDS[0]) if kind == 0 else audio.astype(KINDS[1])).tobytes()
        with self._lock:
            if not self._stores or key in self._entries:
                return
            try:
                if self.size() + len(data) + RECORD.size > self._max_bytes:
                    self._stop_storing(f"it is full ({self._max_bytes / 1e9:g} GB, --feature_cache_gb)")
                else:
                    self._append(key, data, len(audio), kind)
            except OSError as error:
                self._stop_storing(error.strerror or str(error))

    def _append(self, key: bytes, data: bytes, samples: int, kind: int) -> None:
        if self._own is None or os.fstat(self._own.samples).st_size >= PACK_BYTES:
            self._own = self._new_pack()
        offset = os.fstat(self._own.samples).st_size
        checksum = zlib.crc32(data)
        record = RECORD.pack(key, offset, samples, checksum, kind)
        for descriptor, content in ((self._own.samples, data), (self._own.index, record)):
            if os.write(descriptor, content) < len(content):  # the disk is nearly full
                os.ftruncate(self._own.samples, offset)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._entries[key] = (self._own, offset, samples, checksum, kind)

    def _new_pack(self) -> _Pack:
        path = self.folder / f"{os.urandom(8).hex()}.v{FORMAT}.pack"
        how = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND
        pack = _Pack(path, os.open(path, how, 0o644), os.open(_index_of(path), how, 0o644))
        with suppress(OSError):  # a file system without locks
            fcntl.flock(pack.samples, fcntl.LOCK_SH)
        self._packs[path.name] = pack
        return pack

    def _stop_storing(self, reason: str) -> None:
        self._stores = False
        self._warn(f"--feature_cache {self.folder}: stores nothing more: {reason}. Training continues without it.")

    def _remove_beyond_the_bound(self) -> None:
        for path in sorted(self._pack_paths(), key=_modified):
            if self.size() <= self._max_bytes:
                return
            pack = _open_pack(path, lock=fcntl.LOCK_EX | fcntl.LOCK_NB)
            if pack is not None:
                with suppress(OSError):
                    _index_of(path).unlink()
                    path.unlink()
                os.close(pack.samples)
                os.close(pack.index)


def _open_pack(path: Path, *, lock: int = fcntl.LOCK_SH) -> _Pack | None:
    """A pack for reading, locked so that nobody removes it; None if it cannot be had."""
    opened: list[int] = []
    try:
        for name in (path, _index_of(path)):
            opened.append(os.open(name, os.O_RDONLY))
        fcntl.flock(opened[0], lock)
        return _Pack(path, opened[0], opened[1])
    except OSError as error:
        if len(opened) == 2 and lock == fcntl.LOCK_SH and error.errno in (errno.ENOLCK, errno.ENOTSUP):
            return _Pack(path, opened[0], opened[1])  # a file system without locks
        for descriptor in opened:
            os.close(descriptor)
        return None


def _index_of(pack: Path) -> Path:
    return pack.with_suffix(".index")


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _modified(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_mtime_ns
    return 0


def _status(path: str) -> tuple[int, ...] | None:
    """What changes when a file does."""
    with suppress(OSError, ValueError):
        status = status_of(path)
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return None
