"""DeepSpeech's network (Hannun et al. 2014, arXiv:1412.5567), as DeepSpeech 0.9.3 has it.

Three dense layers over a window of frames, one LSTM, two dense layers.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.base import AcousticModel, Kernels, Layers, Observer, Weights
from deepspeech_training.models.deepspeech.geometry import DENSE_LAYERS, NetworkGeometry
from deepspeech_training.models.deepspeech.reference import forward
from deepspeech_training.models.deepspeech.weights import initial_weights
from deepspeech_training.models.folding import fold, unfold
from deepspeech_training.models.reference import stack_context, stuck_share


class DeepSpeech(NetworkGeometry, AcousticModel):
    """The contract, by the modules beside this one.

    >>> DeepSpeech(num_classes=29).num_parameters
    47224861
    """

    name: ClassVar[str] = "deepspeech"
    flags: ClassVar[frozenset[str]] = frozenset(
        {"n_hidden", "layer_norm", "relu_clip", "dropout_rate", "dropout_rate2", "dropout_rate3", "dropout_rate6"}
    )
    size_flag: ClassVar[str] = "n_hidden"

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any], *, num_classes: int) -> Self:
        return cls(num_classes, **{name: flags[name] for name in ("n_hidden", "layer_norm", "relu_clip")})

    @classmethod
    def training_options(cls, flags: Mapping[str, Any]) -> dict[str, Any]:
        """The rate of dropout of each dense layer; a negative one is that of layer 1.

        >>> flags = {"dropout_rate": 0.2, "dropout_rate2": -1.0, "dropout_rate3": 0.0, "dropout_rate6": 0.3}
        >>> DeepSpeech.training_options(flags)
        {'dropout_rates': {'layer_1': 0.2, 'layer_2': 0.2, 'layer_3': 0.0, 'layer_5': 0.3}}
        """
        rates = [flags[name] for name in ("dropout_rate", "dropout_rate2", "dropout_rate3", "dropout_rate6")]
        rates = [rates[0] if rate < 0 else rate for rate in rates]
        return {"dropout_rates": dict(zip(DENSE_LAYERS, rates, strict=True))}

    def initial_weights(self, *, seed: int) -> dict[str, np.ndarray]:
        return initial_weights(self, seed=seed)

    def build(
        self,
        kernels: Kernels | None = None,
        *,
        weights: Weights | None = None,
        normalisation: Normalisation | None = None,
        **training_options: Any,
    ) -> Layers:
        from deepspeech_training.models.deepspeech.network import DeepSpeechLayers  # Keras: 3 s

        return DeepSpeechLayers(self, kernels=kernels, weights=weights, normalisation=normalisation, **training_options)

    def step_bytes(self, *, clips: int, frames: int) -> int:
        """Fitted to peaks of resident memory that benchmarks/train_throughput.py printed, in either precision.

        At n_hidden 512 and 2048, with batches of 2 to 64 clips of up to 438 frames (1.17 to 4.33 GB).
        """
        weights = 6 * 4 * self.num_parameters  # weights, gradient, two moments, copies in the layout of the kernels
        return weights + clips * frames * (84 * self.n_hidden + 15_000)

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"state_c": (1, self.n_hidden), "state_h": (1, self.n_hidden)}

    def add_to(self, graph: Any, weights: Weights, windows: int, state: Mapping[str, int], *, n_steps: int) -> int:
        from deepspeech_training.models.deepspeech.tflite import add_network  # flatbuffers, not everywhere installed

        return add_network(graph, weights, self, windows, state, n_steps=n_steps)

    def export_bytes(self, *, quantized: bool) -> int:
        """The matrices have 8 or 32 bits, all else 32, and the operators some 30 kB."""
        matrices = sum(math.prod(shape) for shape in self.weight_shapes().values() if len(shape) == 2)
        return 30_000 + 4 * (self.num_parameters - matrices) + (1 if quantized else 4) * matrices

    def reference(self, weights: Weights, features: np.ndarray, *, observe: Observer | None = None) -> np.ndarray:
        def see(layer: str, values: np.ndarray) -> None:
            if observe is not None and layer == "lstm":
                observe(layer, None, stuck_share(values))
            elif observe is not None:
                observe(layer, np.any(values > 0, axis=0), float((values >= self.relu_clip).mean()))

        return forward(weights, stack_context(features, n_context=self.n_context), self, observe=see)[0]

    def fold(self, weights: Weights, normalisation: Normalisation) -> dict[str, np.ndarray]:
        return fold(weights, normalisation, layer=self.groups[0])

    def unfold(self, weights: Weights, normalisation: Normalisation) -> dict[str, np.ndarray]:
        return unfold(weights, normalisation, layer=self.groups[0])
