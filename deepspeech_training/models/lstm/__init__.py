"""An encoder and a decoder of two LSTM layers each, with attention (Luong et al. 2015, arXiv:1508.04025).

The encoder reads in both directions, with half of the units each. The decoder's first layer hears the symbols before,
asks what it needs of the word, and the second hears both: so all steps of a training batch are computed together.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from deepspeech_training.models.arrays import Arrays
from deepspeech_training.models.lstm.computation import DIRECTIONS, LstmComputation
from deepspeech_training.models.word_model import PADDING_AND_UNKNOWN, Computation, WordModel, dense_shapes

EMBEDDING = 128


@dataclass(frozen=True)
class Lstm(WordModel):
    """The contract.

    Args:
        n_hidden: units of a layer, of both directions together; even.

    >>> Lstm(num_classes=45, num_given=30).num_parameters
    7142445
    """

    name: ClassVar[str] = "lstm"
    flags: ClassVar[frozenset[str]] = frozenset({"n_hidden", "dropout_rate"})
    size_flag: ClassVar[str] = "n_hidden"

    n_hidden: int = 512

    @classmethod
    def from_flags(cls, flags: Mapping[str, Any], *, num_classes: int, num_given: int = PADDING_AND_UNKNOWN) -> Self:
        return cls(num_classes, num_given, n_hidden=flags["n_hidden"])

    @property
    def fault_of_size(self) -> str:
        return "must be even" if self.n_hidden % 2 else ""

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        n, half = self.n_hidden, self.n_hidden // 2

        def lstm(name: str, inputs: int, units: int) -> dict[str, tuple[int, ...]]:
            return {f"{name}/lstm_kernel": (inputs + units, 4 * units), f"{name}/lstm_bias": (4 * units,)}

        shapes: dict[str, tuple[int, ...]] = {"letters/embedding": (self.num_given, EMBEDDING)}
        for number, inputs in ((1, EMBEDDING), (2, n)):
            for direction in DIRECTIONS:
                shapes |= lstm(f"encoder_{number}/{direction}", inputs, half)
        shapes |= dense_shapes("attention/keys", n, n) | {"symbols/embedding": (self.num_previous, EMBEDDING)}
        shapes |= lstm("decoder_1", EMBEDDING, n) | lstm("decoder_2", 2 * n, n)
        return shapes | dense_shapes("output", 2 * n, self.num_classes)

    def computation(self, weights: Mapping[str, Any], arrays: Arrays) -> Computation:
        return LstmComputation(self.n_hidden, weights, arrays)
