"""A network that differs from DeepSpeech's in all that the contract leaves open, so that tests can hold the rest to it.

It makes one frame of four, hears 13 coefficients with one neighbour on either side, and carries two states of unlike
shapes: a memory that fades, and the frame before.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.base import AcousticModel
from deepspeech_training.models.reference import stack_context

FADES = 0.5
STRIDE = 4


@dataclass(frozen=True)
class Quarter(AcousticModel):
    name: ClassVar[str] = "quarter"
    flags: ClassVar[frozenset[str]] = frozenset({"n_hidden"})
    size_flag: ClassVar[str] = "n_hidden"

    num_classes: int
    n_hidden: int = 24
    n_features: int = 13
    n_context: int = 1

    @property
    def stride(self) -> int:
        return STRIDE

    def weight_shapes(self):
        n = self.n_hidden
        return {
            "front/weights": (3 * self.n_features, n),
            "front/bias": (n,),
            "join/weights": (STRIDE * n, 2 * n),
            "join/bias": (2 * n,),
            "output/weights": (4 * n, self.num_classes),
            "output/bias": (self.num_classes,),
        }

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any], *, num_classes: int):
        return cls(num_classes, n_hidden=flags["n_hidden"])

    def initial_weights(self, *, seed: int):
        generator = np.random.Generator(np.random.Philox(key=seed))
        weights = {}
        for name, shape in self.weight_shapes().items():
            limit = np.sqrt(6 / sum(shape)) if len(shape) == 2 else 0.0
            weights[name] = generator.uniform(-limit, limit, shape).astype(np.float32)
        return weights

    def build(self, kernels=None, *, weights=None, normalisation=None):
        from models.quarter_layers import QuarterLayers

        return QuarterLayers(self, kernels, weights, normalisation)

    def step_bytes(self, *, clips: int, frames: int) -> int:
        return 24 * self.num_parameters + clips * frames * 100 * self.n_hidden

    def state_shapes(self):
        return {"memory": (1, 2 * self.n_hidden), "delay": (1, 1, 2 * self.n_hidden)}

    def add_to(self, graph, weights, windows, state, *, n_steps):
        from models.quarter_tflite import add_quarter

        return add_quarter(graph, weights, self, windows, state, n_steps=n_steps)

    def export_bytes(self, *, quantized: bool) -> int:
        return (1 if quantized else 4) * self.num_parameters

    def reference(self, weights, features, *, observe=None):
        features = np.pad(features, [(0, -len(features) % STRIDE), (0, 0)])
        windows = stack_context(features, n_context=self.n_context).reshape(len(features), -1)
        front = np.maximum(windows @ weights["front/weights"] + weights["front/bias"], 0)
        if observe is not None:
            observe("front", (front > 0).any(axis=0), 0.0)
        joined = np.tanh(front.reshape(-1, STRIDE * self.n_hidden) @ weights["join/weights"] + weights["join/bias"])
        memory, delay = np.zeros((2, 2 * self.n_hidden), np.float32)
        rows = np.zeros((len(joined), 4 * self.n_hidden), np.float32)
        for place, frame in enumerate(joined):
            memory = np.float32(FADES) * memory + frame
            rows[place] = np.concatenate([memory, delay])
            delay = frame
        return rows @ weights["output/weights"] + weights["output/bias"]

    def fold(self, weights, normalisation: Normalisation):
        kernel = weights["front/weights"].reshape(3, self.n_features, -1) / normalisation.deviation[:, None]
        bias = weights["front/bias"] - (kernel * normalisation.mean[:, None]).sum(axis=(0, 1))
        return {**weights, "front/weights": kernel.reshape(3 * self.n_features, -1), "front/bias": bias}

    def unfold(self, weights, normalisation: Normalisation):
        kernel = weights["front/weights"].reshape(3, self.n_features, -1)
        bias = weights["front/bias"] + (kernel * normalisation.mean[:, None]).sum(axis=(0, 1))
        kernel = (kernel * normalisation.deviation[:, None]).reshape(3 * self.n_features, -1)
        return {**weights, "front/weights": kernel, "front/bias": bias}
