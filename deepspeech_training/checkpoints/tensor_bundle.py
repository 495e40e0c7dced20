"""A TensorFlow 1 checkpoint ("V2" format, a tensor bundle), read with numpy alone.

    train-200.index                  a sorted table: variable name -> type, shape, and where its bytes are
    train-200.data-00000-of-00001    the variables' bytes, little endian, one after another

The table is LevelDB's (its doc/table_format.md), the entries are TensorFlow's BundleEntryProto
(tensorflow/core/protobuf/tensor_bundle.proto). TensorFlow writes the table uncompressed, so that a compressed one is
refused. Nothing in the files is trusted: sizes and offsets are checked, and every block and variable has a CRC-32C.
"""

import functools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.checkpoints.file import DamagedCheckpoint

MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48  # two block handles of up to 20 bytes, and the magic number
_MAX_INDEX_BYTES = 64_000_000  # the table of a DeepSpeech model has 2 kB
# By the number of tensorflow.DataType.
_DTYPES: dict[int, np.dtype] = {1: np.dtype("<f4"), 2: np.dtype("<f8"), 3: np.dtype("<i4"), 9: np.dtype("<i8")}


@dataclass(frozen=True)
class Variable:
    """Where a variable is: its bytes `offset` to `offset + size` of the data file number `shard`."""

    dtype: np.dtype
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


def index_of(prefix: Path) -> Path:
    """The table of the checkpoint with this prefix."""
    return prefix.with_name(f"{prefix.name}.index")


class TensorBundle:
    """A checkpoint whose table has been read and whose variables are read when they are asked for.

    Args:
        prefix: such as "folder/train-200", the names of its files without their endings.
    Raises:
        DamagedCheckpoint: the table is missing, damaged, or names bytes that the data files do not have.
    """

    def __init__(self, prefix: Path):
        self.prefix = prefix
        self.index_path = index_of(prefix)
        try:
            self._num_shards, self.variables = _read_index(self.index_path)
            self._check_sizes()
        except (ValueError, OverflowError) as error:
            raise DamagedCheckpoint(f"{self.index_path}: not a usable TensorFlow checkpoint ({error})") from error

    def data_path(self, shard: int) -> Path:
        return self.prefix.with_name(f"{self.prefix.name}.data-{shard:05}-of-{self._num_shards:05}")

    @property
    def files(self) -> list[Path]:
        return [self.index_path, *(self.data_path(shard) for shard in range(self._num_shards))]

    def read(self, name: str) -> np.ndarray:
        """One variable; `name` is one of `variables`.

        Raises:
            DamagedCheckpoint: its bytes are not those that were saved, or cannot be read.
        """
        variable = self.variables[name]
        path = self.data_path(variable.shard)
        try:
            with open(path, "rb") as file:
                file.seek(variable.offset)
                data = file.read(variable.size)
        except OSError as error:
            raise DamagedCheckpoint(f"{path}: {error.strerror}") from error
        if len(data) != variable.size or masked_crc(data) != variable.crc:
            raise DamagedCheckpoint(f"{path}: {name} is not what was saved (CRC-32C differs)")
        return np.frombuffer(data, variable.dtype).reshape(variable.shape)

    def _check_sizes(self) -> None:
        sizes = []
        for path in self.files[1:]:
            if not path.is_file():
                raise DamagedCheckpoint(f"{path}: {self.index_path.name} names this file; it is missing")
            sizes.append(path.stat().st_size)
        for name, variable in self.variables.items():
            if variable.size != math.prod(variable.shape) * variable.dtype.itemsize:
                raise ValueError(f"{name} has {variable.size} bytes for shape {list(variable.shape)}")
            if variable.shard >= len(sizes) or variable.offset + variable.size > sizes[variable.shard]:
                raise ValueError(f"{name} lies outside the data file, which may have been cut off")


# --- the table ---------------------------------------------------------------------------------------------------


def _read_index(path: Path) -> tuple[int, dict[str, Variable]]:
    """Number of data files, and every variable by name."""
    try:
        size = path.stat().st_size
        if size > _MAX_INDEX_BYTES:
            raise ValueError(f"{size:,} bytes are more than any table has")
        table = path.read_bytes()
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: {error.strerror}") from error
    if len(table) < _FOOTER_BYTES or int.from_bytes(table[-8:], "little") != MAGIC:
        raise ValueError("the number that ends such a file is not there")
    footer = table[-_FOOTER_BYTES:-8]
    _, _, place = _read_handle(footer, 0)  # of the metaindex, which TensorFlow leaves empty
    offset, size, _ = _read_handle(footer, place)
    entries: dict[bytes, bytes] = {}
    for handle in _block_entries(_block(table, offset, size)).values():
        offset, size, _ = _read_handle(handle, 0)
        entries |= _block_entries(_block(table, offset, size))
    header = dict(_fields(entries.pop(b"", b"")))
    num_shards = _number(header.get(1, 0))
    if not 1 <= num_shards <= 1000:
        raise ValueError(f"it is said to have {num_shards} data files")
    if header.get(2, 0) != 0:
        raise ValueError("it is big endian")
    return num_shards, {_text(name): _variable(_text(name), value) for name, value in entries.items()}


