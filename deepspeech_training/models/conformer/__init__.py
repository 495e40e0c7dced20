"""A causal Conformer (Gulati et al. 2020, arXiv:2005.08100), for streams, with CTC.

Windows of features, every second one -> dense layer, normalisation, swish; blocks of half a feed-forward module,
attention over the frames before, a causal depthwise convolution, half a feed-forward module; a dense layer that makes
two frames of outputs of each. So there are 25 frames a second inside and 50 outside, as of DeepSpeech's network:
decoder, times and the shortest clips stay what they are.

All that it hears of the future are the frames that a window has after its own: attention looks back alone. In
DeepSpeech 0.9.3's client the last call of a stream has stale windows behind its last one, and Coqui STT's has zeros:
whatever looked ahead within a call would hear them.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np

from deepspeech_training.features.normalisation import Normalisation
from deepspeech_training.models.base import AcousticModel, Kernels, Layers, Observer, Weights
from deepspeech_training.models.conformer.geometry import PAIR, ConformerGeometry
from deepspeech_training.models.conformer.reference import forward
from deepspeech_training.models.folding import fold, unfold
from deepspeech_training.models.initial import of_blocks
from deepspeech_training.models.reference import stuck_share


class Conformer(ConformerGeometry, AcousticModel):
    """The contract, by the modules beside this one.

    >>> Conformer(num_classes=29).num_parameters
    8788970
    """

    name: ClassVar[str] = "conformer"
    flags: ClassVar[frozenset[str]] = frozenset(
        {"conformer_size", "d_model", "layers", "heads", "kernel", "dropout_rate", "inter_ctc"}
    )
    size_flag: ClassVar[str] = "d_model"
    hears_the_rest: ClassVar[bool] = True

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any], *, num_classes: int) -> Self:
        return cls(num_classes, **{name: flags[name] for name in ("d_model", "layers", "heads", "kernel")})

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
        from deepspeech_training.models.conformer.network import ConformerLayers  # Keras: 3 s

        return ConformerLayers(self, kernels=kernels, weights=weights, normalisation=normalisation, **training_options)

    def step_bytes(self, *, clips: int, frames: int) -> int:
        """Fitted to peaks of resident memory in float32, of 4 clips of 16 s, d_model 64 and 144, 2 and 4 blocks."""
        weights = 6 * 4 * self.num_parameters  # weights, gradient, two moments, copies in the layout of the kernels
        return weights + clips * frames * (self.layers * (64 * self.d_model + 800 * self.heads) + 25_000)

    @property
    def frames_together(self) -> int:
        return PAIR

    def state_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"state_c": (1, self.state_size), "state_h": (1, self.state_size)}

    def add_to(self, graph: Any, weights: Weights, windows: int, state: Mapping[str, int], *, n_steps: int) -> int:
        from deepspeech_training.models.conformer.tflite import add_network  # flatbuffers, not everywhere installed

        return add_network(graph, weights, self, windows, state, n_steps=n_steps)

    def export_bytes(self, *, quantized: bool) -> int:
        """The matrices of the dense layers have 8 or 32 bits, all else 32; each block has some 150 operators."""
        matrices = sum(math.prod(shape) for name, shape in self.weight_shapes().items() if name.endswith("/weights"))
        operators = 30_000 + 40_000 * self.layers
        return operators + 4 * (self.num_parameters - matrices) + (1 if quantized else 4) * matrices

    def reference(self, weights: Weights, features: np.ndarray, *, observe: Observer | None = None) -> np.ndarray:
        def see(block: str, gates: np.ndarray) -> None:
            if observe is not None:
                observe(block, None, stuck_share(gates))

        return forward(weights, features, self, observe=see)

    def fold(self, weights: Weights, normalisation: Normalisation) -> dict[str, np.ndarray]:
        return fold(weights, normalisation, layer=self.groups[0])

    def unfold(self, weights: Weights, normalisation: Normalisation) -> dict[str, np.ndarray]:
        return unfold(weights, normalisation, layer=self.groups[0])
