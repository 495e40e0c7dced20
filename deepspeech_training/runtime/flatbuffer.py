"""Flatbuffers and flexbuffers read with every offset checked, for files that nobody vouches for.

LiteRT does not verify a model before it follows its offsets: a damaged file ends the process. So `model_file` walks
through the whole file with this reader first. numpy aside it needs nothing; `flatbuffers` would not check bounds.
"""

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np

_FORMS = {code: struct.Struct("<" + code) for code in "bBhHiIqQefd"}


class Damaged(ValueError):
    """An offset, a length or a type that cannot be."""


def require(condition: bool, otherwise: str) -> None:
    """Raise `Damaged` with the text `otherwise` unless the condition holds."""
    if not condition:
        raise Damaged(otherwise)


class Reader:
    """Numbers at places of a file; a place outside it is `Damaged`."""

    def __init__(self, data: bytes):
        self.data = data

    def number(self, code: str, place: int) -> Any:
        """Read one little-endian number, an int or a float as `code` of `struct` has it."""
        form = _FORMS[code]
        if not 0 <= place <= len(self.data) - form.size:
            raise Damaged(f"offset {place:,} lies outside the file of {len(self.data):,} bytes")
        return form.unpack_from(self.data, place)[0]

    def root(self) -> "Table":
        return Table(self, self.number("I", 0))

    def vector(self, place: int, item_bytes: int) -> tuple[int, int]:
        """The place of the first item and the number of items, all of them inside the file."""
        length = self.number("I", place)
        if place + 4 + length * item_bytes > len(self.data):
            raise Damaged(f"{length:,} items at offset {place:,} reach beyond the end of the file")
        return place + 4, length


class Table:
    """A flatbuffer table: fields by slot, as numbered in the schema (from 0, in their order)."""

    def __init__(self, reader: Reader, place: int):
        self._reader, self._place = reader, place
        self._vtable = place - reader.number("i", place)
        vtable_bytes = reader.number("H", self._vtable)
        self._table_bytes = reader.number("H", self._vtable + 2)
        if vtable_bytes < 4 or vtable_bytes % 2 or self._vtable + vtable_bytes > len(reader.data):
            raise Damaged(f"the table at offset {place:,} has a wrong list of fields")
        if self._table_bytes < 4 or place + self._table_bytes > len(reader.data):
            raise Damaged(f"the table at offset {place:,} reaches beyond the end of the file")
        self.num_slots = (vtable_bytes - 4) // 2
        for slot in range(self.num_slots):
            if self._offset(slot) >= self._table_bytes:
                raise Damaged(f"field {slot} of the table at offset {place:,} lies outside it")

    def _offset(self, slot: int) -> int:
        return self._reader.number("H", self._vtable + 4 + 2 * slot) if slot < self.num_slots else 0

    def has(self, slot: int) -> bool:
        return self._offset(slot) != 0

    def number(self, slot: int, code: str, default: float = 0) -> Any:
        """A scalar field, an int or a float as `code` of `struct` has it."""
        offset = self._offset(slot)
        if not offset:
            return default
        if offset + _FORMS[code].size > self._table_bytes:
            raise Damaged(f"field {slot} of the table at offset {self._place:,} lies outside it")
        return self._reader.number(code, self._place + offset)

    def _target(self, slot: int) -> int | None:
        """Where an offset field leads to."""
        offset = self._offset(slot)
        if not offset:
            return None
        return self._place + offset + self.number(slot, "I")

    def table(self, slot: int) -> "Table | None":
        target = self._target(slot)
        return None if target is None else Table(self._reader, target)

    def tables(self, slot: int) -> Iterator["Table"]:
        target = self._target(slot)
        if target is None:
            return
        first, length = self._reader.vector(target, 4)
        for place in range(first, first + 4 * length, 4):
            yield Table(self._reader, place + self._reader.number("I", place))

    def array(self, slot: int, dtype: str) -> np.ndarray:
        """A vector of numbers; an absent one is empty. A view of the file, not a copy."""
        target = self._target(slot)
        if target is None:
            return np.zeros(0, dtype)
        first, length = self._reader.vector(target, np.dtype(dtype).itemsize)
        return np.frombuffer(self._reader.data, dtype, length, first)

    def text(self, slot: int) -> str:
        """A string; it must be UTF-8 and end with the zero byte that C programs look for."""
        target = self._target(slot)
        if target is None:
            return ""
        first, length = self._reader.vector(target, 1)
        if self._reader.number("B", first + length) != 0:
            raise Damaged(f"the text at offset {target:,} has no end")
        return decode(self._reader.data[first : first + length])


def decode(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Damaged(f"a text is not UTF-8: {data[:40]!r}") from error


_INT, _UINT, _FLOAT, _MAP, _BOOL = 1, 2, 3, 9, 26
_CODES = {_INT: "bhiq", _UINT: "BHIQ", _FLOAT: " efd", _BOOL: "BHIQ"}


def read_flexbuffer_map(data: bytes) -> dict[str, int | float]:
    """Read a flexbuffer that is a map of numbers, as the options of custom operators are.

    Raises:
        Damaged: it is anything else.
    """
    reader = Reader(data)
    if len(data) < 3:
        raise Damaged("options of fewer than 3 bytes")
    root_bytes, packed_type = data[-1], data[-2]
    if packed_type >> 2 != _MAP or root_bytes not in (1, 2, 4, 8):
        raise Damaged("the options are not a map")

    def unsigned(place: int, width: int) -> int:
        return reader.number({1: "B", 2: "H", 4: "I", 8: "Q"}[width], place)

    root = len(data) - 2 - root_bytes
    values = root - unsigned(root, root_bytes)
    width = 1 << (packed_type & 3)
    length = unsigned(values - width, width)
    keys_bytes = unsigned(values - 2 * width, width)
    keys = values - 3 * width - unsigned(values - 3 * width, width)
    if keys_bytes not in (1, 2, 4, 8) or unsigned(keys - keys_bytes, keys_bytes) != length or length > len(data):
        raise Damaged("the options have a wrong list of keys")
    found = {}
    for index in range(length):
        place = keys + index * keys_bytes
        start = place - unsigned(place, keys_bytes)
        end = data.find(b"\0", start) if start >= 0 else -1
        value_type = unsigned(values + length * width + index, 1) >> 2
        code = _CODES.get(value_type, "    ")[width.bit_length() - 1]
        if end < 0 or code == " ":
            raise Damaged("an option has no name or is not a number")
        found[decode(data[start:end])] = reader.number(code, values + index * width)
    return found
