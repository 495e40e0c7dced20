"""Randomness without state, in keras.ops: what is drawn is a function of a key and a place, on every device."""

from typing import Any

import numpy as np
from keras import ops


def uint32(value: int) -> Any:
    """A constant, wrapped around at 2 ** 32."""
    return ops.convert_to_tensor(np.uint32(value & 0xFFFFFFFF), dtype="uint32")


def fold(bits: Any, places: int) -> Any:
    """bits ^ (bits >> places)."""
    return ops.bitwise_xor(bits, ops.right_shift(bits, uint32(places)))


def layer_keys(clip_keys: Any, layer: int) -> Any:
    """Keys of one layer (or other user of randomness) from the keys of clips: uint32, same shape."""
    return fold((ops.cast(clip_keys, "uint32") + uint32(layer * 0x9E3779B9)) * uint32(0x21F0AAAD), 15)


def hashed_bits(keys: Any, places: Any) -> Any:
    """32 random bits for each place: a Weyl sequence through the `lowbias32` finaliser of C. Wellons.

    ("Prospecting for hash functions", 2018.)

    Args:
        keys: uint32, broadcast against `places`.
        places: uint32, the number of the place.
    """
    bits = places * uint32(0x9E3779B1) + keys
    bits = fold(bits, 16) * uint32(0x7FEB352D)
    bits = fold(bits, 15) * uint32(0x846CA68B)
    return fold(bits, 16)


def uniform(keys: Any, places: Any) -> Any:
    """float32 in 0..1, 1 excluded, in steps of 2 ** -24."""
    return ops.cast(ops.right_shift(hashed_bits(keys, places), uint32(8)), "float32") * (2.0**-24)


def normal(keys: Any, places: Any) -> Any:
    """float32 of mean 0 and standard deviation 1 (Box & Muller 1958)."""
    radius = ops.sqrt(-2.0 * ops.log(uniform(keys, places) + 2.0**-25))
    return radius * ops.cos((2.0 * np.pi) * uniform(layer_keys(keys, 1), places))
