"""An exported `.tflite` as bytes -> what it says of itself, checked before LiteRT is given it.

What is looked up is what DeepSpeech's clients look up: tensors by name among the inputs and outputs of the one graph,
and the metadata in constants. A file is refused, with the reason, unless all of that is there and fits together.
"""

import math
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mel import LOWEST_HZ, NUM_MEL_FILTERS
from deepspeech_training.runtime.flatbuffer import Damaged, Reader, Table, decode, read_flexbuffer_map

IDENTIFIER = b"TFL3"
BYTE_LABELS = tuple(bytes([byte]).decode("utf-8", "surrogateescape") for byte in range(1, 256))
MAX_FILE_BYTES = 2**31 - 1  # the offsets of a flatbuffer have 31 bits that count
MAX_TENSOR_BYTES = 2**31 - 1
MAX_ACTIVATION_BYTES = 2**31
LEAST_GRAPH_VERSION = 6
MAX_SAMPLE_RATE = 768_000

INPUTS = ("input_node", "previous_state_c", "previous_state_h", "input_samples")
NUMBERS = ("version", "sample_rate", "feature_win_len", "feature_win_step", "beam_width")
OUTPUTS = (
    "logits",
    "new_state_c",
    "new_state_h",
    "mfccs",
    *(f"metadata_{name}" for name in NUMBERS),
    "metadata_alphabet",
)

FLOAT32, INT32, STRING, INT8 = 0, 2, 5, 9
TYPE_NAMES = {
    0: "float32",
    1: "float16",
    2: "int32",
    3: "uint8",
    4: "int64",
    5: "string",
    6: "bool",
    7: "int16",
    9: "int8",
}
TYPE_BYTES = {0: 4, 1: 2, 2: 4, 3: 1, 4: 8, 6: 1, 7: 2, 9: 1}

# What DeepSpeech's exporters and ours make networks of.
# Name; number of the options' type in the schema; options by slot, with their code in `struct` ("v": a vector of
# int32); fewest and most inputs, outputs (0: any number).
CUSTOM = 32
OPERATORS = {
    0: ("ADD", 11, {"activation": "b"}, 2, 2, 1),
    2: ("CONCATENATION", 10, {"axis": "i", "activation": "b"}, 1, 0, 1),
    9: ("FULLY_CONNECTED", 8, {"activation": "b", "weights_format": "b", "keep_num_dims": "B"}, 2, 3, 1),
    14: ("LOGISTIC", 0, {}, 1, 1, 1),
    18: ("MUL", 21, {"activation": "b"}, 2, 2, 1),
    19: ("RELU", 0, {}, 1, 1, 1),
    22: ("RESHAPE", 17, {"new_shape": "v"}, 1, 2, 1),
    25: ("SOFTMAX", 9, {"beta": "f"}, 1, 1, 1),
    28: ("TANH", 0, {}, 1, 1, 1),
    CUSTOM: ("CUSTOM", 0, {}, 1, 2, 1),
    40: ("MEAN", 27, {"keep_dims": "B"}, 2, 2, 1),
    41: ("SUB", 28, {"activation": "b"}, 2, 2, 1),
    45: (
        "STRIDED_SLICE",
        32,
        {
            "begin_mask": "i",
            "end_mask": "i",
            "ellipsis_mask": "i",
            "new_axis_mask": "i",
            "shrink_axis_mask": "i",
            "offset": "B",
        },
        4,
        4,
        1,
    ),
    49: ("SPLIT", 35, {"num_splits": "i"}, 2, 2, 0),
    55: ("MAXIMUM", 39, {}, 2, 2, 1),
    57: ("MINIMUM", 39, {}, 2, 2, 1),
    76: ("RSQRT", 0, {}, 1, 1, 1),
    83: ("PACK", 59, {"values_count": "i", "axis": "i"}, 1, 0, 1),
    88: ("UNPACK", 64, {"num": "i", "axis": "i"}, 1, 1, 0),
}
MOST_ACTIVATION = 5  # of the schema's ActivationFunctionType


