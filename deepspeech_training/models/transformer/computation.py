"""What the Transformer computes, for Keras and for numpy; see `models.word_model.Computation`."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from deepspeech_training.models.arrays import Arrays
from deepspeech_training.models.word_model import Part, parts

PLACES = 512  # more than the longest word and its answer have
_BLOCK = 4  # modules of a block that have dropout, at most


def positions(width: int) -> np.ndarray:
    """float32 [PLACES, width]: sines and cosines of falling frequencies, Vaswani et al. 3.5."""
    frequencies = 10000.0 ** (-np.arange(0, width, 2) / width)
    angles = np.arange(PLACES)[:, None] * frequencies
    return np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)[:, :width].astype(np.float32)


class TransformerComputation(Part):
    """See `models.word_model.Computation`."""

    def __init__(self, layers: int, heads: int, weights: Mapping[str, Any], arrays: Arrays):
        super().__init__(weights, arrays)
        self._layers, self._heads = layers, heads
        self._width = int(weights["letters/embedding"].shape[1])
        self._positions = positions(self._width)

    def encode(self, given: Any, lengths: Any) -> Mapping[str, Any]:
        arrays = self.arrays
        places = arrays.arange(arrays.shape(given)[1])
        mask = (places[None, :] < lengths[:, None])[:, None, None, :]
        tensor = arrays.dropped(self._embedded("letters", given, arrays.rows(self._positions, places)), 0)

        def attend(name: str, inputs: Any) -> Any:
            queries, keys, values = self._in_heads(self.dense(f"{name}/qkv", inputs), 3)
            return self.attention(queries, keys, values, mask)

        for number in range(1, self._layers + 1):
            block, place = f"encoder_{number}", number * _BLOCK
            tensor = self._added(f"{block}/self", tensor, attend, place)
            tensor = self._feed_forward(f"{block}/ff", tensor, place + 1)
        tensor = self.norm("encoder/layer_norm", tensor)
        memory = {"mask": mask}
        for number in range(1, self._layers + 1):
            memory[f"keys_{number}"], memory[f"values_{number}"] = self._in_heads(
                self.dense(f"decoder_{number}/word/kv", tensor), 2
            )
        return memory

    def logits(self, memory: Mapping[str, Any], previous: Any) -> Any:
        arrays = self.arrays
        places = arrays.arange(arrays.shape(previous)[1])
        mask = (places[None, :] <= places[:, None])[None, None]

        def attend(name: str, inputs: Any) -> Any:
            queries, keys, values = self._in_heads(self.dense(f"{name}/qkv", inputs), 3)
            return self.attention(queries, keys, values, mask)

        return self._decoded(memory, previous, arrays.rows(self._positions, places), attend)

    def begin(self, batch: Any, steps: Any) -> Mapping[str, Any]:
        shape = (batch, self._heads, steps, self._width // self._heads)
        names = [f"{kind}_{number}" for number in range(1, self._layers + 1) for kind in ("keys", "values")]
        return {name: self.arrays.cache(shape) for name in names}

    def step(
        self, memory: Mapping[str, Any], state: Mapping[str, Any], previous: Any, place: Any
    ) -> tuple[Any, Mapping[str, Any]]:
        new_state = dict(state)

        def attend(name: str, inputs: Any) -> Any:
            number = name.split("/")[0].rsplit("_", 1)[-1]
            queries, keys, values = self._in_heads(self.dense(f"{name}/qkv", inputs), 3)
            keys, mask = self.arrays.remembered(state[f"keys_{number}"], keys, place)
            values, _ = self.arrays.remembered(state[f"values_{number}"], values, place)
            new_state[f"keys_{number}"], new_state[f"values_{number}"] = keys, values
            return self.attention(queries, keys, values, mask)

        position = self.arrays.rows(self._positions, self.arrays.reshape(place, (1,)))
        logits = self._decoded(memory, previous[:, None], position, attend)
        return logits[:, 0], new_state

    def _decoded(
        self, memory: Mapping[str, Any], previous: Any, position: Any, attend: Callable[[str, Any], Any]
    ) -> Any:
        tensor = self.arrays.dropped(self._embedded("symbols", previous, position), 1)

        def look(name: str, inputs: Any) -> Any:
            number = name.split("/")[0].rsplit("_", 1)[-1]
            (queries,) = self._in_heads(self.dense(f"{name}/query", inputs), 1)
            return self.attention(queries, memory[f"keys_{number}"], memory[f"values_{number}"], memory["mask"])

        for number in range(1, self._layers + 1):
            block, place = f"decoder_{number}", (self._layers + number) * _BLOCK
            tensor = self._added(f"{block}/self", tensor, attend, place)
            tensor = self._added(f"{block}/word", tensor, look, place + 1)
            tensor = self._feed_forward(f"{block}/ff", tensor, place + 2)
        return self.dense("output", self.norm("decoder/layer_norm", tensor))

    # --- modules -----------------------------------------------------------------------------------------------

    def _embedded(self, name: str, numbers: Any, position: Any) -> Any:
        return self.rows(name, numbers) * self._width**0.5 + position

    def _in_heads(self, tensor: Any, count: int) -> list[Any]:
        return [self.heads(part, self._heads) for part in parts(tensor, count)]

    def _added(self, name: str, tensor: Any, attend: Callable[[str, Any], Any], place: int) -> Any:
        found = attend(name, self.norm(f"{name}/layer_norm", tensor))
        return tensor + self.arrays.dropped(self.dense(f"{name}/output", found), place)

    def _feed_forward(self, name: str, tensor: Any, place: int) -> Any:
        hidden = self.arrays.relu(self.dense(f"{name}/expand", self.norm(f"{name}/layer_norm", tensor)))
        return tensor + self.arrays.dropped(self.dense(f"{name}/project", hidden), place)
