"""Network, weights and alphabet -> the bytes of a `.tflite` that deepspeech 0.9.3 and stt 1.4.0 load.

Written tensor by tensor with the flatbuffer schema that ai-edge-litert ships; no converter and no TensorFlow. Only
operators that TensorFlow Lite 2.3 (in deepspeech 0.9.3) knows are used, in their oldest versions.

The clients look tensors up by name and crash without a word where one is missing, and they run the graph in parts:
the features (all that `mfccs` depends on), each `metadata_*` tensor (which must be the output of an operator), and all
the rest in the order of the file, which is the network.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mel import LOWEST_HZ, NUM_MEL_FILTERS
from deepspeech_training.models.base import AcousticModel

GRAPH_VERSION = 6  # what the clients ask for: DeepSpeech's data/GRAPH_VERSION
MAX_ALPHABET_SIZE = 2**16 - 2  # Alphabet.serialize has 16 bits for the number of characters, the blank is one more
MAX_FILE_BYTES = 2**31 - 2**20  # a flatbuffer has 32-bit offsets, of which the clients use 31
BUFFER_ALIGNMENT = 16  # the schema's force_align for the data of a tensor

Op = schema.BuiltinOperator
Type = schema.TensorType


@dataclass(frozen=True)
class ExportSettings:
    """What is decided at the export.

    Args:
        quantize: int8 weights (a quarter of the size); else float32.
        n_steps: frames that one call of the network takes.
        beam_width: the clients' beam width unless they set one.
        language: stored for people; no client reads it.
    """

    quantize: bool = True
    n_steps: int = 16
    beam_width: int = 500
    language: str = ""


def write_tflite(
    weights: Mapping[str, np.ndarray],
    *,
    alphabet: Alphabet | ByteAlphabet,
    features: FeatureGeometry,
    network: AcousticModel,
    settings: ExportSettings,
) -> bytes:
    """Make the file.

    Args:
        weights: float32 by canonical name (docs/checkpoints.md); others, such as Adam's moments, are passed over.
        alphabet: of network.num_classes - 1 characters.
        features, network: geometry of the model.
        settings: quantisation, steps, metadata.
    Raises:
        UserError: weights are missing, of another shape, or not finite; the alphabet does not fit; or the
            file would be larger than the format allows.
    """
    _check(weights, alphabet, features, network, settings)
    graph = Graph(quantize=settings.quantize)
    _add_features(graph, features)
    _add_network(graph, weights, network, settings.n_steps)
    for name, number in (
        ("version", GRAPH_VERSION),
        ("sample_rate", features.sample_rate),
        ("feature_win_len", features.win_len_ms),
        ("feature_win_step", features.win_step_ms),
        ("beam_width", settings.beam_width),
    ):
        _add_metadata(graph, f"metadata_{name}", np.array([number], np.int32))
    _add_metadata(graph, "metadata_alphabet", alphabet.serialize())
    _add_metadata(graph, "metadata_language", settings.language.encode())
    return graph.to_bytes()


def _check(weights, alphabet, features: FeatureGeometry, network: AcousticModel, settings: ExportSettings) -> None:
    if settings.n_steps < 1 or settings.beam_width < 1:
        raise UserError(
            f"--n_steps {settings.n_steps}, --export_beam_width {settings.beam_width}: both must be 1 or more"
        )
    if alphabet.num_classes != network.num_classes:
        raise UserError(
            f"The alphabet has {alphabet.size} characters; the network was trained for {network.num_classes - 1}"
        )
    if alphabet.size > MAX_ALPHABET_SIZE:
        raise UserError(
            f"The alphabet has {alphabet.size:,} characters; the clients read at most {MAX_ALPHABET_SIZE:,}"
        )
    if settings.n_steps % network.stride:
        raise UserError(
            f"--n_steps {settings.n_steps}: the network {network.name} makes one frame of {network.stride}, so it must "
            f"be a multiple of {network.stride}"
        )
    if network.n_features != features.n_mfcc:
        raise UserError(f"The network takes {network.n_features} features; the features have {features.n_mfcc}")
    total_bytes = sum(int(np.prod(s)) for s in network.weight_shapes().values()) * (1 if settings.quantize else 4)
    if total_bytes > MAX_FILE_BYTES:
        raise UserError(
            f"The model would have {total_bytes / 1e9:.1f} GB; a .tflite holds at most {MAX_FILE_BYTES / 1e9:.1f} GB"
            + ("" if settings.quantize else "\nExport it with 8-bit weights: leave --noexport_quantize out.")
        )
    for name, shape in network.weight_shapes().items():
        if name not in weights:
            raise UserError(f"The checkpoint lacks the weights {name!r}, so it cannot be exported")
        array = np.asarray(weights[name])
        if array.shape != shape or array.dtype != np.float32:
            raise UserError(
                f"The weights {name!r} are {array.dtype} {list(array.shape)}; they should be float32 {list(shape)}"
            )
        if not np.isfinite(array).all():
            raise UserError(
                f"The weights {name!r} have values that are not finite numbers; export an earlier checkpoint"
            )


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


def _add_features(graph: Graph, features: FeatureGeometry) -> None:
    """One window of samples -> one frame of features, with the operators of the clients' own TensorFlow."""
    window = features.window_samples
    samples = graph.input("input_samples", [window])
    column = graph.tensor("input_samples_column", [window, 1])
    graph.reshape(samples, column, [window, 1], shape_name="input_samples_column_shape")
    spectrogram, cepstrum, mfccs = (graph.tensor(name, []) for name in ("spectrogram", "cepstrum", "mfccs"))
    # The shapes of these three are found at run time, as in DeepSpeech's own files.
    graph.add(
        Op.CUSTOM,
        [column],
        [spectrogram],
        custom_name="AudioSpectrogram",
        custom_options=_flexbuffer(window_size=window, stride=features.step_samples, magnitude_squared=True),
    )
    rate = graph.constant("mfcc_sample_rate", np.array(features.sample_rate, np.int32))
    graph.add(
        Op.CUSTOM,
        [spectrogram, rate],
        [cepstrum],
        custom_name="Mfcc",
        custom_options=_flexbuffer(
            upper_frequency_limit=features.sample_rate / 2,
            lower_frequency_limit=LOWEST_HZ,
            filterbank_channel_count=NUM_MEL_FILTERS,
            dct_coefficient_count=features.n_mfcc,
        ),
    )
    graph.reshape(cepstrum, mfccs, [-1, features.n_mfcc], shape_name="mfccs_shape")
    graph.output(mfccs)