class ModelError(UserError):
    """A file that is no model that this runtime can use; the message says what is wrong with it."""


@dataclass(frozen=True)
class ModelFile:
    """A checked model.

    Args:
        path: as it was given, for messages.
        data: the whole file; what was checked is what LiteRT runs.
        geometry: sample rate, window, step, coefficients and context of the features.
        n_steps: frames that one call of the network takes.
        n_cell: width of the recurrent state.
        beam_width: the default that the exporter stored.
        labels: the text of each class; the CTC blank comes after them. In bytes mode each is a byte, those above 127
            as Python's surrogate escapes.
    """

    path: str
    data: bytes
    geometry: FeatureGeometry
    n_steps: int
    n_cell: int
    beam_width: int
    labels: tuple[str, ...]

    @property
    def bytes_mode(self) -> bool:
        """Whether the model writes the bytes of UTF-8 instead of an alphabet's characters."""
        return self.labels == BYTE_LABELS

    def text(self, labels: Iterable[int]) -> str:
        """The text of a sequence of labels; bytes that are no UTF-8 become U+FFFD."""
        text = "".join([self.labels[label] for label in labels])
        return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace") if self.bytes_mode else text

    @classmethod
    def read(cls, path: str | os.PathLike) -> "ModelFile":
        """Read and check a `.tflite`.

        Raises:
            ModelError: the file cannot be read, is damaged, or is not a speech model as DeepSpeech exports it.
        """
        path = os.fspath(path)
        data = _read_bytes(path)
        try:
            graph = _Graph(Reader(data).root())
            return cls(path, data, **_describe(graph))
        except Damaged as error:
            raise ModelError(
                f"{path}: the model is damaged or of another kind: {error}\n"
                "Copy it again, or export it again with --export_dir."
            ) from error
        except FlagError as error:
            raise ModelError(f"{path}: its metadata do not fit together: {str(error).splitlines()[0]}") from error

    def constants(self, *, least: int = 1) -> Iterator[tuple[str, np.ndarray]]:
        """Name and values of each constant of at least so many numbers; 8-bit ones as the float32 that they mean."""
        for tensor in _Graph(Reader(self.data).root()).tensors:
            if not len(tensor.data) or math.prod(tensor.shape) < least or tensor.type not in (FLOAT32, INT8):
                continue
            values = tensor.data.view("<f4" if tensor.type == FLOAT32 else "i1").reshape(tensor.shape)
            if tensor.type == INT8:
                scale = tensor.scale.reshape(-1, *[1] * (values.ndim - 1)) if len(tensor.scale) > 1 else tensor.scale
                values = values.astype(np.float32) * scale
            yield tensor.name, values


def _read_bytes(path: str) -> bytes:
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{path}: a model is a file; this is none")
        if status.st_size > MAX_FILE_BYTES:
            raise ModelError(f"{path}: {status.st_size:,} bytes are more than a .tflite can have ({MAX_FILE_BYTES:,})")
        data = Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: there is no such model") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot read the model: {getattr(error, 'strerror', None) or error}") from error
    if data.startswith(b"version https://git-lfs"):
        raise ModelError(f"{path}: a Git LFS pointer, not the model (fetch that with `git lfs pull`)")
    if data[4:8] != IDENTIFIER:
        kind = "the file is empty" if not data else f"it has {data[4:8]!r} where a .tflite has {IDENTIFIER!r}"
        raise ModelError(
            f"{path}: not a .tflite: {kind}\nThe runtime takes the .tflite that an export writes; .pb, .pbmm and "
            "checkpoints are not run."
        )
    return data


@dataclass(frozen=True)
class _Tensor:
    name: str
    shape: tuple[int, ...]
    type: int
    data: np.ndarray  # uint8, empty if it is no constant
    scale: np.ndarray  # of its quantisation, empty if there is none


