"""Writes checkpoints as TensorFlow 1 does, small ones, so that tests can damage them."""

from pathlib import Path

import numpy as np

from deepspeech_training.checkpoints.tensor_bundle import MAGIC, masked_crc
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.models.deepspeech.tf1 import tf1_name

_TYPES = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}


def varint(value: int) -> bytes:
    data = b""
    while value >= 128:
        data += bytes([value & 127 | 128])
        value >>= 7
    return data + bytes([value])


def _number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def _message(field: int, data: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(data)) + data


def entry(array: np.ndarray, offset: int, *, size: int | None = None, crc: int | None = None, shard: int = 0) -> bytes:
    shape = b"".join(_message(2, _number(1, n)) for n in array.shape)
    data = array.tobytes()
    crc = masked_crc(data) if crc is None else crc
    return (
        _number(1, _TYPES[array.dtype.name])
        + _message(2, shape)
        + _number(3, shard)
        + _number(4, offset)
        + _number(5, len(data) if size is None else size)
        + varint(6 << 3 | 5)
        + crc.to_bytes(4, "little")
    )


def table(entries: dict[bytes, bytes], *, compression: int = 0, entries_per_block: int = 7) -> bytes:
    """A sorted table of several blocks, its keys written as what differs from the one before."""
    data, index = b"", {}
    names = sorted(entries)
    for start in range(0, len(names), entries_per_block):
        part = names[start : start + entries_per_block]
        handle = varint(len(data))
        block = _block({name: entries[name] for name in part})
        handle += varint(len(block))
        data += _with_trailer(block, compression)
        index[part[-1]] = handle
    metaindex = varint(len(data)) + varint(len(_block({})))
    data += _with_trailer(_block({}), 0)
    block = _block(index)
    handles = metaindex + varint(len(data)) + varint(len(block))
    return data + _with_trailer(block, 0) + handles.ljust(40, b"\0") + MAGIC.to_bytes(8, "little")


def _block(entries: dict[bytes, bytes]) -> bytes:
    data, before = b"", b""
    for name in sorted(entries):
        shared = 0
        while shared < min(len(name), len(before)) and name[shared] == before[shared]:
            shared += 1
        data += varint(shared) + varint(len(name) - shared) + varint(len(entries[name])) + name[shared:] + entries[name]
        before = name
    return data + (0).to_bytes(4, "little") + (1).to_bytes(4, "little")


def _with_trailer(block: bytes, compression: int) -> bytes:
    return block + bytes([compression]) + masked_crc(block + bytes([compression])).to_bytes(4, "little")


HEADER = _number(1, 1) + _message(3, _number(1, 1))


def write_bundle(prefix: Path, arrays: dict[str, np.ndarray], **details) -> Path:
    """Write a checkpoint; `details` are those of `table`. Returns its prefix."""
    entries, data = {b"": HEADER}, b""
    for name in sorted(arrays):
        entries[name.encode()] = entry(arrays[name], len(data))
        data += arrays[name].tobytes()
    write_files(prefix, entries, data, **details)
    return prefix


def write_files(prefix: Path, entries: dict[bytes, bytes], data: bytes, **details) -> None:
    prefix.with_name(f"{prefix.name}.index").write_bytes(table(entries, **details))
    prefix.with_name(f"{prefix.name}.data-00000-of-00001").write_bytes(data)


NETWORK = DeepSpeech(num_classes=5, n_hidden=3, layer_norm=True)


def model_arrays(network: DeepSpeech = NETWORK) -> dict[str, np.ndarray]:
    """Weights and moments of a network, each of its own values, by their TensorFlow 1 names."""
    generator = np.random.default_rng(0)
    arrays = {"global_step": np.array(70, np.int64), "learning_rate": np.array(0.001, np.float32)}
    for name, shape in network.weight_shapes().items():
        for slot in ("", "/Adam", "/Adam_1"):
            arrays[tf1_name(name) + slot] = generator.normal(size=shape).astype(np.float32)
    return arrays
