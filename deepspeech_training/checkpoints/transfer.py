"""A new run that starts with the weights of another one: fine-tuning, and transfer to another alphabet.

`Transfer` says what a run has taken from its source. It is decided once, when the run begins, and is in each of its
checkpoints: a run that resumes takes nothing from the source again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from deepspeech_training.alphabet import Alphabet, ByteAlphabet, Labels
from deepspeech_training.errors import FlagError
from deepspeech_training.models.base import group_of


@dataclass(frozen=True)
class Transfer:
    """What a run has taken from its source; JSON values only.

    Args:
        source: the checkpoint that the weights come from.
        step: its step.
        layers: of the network, from the input to the output; `Network.groups`.
        drop_source_layers: so many layers, counted from the output, were not taken.
        reuse_characters: the output layer was put together from the source's and new weights.
        source_characters: the source's alphabet then, in the order of its labels.
        shared_characters: those of them that the run's alphabet has too; their output weights were taken.
    """

    source: str
    step: int
    layers: tuple[str, ...]
    drop_source_layers: int = 0
    reuse_characters: bool = False
    source_characters: str = ""
    shared_characters: str = ""

    @classmethod
    def of_characters(
        cls,
        source: str,
        step: int,
        layers: tuple[str, ...],
        before: Labels,
        after: Labels,
    ) -> "Transfer":
        """The output layer put together for a run's alphabet from that of its source.

        Raises:
            FlagError: the source writes bytes, which are no characters.

        >>> layers = ("hidden", "output")
        >>> Transfer.of_characters("a.json", 7, layers, Alphabet("ab "), Alphabet(" бa")).shared_characters
        ' a'
        """
        if isinstance(before, ByteAlphabet):
            raise FlagError(
                f"--reuse_characters: {source} writes bytes (--bytes_output_mode), which are no characters\n"
                "Take the layers below the output alone: --drop_source_layers 1."
            )
        shared = "".join(character for character in after.characters if character in before.characters)
        return cls(
            source,
            step,
            layers,
            reuse_characters=True,
            source_characters="".join(before.characters),
            shared_characters=shared,
        )

    @property
    def old_layers(self) -> tuple[str, ...]:
        """The layers that come from the source as a whole.

        >>> Transfer("a.json", 7, ("first", "second", "output"), drop_source_layers=2).old_layers
        ('first',)
        >>> Transfer("a.json", 7, ("first", "second", "output"), reuse_characters=True).old_layers
        ('first', 'second')
        """
        return self.layers[: len(self.layers) - max(self.drop_source_layers, int(self.reuse_characters))]

    @property
    def description(self) -> str:
        """What was taken, in words.

        >>> Transfer("a.json", 7, ("hidden", "output"), drop_source_layers=1).description
        'the weights of a.json (step 7) without output'
        """
        text = f"the weights of {self.source} (step {self.step:,})"
        fresh = [layer for layer in self.layers if layer not in self.old_layers]
        if self.reuse_characters:
            count = len(self.shared_characters)
            return f"{text}; of {self.layers[-1]} those of the blank and of {count} shared characters"
        return f"{text} without {', '.join(fresh)}" if fresh else text

    @classmethod
    def from_json(cls, values: Mapping[str, Any] | None, layers: Sequence[str]) -> "Transfer | None":
        """What `as_json` gave; `layers` are those of the network, which checkpoints do not say here."""
        return None if values is None else cls(**values, layers=tuple(layers))

    def as_json(self) -> dict[str, Any]:
        return {name: value for name, value in asdict(self).items() if name != "layers"}

    def weights(
        self, source: Mapping[str, np.ndarray], fresh: Mapping[str, np.ndarray], alphabet: Labels | None
    ) -> dict[str, np.ndarray]:
        """The weights that the run starts with.

        Args:
            source, fresh: the source's weights and new ones, by canonical name.
            alphabet: the run's; only `reuse_characters` needs it.
        Returns:
            As `fresh`, the old layers from `source`; with `reuse_characters` the columns of the last layer that belong
            to `shared_characters` and to the blank from there too.
        """
        weights = {name: source[name] if group_of(name) in self.old_layers else fresh[name] for name in fresh}
        if self.reuse_characters:
            assert alphabet is not None, "characters are those of an alphabet"
            before = Alphabet(self.source_characters)
            theirs = [*before.encode(self.shared_characters), before.blank]
            ours = [*alphabet.encode(self.shared_characters), alphabet.blank]
            for name in (name for name in fresh if group_of(name) == self.layers[-1]):
                weights[name] = np.array(fresh[name])
                weights[name][..., ours] = source[name][..., theirs]
        return weights
