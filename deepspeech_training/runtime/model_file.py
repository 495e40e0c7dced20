"""An exported `.tflite` as bytes -> what it says of itself, checked before LiteRT is given it.

What is looked up is what DeepSpeech's clients look up: tensors by name among the inputs and outputs of the one graph,
and the metadata in constants. A file is refused, with the reason, unless all of that is there and fits together. Of
the network in it nothing is taken for granted but its interface: windows of features and the state of a stream go in,
probabilities and the new state come out.
"""

import json
import math
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deepspeech_training.errors import FlagError, UserError
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mel import LOWEST_HZ, NUM_MEL_FILTERS
from deepspeech_training.runtime.flatbuffer import Damaged, Reader, decode, require
from deepspeech_training.runtime.graph import TYPE_NAMES, Graph, Operator, strings
from deepspeech_training.runtime.operators import FLOAT32, INT8, INT32, STRING

IDENTIFIER = b"TFL3"
BYTE_LABELS = tuple(bytes([byte]).decode("utf-8", "surrogateescape") for byte in range(1, 256))
MAX_FILE_BYTES = 2**31 - 1  # the offsets of a flatbuffer have 31 bits that count
LEAST_GRAPH_VERSION = 6
MAX_SAMPLE_RATE = 768_000

STATE_IN, STATE_OUT = "previous_", "new_"  # how the names of a stream's state begin
INPUTS = ("input_node", "input_samples")
NUMBERS = ("version", "sample_rate", "feature_win_len", "feature_win_step", "beam_width")
OUTPUTS = ("logits", "mfccs", *(f"metadata_{name}" for name in NUMBERS), "metadata_alphabet")


class ModelError(UserError):
    """A file that is no model that this runtime can use; the message says what is wrong with it."""


