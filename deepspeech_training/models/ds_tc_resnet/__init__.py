"""A causal DS-TC-ResNet for spoken commands, after MatchboxNet (Majumdar & Ginsburg 2020, arXiv:2004.08531).

Six blocks of a depthwise filter along the frames and a matrix over the channels, and a dense layer that gives every
frame logits of the classes; those of a clip are their mean. Widths, filters and dilation are those of Google's
kws_streaming (`ds_tc_resnet`, 98.0 % on Speech Commands v2). Every filter looks back only, so that a stream gives the
same as a whole clip.

Each frame is normalised over its channels (layer normalisation), where the original normalises over the batch: running
means would be a second state that checkpoints, several devices and averages of weights had to agree on, and a batch of
one clip is none. It is also the same in a stream.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.base import AcousticModel, Kernels, Layers, Observer, Weights
from deepspeech_training.models.ds_tc_resnet.geometry import DsTcResNetGeometry
from deepspeech_training.models.ds_tc_resnet.reference import forward
from deepspeech_training.models.initial import of_blocks


class DsTcResNet(DsTcResNetGeometry, AcousticModel):
    """The contract, by the modules beside this one.

    >>> DsTcResNet(num_classes=12).num_parameters
    72556
    """

    name: ClassVar[str] = "ds_tc_resnet"
    flags: ClassVar[frozenset[str]] = frozenset({"filters", "dropout_rate"})
    size_flag: ClassVar[str] = "filters"

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any], *, num_classes: int) -> Self:
        return cls(num_classes, filters=flags["filters"])

    @classmethod
    def training_options(cls, flags: Mapping[str, Any]) -> dict[str, Any]:
        return {"dropout_rate": flags["dropout_rate"]}

    def initial_weights(self, *, seed: int) -> dict[str, np.ndarray]:
        return of_blocks(self.weight_shapes(), seed=seed)

    def build(
        self,
        kernels: Kernels | None = None,
        *,
        weights: Weights | None = None,
        normalisation: Normalisation | None = None,
        **training_options: Any,
    ) -> Layers:
        from deepspeech_training.models.ds_tc_resnet.network import DsTcResNetLayers  # Keras: 3 s

        return DsTcResNetLayers(self, kernels=kernels, weights=weights, normalisation=normalisation, **training_options)

    def step_bytes(self, *, clips: int, frames: int) -> int:
        """Each block keeps some ten tensors of its outputs for the gradient."""
        weights = 6 * 4 * self.num_parameters
        return weights + 4 * clips * frames * (12 * sum(block.outputs for block in self.blocks) + 2_000)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {block.name: (1, block.reach, 1, block.inputs) for block in self.blocks if block.reach}

    def add_to(self, graph: Any, weights: Weights, windows: int, state: Mapping[str, int], *, n_steps: int) -> int:
        from deepspeech_training.models.ds_tc_resnet.tflite import add_network  # flatbuffers, not everywhere installed

        return add_network(graph, weights, self, windows, state, n_steps=n_steps)

    def export_bytes(self, *, quantized: bool) -> int:
        """The matrices of the dense layers have 8 or 32 bits, all else 32."""
        matrices = sum(math.prod(shape) for name, shape in self.weight_shapes().items() if name.endswith("/weights"))
        return 30_000 + 4 * (self.num_parameters - matrices) + (1 if quantized else 4) * matrices

    def reference(self, weights: Weights, features: np.ndarray, *, observe: Observer | None = None) -> np.ndarray:
        def see(block: str, active: np.ndarray) -> None:
            if observe is not None:
                observe(block, active, 0.0)

        return forward(weights, features, self, observe=see)

    def fold(self, weights: Weights, normalisation: Normalisation) -> dict[str, np.ndarray]:
        kernel, bias = self._first(weights)
        kernel = kernel / normalisation.deviation.astype(np.float64)
        bias = bias - (kernel * normalisation.mean.astype(np.float64)).sum(axis=0)
        return self._with_first(weights, kernel, bias)

    def unfold(self, weights: Weights, normalisation: Normalisation) -> dict[str, np.ndarray]:
        kernel, bias = self._first(weights)
        bias = bias + (kernel * normalisation.mean.astype(np.float64)).sum(axis=0)
        return self._with_first(weights, kernel * normalisation.deviation.astype(np.float64), bias)

    def _first(self, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
        """The filter that takes the features [kernel, n_features], and its bias, in float64."""
        name = f"{self.blocks[0].name}/depthwise"
        return weights[f"{name}/kernel"].astype(np.float64), weights[f"{name}/bias"].astype(np.float64)

    def _with_first(self, weights: Weights, kernel: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
        name = f"{self.blocks[0].name}/depthwise"
        return {**weights, f"{name}/kernel": kernel.astype(np.float32), f"{name}/bias": bias.astype(np.float32)}
