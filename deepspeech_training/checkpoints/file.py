"""A checkpoint on disk: arrays in a safetensors file, the state of the run in a JSON file. numpy alone reads it.

    NAME.safetensors   weights by canonical name, Adam's moments under adam_m/ and adam_v/; float32, little endian
    NAME.json          everything else, the name of the safetensors file and its SHA-256

The JSON file is written last, so a checkpoint without it does not exist. Both are written beside, fsynced and renamed:
a crash, a kill or a full disk leaves the checkpoint before it untouched. `array_file` has the format of the first.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.array_file import packed, unpacked
from deepspeech_training.atomic_file import write_atomically
from deepspeech_training.errors import UserError

FORMAT = 1
MAX_STATE_BYTES = 1 << 30


class DamagedCheckpoint(UserError):
    """A checkpoint that cannot be used as it is; the message names the file and what is wrong with it."""


def write_arrays(path: Path, arrays: dict[str, np.ndarray]) -> str:
    """Write a safetensors file; returns its SHA-256.

    Args:
        path: ends in .safetensors.
        arrays: float32, float64, int32 or int64, by name.
    """
    return write_atomically(path, packed(arrays))


def read_arrays(path: Path, *, sha256: str | None = None) -> dict[str, np.ndarray]:
    """Read a safetensors file, trusting nothing in it.

    Args:
        path: the file.
        sha256: its checksum, checked when given.
    Raises:
        DamagedCheckpoint: it is missing, truncated, has offsets outside itself, or another checksum.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: {error.strerror}") from error
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise DamagedCheckpoint(f"{path}: its contents are not what was saved (SHA-256 differs)")
    try:
        arrays, _ = unpacked(data)
    except ValueError as error:
        raise DamagedCheckpoint(f"{path}: {error}") from error
    return arrays


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Write the JSON file of a checkpoint; it holds a checksum of itself."""
    body = json.dumps(state, sort_keys=True, ensure_ascii=False)
    text = json.dumps(
        {"format": FORMAT, "sha256": hashlib.sha256(body.encode()).hexdigest(), "state": state},
        sort_keys=True,
        ensure_ascii=False,
        indent=1,
    )
    write_atomically(path, [text.encode()])


def read_state(path: Path) -> dict[str, Any]:
    """Read the JSON file of a checkpoint.

    Raises:
        DamagedCheckpoint: it is missing, no JSON, of a later format, or has another checksum.
    """
    try:
        if path.stat().st_size > MAX_STATE_BYTES:
            raise DamagedCheckpoint(f"{path}: larger than any checkpoint's state")
        outer = json.loads(path.read_bytes())
        state: dict[str, Any] = outer["state"]
        if outer["format"] > FORMAT:
            raise DamagedCheckpoint(f"{path}: written by a later version of this program (format {outer['format']})")
        body = json.dumps(state, sort_keys=True, ensure_ascii=False)
        if hashlib.sha256(body.encode()).hexdigest() != outer["sha256"]:
            raise DamagedCheckpoint(f"{path}: its contents are not what was saved (SHA-256 differs)")
    except OSError as error:
        raise DamagedCheckpoint(f"{path}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DamagedCheckpoint(f"{path}: not the state of a checkpoint ({error})") from error
    return state
