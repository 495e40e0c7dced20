"""A `.tflite` under construction: its tensors and operators, in the versions that TensorFlow Lite 2.3 has."""

from collections.abc import Mapping, Sequence

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

BUFFER_ALIGNMENT = 16  # the schema's force_align for the data of a tensor

Op = schema.BuiltinOperator
Type = schema.TensorType


class AlignedBuffer(schema.BufferT):
    """Data of a tensor at a multiple of 16 bytes, as the schema asks; the generated class leaves that out."""

    def Pack(self, builder: flatbuffers.Builder) -> int:
        payload = self.data
        builder.StartVector(1, len(payload), BUFFER_ALIGNMENT)
        builder.head -= len(payload)
        builder.Bytes[builder.head : builder.head + len(payload)] = payload
        builder.vectorNumElems = len(payload)
        data = builder.EndVector()
        schema.BufferStart(builder)
        schema.BufferAddData(builder, data)
        return schema.BufferEnd(builder)


class Graph:
    """The one subgraph of a model under construction; a tensor is known by its index."""

    def __init__(self, *, quantize: bool):
        self._quantize = quantize
        self._tensors: list[schema.TensorT] = []
        self._buffers: list[schema.BufferT] = [schema.BufferT()]  # by convention the first is empty
        self._operators: list[schema.OperatorT] = []
        self._codes: dict[tuple[int, str, int], int] = {}
        self._inputs: list[int] = []
        self._outputs: list[int] = []

    # --- tensors -------------------------------------------------------------------------------------------------

    def tensor(self, name: str, shape: Sequence[int], kind: int = Type.FLOAT32, *, data: bytes | None = None) -> int:
        """Add a tensor; with `data` it is a constant."""
        tensor = schema.TensorT()
        tensor.name, tensor.shape, tensor.type, tensor.buffer = name, list(shape), kind, 0
        if data is not None:
            buffer = AlignedBuffer()
            buffer.data = data
            tensor.buffer = len(self._buffers)
            self._buffers.append(buffer)
        self._tensors.append(tensor)
        return len(self._tensors) - 1

    def shape(self, tensor: int) -> list[int]:
        return list(self._tensors[tensor].shape)

    def input(self, name: str, shape: Sequence[int]) -> int:
        self._inputs.append(self.tensor(name, shape))
        return self._inputs[-1]

    def output(self, tensor: int) -> int:
        self._outputs.append(tensor)
        return tensor

    def constant(self, name: str, array: np.ndarray) -> int:
        kind = {np.dtype("float32"): Type.FLOAT32, np.dtype("int32"): Type.INT32}[array.dtype]
        return self.tensor(name, array.shape, kind, data=array.astype(array.dtype.newbyteorder("<")).tobytes())

    def text(self, name: str, content: bytes) -> int:
        """A string tensor of one element: the number of strings, where each begins and the last ends, the bytes."""
        header = np.array([1, 12, 12 + len(content)], "<i4").tobytes()
        return self.tensor(name, [1], Type.STRING, data=header + content)

    def matrix(self, name: str, array: np.ndarray) -> int:
        """Weights [inputs, outputs], stored [outputs, inputs]: float32, or int8 symmetric with one scale."""
        if not self._quantize:
            return self.constant(name, np.ascontiguousarray(array.T))
        largest = float(np.max(np.abs(array)))
        scale = np.float32(largest / 127) or np.float32(1)
        quantized = np.clip(np.rint(array.T / scale), -127, 127).astype(np.int8)
        index = self.tensor(name, quantized.shape, Type.INT8, data=quantized.tobytes())
        quantization = schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint = [float(scale)], [0]
        self._tensors[index].quantization = quantization
        return index

    # --- operators -----------------------------------------------------------------------------------------------

    def add(
        self,
        code: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        options=None,
        *,
        version: int = 1,
        custom_name: str = "",
        custom_options: bytes | None = None,
    ) -> None:
        """Add an operator; `options` is (kind, object) of the schema's union."""
        operator = schema.OperatorT()
        operator.opcodeIndex = self._codes.setdefault((code, custom_name, version), len(self._codes))
        operator.inputs, operator.outputs = list(inputs), list(outputs)
        if options is not None:
            operator.builtinOptionsType, operator.builtinOptions = options
        if custom_options is not None:
            operator.customOptions = np.frombuffer(custom_options, np.uint8)
        self._operators.append(operator)

    def dense(self, name: str, inputs: int, matrix: int, bias: int, shape: Sequence[int], *, relu: bool = False) -> int:
        outputs = self.tensor(name, shape)
        options = schema.FullyConnectedOptionsT()
        if relu:
            options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        self.add(
            Op.FULLY_CONNECTED,
            [inputs, matrix, bias],
            [outputs],
            (schema.BuiltinOptions.FullyConnectedOptions, options),
            version=3 if self._quantize else 1,
        )
        return outputs

    def reshape(self, inputs: int, outputs: int, shape: Sequence[int], *, shape_name: str) -> None:
        options = schema.ReshapeOptionsT()
        options.newShape = list(shape)
        wanted = self.constant(shape_name, np.array(shape, np.int32))
        self.add(Op.RESHAPE, [inputs, wanted], [outputs], (schema.BuiltinOptions.ReshapeOptions, options))

    def split(self, name: str, inputs: int, axis: int, count: int, shape: Sequence[int]) -> list[int]:
        outputs = [self.tensor(f"{name}:{part}", shape) for part in range(count)]
        options = schema.SplitOptionsT()
        options.numSplits = count
        self.add(Op.SPLIT, [axis, inputs], outputs, (schema.BuiltinOptions.SplitOptions, options))
        return outputs

    def elementwise(self, code: int, name: str, inputs: Sequence[int], shape: Sequence[int]) -> int:
        outputs = self.tensor(name, shape)
        options = None
        if code == Op.ADD:
            options = (schema.BuiltinOptions.AddOptions, schema.AddOptionsT())
        elif code == Op.MUL:
            options = (schema.BuiltinOptions.MulOptions, schema.MulOptionsT())
        elif code == Op.SUB:
            options = (schema.BuiltinOptions.SubOptions, schema.SubOptionsT())
        elif code == Op.MINIMUM:
            options = (schema.BuiltinOptions.MaximumMinimumOptions, schema.MaximumMinimumOptionsT())
        self.add(code, inputs, [outputs], options)
        return outputs

    def mean(self, name: str, inputs: int, axis: int, shape: Sequence[int]) -> int:
        """The mean along an axis, which stays with length 1; `axis` is a constant tensor."""
        outputs = self.tensor(name, shape)
        options = schema.ReducerOptionsT()
        options.keepDims = True
        self.add(Op.MEAN, [inputs, axis], [outputs], (schema.BuiltinOptions.ReducerOptions, options))
        return outputs

    def concat(self, name: str, parts: Sequence[int], axis: int, shape: Sequence[int]) -> int:
        outputs = self.tensor(name, shape)
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        self.add(Op.CONCATENATION, parts, [outputs], (schema.BuiltinOptions.ConcatenationOptions, options))
        return outputs

    def slice(self, name: str, inputs: int, axis: int, begin: int, end: int) -> int:
        """What lies from `begin` up to `end` along one axis."""
        shape = self.shape(inputs)
        shape[axis] = end - begin
        outputs = self.tensor(name, shape)
        places = [
            self.constant(f"{name}/{part}", np.array([number if i == axis else 0 for i in range(len(shape))], np.int32))
            for part, number in (("begin", begin), ("end", end))
        ]
        steps = self.constant(f"{name}/steps", np.ones(len(shape), np.int32))
        options = schema.StridedSliceOptionsT()
        options.beginMask = options.endMask = sum(1 << i for i in range(len(shape)) if i != axis)
        self.add(
            Op.STRIDED_SLICE,
            [inputs, *places, steps],
            [outputs],
            (schema.BuiltinOptions.StridedSliceOptions, options),
        )
        return outputs

    def transpose(self, name: str, inputs: int, axes: Sequence[int]) -> int:
        shape = self.shape(inputs)
        outputs = self.tensor(name, [shape[axis] for axis in axes])
        order = self.constant(f"{name}/axes", np.array(axes, np.int32))
        options = (schema.BuiltinOptions.TransposeOptions, schema.TransposeOptionsT())
        self.add(Op.TRANSPOSE, [inputs, order], [outputs], options)
        return outputs

    def batch_matmul(self, name: str, left: int, right: int, shape: Sequence[int], *, transposed: bool = False) -> int:
        """[batch, n, k] x [batch, k, m], or with `transposed` x [batch, m, k] -> [batch, n, m]."""
        outputs = self.tensor(name, shape)
        options = schema.BatchMatMulOptionsT()
        options.adjY = transposed
        self.add(Op.BATCH_MATMUL, [left, right], [outputs], (schema.BuiltinOptions.BatchMatMulOptions, options))
        return outputs

    def depthwise(self, name: str, inputs: int, kernel: int, bias: int, shape: Sequence[int]) -> int:
        """A filter for each channel: [1, frames, 1, channels] with [1, size, 1, channels], only where it fits."""
        outputs = self.tensor(name, shape)
        options = schema.DepthwiseConv2DOptionsT()
        options.padding = schema.Padding.VALID
        options.strideW = options.strideH = options.depthMultiplier = 1
        self.add(
            Op.DEPTHWISE_CONV_2D,
            [inputs, kernel, bias],
            [outputs],
            (schema.BuiltinOptions.DepthwiseConv2DOptions, options),
        )
        return outputs

    def softmax(self, name: str, inputs: int, shape: Sequence[int]) -> int:
        """Along the last axis."""
        outputs = self.tensor(name, shape)
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        self.add(Op.SOFTMAX, [inputs], [outputs], (schema.BuiltinOptions.SoftmaxOptions, options))
        return outputs

    def layer_norm(
        self,
        name: str,
        inputs: int,
        weights: Mapping[str, np.ndarray],
        shape: Sequence[int],
        *,
        scope: str,
        epsilon: float,
    ) -> int:
        """Normalise each frame to mean 0 and variance 1, then scale and shift (Ba et al. 2016, arXiv:1607.06450).

        Args:
            name: of the outputs.
            weights: "SCOPE/gamma" and "SCOPE/beta" are among them.
            shape: [frames, width].
        """
        one = [shape[0], 1]
        axis = self.constant(f"{scope}/axis", np.array([1], np.int32))
        little = self.constant(f"{scope}/epsilon", np.array(epsilon, np.float32))
        gamma, beta = (self.constant(f"{scope}/{part}", weights[f"{scope}/{part}"]) for part in ("gamma", "beta"))
        mean = self.mean(f"{scope}/mean", inputs, axis, one)
        centred = self.elementwise(Op.SUB, f"{scope}/centred", [inputs, mean], shape)
        squared = self.elementwise(Op.MUL, f"{scope}/squared", [centred, centred], shape)
        variance = self.mean(f"{scope}/variance", squared, axis, one)
        variance = self.elementwise(Op.ADD, f"{scope}/variance_epsilon", [variance, little], one)
        scale = self.elementwise(Op.RSQRT, f"{scope}/scale", [variance], one)
        normalised = self.elementwise(Op.MUL, f"{scope}/normalised", [centred, scale], shape)
        scaled = self.elementwise(Op.MUL, f"{scope}/scaled", [normalised, gamma], shape)
        return self.elementwise(Op.ADD, name, [scaled, beta], shape)

    # --- the file ------------------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        subgraph = schema.SubGraphT()
        subgraph.tensors, subgraph.operators = self._tensors, self._operators
        subgraph.inputs, subgraph.outputs, subgraph.name = self._inputs, self._outputs, "main"
        model = schema.ModelT()
        model.version, model.description = 3, "deepspeech_training"
        model.subgraphs, model.buffers = [subgraph], self._buffers
        model.operatorCodes = []
        for code, custom_name, version in self._codes:
            entry = schema.OperatorCodeT()
            entry.builtinCode = entry.deprecatedBuiltinCode = code  # deepspeech 0.9.3 reads the deprecated field only
            entry.version, entry.customCode = version, custom_name or None
            model.operatorCodes.append(entry)
        data_bytes = sum(len(buffer.data) for buffer in self._buffers[1:])
        builder = flatbuffers.Builder(data_bytes + 400 * len(self._tensors) + 4096)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())
