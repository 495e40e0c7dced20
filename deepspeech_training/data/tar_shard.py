"""Writes one shard: an uncompressed tar in the order of WebDataset, and its index; whole, or not at all."""

import hashlib
import io
import json
import os
import tarfile
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.audio.files import READER
from deepspeech_training.audio.parts import AudioInfo
from deepspeech_training.audio.shards import INDEX_RECORD, TAR_BLOCK, IndexRecord, ShardIndex, index_path
from deepspeech_training.data.part_file import PartFile

if TYPE_CHECKING:  # as in `audio.files`
    import numpy as np


@dataclass(frozen=True, slots=True)
class PackedClip:
    """A clip as it goes into a shard.

    Args:
        row: of the CSV.
        suffix: of its bytes, such as ".flac".
        data: the file.
        info: length and rate of that.
        transcript: in NFC.
        columns: all that the CSV says of it.
        digest: of the row and the file that it was made from: whether a shard has it already.
    """

    row: int
    suffix: str
    data: bytes
    info: AudioInfo
    transcript: str
    columns: Mapping[str, str]
    digest: bytes


class TarShard(PartFile):
    """A shard that is being written, under a name beside its own until `close`. Use as a context manager.

    Raises:
        UserError: it cannot be written, or the disk is full.
    """

    remedy = "\nThe same command resumes with this shard."

    def __init__(self, path: Path):
        super().__init__(path)
        self._records: list[IndexRecord] = []
        self._digest = hashlib.blake2b(digest_size=32)

    def __len__(self) -> int:
        return len(self._records)

    def add(self, clip: PackedClip) -> None:
        key, info = f"{clip.row:09}", clip.info
        said = {
            **clip.columns,
            "row": clip.row,
            "transcript": clip.transcript,
            "num_frames": info.num_frames,
            "sample_rate": info.sample_rate,
            "channels": info.channels,
            "duration": round(info.duration_s, 6),
        }
        offset = self.size + TAR_BLOCK
        self._add(key + clip.suffix, clip.data)
        self._add(key + ".txt", clip.transcript.encode("utf-8", "surrogateescape"))
        self._add(key + ".json", json.dumps(said, ensure_ascii=True).encode("ascii"))
        checksum = zlib.crc32(clip.data)
        sound = info.num_frames, info.sample_rate, checksum, info.channels, int(bool(info.note))
        self._records.append(IndexRecord(offset, len(clip.data), clip.row, *sound))
        self._digest.update(clip.digest)

    def _add(self, name: str, data: bytes) -> None:
        header = tarfile.TarInfo(name)
        header.size, header.mode = len(data), 0o644
        self._write(header.tobuf(tarfile.USTAR_FORMAT) + data + bytes(-len(data) % TAR_BLOCK))

    def close(self) -> None:
        """Put the shard and its index in their places: the index last, so that one without it is not finished."""
        self._write(bytes(2 * TAR_BLOCK))
        self._finish(replaces=Path(index_path(self.path)))  # of an older shard of this name
        data = b"".join(INDEX_RECORD.pack(*record) for record in self._records)
        index = ShardIndex(data, READER, self._digest.digest(), self.size)
        write_atomically(Path(index_path(self.path)), [index.to_bytes()])


def row_digest(fields: Mapping[str, str], source: os.stat_result, how: str) -> bytes:
    """Of a row, the state of the file that it names, and how that is packed."""
    said = json.dumps([sorted(fields.items()), source.st_size, source.st_mtime_ns, how])
    return hashlib.blake2b(said.encode(), digest_size=16).digest()


def digest_of(rows: Iterable[bytes]) -> bytes:
    """What the index of a shard of these rows says."""
    return hashlib.blake2b(b"".join(rows), digest_size=32).digest()


def encode(samples: "np.ndarray", sample_rate: int, kind: str) -> bytes:
    """int16 [samples] as a FLAC, an Ogg Opus or a WAV file."""
    import soundfile

    file = io.BytesIO()
    formats = {"flac": ("FLAC", "PCM_16"), "opus": ("OGG", "OPUS"), "wav": ("WAV", "PCM_16")}
    name, subtype = formats[kind]
    soundfile.write(file, samples, sample_rate, format=name, subtype=subtype)
    return file.getvalue()
