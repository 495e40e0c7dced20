"""A small Transformer (Vaswani et al. 2017, arXiv:1706.03762) that writes a word from another.

Normalised before each module, not after it (Xiong et al. 2020, arXiv:2002.04745), which trains without a warm-up of
thousands of steps.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from deepspeech_training.models.arrays import Arrays
from deepspeech_training.models.transformer.computation import TransformerComputation
from deepspeech_training.models.word_model import (
    PADDING_AND_UNKNOWN,
    Computation,
    WordModel,
    dense_shapes,
    norm_shapes,
)

EXPANSION = 4  # width of the feed-forward modules' hidden layer, in d_model


@dataclass(frozen=True)
class Transformer(WordModel):
    """The contract.

    Args:
        d_model: width of all that goes from block to block.
        layers: blocks of the encoder, and of the decoder.
        heads: of the attention, which divide `d_model`.

    >>> Transformer(num_classes=45, num_given=30).num_parameters
    5561645
    """

    name: ClassVar[str] = "transformer"
    flags: ClassVar[frozenset[str]] = frozenset({"d_model", "layers", "heads", "dropout_rate"})
    size_flag: ClassVar[str] = "d_model"

    d_model: int = 256
    layers: int = 3
    heads: int = 4

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any], *, num_classes: int, num_given: int = PADDING_AND_UNKNOWN) -> Self:
        return cls(num_classes, num_given, **{name: flags[name] for name in ("d_model", "layers", "heads")})

    @property
    def fault_of_size(self) -> str:
        fits = self.heads > 0 and self.d_model % (2 * self.heads) == 0
        return "" if fits else f"must be an even multiple of the {self.heads} heads"

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        d = self.d_model

        def attention(name: str) -> dict[str, tuple[int, ...]]:
            return norm_shapes(f"{name}/layer_norm", d) | dense_shapes(f"{name}/output", d, d)

        def feed_forward(name: str) -> dict[str, tuple[int, ...]]:
            expand, project = (
                dense_shapes(f"{name}/expand", d, EXPANSION * d),
                dense_shapes(f"{name}/project", EXPANSION * d, d),
            )
            return norm_shapes(f"{name}/layer_norm", d) | expand | project

        shapes: dict[str, tuple[int, ...]] = {"letters/embedding": (self.num_given, d)}
        for number in range(1, self.layers + 1):
            block = f"encoder_{number}"
            shapes |= dense_shapes(f"{block}/self/qkv", d, 3 * d) | attention(f"{block}/self")
            shapes |= feed_forward(f"{block}/ff")
        shapes |= norm_shapes("encoder/layer_norm", d) | {"symbols/embedding": (self.num_previous, d)}
        for number in range(1, self.layers + 1):
            block = f"decoder_{number}"
            shapes |= dense_shapes(f"{block}/self/qkv", d, 3 * d) | attention(f"{block}/self")
            shapes |= dense_shapes(f"{block}/word/query", d, d) | dense_shapes(f"{block}/word/kv", d, 2 * d)
            shapes |= attention(f"{block}/word") | feed_forward(f"{block}/ff")
        return shapes | norm_shapes("decoder/layer_norm", d) | dense_shapes("output", d, self.num_classes)

    def computation(self, weights: Mapping[str, Any], arrays: Arrays) -> Computation:
        return TransformerComputation(self.layers, self.heads, weights, arrays)
