"""The graph of a `.tflite`: tensors and operators, after a walk through all that LiteRT will follow.

LiteRT does not verify a model before it runs it, and a damaged file would end the process.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from deepspeech_training.runtime.flatbuffer import Damaged, Reader, Table, read_flexbuffer_map, require
from deepspeech_training.runtime.operators import (
    CUSTOM,
    FLOAT32,
    INT8,
    OF_FEATURES,
    OPERATORS,
    STRING,
    Kind,
    Tensor,
    Use,
)

MAX_TENSOR_BYTES = 2**31 - 1
MAX_ACTIVATION_BYTES = 2**31
MOST_ACTIVATION = 5  # of the schema's ActivationFunctionType
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


@dataclass(frozen=True)
class Operator:
    """An operator of the file; inputs and outputs are numbers of tensors, -1 for one that is left out."""

    name: str
    kind: Kind
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, int | float]


class Graph:
    """The parts of the file that the clients use, after a walk through all that LiteRT will follow.

    Args:
        model: the root of the file.
    Raises:
        Damaged: it is damaged, or has what no export of DeepSpeech's has.
    """

    def __init__(self, model: Table):
        require(model.number(0, "I") == 3, f"schema version {model.number(0, 'I')}, not 3")
        require(not model.has(7), "it has signatures, which no DeepSpeech export has")
        require(model.num_slots <= 8, "it has fields that this runtime does not know")
        model.text(3)
        self.buffers = [self._buffer(table) for table in model.tables(4)]
        require(bool(self.buffers) and not len(self.buffers[0]), "its first buffer is not the empty one")
        for buffer in model.array(5, "<i4"):
            self._buffer_at(int(buffer))
        for table in model.tables(6):
            table.text(0)
            self._buffer_at(table.number(1, "I"))
        codes = [self._code(table) for table in model.tables(1)]
        graphs = list(model.tables(2))
        require(len(graphs) == 1, f"it has {len(graphs)} graphs, not one")
        graph = graphs[0]
        graph.text(4)
        self.tensors = [self._tensor(table) for table in graph.tables(0)]
        self.inputs = self._indices(graph.array(1, "<i4"))
        self.outputs = self._indices(graph.array(2, "<i4"))
        self.constants = {index for index, tensor in enumerate(self.tensors) if len(tensor.data)}
        self.operators = [self._operator(table, codes) for table in graph.tables(3)]
        self.producer = self._check_order()

    def _buffer(self, table: Table) -> np.ndarray:
        require(not table.number(1, "Q") and not table.number(2, "Q"), "it keeps weights outside of the flatbuffer")
        return table.array(0, "u1")

    def _buffer_at(self, index: int) -> np.ndarray:
        require(0 <= index < len(self.buffers), f"buffer {index} of {len(self.buffers)}")
        return self.buffers[index]

    def _code(self, table: Table) -> tuple[int, str]:
        code = table.number(3, "i") or table.number(0, "b")
        custom = table.text(1)
        known = custom in ("AudioSpectrogram", "Mfcc") if code == CUSTOM else code in OPERATORS
        name = repr(custom) if code == CUSTOM else f"number {code}"
        require(known, f"it uses an operator that DeepSpeech's exports do not: {name}")
        version = table.number(2, "i", 1)
        require(1 <= version <= 16, f"version {version} of an operator")
        return code, custom

    def _tensor(self, table: Table) -> Tensor:
        name, shape, kind = table.text(3), table.array(0, "<i4"), table.number(1, "b")
        data = self._buffer_at(table.number(2, "I"))
        require(kind in TYPE_NAMES, f"tensor {name!r} is of type {kind}")
        require(len(shape) <= 6 and bool((shape > 0).all()), f"tensor {name!r} has the shape {shape.tolist()}")
        require(
            not table.number(5, "B") and not table.has(6) and not table.has(9),
            f"tensor {name!r} is a variable or sparse, as none of DeepSpeech's exports has",
        )
        signature = table.array(7, "<i4")
        require(
            not len(signature) or (len(signature) == len(shape) and bool((signature == shape).all())),
            f"tensor {name!r} has a shape that may change",
        )
        scale = self._scale(name, shape, kind, table.table(4))
        items = math.prod(shape.tolist())
        require(items * TYPE_BYTES.get(kind, 1) <= MAX_TENSOR_BYTES, f"tensor {name!r} has {items:,} items")
        if kind == STRING:
            require(not len(data) or len(strings(data.tobytes())) == items, f"tensor {name!r} has other strings")
        elif len(data):
            wanted = items * TYPE_BYTES[kind]
            require(len(data) == wanted, f"tensor {name!r} has {len(data):,} bytes for {wanted:,}")
        return Tensor(name, tuple(shape.tolist()), kind, data, scale)

    @staticmethod
    def _scale(name: str, shape: np.ndarray, kind: int, table: Table | None) -> np.ndarray:
        if table is None:
            return np.zeros(0, "<f4")
        scale, zero_point, axis = table.array(2, "<f4"), table.array(3, "<i8"), table.number(6, "i")
        table.array(0, "<f4"), table.array(1, "<f4")
        require(not table.number(4, "B") and not table.has(5), f"tensor {name!r} has a custom quantisation")
        channels = len(scale) if len(scale) > 1 else 0
        require(
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
        require(
            bool(((values >= least) & (values < len(self.tensors))).all()), f"there are {len(self.tensors)} tensors"
        )
        return tuple(values.tolist())

    def _operator(self, table: Table, codes: list[tuple[int, str]]) -> Operator:
        index = table.number(0, "I")
        require(index < len(codes), f"operator code {index} of {len(codes)}")
        code, custom = codes[index]
        kind = OPERATORS[code]
        name = custom or kind.name
        inputs = self._indices(table.array(1, "<i4"), optional=True)
        outputs = self._indices(table.array(2, "<i4"))
        # Only the bias of a dense layer may be left out, as index -1.
        needed = inputs[:2] if name == "FULLY_CONNECTED" else inputs
        least, most = kind.inputs
        require(
            least <= len(inputs) <= (most or len(inputs))
            and all(index >= 0 for index in needed)
            and len(outputs) == (kind.outputs or len(outputs)) >= 1,
            f"{name} with {len(inputs)} inputs and {len(outputs)} outputs",
        )
        require(table.number(3, "B") in (0, kind.options_type), f"{name} with options of another operator")
        require(
            not any(len(table.array(slot, "u1")) for slot in (7, 8)) and not any(table.has(s) for s in range(9, 13)),
            f"{name} has parts that none of DeepSpeech's exports has",
        )
        return Operator(name, kind, inputs, outputs, self._options(table, name, kind))

    @staticmethod
    def _options(table: Table, name: str, kind: Kind) -> dict[str, int | float]:
        builtin, custom = table.table(4), table.array(5, "u1").tobytes()
        require(builtin is None or table.number(3, "B") != 0, f"{name} with options of no type")
        if name in OF_FEATURES:
            return read_flexbuffer_map(custom)
        options: dict[str, int | float] = {}
        for slot, (option, code) in enumerate(kind.options.items()):
            if code != "v":
                default = kind.defaults.get(option, 0)
                options[option] = builtin.number(slot, code, default) if builtin else default
            elif builtin:
                builtin.array(slot, "<i4")
        return options

    def check_shapes(self) -> None:
        """Every operator's inputs, options and outputs fit together.

        The features have shapes that LiteRT finds while it runs, so that only their kind can be looked at.
        """
        unsized: set[int] = set()
        for operator in self.operators:
            use = Use(
                [self.tensors[index] if index >= 0 else None for index in operator.inputs],
                [self.tensors[index] for index in operator.outputs],
                operator.options,
            )
            if operator.name in OF_FEATURES or unsized & set(operator.inputs):
                unsized |= set(operator.outputs)
                fits = operator.kind.fits(use) if operator.name in OF_FEATURES else _reshapes_features(operator, use)
            else:
                fits = operator.kind.fits(use)
            require(
                fits and 0 <= operator.options.get("activation", 0) <= MOST_ACTIVATION,
                f"{operator.name} -> {use.outputs[0].name!r}: types, shapes or options do not fit together",
            )

    def _check_order(self) -> dict[int, Operator]:
        """Everything is computed before it is used, and once."""
        producer: dict[int, Operator] = {}
        require(not self.constants & set(self.inputs), "an input is a constant")
        ready = self.constants | set(self.inputs)
        activation_bytes = 0
        for operator in self.operators:
            require(all(i < 0 or i in ready for i in operator.inputs), f"{operator.name} uses what is not there yet")
            for index in operator.outputs:
                tensor = self.tensors[index]
                require(index not in ready, f"{operator.name} overwrites tensor {tensor.name!r}")
                ready.add(index)
                producer[index] = operator
                activation_bytes += math.prod(tensor.shape) * TYPE_BYTES.get(tensor.type, 1)
        require(activation_bytes <= MAX_ACTIVATION_BYTES, f"it computes {activation_bytes:,} bytes at each step")
        require(set(self.outputs) <= ready and not (set(self.inputs) & set(self.outputs)), "an output is not computed")
        return producer

    def constant(self, index: int) -> Tensor:
        """The constant that a metadata output shows: itself, or through a chain of RESHAPE."""
        for _ in range(4):
            if index in self.constants:
                return self.tensors[index]
            operator = self.producer.get(index)  # none: an input of the graph
            if operator is None or operator.name != "RESHAPE":
                break
            index = operator.inputs[0]
        raise Damaged("its metadata are not constants")


def _reshapes_features(operator: Operator, use: Use) -> bool:
    """Whether an operator on features, whose shape is not known yet, does no more than to reshape them."""
    return (
        operator.name == "RESHAPE"
        and use.inputs[0].type == use.outputs[0].type == FLOAT32
        and (len(use.inputs) == 1 or len(use.inputs[1].integers()) > 0)
    )


def strings(data: bytes) -> list[bytes]:
    """The items of a string tensor: int32 count, int32 offsets [count + 1], the bytes."""
    reader = Reader(data)
    count = reader.number("i", 0)
    require(0 <= count <= len(data) // 4 - 2, f"{count} strings in {len(data)} bytes")
    offsets = np.frombuffer(data, "<i4", count + 1, 4).tolist()
    least = 4 * (count + 2)
    require(offsets[0] == least and offsets[-1] <= len(data) and offsets == sorted(offsets), "strings that overlap")
    return [data[first:end] for first, end in pairwise(offsets)]
