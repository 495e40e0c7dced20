"""The operators that exported networks are made of, and for each the rule by which its tensors fit together.

LiteRT would believe the file. What DeepSpeech's, Coqui STT's and our exports use is here, and nothing else is run.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

FLOAT32, INT32, STRING, INT8 = 0, 2, 5, 9  # of the schema's TensorType
VALID = 1  # of its Padding


@dataclass(frozen=True)
class Tensor:
    """A tensor of the file.

    Args:
        data: uint8, empty if it is no constant.
        scale: of its quantisation, float32, empty if there is none.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    data: np.ndarray
    scale: np.ndarray

    def integers(self) -> list[int]:
        """The values of a constant int32 tensor; none of any other."""
        return self.data.view("<i4").tolist() if self.type == INT32 else []


@dataclass(frozen=True)
class Use:
    """What an operator is applied to; an input that is left out is None, which only a bias can be."""

    inputs: Sequence[Any]  # a Tensor each, or None
    outputs: Sequence[Tensor]
    options: Mapping[str, Any]  # a number each


@dataclass(frozen=True)
class Kind:
    """A kind of operator.

    Args:
        name: in the schema's BuiltinOperator.
        fits: whether inputs, outputs and options fit together.
        options_type: number of its options in the schema's BuiltinOptions.
        options: by slot, with their code in `struct` ("v": a vector of int32, which is not used).
        defaults: of the options that the schema gives another one than 0.
        inputs: fewest and most; at most 0: any number.
        outputs: how many; 0: any number.
    """

    name: str
    fits: Callable[[Use], bool]
    options_type: int = 0
    options: Mapping[str, str] = field(default_factory=dict)
    inputs: tuple[int, int] = (1, 1)
    outputs: int = 1
    defaults: Mapping[str, int] = field(default_factory=dict)


def _floats(*tensors: Tensor) -> bool:
    return all(tensor.type == FLOAT32 for tensor in tensors)


def _of_features(use: Use) -> bool:
    """AudioSpectrogram and Mfcc: LiteRT finds the shapes while it runs."""
    return _floats(use.inputs[0]) and all(tensor.type == INT32 for tensor in use.inputs[1:])


def _same_shape(use: Use) -> bool:
    return _floats(*use.inputs, *use.outputs) and use.inputs[0].shape == use.outputs[0].shape


def _broadcast(use: Use) -> bool:
    one, other = use.inputs
    try:
        shape = np.broadcast_shapes(one.shape, other.shape)
    except ValueError:
        return False
    return _floats(one, other, *use.outputs) and shape == use.outputs[0].shape


def _reshape(use: Use) -> bool:
    values, out = use.inputs[0], use.outputs[0]
    if len(use.inputs) == 2:
        wanted = use.inputs[1].integers()
        if (
            not wanted
            or len(wanted) != len(out.shape)
            or any(n not in (-1, have) for n, have in zip(wanted, out.shape, strict=True))
        ):
            return False
    return values.type == out.type and math.prod(values.shape) == math.prod(out.shape)


