"""An exported model of words as a file: what it says of itself, checked, and its weights; numpy alone reads it.

The format is that of safetensors (`array_file`). Its metadata have one text, `deepspeech`: JSON with the task, both
spellings and the network. Matrices may be int8, with a scale for each column under `NAME/scale`.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from deepspeech_training.array_file import packed, unpacked
from deepspeech_training.data.spelling import Spelling
from deepspeech_training.models import NETWORKS, model_class
from deepspeech_training.models.word_model import PADDING_AND_UNKNOWN, WordModel
from deepspeech_training.runtime.model_file import ModelError, read_bytes
from deepspeech_training.runtime.pronouncer import Pronouncer

SUFFIX = ".g2p"
TASKS = ("word_to_ipa", "ipa_to_word")
FORMAT = 1
MAX_FILE_BYTES = 1 << 30
MAX_HEADER_BYTES = 1 << 22
MAX_SYMBOLS_KNOWN = 20_000
MAX_SYMBOL_CHARACTERS = 100
MAX_SIZE = 8192  # of a network in any respect, such as its width
MAX_LAYERS = 100
_KEY, _SCALE = "deepspeech", "/scale"


@dataclass(frozen=True)
class PronunciationFile:
    """A checked model of words.

    Args:
        path: as it was given, for messages.
        task: one of TASKS.
        source, target: how words are given, and how they are written.
        network: what it computes.
        weights: float32 by canonical name.
        num_bytes, sha256: of the file.
        kind: "float32" or "int8", of the weights in the file.
        language: a BCP 47 tag, or "".
    """

    path: str
    task: str
    source: Spelling
    target: Spelling
    network: WordModel
    weights: Mapping[str, np.ndarray] = field(repr=False)
    num_bytes: int
    sha256: str
    kind: str
    language: str

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "PronunciationFile":
        """Read and check a file.

        Raises:
            ModelError: it cannot be read, is damaged, or of another kind.
        """
        path = os.fspath(path)
        return cls.of_bytes(read_bytes(path, most=MAX_FILE_BYTES, kind=SUFFIX), path)

    @classmethod
    def of_bytes(cls, data: bytes, path: str) -> "PronunciationFile":
        """Check the bytes of a file; `path` is what messages call it."""
        try:
            arrays, metadata = unpacked(data, max_header_bytes=MAX_HEADER_BYTES)
            if _KEY not in metadata:
                raise ValueError("it does not say what it is a model of")
            said = json.loads(metadata[_KEY])
            if said["format"] > FORMAT:
                raise ValueError(f"it was written by a later version of this program (format {said['format']})")
            if said["task"] not in TASKS:
                raise ValueError(f"it is of the task {str(said['task'])[:40]!r}")
            source, target = (_spelling(said[side]) for side in ("source", "target"))
            network = _network(said["network"], source, target, most=len(data))
            kind = "int8" if any(array.dtype == np.int8 for array in arrays.values()) else "float32"
            weights = _weights(arrays, network.weight_shapes())
            return cls(
                path,
                said["task"],
                source,
                target,
                network,
                weights,
                len(data),
                hashlib.sha256(data).hexdigest(),
                kind,
                str(said["language"]),
            )
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ModelError(
                f"{path}: the model is damaged or of another kind: {error}\n"
                f"Give a {SUFFIX} that `deepspeech export` has written of a model of words (docs/pronunciation.md)."
            ) from error

    def pronouncer(self) -> Pronouncer:
        return Pronouncer.of(self.network, self.weights, self.source, self.target)


def write_pronunciation(
    weights: Mapping[str, np.ndarray],
    *,
    task: str,
    source: Spelling,
    target: Spelling,
    network: WordModel,
    language: str,
    quantize: bool,
) -> bytes:
    """The bytes of a file; `quantize` makes the matrices int8."""
    said = {
        "format": FORMAT,
        "task": task,
        "source": source.describe(),
        "target": target.describe(),
        "network": network.describe(),
        "language": language,
    }
    arrays: dict[str, np.ndarray] = {}
    for name in network.weight_shapes():
        array = np.asarray(weights[name], np.float32)
        if quantize and array.ndim == 2:
            array, arrays[name + _SCALE] = _in_8_bits(array)
        arrays[name] = array
    return b"".join(packed(arrays, {_KEY: json.dumps(said, ensure_ascii=False)}))


def _in_8_bits(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A matrix [in, out] as int8, and the scale of each column."""
    scale = np.abs(matrix).max(axis=0) / np.float32(127)
    scale[scale == 0] = 1.0
    return np.rint(matrix / scale).astype(np.int8), scale


def _spelling(description: Mapping[str, Any]) -> Spelling:
    """What the file says of a side.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    symbols = description["symbols"]
    if not isinstance(symbols, list) or not 1 <= len(symbols) <= MAX_SYMBOLS_KNOWN:
        raise ValueError(f"it has no list of 1 to {MAX_SYMBOLS_KNOWN:,} symbols")
    if any(not isinstance(symbol, str) or len(symbol) > MAX_SYMBOL_CHARACTERS for symbol in symbols):
        raise ValueError("a symbol is no text, or too long for one")
    return Spelling.from_description(description)


def _network(description: Mapping[str, Any], source: Spelling, target: Spelling, *, most: int) -> WordModel:
    """What the file describes, of a size that `most` bytes can have, and with the symbols of the spellings.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    fields = dict(description)
    name = fields.pop("name")
    if name not in NETWORKS[TASKS[0]]:
        raise ValueError(f"{str(name)[:40]!r} is no network of words")
    for key, value in fields.items():
        bound = MAX_LAYERS if key == "layers" else MAX_SYMBOLS_KNOWN + 2 if key.startswith("num_") else MAX_SIZE
        if type(value) is not int or not 1 <= value <= bound:
            raise ValueError(f"its network has {key[:40]} {str(value)[:40]}")
    network: Any = model_class(name).from_description(fields)
    wanted = (len(source.symbols) + PADDING_AND_UNKNOWN, len(target.symbols) + 1)
    if (network.num_given, network.num_classes) != wanted:
        raise ValueError(f"its network takes {network.num_given} and gives {network.num_classes} symbols, not {wanted}")
    if fault := network.fault_of_size:
        raise ValueError(f"{network.size_flag} of its network {fault}")
    if network.num_parameters > most:  # a byte each, at least
        raise ValueError(f"its network has {network.num_parameters:,} weights, and the file {most:,} bytes")
    return network


def _weights(arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    weights = {}
    for name, shape in shapes.items():
        if name not in arrays:
            raise ValueError(f"{name} is not among its weights")
        array = arrays[name]
        if array.shape != shape:
            raise ValueError(f"{name} has the shape {array.shape}, not {shape}")
        if array.dtype == np.int8:
            scale = arrays.get(name + _SCALE)
            if scale is None or scale.dtype != np.float32 or scale.shape != shape[-1:]:
                raise ValueError(f"{name} has no scales that fit it")
            array = array * scale
        elif array.dtype != np.float32:
            raise ValueError(f"{name} is {array.dtype}")
        if not np.isfinite(array).all():
            raise ValueError(f"{name} has values that are not finite")
        weights[name] = array
    return weights
