"""Network, weights and alphabet -> the bytes of a `.tflite` that deepspeech 0.9.3 and stt 1.4.0 load.

Written tensor by tensor with the flatbuffer schema that ai-edge-litert ships; no converter and no TensorFlow. Only
operators that TensorFlow Lite 2.3 (in deepspeech 0.9.3) knows are used, in their oldest versions.

The clients look tensors up by name and crash without a word where one is missing, and they run the graph in parts:
the features (all that `mfccs` depends on), each `metadata_*` tensor (which must be the output of an operator), and all
the rest in the order of the file, which is the network.
"""

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from flatbuffers import flexbuffers

from deepspeech_training.alphabet import Alphabet, ByteAlphabet
from deepspeech_training.errors import UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mel import LOWEST_HZ, NUM_MEL_FILTERS
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.models.tflite_graph import Graph, Op, Type

GRAPH_VERSION = 6  # what the clients ask for: DeepSpeech's data/GRAPH_VERSION
MAX_ALPHABET_SIZE = 2**16 - 2  # Alphabet.serialize has 16 bits for the number of characters, the blank is one more
MAX_FILE_BYTES = 2**31 - 2**20  # a flatbuffer has 32-bit offsets, of which the clients use 31


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
    _check_alphabet(alphabet, network)
    return _written(weights, alphabet.serialize(), features, network, settings)


def write_commands_tflite(
    weights: Mapping[str, np.ndarray],
    *,
    labels: Sequence[str],
    said: str,
    features: FeatureGeometry,
    network: AcousticModel,
    settings: ExportSettings,
) -> bytes:
    """The same of a model of spoken commands, which our runtime alone loads: `logits` has the classes of each frame.

    Args:
        labels: of the classes, instead of the alphabet's characters.
        said: JSON for `metadata_task`: what `runtime.model_file` reads.
    """
    if len(labels) != network.num_classes:
        raise UserError(f"There are {len(labels)} labels; the network was trained for {network.num_classes} classes")
    return _written(weights, serialized(labels), features, network, settings, task=said.encode())


def serialized(labels: Sequence[str]) -> bytes:
    r"""Texts as `Alphabet.serialize` has its characters, of any length.

    >>> serialized(["on"])
    b'\x01\x00\x00\x00\x02\x00on'
    """
    texts = [label.encode() for label in labels]
    return struct.pack("<H", len(texts)) + b"".join(
        struct.pack("<HH", number, len(text)) + text for number, text in enumerate(texts)
    )


def _written(
    weights: Mapping[str, np.ndarray],
    labels: bytes,
    features: FeatureGeometry,
    network: AcousticModel,
    settings: ExportSettings,
    *,
    task: bytes = b"",
) -> bytes:
    """The file; `task` is for `metadata_task`, which models of speech to text do not have."""
    _check(weights, features, network, settings)
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
    _add_metadata(graph, "metadata_alphabet", labels)
    _add_metadata(graph, "metadata_language", settings.language.encode())
    if task:
        _add_metadata(graph, "metadata_task", task)
    return graph.to_bytes()


def _check_alphabet(alphabet: Alphabet | ByteAlphabet, network: AcousticModel) -> None:
    if alphabet.num_classes != network.num_classes:
        raise UserError(
            f"The alphabet has {alphabet.size} characters; the network was trained for {network.num_classes - 1}"
        )
    if alphabet.size > MAX_ALPHABET_SIZE:
        raise UserError(
            f"The alphabet has {alphabet.size:,} characters; the clients read at most {MAX_ALPHABET_SIZE:,}"
        )


def _check(weights, features: FeatureGeometry, network: AcousticModel, settings: ExportSettings) -> None:
    if settings.n_steps < 1 or settings.beam_width < 1:
        raise UserError(
            f"--n_steps {settings.n_steps}, --export_beam_width {settings.beam_width}: both must be 1 or more"
        )
    fault = network.fault_of_steps(settings.n_steps)
    if fault:
        raise UserError(f"--n_steps {settings.n_steps}: {fault}")
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
    graph.output(graph.softmax("logits", logits, shape))  # the clients' name for the probabilities


def _add_metadata(graph: Graph, name: str, value: np.ndarray | bytes) -> None:
    """A constant behind an operator that passes it on: a constant that is itself an output crashes both clients."""
    copy = f"{name}_copy"
    if isinstance(value, bytes):
        constant, kind = graph.text(copy, value), Type.STRING
    else:
        constant, kind = graph.constant(copy, value), Type.INT32
    outputs = graph.output(graph.tensor(name, [1], kind))
    graph.reshape(constant, outputs, [1], shape_name=f"{copy}_shape")
