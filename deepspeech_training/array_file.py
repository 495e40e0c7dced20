"""Arrays by name as bytes, and back: the format of safetensors, read with numpy alone and without trust.

https://huggingface.co/docs/safetensors: 8 bytes of header length, a JSON header, the arrays one after another. Texts
about them stand in the header under `__metadata__`.
"""

import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

MAX_HEADER_BYTES = 100_000_000  # safetensors' own limit
_METADATA = "__metadata__"
_DTYPES: dict[str, np.dtype] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I8": np.dtype("i1"),
    "I32": np.dtype("<i4"),
    "I64": np.dtype("<i8"),
}
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def packed(arrays: Mapping[str, np.ndarray], metadata: Mapping[str, str] | None = None) -> Iterator[bytes]:
    """The bytes of a file, piece by piece.

    Args:
        arrays: float32, float64, int8, int32 or int64, by name.
        metadata: texts about them, by name.
    """
    header: dict[str, Any] = {_METADATA: dict(metadata)} if metadata else {}
    offset = 0
    names = sorted(arrays, key=lambda name: (-arrays[name].dtype.itemsize, name))  # so that all are aligned
    ordered = {name: np.asarray(arrays[name], order="C") for name in names}
    for name, array in ordered.items():
        header[name] = {
            "dtype": _DTYPE_NAMES[array.dtype.newbyteorder("<")],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    yield len(text).to_bytes(8, "little") + text
    for array in ordered.values():
        yield array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def unpacked(data: bytes, *, max_header_bytes: int = MAX_HEADER_BYTES) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a file; the arrays are views of `data`.

    Raises:
        ValueError: it is cut, has offsets outside itself, or is of another kind.

    >>> arrays, metadata = unpacked(b"".join(packed({"a": np.ones(2, np.float32)}, {"made": "today"})))
    >>> arrays["a"].tolist(), metadata
    ([1.0, 1.0], {'made': 'today'})
    """
    if len(data) < 8:
        raise ValueError(f"{len(data)} bytes are too few for a safetensors file")
    header_bytes = int.from_bytes(data[:8], "little")
    if header_bytes > min(max_header_bytes, len(data) - 8):
        raise ValueError(f"its header is said to have {header_bytes:,} bytes; the file is shorter, or that is too long")
    body = memoryview(data)[8 + header_bytes :]
    arrays, metadata = {}, {}
    try:
        for name, entry in json.loads(data[8 : 8 + header_bytes]).items():
            if name == _METADATA:
                metadata = {str(key): str(value) for key, value in entry.items()}
                continue
            dtype, shape = _DTYPES[entry["dtype"]], tuple(int(n) for n in entry["shape"])
            begin, end = (int(n) for n in entry["data_offsets"])
            if min(shape, default=1) < 0 or not 0 <= begin <= end <= len(body):
                raise ValueError(f"{name} lies outside the file")
            if end - begin != math.prod(shape) * dtype.itemsize:
                raise ValueError(f"{name} has {end - begin} bytes for shape {shape}")
            arrays[name] = np.frombuffer(body[begin:end], dtype).reshape(shape)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"not a usable safetensors file ({error})") from error
    return arrays, metadata