@dataclass(frozen=True)
class CommandsSaid:
    """What the export of a model of spoken commands says besides its labels.

    Args:
        clip_seconds: what of a clip is judged, at most, and how much of a stream together.
        threshold, hold_off_s: when a command counts as heard in a stream (`runtime.detection.Rule`); None where that
            was not measured.
    """

    clip_seconds: float
    threshold: float | None = None
    hold_off_s: float | None = None

    @classmethod
    def of_json(cls, text: str) -> "CommandsSaid":
        """What `metadata_task` has.

        Raises:
            Damaged: it is no description of such a model.

        >>> CommandsSaid.of_json('{"task": "spoken_command", "clip_seconds": 1.0, "rule": null}').threshold is None
        True
        """
        try:
            said = json.loads(text)
            require(said["task"] == "spoken_command", f"it is of the task {str(said['task'])[:40]!r}")
            rule = said["rule"] or {"threshold": None, "hold_off_s": None}
            found = cls(said["clip_seconds"], rule["threshold"], rule["hold_off_s"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise Damaged(f"metadata_task does not describe a model: {error!r}") from error
        for name, low, high in (("clip_seconds", 0.0, 10.0), ("threshold", 0.0, 1.0), ("hold_off_s", 0.0, 60.0)):
            value = getattr(found, name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            fits = (is_number and low < value <= high) or (value is None and name != "clip_seconds")
            require(fits, f"metadata_task has {name} {str(value)[:40]}")
        return found


@dataclass(frozen=True)
class ModelFile:
    """A checked model.

    Args:
        path: as it was given, for messages.
        data: the whole file; what was checked is what LiteRT runs.
        geometry: sample rate, window, step and coefficients of the features.
        n_steps: frames that one call of the network takes.
        window_frames: frames that go in for each of them: its neighbours on either side, and itself.
        stride: frames of features for each frame of probabilities.
        state_shapes: of the state of a stream, by name: `previous_NAME` goes in and `new_NAME` comes out.
        beam_width: the default that the exporter stored.
        labels: the text of each class; the CTC blank comes after them, but for commands. In bytes mode each is a byte,
            those above 127 as Python's surrogate escapes.
        commands: of a model of spoken commands, whose classes are the labels; None for one of speech to text.
    """

    path: str
    data: bytes
    geometry: FeatureGeometry
    n_steps: int
    window_frames: int
    stride: int
    state_shapes: Mapping[str, tuple[int, ...]]
    beam_width: int
    labels: tuple[str, ...]
    commands: CommandsSaid | None = None

    @property
    def task(self) -> str:
        return "speech_to_text" if self.commands is None else "spoken_command"

    @property
    def num_classes(self) -> int:
        """Probabilities of each frame."""
        return len(self.labels) + (self.commands is None)

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
        return cls.of_bytes(_read_tflite(path), path)

    @classmethod
    def of_bytes(cls, data: bytes, path: str) -> "ModelFile":
        """Check the bytes of a `.tflite`; `path` is what messages call it."""
        try:
            return cls(path, data, **_describe(Graph(Reader(data).root())))
        except Damaged as error:
            raise ModelError(
                f"{path}: the model is damaged or of another kind: {error}\n"
                "Copy it again, or export it again with --export_dir."
            ) from error
        except FlagError as error:
            raise ModelError(f"{path}: its metadata do not fit together: {str(error).splitlines()[0]}") from error

    def constants(self, *, least: int = 1) -> Iterator[tuple[str, np.ndarray]]:
        """Name and values of each constant of at least so many numbers; 8-bit ones as the float32 that they mean."""
        for tensor in Graph(Reader(self.data).root()).tensors:
            if not len(tensor.data) or math.prod(tensor.shape) < least or tensor.type not in (FLOAT32, INT8):
                continue
            values = tensor.data.view("<f4" if tensor.type == FLOAT32 else "i1").reshape(tensor.shape)
            if tensor.type == INT8:
                scale = tensor.scale.reshape(-1, *[1] * (values.ndim - 1)) if len(tensor.scale) > 1 else tensor.scale
                values = values.astype(np.float32) * scale
            yield tensor.name, values


def read_bytes(path: str, *, most: int, kind: str) -> bytes:
    """What is in the file of a model of some kind, such as ".tflite", of at most so many bytes.

    Raises:
        ModelError: it cannot be read, or is larger.
    """
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise ModelError(f"{path}: a model is a file; this is none")
        if status.st_size > most:
            raise ModelError(f"{path}: {status.st_size:,} bytes are more than a {kind} can have ({most:,})")
        return Path(path).read_bytes()
    except FileNotFoundError as error:
        raise ModelError(f"{path}: there is no such model") from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: cannot read the model: {getattr(error, 'strerror', None) or error}") from error


def _read_tflite(path: str) -> bytes:
    data = read_bytes(path, most=MAX_FILE_BYTES, kind=".tflite")
    if data.startswith(b"version https://git-lfs"):
        raise ModelError(f"{path}: a Git LFS pointer, not the model (fetch that with `git lfs pull`)")
    if data[4:8] != IDENTIFIER:
        kind = "the file is empty" if not data else f"it has {data[4:8]!r} where a .tflite has {IDENTIFIER!r}"
        raise ModelError(
            f"{path}: not a .tflite: {kind}\nThe runtime takes the .tflite that an export writes; .pb, .pbmm and "
            "checkpoints are not run."
        )
    return data


def _describe(graph: Graph) -> dict[str, Any]:
    """What a ModelFile says, from tensors of the right names, types and shapes."""
    inputs = _named(graph, INPUTS, graph.inputs, "input")
    outputs = _named(graph, OUTPUTS, graph.outputs, "output")
    numbers = {}
    for name in NUMBERS:
        constant = graph.constant(outputs[f"metadata_{name}"])
        require(constant.type == INT32 and len(constant.data) == 4, f"metadata_{name} is not one int32")
        numbers[name] = int(constant.data.view("<i4")[0])
    require(
        numbers["version"] >= LEAST_GRAPH_VERSION,
        f"graph version {numbers['version']}; the clients and this runtime take {LEAST_GRAPH_VERSION} and later",
    )
    require(1 <= numbers["sample_rate"] <= MAX_SAMPLE_RATE, f"sample rate {numbers['sample_rate']}")
    require(1 <= numbers["beam_width"] < 2**20, f"beam width {numbers['beam_width']}")
    constant = graph.constant(outputs["metadata_alphabet"])
    require(constant.type == STRING, "metadata_alphabet is not text")
    texts = strings(constant.data.tobytes())
    require(len(texts) == 1, "metadata_alphabet is not one text")
    labels = read_labels(texts[0])
    commands = _commands(graph, outputs)

    _, n_steps, window_frames, n_mfcc = _expect(graph, inputs, "input_node", (1, None, None, None))
    require(window_frames % 2 == 1, f"input_node has windows of {window_frames} frames, which is not odd")
    require(n_mfcc <= NUM_MEL_FILTERS, f"{n_mfcc} coefficients of {NUM_MEL_FILTERS} bands")
    geometry = FeatureGeometry(
        sample_rate=numbers["sample_rate"],
        win_len_ms=numbers["feature_win_len"],
        win_step_ms=numbers["feature_win_step"],
        n_mfcc=n_mfcc,
    )
    _expect(graph, inputs, "input_samples", (geometry.window_samples,))
    num_outputs, num_classes = _expect(graph, outputs, "logits", (None, None))
    require(n_steps % num_outputs == 0, f"logits has {num_outputs} frames, input_node {n_steps}")
    blank = commands is None
    require(
        num_classes == len(labels) + blank,
        f"the alphabet of {len(labels)} characters does not fit {num_classes} classes (one more for the CTC blank)",
    )
    require(graph.tensors[outputs["mfccs"]].type == FLOAT32, "mfccs is not float32")
    state_shapes = _state_shapes(graph, inputs, outputs)
    _check_features(graph, outputs["mfccs"], inputs["input_samples"], geometry)
    graph.check_shapes()
    return {
        "geometry": geometry,
        "n_steps": n_steps,
        "window_frames": window_frames,
        "stride": n_steps // num_outputs,
        "state_shapes": state_shapes,
        "beam_width": numbers["beam_width"],
        "labels": labels,
        "commands": commands,
    }


def _commands(graph: Graph, outputs: Mapping[str, int]) -> CommandsSaid | None:
    """What `metadata_task` says; None where it is not there."""
    if "metadata_task" not in outputs:
        return None
    constant = graph.constant(outputs["metadata_task"])
    require(constant.type == STRING, "metadata_task is not text")
    texts = strings(constant.data.tobytes())
    require(len(texts) == 1, "metadata_task is not one text")
    return CommandsSaid.of_json(decode(texts[0]))


def _named(graph: Graph, names: tuple[str, ...], indices: tuple[int, ...], kind: str) -> dict[str, int]:
    """The inputs or outputs of the graph by name; those that the clients look up are among them."""
    found: dict[str, int] = {}
    for index in indices:
        name = graph.tensors[index].name
        require(name not in found, f"it has two {kind}s {name!r}")
        found[name] = index
    missing = [name for name in names if name not in found]
    have = ", ".join(list(found)[:20]) or "none"
    require(
        not missing,
        f"it lacks the {kind}{'s' if len(missing) > 1 else ''} {', '.join(missing)} that DeepSpeech's exports have "
        f"(its {kind}s: {have})",
    )
    return found


def _expect(graph: Graph, named: Mapping[str, int], name: str, shape: tuple[int | None, ...] | None) -> tuple[int, ...]:
    """The shape of a float32 tensor, which must be `shape` where that is not None."""
    tensor = graph.tensors[named[name]]
    shape = tensor.shape if shape is None else shape
    fits = len(tensor.shape) == len(shape) and all(
        want in (None, have) for have, want in zip(tensor.shape, shape, strict=True)
    )
    wanted = f"float32 [{', '.join('?' if n is None else str(n) for n in shape)}]"
    require(tensor.type == FLOAT32 and fits, f"{name} is {TYPE_NAMES[tensor.type]} {list(tensor.shape)}, not {wanted}")
    return tensor.shape


def _state_shapes(graph: Graph, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """What goes from call to call of a stream: each `previous_NAME` comes out as `new_NAME`, alike."""
    goes_in = [name.removeprefix(STATE_IN) for name in inputs if name.startswith(STATE_IN)]
    comes_out = [name.removeprefix(STATE_OUT) for name in outputs if name.startswith(STATE_OUT)]
    lacking = [STATE_OUT + name for name in goes_in if name not in comes_out]
    lacking += [STATE_IN + name for name in comes_out if name not in goes_in]
    have = ", ".join([*inputs, *outputs])
    require(not lacking, f"it lacks {', '.join(lacking)} for the state of a stream (it has {have})")
    others = [name for name in inputs if name not in INPUTS and not name.startswith(STATE_IN)]
    require(not others, f"it has inputs that nothing is known of: {', '.join(others)}")
    shapes = {name: _expect(graph, inputs, STATE_IN + name, None) for name in goes_in}
    for name, shape in shapes.items():
        _expect(graph, outputs, STATE_OUT + name, shape)
    return shapes


def _check_features(graph: Graph, mfccs: int, samples: int, geometry: FeatureGeometry) -> None:
    """The graph's own features are those that `mfcc.Mfcc` computes in their stead."""

    def upstream(index: int, name: str) -> Operator:
        for _ in range(8):
            operator = graph.producer.get(index)
            if operator is None:
                break
            if operator.name == name:
                return operator
            require(operator.name == "RESHAPE", f"{operator.name} among the features")
            index = operator.inputs[0]
        raise Damaged(f"its features do not come from {name}")

    wanted: dict[str, dict[str, float]] = {
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
    require(sum(op.name in wanted for op in graph.operators) == 2, "it has several feature operators")
    mfcc = upstream(mfccs, "Mfcc")
    spectrogram = upstream(mfcc.inputs[0], "AudioSpectrogram")
    index = spectrogram.inputs[0]
    while index in graph.producer:
        require(graph.producer[index].name == "RESHAPE", "its features do not come from input_samples alone")
        index = graph.producer[index].inputs[0]
    require(index == samples, "its features do not come from input_samples")
    for operator in (spectrogram, mfcc):
        for name, value in wanted[operator.name].items():
            found = operator.options.get(name)
            require(
                found is not None and math.isclose(found, value), f"{operator.name} has {name} {found}, not {value}"
            )
    require(len(mfcc.inputs) == 2 and mfcc.inputs[1] in graph.constants, "Mfcc has no sample rate")
    rate = graph.tensors[mfcc.inputs[1]]
    require(
        rate.type == INT32 and len(rate.data) == 4 and int(rate.data.view("<i4")[0]) == geometry.sample_rate,
        "Mfcc has another sample rate than metadata_sample_rate",
    )


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
        require(place + length <= len(data), "its alphabet is cut")
        require(label not in texts, f"label {label} is twice in its alphabet")
        texts[label] = data[place : place + length]
        place += length
    require(place == len(data), "its alphabet has bytes left over")
    require(count > 0 and sorted(texts) == list(range(count)), "the labels of its alphabet are not 0, 1, 2, ...")
    if all(texts[label] == bytes([label + 1]) for label in range(min(count, 255))) and count == 255:
        return BYTE_LABELS
    return tuple(decode(texts[label]) for label in range(count))