@dataclass(frozen=True)
class _Operator:
    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, int | float]


def _require(condition: bool, otherwise: str) -> None:
    if not condition:
        raise Damaged(otherwise)


class _Graph:
    """The parts of the file that the clients use, after a walk through all that LiteRT will follow."""

    def __init__(self, model: Table):
        _require(model.number(0, "I") == 3, f"schema version {model.number(0, 'I')}, not 3")
        _require(not model.has(7), "it has signatures, which no DeepSpeech export has")
        _require(model.num_slots <= 8, "it has fields that this runtime does not know")
        model.text(3)
        self.buffers = [self._buffer(table) for table in model.tables(4)]
        _require(bool(self.buffers) and not len(self.buffers[0]), "its first buffer is not the empty one")
        for buffer in model.array(5, "<i4"):
            self._buffer_at(int(buffer))
        for table in model.tables(6):
            table.text(0)
            self._buffer_at(table.number(1, "I"))
        codes = [self._code(table) for table in model.tables(1)]
        graphs = list(model.tables(2))
        _require(len(graphs) == 1, f"it has {len(graphs)} graphs, not one")
        graph = graphs[0]
        graph.text(4)
        self.tensors = [self._tensor(table) for table in graph.tables(0)]
        self.inputs = self._indices(graph.array(1, "<i4"))
        self.outputs = self._indices(graph.array(2, "<i4"))
        self._unsized: set[int] = set()  # tensors of the features: LiteRT finds their shapes while it runs
        self.operators = [self._operator(table, codes) for table in graph.tables(3)]
        self.producer = self._check_order()

    def _buffer(self, table: Table) -> np.ndarray:
        _require(not table.number(1, "Q") and not table.number(2, "Q"), "it keeps weights outside of the flatbuffer")
        return table.array(0, "u1")

    def _buffer_at(self, index: int) -> np.ndarray:
        _require(0 <= index < len(self.buffers), f"buffer {index} of {len(self.buffers)}")
        return self.buffers[index]

    def _code(self, table: Table) -> tuple[int, str]:
        code = table.number(3, "i") or table.number(0, "b")
        custom = table.text(1)
        known = custom in ("AudioSpectrogram", "Mfcc") if code == CUSTOM else code in OPERATORS
        name = repr(custom) if code == CUSTOM else f"number {code}"
        _require(known, f"it uses an operator that DeepSpeech's exports do not: {name}")
        version = table.number(2, "i", 1)
        _require(1 <= version <= 16, f"version {version} of an operator")
        return code, custom

    def _tensor(self, table: Table) -> _Tensor:
        name, shape, kind = table.text(3), table.array(0, "<i4"), table.number(1, "b")
        data = self._buffer_at(table.number(2, "I"))
        _require(kind in TYPE_NAMES, f"tensor {name!r} is of type {kind}")
        _require(len(shape) <= 6 and bool((shape > 0).all()), f"tensor {name!r} has the shape {shape.tolist()}")
        _require(
            not table.number(5, "B") and not table.has(6) and not table.has(9),
            f"tensor {name!r} is a variable or sparse, as none of DeepSpeech's exports has",
        )
        signature = table.array(7, "<i4")
        _require(
            not len(signature) or (len(signature) == len(shape) and bool((signature == shape).all())),
            f"tensor {name!r} has a shape that may change",
        )
        scale = self._scale(name, shape, kind, table.table(4))
        items = math.prod(shape.tolist())
        _require(items * TYPE_BYTES.get(kind, 1) <= MAX_TENSOR_BYTES, f"tensor {name!r} has {items:,} items")
        if kind == STRING:
            _require(not len(data) or len(_strings(data.tobytes())) == items, f"tensor {name!r} has other strings")
        elif len(data):
            wanted = items * TYPE_BYTES[kind]
            _require(len(data) == wanted, f"tensor {name!r} has {len(data):,} bytes for {wanted:,}")
        return _Tensor(name, tuple(shape.tolist()), kind, data, scale)

    @staticmethod
    def _scale(name: str, shape: np.ndarray, kind: int, table: Table | None) -> np.ndarray:
        if table is None:
            return np.zeros(0, "<f4")
        scale, zero_point, axis = table.array(2, "<f4"), table.array(3, "<i8"), table.number(6, "i")
        table.array(0, "<f4"), table.array(1, "<f4")
        _require(not table.number(4, "B") and not table.has(5), f"tensor {name!r} has a custom quantisation")
        channels = len(scale) if len(scale) > 1 else 0
        _require(
            len(zero_point) in (0, len(scale))
            and bool(np.isfinite(scale).all())
            and not zero_point.any()
            and (not len(scale) or kind == INT8)
            and (not channels or (axis == 0 and len(shape) > 0 and channels == shape[0])),
            f"tensor {name!r} has a quantisation that does not fit",
        )
        return scale

    def _indices(self, values: np.ndarray, *, optional: bool = False) -> tuple[int, ...]:
        least = -1 if optional else 0
        _require(
            bool(((values >= least) & (values < len(self.tensors))).all()), f"there are {len(self.tensors)} tensors"
        )
        return tuple(values.tolist())

    def _operator(self, table: Table, codes: list[tuple[int, str]]) -> _Operator:
        index = table.number(0, "I")
        _require(index < len(codes), f"operator code {index} of {len(codes)}")
        code, custom = codes[index]
        name, options_type, fields, least, most, num_outputs = OPERATORS[code]
        name = custom if code == CUSTOM else name
        inputs = self._indices(table.array(1, "<i4"), optional=True)
        outputs = self._indices(table.array(2, "<i4"))
        # Only the bias of a dense layer may be left out, as index -1.
        needed = inputs[:2] if name == "FULLY_CONNECTED" else inputs
        _require(
            least <= len(inputs) <= (most or len(inputs))
            and all(index >= 0 for index in needed)
            and len(outputs) == (num_outputs or len(outputs)) >= 1,
            f"{name} with {len(inputs)} inputs and {len(outputs)} outputs",
        )
        _require(table.number(3, "B") in (0, options_type), f"{name} with options of another operator")
        _require(
            not any(len(table.array(slot, "u1")) for slot in (7, 8)) and not any(table.has(s) for s in range(9, 13)),
            f"{name} has parts that none of DeepSpeech's exports has",
        )
        table_of_options = table.table(4)
        _require(table_of_options is None or table.number(3, "B") != 0, f"{name} with options of no type")
        options: dict[str, int | float] = {}
        for slot, (option, field) in enumerate(fields.items()):
            if field != "v":
                options[option] = table_of_options.number(slot, field) if table_of_options else 0
            elif table_of_options:
                table_of_options.array(slot, "<i4")
        custom_options = table.array(5, "u1").tobytes()
        if code == CUSTOM:
            options = read_flexbuffer_map(custom_options)
        return _Operator(name, inputs, outputs, options)

    def check_shapes(self) -> None:
        """Every operator's inputs, options and outputs fit together; LiteRT would believe the file."""
        for operator in self.operators:
            _require(
                0 <= operator.options.get("activation", 0) <= MOST_ACTIVATION and self._shapes_fit(operator),
                f"{operator.name} -> {self.tensors[operator.outputs[0]].name!r}: "
                "types, shapes or options do not fit together",
            )

    def _shapes_fit(self, operator: _Operator) -> bool:
        """Whether an operator turns its inputs into outputs of the types and shapes that the file says.

        The features have shapes that LiteRT finds while it runs, so they pass.
        """
        name, options = operator.name, operator.options
        tensors = [self.tensors[index] if index >= 0 else None for index in operator.inputs]
        outputs = [self.tensors[index] for index in operator.outputs]
        out, first = outputs[0], tensors[0]
        if name in ("AudioSpectrogram", "Mfcc"):
            self._unsized |= set(operator.outputs)
            return all(tensor.type == (INT32 if i else FLOAT32) for i, tensor in enumerate(tensors))
        if name == "RESHAPE":
            if operator.inputs[0] in self._unsized:
                self._unsized |= set(operator.outputs)
                return first.type == out.type == FLOAT32 and (
                    len(tensors) == 1 or self._integers(tensors[1]) is not None
                )
            if len(tensors) == 2:
                wanted = self._integers(tensors[1])
                if wanted is None or len(wanted) != len(out.shape):
                    return False
                if any(want not in (-1, have) for want, have in zip(wanted, out.shape, strict=True)):
                    return False
            return first.type == out.type and math.prod(first.shape) == math.prod(out.shape)
        if any(index in self._unsized for index in operator.inputs):
            return False
        if any(tensor.type != FLOAT32 for tensor in outputs):
            return False
        if name == "FULLY_CONNECTED":
            return self._dense_fits(tensors, out, options)
        if name == "SPLIT":
            axis, values = self._integers(first), tensors[1]
            if axis is None or len(axis) != 1 or not 0 <= axis[0] < len(values.shape) or values.type != FLOAT32:
                return False
            parts = list(values.shape)
            parts[axis[0]] //= len(outputs)
            return (
                options["num_splits"] == len(outputs)
                and values.shape[axis[0]] % len(outputs) == 0
                and all(output.shape == tuple(parts) for output in outputs)
            )
        if name == "STRIDED_SLICE":
            return first.type == FLOAT32 and self._slice_fits(tensors, out, options)
        if name == "MEAN":  # along the last axis, as layer normalisation needs it
            axis = self._integers(tensors[1])
            return (
                axis == [len(first.shape) - 1]
                and first.type == FLOAT32
                and first.shape[-1] > 0
                and bool(options["keep_dims"])
                and out.shape == (*first.shape[:-1], 1)
            )
        if any(tensor.type != FLOAT32 for tensor in tensors):
            return False
        if name in ("LOGISTIC", "TANH", "RELU", "RSQRT", "SOFTMAX"):
            return first.shape == out.shape
        if name in ("ADD", "SUB", "MUL", "MINIMUM", "MAXIMUM"):
            try:
                return np.broadcast_shapes(first.shape, tensors[1].shape) == out.shape
            except ValueError:
                return False
        axis = options["axis"]
        if name == "CONCATENATION":
            if not 0 <= axis < len(out.shape) or any(len(tensor.shape) != len(out.shape) for tensor in tensors):
                return False
            joined = list(first.shape)
            joined[axis] = sum(tensor.shape[axis] for tensor in tensors)
            rests = {tensor.shape[:axis] + tensor.shape[axis + 1 :] for tensor in tensors}
            return len(rests) == 1 and tuple(joined) == out.shape
        # PACK and UNPACK: many tensors on the one side, one with a further axis on the other.
        many, whole = (tensors, out) if name == "PACK" else (outputs, first)
        return (
            options["values_count" if name == "PACK" else "num"] == len(many)
            and 0 <= axis < len(whole.shape)
            and whole.shape[axis] == len(many)
            and all(part.shape == whole.shape[:axis] + whole.shape[axis + 1 :] for part in many)
        )

    @staticmethod
    def _integers(tensor: _Tensor) -> list[int] | None:
        """The values of a constant int32 tensor, else None."""
        return tensor.data.view("<i4").tolist() if tensor.type == INT32 and len(tensor.data) else None

    @staticmethod
    def _dense_fits(tensors: list[_Tensor | None], out: _Tensor, options: dict[str, int | float]) -> bool:
        values, weights, bias = (*tensors, None)[:3]
        if values.type != FLOAT32 or weights.type not in (FLOAT32, INT8) or len(weights.shape) != 2:
            return False
        num_out, num_in = weights.shape
        items = math.prod(values.shape)
        return (
            options["weights_format"] == 0
            and len(weights.data) > 0
            and num_in > 0
            and items % num_in == 0
            and (weights.type == FLOAT32 or len(weights.scale) in (1, num_out))
            and (bias is None or (bias.type == FLOAT32 and bias.shape == (num_out,)))
            and out.shape == ((*values.shape[:-1], num_out) if options["keep_num_dims"] else (items // num_in, num_out))
            and (not options["keep_num_dims"] or values.shape[-1:] == (num_in,))
        )

    def _slice_fits(self, tensors: list[_Tensor], out: _Tensor, options: dict[str, int | float]) -> bool:
        values = tensors[0]
        begin, end, strides = (self._integers(tensor) or [] for tensor in tensors[1:])
        axes = len(values.shape)
        if not len(begin) == len(end) == len(strides) == axes or 0 in strides:
            return False
        if options["ellipsis_mask"] or options["new_axis_mask"] or options["offset"]:
            return False
        index: list[int | slice] = []
        for axis in range(axes):
            if options["shrink_axis_mask"] >> axis & 1:
                at = 0 if options["begin_mask"] >> axis & 1 else begin[axis]
                if not 0 <= at < values.shape[axis] or strides[axis] != 1:
                    return False
                index.append(at)
            else:
                first = None if options["begin_mask"] >> axis & 1 else begin[axis]
                last = None if options["end_mask"] >> axis & 1 else end[axis]
                index.append(slice(first, last, strides[axis]))
        return np.broadcast_to(np.float32(0), values.shape)[tuple(index)].shape == out.shape

    def _check_order(self) -> dict[int, _Operator]:
        """Everything is computed before it is used, and once."""
        producer: dict[int, _Operator] = {}
        ready = {index for index, tensor in enumerate(self.tensors) if len(tensor.data)}
        _require(not ready & set(self.inputs), "an input is a constant")
        constants = set(ready)
        ready |= set(self.inputs)
        activation_bytes = 0
        for operator in self.operators:
            _require(all(i < 0 or i in ready for i in operator.inputs), f"{operator.name} uses what is not there yet")
            for index in operator.outputs:
                tensor = self.tensors[index]
                _require(index not in ready, f"{operator.name} overwrites tensor {tensor.name!r}")
                ready.add(index)
                producer[index] = operator
                activation_bytes += math.prod(tensor.shape) * TYPE_BYTES.get(tensor.type, 1)
        _require(activation_bytes <= MAX_ACTIVATION_BYTES, f"it computes {activation_bytes:,} bytes at each step")
        _require(set(self.outputs) <= ready and not (set(self.inputs) & set(self.outputs)), "an output is not computed")
        self.constants = constants
        return producer

    def named(self, names: tuple[str, ...], indices: tuple[int, ...], kind: str) -> dict[str, int]:
        """The inputs or outputs that the clients look up."""
        found: dict[str, int] = {}
        for index in indices:
            name = self.tensors[index].name
            _require(name not in found, f"it has two {kind}s {name!r}")
            found[name] = index
        missing = [name for name in names if name not in found]
        if missing:
            have = ", ".join(list(found)[:20]) or "none"
            raise Damaged(
                f"it lacks the {kind}{'s' if len(missing) > 1 else ''} {', '.join(missing)} that DeepSpeech's exports "
                f"have (its {kind}s: {have})"
            )
        return found

    def constant(self, index: int) -> _Tensor:
        """The constant that a metadata output shows: itself, or through a chain of RESHAPE."""
        for _ in range(4):
            if index in self.constants:
                return self.tensors[index]
            operator = self.producer.get(index)  # none: an input of the graph
            _require(operator is not None and operator.name == "RESHAPE", "its metadata are not constants")
            index = operator.inputs[0]
        raise Damaged("its metadata are not constants")


def _describe(graph: _Graph) -> dict:
    """What a ModelFile says, from tensors of the right names, types and shapes."""
    inputs = graph.named(INPUTS, graph.inputs, "input")
    outputs = graph.named(OUTPUTS, graph.outputs, "output")
    _require(len(inputs) == len(INPUTS), f"it has more inputs than {', '.join(INPUTS)}")

    def expect(name: str, index: int, type_: int, shape: tuple) -> tuple[int, ...]:
        tensor = graph.tensors[index]
        fits = len(tensor.shape) == len(shape) and all(
            have > 0 and want in (None, have) for have, want in zip(tensor.shape, shape, strict=True)
        )
        wanted = f"{TYPE_NAMES[type_]} [{', '.join('?' if n is None else str(n) for n in shape)}]"
        _require(
            tensor.type == type_ and fits, f"{name} is {TYPE_NAMES[tensor.type]} {list(tensor.shape)}, not {wanted}"
        )
        return tensor.shape

    numbers = {}
    for name in NUMBERS:
        constant = graph.constant(outputs[f"metadata_{name}"])
        _require(constant.type == INT32 and len(constant.data) == 4, f"metadata_{name} is not one int32")
        numbers[name] = int(constant.data.view("<i4")[0])
    _require(
        numbers["version"] >= LEAST_GRAPH_VERSION,
        f"graph version {numbers['version']}; the clients and this runtime take {LEAST_GRAPH_VERSION} and later",
    )
    _require(1 <= numbers["sample_rate"] <= MAX_SAMPLE_RATE, f"sample rate {numbers['sample_rate']}")
    _require(1 <= numbers["beam_width"] < 2**20, f"beam width {numbers['beam_width']}")
    constant = graph.constant(outputs["metadata_alphabet"])
    _require(constant.type == STRING, "metadata_alphabet is not text")
    strings = _strings(constant.data.tobytes())
    _require(len(strings) == 1, "metadata_alphabet is not one text")
    labels = read_labels(strings[0])

    _, n_steps, width, n_mfcc = expect("input_node", inputs["input_node"], FLOAT32, (1, None, None, None))
    _require(width % 2 == 1, f"input_node has a context of {width} frames, which is not odd")
    geometry = FeatureGeometry(
        sample_rate=numbers["sample_rate"],
        win_len_ms=numbers["feature_win_len"],
        win_step_ms=numbers["feature_win_step"],
        n_mfcc=n_mfcc,
        n_context=width // 2,
    )
    _require(n_mfcc <= NUM_MEL_FILTERS, f"{n_mfcc} coefficients of {NUM_MEL_FILTERS} bands")
    expect("input_samples", inputs["input_samples"], FLOAT32, (geometry.window_samples,))
    _, n_cell = expect("previous_state_c", inputs["previous_state_c"], FLOAT32, (1, None))
    for name in ("previous_state_h", "new_state_c", "new_state_h"):
        expect(name, (inputs | outputs)[name], FLOAT32, (1, n_cell))
    _, num_classes = expect("logits", outputs["logits"], FLOAT32, (n_steps, None))
    _require(
        num_classes == len(labels) + 1,
        f"the alphabet of {len(labels)} characters does not fit {num_classes} classes (one more for the CTC blank)",
    )
    _require(graph.tensors[outputs["mfccs"]].type == FLOAT32, "mfccs is not float32")
    _check_features(graph, outputs["mfccs"], inputs["input_samples"], geometry)
    graph.check_shapes()
    return {
        "geometry": geometry,
        "n_steps": n_steps,
        "n_cell": n_cell,
        "beam_width": numbers["beam_width"],
        "labels": labels,
    }


def _check_features(graph: _Graph, mfccs: int, samples: int, geometry: FeatureGeometry) -> None:
    """The graph's own features are those that `mfcc.Mfcc` computes in their stead."""

    def upstream(index: int, name: str) -> _Operator:
        for _ in range(8):
            operator = graph.producer.get(index)
            if operator is None or operator.name == name:
                break
            _require(operator.name == "RESHAPE", f"{operator.name} among the features")
            index = operator.inputs[0]
        _require(operator is not None, f"its features do not come from {name}")
        return operator

    wanted = {
        "AudioSpectrogram": {
            "window_size": geometry.window_samples,
            "stride": geometry.step_samples,
            "magnitude_squared": 1,
        },
        "Mfcc": {
            "upper_frequency_limit": geometry.sample_rate / 2,
            "lower_frequency_limit": LOWEST_HZ,
            "filterbank_channel_count": NUM_MEL_FILTERS,
            "dct_coefficient_count": geometry.n_mfcc,
        },
    }
    _require(sum(op.name in wanted for op in graph.operators) == 2, "it has several feature operators")
    mfcc = upstream(mfccs, "Mfcc")
    spectrogram = upstream(mfcc.inputs[0], "AudioSpectrogram")
    index = spectrogram.inputs[0]
    while index in graph.producer:
        _require(graph.producer[index].name == "RESHAPE", "its features do not come from input_samples alone")
        index = graph.producer[index].inputs[0]
    _require(index == samples, "its features do not come from input_samples")
    for operator in (spectrogram, mfcc):
        for name, value in wanted[operator.name].items():
            found = operator.options.get(name)
            _require(
                found is not None and math.isclose(found, value), f"{operator.name} has {name} {found}, not {value}"
            )
    _require(len(mfcc.inputs) == 2 and mfcc.inputs[1] in graph.constants, "Mfcc has no sample rate")
    rate = graph.tensors[mfcc.inputs[1]]
    _require(
        rate.type == INT32 and len(rate.data) == 4 and int(rate.data.view("<i4")[0]) == geometry.sample_rate,
        "Mfcc has another sample rate than metadata_sample_rate",
    )


def _strings(data: bytes) -> list[bytes]:
    """The items of a string tensor: int32 count, int32 offsets [count + 1], the bytes."""
    reader = Reader(data)
    count = reader.number("i", 0)
    _require(0 <= count <= len(data) // 4 - 2, f"{count} strings in {len(data)} bytes")
    offsets = np.frombuffer(data, "<i4", count + 1, 4).tolist()
    least = 4 * (count + 2)
    _require(offsets[0] == least and offsets[-1] <= len(data) and offsets == sorted(offsets), "strings that overlap")
    return [data[first:end] for first, end in pairwise(offsets)]


def read_labels(data: bytes) -> tuple[str, ...]:
    r"""Read what `Alphabet.serialize` writes: the text of each label, in the order of the labels.

    Unlike an Alphabet it takes any text for a label, as the clients do.

    Raises:
        Damaged: it is cut, the labels are not 0, 1, 2, ..., or a text is not UTF-8.

    >>> read_labels(b"\x02\x00\x01\x00\x01\x00b\x00\x00\x01\x00a")
    ('a', 'b')
    """
    reader = Reader(data)
    count, place = reader.number("H", 0), 2
    texts: dict[int, bytes] = {}
    for _ in range(count):
        label, length = reader.number("H", place), reader.number("H", place + 2)
        place += 4
        _require(place + length <= len(data), "its alphabet is cut")
        _require(label not in texts, f"label {label} is twice in its alphabet")
        texts[label] = data[place : place + length]
        place += length
    _require(place == len(data), "its alphabet has bytes left over")
    _require(count > 0 and sorted(texts) == list(range(count)), "the labels of its alphabet are not 0, 1, 2, ...")
    if all(texts[label] == bytes([label + 1]) for label in range(min(count, 255))) and count == 255:
        return BYTE_LABELS
    return tuple(decode(texts[label]) for label in range(count))
