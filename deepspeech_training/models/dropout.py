"""Dropout whose decisions are a function of clip, layer, frame and unit alone, in keras.ops."""

from keras import ops

from deepspeech_training.augment.random import hashed_bits, layer_keys, uint32


def dropout_mask(shape, rate: float, *, clip_keys, layer: int, clip_axis: int):
    """Decide which units of which frames of which clips stay: True with probability 1 - `rate`.

    The same clip has the same mask alone and in any padded batch, in a repeated step and after a restart. The bits are
    a 32-bit integer hash of the place (`augment.random.hashed_bits`), and decide on two units, with 16 bits each.

    Args:
        shape: of the tensor to drop from: (frames, batch, units) or (batch, frames, units).
        rate: 0..1, the share to drop, to 1 / 65536.
        clip_keys: uint32 [batch], a function of (seed, step, clip).
        layer: number of the layer, so that layers differ.
        clip_axis: 0 or 1, the one of the batch.
    Returns:
        bool of that shape.
    """
    frame_axis = 1 - clip_axis
    frames, units = shape[frame_axis], shape[2]
    half = (units + 1) // 2
    place = ops.reshape(ops.cast(ops.arange(frames * half), "uint32"), (frames, half))
    bits = hashed_bits(
        ops.expand_dims(layer_keys(clip_keys, layer)[:, None], frame_axis), ops.expand_dims(place, clip_axis)
    )
    threshold = round(rate * 65536)
    low = ops.bitwise_and(bits, uint32(0xFFFF)) >= uint32(threshold)
    high = bits >= uint32(threshold << 16)
    return ops.concatenate([low, high], axis=-1)[:, :, :units]


def dropout(tensor, rate: float, *, clip_keys, layer: int, clip_axis: int):
    """`tensor` with zeros where the mask says, and the rest scaled so that the mean stays; see `dropout_mask`."""
    mask = dropout_mask(ops.shape(tensor), rate, clip_keys=clip_keys, layer=layer, clip_axis=clip_axis)
    return ops.where(mask, tensor * ops.cast(1.0 / (1.0 - rate), tensor.dtype), ops.zeros((), tensor.dtype))