def _dense(use: Use) -> bool:
    values, weights = use.inputs[:2]
    bias = use.inputs[2] if len(use.inputs) > 2 else None
    if len(weights.shape) != 2 or weights.type not in (FLOAT32, INT8) or not _floats(values, *use.outputs):
        return False
    num_out, num_in = weights.shape
    items = math.prod(values.shape)
    if use.options["keep_num_dims"]:
        shape = (*values.shape[:-1], num_out)
        fits = values.shape[-1:] == (num_in,)
    else:
        shape = (items // num_in, num_out)
        fits = items % num_in == 0
    return (
        fits
        and use.outputs[0].shape == shape
        and use.options["weights_format"] == 0
        and len(weights.data) > 0
        and (weights.type == FLOAT32 or len(weights.scale) in (1, num_out))
        and (bias is None or (_floats(bias) and bias.shape == (num_out,)))
    )


def _split(use: Use) -> bool:
    axis, values = use.inputs[0].integers(), use.inputs[1]
    if len(axis) != 1 or not 0 <= axis[0] < len(values.shape) or values.shape[axis[0]] % len(use.outputs):
        return False
    part = list(values.shape)
    part[axis[0]] //= len(use.outputs)
    return (
        _floats(values, *use.outputs)
        and use.options["num_splits"] == len(use.outputs)
        and all(output.shape == tuple(part) for output in use.outputs)
    )


def _strided_slice(use: Use) -> bool:
    values, options = use.inputs[0], use.options
    begin, end, strides = (tensor.integers() for tensor in use.inputs[1:])
    axes = len(values.shape)
    if not len(begin) == len(end) == len(strides) == axes or 0 in strides or not _floats(values, *use.outputs):
        return False
    if options["ellipsis_mask"] or options["new_axis_mask"] or options["offset"]:
        return False
    index: list[int | slice] = []
    for axis in range(axes):
        open_begin, open_end = options["begin_mask"] >> axis & 1, options["end_mask"] >> axis & 1
        if options["shrink_axis_mask"] >> axis & 1:
            at = 0 if open_begin else begin[axis]
            if not 0 <= at < values.shape[axis] or strides[axis] != 1:
                return False
            index.append(at)
        else:
            index.append(slice(None if open_begin else begin[axis], None if open_end else end[axis], strides[axis]))
    return np.broadcast_to(np.float32(0), values.shape)[tuple(index)].shape == use.outputs[0].shape


def _mean(use: Use) -> bool:
    """Along the last axis, which stays: as layer normalisation needs it."""
    values, axis = use.inputs
    return (
        _floats(values, *use.outputs)
        and len(values.shape) > 0
        and axis.integers() == [len(values.shape) - 1]
        and bool(use.options["keep_dims"])
        and use.outputs[0].shape == (*values.shape[:-1], 1)
    )


def _concatenation(use: Use) -> bool:
    axis, out = use.options["axis"], use.outputs[0].shape
    shapes = [tensor.shape for tensor in use.inputs]
    if not 0 <= axis < len(out) or any(len(shape) != len(out) for shape in shapes):
        return False
    rests = {shape[:axis] + shape[axis + 1 :] for shape in [*shapes, out]}
    return _floats(*use.inputs, *use.outputs) and len(rests) == 1 and out[axis] == sum(shape[axis] for shape in shapes)


def _stacked(parts: Sequence[Tensor], whole: Tensor, *, count: int, axis: int) -> bool:
    """Whether `whole` is the parts one behind the other along a new axis."""
    return (
        _floats(*parts, whole)
        and count == len(parts)
        and 0 <= axis < len(whole.shape)
        and whole.shape[axis] == len(parts)
        and all(part.shape == whole.shape[:axis] + whole.shape[axis + 1 :] for part in parts)
    )


def _pack(use: Use) -> bool:
    return _stacked(use.inputs, use.outputs[0], count=use.options["values_count"], axis=use.options["axis"])


def _unpack(use: Use) -> bool:
    return _stacked(use.outputs, use.inputs[0], count=use.options["num"], axis=use.options["axis"])


def _transpose(use: Use) -> bool:
    values, axes = use.inputs[0], use.inputs[1].integers()
    return (
        _floats(values, *use.outputs)
        and sorted(axes) == list(range(len(values.shape)))
        and use.outputs[0].shape == tuple(values.shape[axis] for axis in axes)
    )


def _batch_matmul(use: Use) -> bool:
    """[batch, n, k] x [batch, k, m], or x [batch, m, k] with `transposes_right`."""
    left, right = (tensor.shape for tensor in use.inputs)
    if len(left) != 3 or len(right) != 3 or use.options["transposes_left"]:
        return False
    if use.options["transposes_right"]:
        right = (right[0], right[2], right[1])
    return (
        _floats(*use.inputs, *use.outputs)
        and left[0] == right[0]
        and left[2] == right[1]
        and use.outputs[0].shape == (*left[:2], right[2])
    )


def _depthwise(use: Use) -> bool:
    """A filter for each channel along the frames, only where it fits: [1, frames, 1, channels]."""
    (values, kernel, bias), options = use.inputs, use.options
    if not _floats(values, kernel, bias, *use.outputs) or len(values.shape) != 4 or len(kernel.shape) != 4:
        return False
    (one, frames, width, channels), size = values.shape, kernel.shape[1]
    return (
        one == width == 1
        and kernel.shape == (1, size, 1, channels)
        and bias.shape == (channels,)
        and size <= frames
        and use.outputs[0].shape == (1, frames - size + 1, 1, channels)
        and options["padding"] == VALID
        and options["stride_w"] == options["stride_h"] == options["depth_multiplier"] == 1
        and options["dilation_w"] == options["dilation_h"] == 1
    )


_DEPTHWISE_OPTIONS = {
    **{"padding": "b", "stride_w": "i", "stride_h": "i", "depth_multiplier": "i", "activation": "b"},
    **{"dilation_w": "i", "dilation_h": "i"},
}
_SLICE_OPTIONS = ("begin_mask", "end_mask", "ellipsis_mask", "new_axis_mask", "shrink_axis_mask")
CUSTOM = 32
OF_FEATURES = ("AudioSpectrogram", "Mfcc")  # the names that a CUSTOM operator may have
# By number in the schema's BuiltinOperator.
OPERATORS = {
    0: Kind("ADD", _broadcast, 11, {"activation": "b"}, inputs=(2, 2)),
    2: Kind("CONCATENATION", _concatenation, 10, {"axis": "i", "activation": "b"}, inputs=(1, 0)),
    4: Kind(
        "DEPTHWISE_CONV_2D",
        _depthwise,
        2,
        _DEPTHWISE_OPTIONS,
        inputs=(3, 3),
        defaults={"dilation_w": 1, "dilation_h": 1},
    ),
    9: Kind(
        "FULLY_CONNECTED",
        _dense,
        8,
        {"activation": "b", "weights_format": "b", "keep_num_dims": "B"},
        inputs=(2, 3),
    ),
    14: Kind("LOGISTIC", _same_shape),
    18: Kind("MUL", _broadcast, 21, {"activation": "b"}, inputs=(2, 2)),
    19: Kind("RELU", _same_shape),
    22: Kind("RESHAPE", _reshape, 17, {"new_shape": "v"}, inputs=(1, 2)),
    25: Kind("SOFTMAX", _same_shape, 9, {"beta": "f"}),
    28: Kind("TANH", _same_shape),
    CUSTOM: Kind("CUSTOM", _of_features, inputs=(1, 2)),
    39: Kind("TRANSPOSE", _transpose, 26, inputs=(2, 2)),
    40: Kind("MEAN", _mean, 27, {"keep_dims": "B"}, inputs=(2, 2)),
    41: Kind("SUB", _broadcast, 28, {"activation": "b"}, inputs=(2, 2)),
    45: Kind("STRIDED_SLICE", _strided_slice, 32, {**dict.fromkeys(_SLICE_OPTIONS, "i"), "offset": "B"}, inputs=(4, 4)),
    49: Kind("SPLIT", _split, 35, {"num_splits": "i"}, inputs=(2, 2), outputs=0),
    55: Kind("MAXIMUM", _broadcast, 39, inputs=(2, 2)),
    57: Kind("MINIMUM", _broadcast, 39, inputs=(2, 2)),
    76: Kind("RSQRT", _same_shape),
    83: Kind("PACK", _pack, 59, {"values_count": "i", "axis": "i"}, inputs=(1, 0)),
    88: Kind("UNPACK", _unpack, 64, {"num": "i", "axis": "i"}, outputs=0),
    126: Kind("BATCH_MATMUL", _batch_matmul, 101, {"transposes_left": "B", "transposes_right": "B"}, inputs=(2, 2)),
}