def _text(name: bytes) -> str:
    return name.decode("utf-8", errors="backslashreplace")


def _block(table: bytes, offset: int, size: int) -> bytes:
    """The contents of a block, which a byte on its compression and its CRC follow."""
    if offset + size + 5 > len(table) - _FOOTER_BYTES:
        raise ValueError("a block lies outside the file")
    block, trailer = table[offset : offset + size], table[offset + size : offset + size + 5]
    if masked_crc(table[offset : offset + size + 1]) != int.from_bytes(trailer[1:], "little"):
        raise ValueError("a block is not what was saved (CRC-32C differs)")
    if trailer[0] != 0:
        raise ValueError("its table is compressed, which TensorFlow does not do")
    return block


def _block_entries(block: bytes) -> dict[bytes, bytes]:
    """Keys and values of a block; a key is written as what differs from the one before it."""
    if len(block) < 4:
        raise ValueError("a block is too short")
    end = len(block) - 4 * (1 + int.from_bytes(block[-4:], "little"))  # the restart points and their number
    if end < 0:
        raise ValueError("a block is too short")
    entries, key, place = {}, b"", 0
    while place < end:
        shared, place = _varint(block, place)
        fresh, place = _varint(block, place)
        length, place = _varint(block, place)
        if shared > len(key) or place + fresh + length > end:
            raise ValueError("an entry lies outside its block")
        key = key[:shared] + block[place : place + fresh]
        entries[key] = block[place + fresh : place + fresh + length]
        place += fresh + length
    return entries


def _read_handle(data: bytes, place: int) -> tuple[int, int, int]:
    """Offset and size of a block, and the place after them."""
    offset, place = _varint(data, place)
    size, place = _varint(data, place)
    return offset, size, place


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if place >= len(data):
            break
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
    raise ValueError("a number is cut off")


# --- the entries -------------------------------------------------------------------------------------------------


def _variable(name: str, message: bytes) -> Variable:
    """A BundleEntryProto: 1 type, 2 shape, 3 shard, 4 offset, 5 size, 6 CRC, 7 slices."""
    found = dict(_fields(message))
    if 7 in found:
        raise ValueError(f"{name} is in slices, which DeepSpeech does not do")
    type_number, shard, offset, size, crc = (_number(found.get(number, 0)) for number in (1, 3, 4, 5, 6))
    if type_number not in _DTYPES:
        raise ValueError(f"{name} has a type (number {type_number}) that DeepSpeech's variables do not have")
    return Variable(_DTYPES[type_number], tuple(_shape(_bytes(found.get(2, b"")))), shard, offset, size, crc)


def _shape(message: bytes) -> Iterator[int]:
    """A TensorShapeProto: field 2 is a dimension, whose field 1 is its size."""
    for number, dimension in _fields(message):
        if number == 2:
            size = _number(dict(_fields(_bytes(dimension))).get(1, 0))
            if size >= 1 << 40:  # a negative one is written as a huge one
                raise ValueError("a shape is unknown")
            yield size


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("an entry cannot be read")
    return value


def _number(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("an entry cannot be read")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Field numbers and values of a protobuf message (https://protobuf.dev/programming-guides/encoding)."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        kind = tag & 7
        if kind == 0:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, place = _varint(message, place)
        if size is None or place + size > len(message):
            raise ValueError("an entry cannot be read")
        data = message[place : place + size]
        place += size
        yield tag >> 3, data if kind == 2 else int.from_bytes(data, "little")


# --- the checksum ------------------------------------------------------------------------------------------------


def masked_crc(data: bytes) -> int:
    """CRC-32C as LevelDB and TensorFlow store it: rotated, and a constant added.

    >>> hex(masked_crc(b"123456789"))  # the CRC-32C of which is 0xe3069283 (RFC 3720, B.4)
    '0xc78ab0e5'
    """
    crc = int(_crc32c_loop()(np.frombuffer(data, np.uint8), _crc32c_table()))
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@functools.cache
def _crc32c_table() -> np.ndarray:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = (values >> np.uint32(1)) ^ np.where(values & np.uint32(1), np.uint32(0x82F63B78), np.uint32(0))
    return values.astype(np.uint32)


@functools.cache
def _crc32c_loop() -> Callable[[np.ndarray, np.ndarray], int]:
    """Byte by byte, compiled: a model of n_hidden 2048 with its moments has 570 MB."""
    import numba

    read_only_bytes = numba.types.Array(numba.uint8, 1, "C", readonly=True)

    @numba.njit(numba.uint32(read_only_bytes, numba.uint32[::1]))
    def crc32c(data: np.ndarray, table: np.ndarray) -> Any:
        crc = np.uint32(0xFFFFFFFF)
        for byte in data:
            crc = table[(crc ^ byte) & np.uint32(255)] ^ (crc >> np.uint32(8))
        return crc ^ np.uint32(0xFFFFFFFF)

    loop: Callable[[np.ndarray, np.ndarray], int] = crc32c
    return loop
