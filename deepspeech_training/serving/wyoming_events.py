"""Events of the Wyoming protocol on a TCP stream, within bounds: a line of JSON, data and payload by their lengths.

The package `wyoming` reads an event of any size that its header claims; a server that strangers reach must not.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from deepspeech_training.serving import values
from deepspeech_training.serving.values import bad

MAX_HEADER_BYTES = 2**16  # a line; also the limit of the StreamReader
MAX_DATA_BYTES = 2**18
VERSION = "1.5.4"  # of the protocol's package, as events name it


@dataclass(frozen=True)
class WyomingEvent:
    """One event.

    >>> WyomingEvent("ping", {"text": "é"}).encode().splitlines()[0]
    b'{"type": "ping", "version": "1.5.4", "data_length": 14}'
    """

    kind: str
    data: dict[str, Any] = field(default_factory=dict)
    payload: bytes = b""

    def encode(self) -> bytes:
        header: dict[str, Any] = {"type": self.kind, "version": VERSION}
        data = json.dumps(self.data, ensure_ascii=False).encode("utf-8", "replace") if self.data else b""
        if data:
            header["data_length"] = len(data)
        if self.payload:
            header["payload_length"] = len(self.payload)
        return json.dumps(header).encode() + b"\n" + data + self.payload


async def read_event(reader: asyncio.StreamReader, *, max_payload_bytes: int) -> WyomingEvent | None:
    """The next event; None at the end of the stream.

    Raises:
        ServingError: bad_request, and the rest of the stream cannot be understood.
    """
    try:
        line = await reader.readuntil(b"\n")
        header = values.json_object(line.decode("utf-8", "replace"))
        kind = values.text(header.get("type"), "type")
        data = values.mapping(header.get("data") or {}, "data")
        data_length = _length(header, "data_length", MAX_DATA_BYTES)
        if data_length:
            data |= values.json_object((await reader.readexactly(data_length)).decode("utf-8", "replace"))
        payload_length = _length(header, "payload_length", max_payload_bytes)
        return WyomingEvent(kind, data, await reader.readexactly(payload_length) if payload_length else b"")
    except asyncio.IncompleteReadError:
        return None
    except asyncio.LimitOverrunError:
        raise bad(f"the header of an event is longer than {MAX_HEADER_BYTES} bytes") from None


def _length(header: dict[str, Any], name: str, most: int) -> int:
    found = header.get(name)
    return 0 if found is None else values.whole(found, name, least=0, most=most)
