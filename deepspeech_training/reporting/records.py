"""Dataclasses that are JSON objects on disk: written with their fields, read back by the same names."""

from collections.abc import Mapping
from dataclasses import Field, fields
from functools import cache
from typing import Any, Self

UNWRITTEN = {"written": False}  # metadata of a field that only the running program has


def of(record: type["Record"]) -> dict[str, Any]:
    """Metadata of a field that holds another record, or a sequence of them."""
    return {"of": record}


class Record:
    """Base of such dataclasses."""

    def as_json(self) -> dict[str, Any]:
        # mypy takes the __hash__ of the class for that of its metaclass.
        return {name: _plain(getattr(self, name)) for name in _written(type(self))}  # type: ignore[arg-type]

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Keys that it does not know, of a later version, are passed over.

        Raises:
            TypeError: a field is missing that has no default.
        """
        return cls(**{f.name: _read(values[f.name], f.metadata.get("of")) for f in _fields(cls) if f.name in values})


def _fields(record: type[Record]) -> tuple[Field[Any], ...]:
    return fields(record)  # type: ignore[arg-type] # every subclass is a dataclass


@cache
def _written(record: type[Record]) -> tuple[str, ...]:
    return tuple(f.name for f in _fields(record) if f.metadata != UNWRITTEN)


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.as_json()
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def _read(value: Any, record: type[Record] | None) -> Any:
    if isinstance(value, list):
        return tuple(_read(item, record) for item in value)
    return value if record is None or value is None else record.from_json(value)
