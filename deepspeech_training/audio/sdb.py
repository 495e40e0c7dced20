"""DeepSpeech's sample databases: one file with the clips of a set and their transcripts. All numbers are big-endian.

    "SAMPLEDB", u64 length, JSON: {"schema": [{"content": "speech", "mime-type": ...}, {"content": "transcript", ...}]}
    u64 bytes from here to the index, u64 samples
    of each sample: u32 bytes of the entry, and of each column of the schema u32 length and its bytes
    u64 bytes of the rest, u64 samples, u64 place of each entry in the file

Nothing in it is trusted. Clips are read by their place, as those of other shards (`audio.shards`).
"""

import json
import os
import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from deepspeech_training.audio import opus_packets
from deepspeech_training.errors import UserError

SUFFIX = ".sdb"
MAGIC = b"SAMPLEDB"
U32, U64 = struct.Struct(">I"), struct.Struct(">Q")
SPEECH, TRANSCRIPT = "speech", "transcript"
MIME_TEXT, MIME_WAV, MIME_OPUS = "text/plain", "audio/wav", "application/vnd.mozilla.opus"
AUDIO_SUFFIXES = {
    MIME_WAV: ".wav",
    MIME_OPUS: opus_packets.SUFFIX,
    "application/vnd.deepspeech.ogg_opus": ".opus",
}
MAX_SCHEMA_BYTES = 1 << 16
MAX_COLUMNS = 16
MAX_TRANSCRIPT_BYTES = 1 << 20
_OFFSETS_AT_ONCE = 4096


class SdbSample(NamedTuple):
    """Where the audio of a sample lies, and what is said in it; `fault` says why it cannot be used."""

    offset: int = 0
    size: int = 0
    transcript: str = ""
    fault: str | None = None


@dataclass(frozen=True)
class SdbSchema:
    """What a sample database holds.

    Args:
        suffix: of its clips, such as ".wav".
        speech, transcript: which of its columns they are; None: it has no transcripts.
        num_columns: of an entry.
        num_samples: entries.
        index: where the places of the entries begin.
        num_bytes: of the file.
    """

    suffix: str
    speech: int
    transcript: int | None
    num_columns: int
    num_samples: int
    index: int
    num_bytes: int


def is_sdb(path: str | os.PathLike[str]) -> bool:
    """Whether a name is that of a sample database."""
    return os.fspath(path).lower().endswith(SUFFIX)


def read_schema(path: str | os.PathLike[str]) -> SdbSchema:
    """What a sample database says of itself.

    Raises:
        UserError: it cannot be read, is damaged, or has no speech that can be read.
    """
    with _opened(path) as file:
        return _schema(file, os.fspath(path))


def read_samples(path: str | os.PathLike[str]) -> Iterator[SdbSample]:
    """The samples of a database, in their order.

    Raises:
        UserError: as `read_schema`, at once; a sample that is damaged has a `fault`.
    """
    schema = read_schema(path)
    return _samples(path, schema)


def _samples(path: str | os.PathLike[str], schema: SdbSchema) -> Iterator[SdbSample]:
    with _opened(path) as file:
        for first in range(0, schema.num_samples, _OFFSETS_AT_ONCE):
            count = min(_OFFSETS_AT_ONCE, schema.num_samples - first)
            file.seek(schema.index + U64.size * first)
            for (offset,) in U64.iter_unpack(file.read(U64.size * count)):
                yield _sample(file, offset, schema)


def _opened(path: str | os.PathLike[str]) -> BinaryIO:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # to open a named pipe would wait for ever
        file = os.fdopen(descriptor, "rb")
    except OSError as error:
        raise UserError(f"{path}: cannot read the sample database: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise UserError(f"{path}: a sample database is a file; this is none")
    return file


def _schema(file: BinaryIO, path: str) -> SdbSchema:
    num_bytes = os.fstat(file.fileno()).st_size

    def fault(what: str) -> UserError:
        return UserError(f"{path}: {what}\nCopy the file again, or make it again with DeepSpeech's build_sdb.py.")

    def number() -> int:
        data = file.read(U64.size)
        if len(data) < U64.size:
            raise fault(f"the sample database is cut: {num_bytes:,} bytes")
        return U64.unpack(data)[0]

    if file.read(len(MAGIC)) != MAGIC:
        raise fault("no sample database: it does not begin with SAMPLEDB")
    size = number()
    if size > MAX_SCHEMA_BYTES:
        raise fault(f"the sample database is damaged: a schema of {size:,} bytes")
    try:
        columns = [
            (str(column["content"]), str(column["mime-type"])) for column in json.loads(file.read(size))["schema"]
        ]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise fault(f"the sample database is damaged: its schema cannot be read ({error!r})") from error
    speech = [place for place, (content, kind) in enumerate(columns) if content == SPEECH and kind in AUDIO_SUFFIXES]
    if not speech or len(columns) > MAX_COLUMNS:
        raise fault(f"no speech of a kind that is known in the sample database: {columns[:MAX_COLUMNS]}")
    transcripts = [place for place, column in enumerate(columns) if column == (TRANSCRIPT, MIME_TEXT)]
    chunk = number()
    index = file.tell() + chunk
    file.seek(min(index, num_bytes))
    promised, num_samples = number(), number()
    index += 2 * U64.size
    if promised != U64.size * (num_samples + 1) or index + U64.size * num_samples > num_bytes:
        raise fault(f"the sample database is damaged or cut: its index promises {num_samples:,} samples")
    return SdbSchema(
        AUDIO_SUFFIXES[columns[speech[0]][1]],
        speech[0],
        transcripts[0] if transcripts else None,
        len(columns),
        num_samples,
        index,
        num_bytes,
    )


def _sample(file: BinaryIO, offset: int, schema: SdbSchema) -> SdbSample:
    at = offset + U32.size
    speech, transcript = (0, 0), b""
    for place in range(schema.num_columns):
        if at + U32.size > schema.num_bytes:
            return SdbSample(fault=f"its entry at byte {offset:,} lies outside the file")
        file.seek(at)
        (size,) = U32.unpack(file.read(U32.size))
        at += U32.size
        if at + size > schema.num_bytes:
            return SdbSample(fault=f"its entry at byte {offset:,} promises {size:,} bytes, and the file ends before")
        if place == schema.speech:
            speech = at, size
        elif place == schema.transcript:
            if size > MAX_TRANSCRIPT_BYTES:
                return SdbSample(*speech, fault=f"its transcript has {size:,} bytes")
            transcript = file.read(size)
        at += size
    try:
        return SdbSample(*speech, transcript.decode("utf-8"))
    except UnicodeDecodeError as error:
        return SdbSample(*speech, fault=f"byte 0x{transcript[error.start]:02x} of its transcript is not UTF-8")
