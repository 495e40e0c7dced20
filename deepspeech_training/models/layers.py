"""What the networks' Keras models share."""

from collections.abc import Mapping

import keras
import numpy as np


class NamedLayers(keras.Model):
    """A keras.Model whose variables are float32, start as zeros, and are known by canonical name.

    Args:
        shapes: of each variable, by canonical name.
        weights: initial values by canonical name; zeros by default.
    """

    def __init__(self, name: str, shapes: Mapping[str, tuple[int, ...]], weights: Mapping[str, np.ndarray] | None):
        super().__init__(name=name)
        self.by_name = {
            name: self.add_weight(name=name.replace("/", "_"), shape=shape, initializer="zeros", dtype="float32")
            for name, shape in shapes.items()
        }
        self.built = True
        if weights is not None:
            self.set_named_weights(weights)

    def set_named_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        for name, variable in self.by_name.items():
            variable.assign(weights[name])

    def named_weights(self) -> dict[str, np.ndarray]:
        return {name: variable.numpy() for name, variable in self.by_name.items()}