def _flexbuffer(**values: int | float | bool) -> bytes:
    return bytes(flexbuffers.Dumps(values))


def _add_network(graph: Graph, weights: Mapping[str, np.ndarray], network: AcousticModel, n_steps: int) -> None:
    """n_steps frames of features with their neighbours, and a stream's state -> probabilities and the new state."""
    windows = graph.input("input_node", [1, n_steps, 2 * network.n_context + 1, network.n_features])
    state = {name: graph.input(f"previous_{name}", shape) for name, shape in network.state_shapes().items()}
    logits = network.add_to(graph, weights, windows, state, n_steps=n_steps)
    shape = [network.output_lengths(n_steps), network.num_classes]
    probabilities = graph.output(graph.tensor("logits", shape))  # the clients' name for them
    options = schema.SoftmaxOptionsT()
    options.beta = 1.0
    graph.add(Op.SOFTMAX, [logits], [probabilities], (schema.BuiltinOptions.SoftmaxOptions, options))


def _add_metadata(graph: Graph, name: str, value: np.ndarray | bytes) -> None:
    """A constant behind an operator that passes it on: a constant that is itself an output crashes both clients."""
    copy = f"{name}_copy"
    if isinstance(value, bytes):
        constant, kind = graph.text(copy, value), Type.STRING
    else:
        constant, kind = graph.constant(copy, value), Type.INT32
    outputs = graph.output(graph.tensor(name, [1], kind))
    graph.reshape(constant, outputs, [1], shape_name=f"{copy}_shape")
