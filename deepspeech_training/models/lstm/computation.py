"""What the LSTM network computes, for Keras and for numpy; see `models.word_model.Computation`."""

from collections.abc import Callable, Mapping
from typing import Any

from deepspeech_training.models.arrays import MASKED, Arrays
from deepspeech_training.models.word_model import Part, parts

DIRECTIONS = ("forward", "backward")
LAYERS = 2


class LstmComputation(Part):
    """See `models.word_model.Computation`."""

    def __init__(self, units: int, weights: Mapping[str, Any], arrays: Arrays):
        super().__init__(weights, arrays)
        self._units = units

    def encode(self, given: Any, lengths: Any) -> Mapping[str, Any]:
        arrays = self.arrays
        places = arrays.arange(arrays.shape(given)[1])
        mask = (places[None, :] < lengths[:, None])[:, None, :]
        tensor = self.rows("letters", given)
        for number in (1, 2):
            tensor = arrays.dropped(tensor, number)
            forward = self._lstm(f"encoder_{number}/forward", tensor)
            backward = self._lstm(f"encoder_{number}/backward", arrays.turned(tensor, lengths))
            tensor = arrays.concatenate([forward, arrays.turned(backward, lengths)], axis=2)
        return {"mask": mask, "keys": self.dense("attention/keys", tensor), "values": tensor}

    def logits(self, memory: Mapping[str, Any], previous: Any) -> Any:
        return self._decoded(memory, previous, self._lstm)

    def begin(self, batch: Any, steps: Any) -> Mapping[str, Any]:
        """Cell and output of both layers, side by side."""
        return {"layers": self.arrays.zeros((batch, 2 * LAYERS * self._units))}

    def step(
        self, memory: Mapping[str, Any], state: Mapping[str, Any], previous: Any, place: Any
    ) -> tuple[Any, Mapping[str, Any]]:
        arrays, before = self.arrays, parts(state["layers"], 2 * LAYERS)
        after: list[Any] = []

        def layer(name: str, inputs: Any) -> Any:
            cell, output = before[len(after) : len(after) + 2]
            together = arrays.concatenate([inputs, output[:, None]], axis=2)
            kernel, bias = self.weights[f"{name}/lstm_kernel"], self.weights[f"{name}/lstm_bias"]
            i, j, f, o = parts(arrays.dense(together, kernel, bias)[:, 0], 4)
            cell = arrays.sigmoid(f) * cell + arrays.sigmoid(i) * arrays.tanh(j)
            after.extend([cell, arrays.sigmoid(o) * arrays.tanh(cell)])
            return after[-1][:, None]

        logits = self._decoded(memory, previous[:, None], layer)[:, 0]
        return logits, {"layers": arrays.concatenate(after, axis=1)}

    def _decoded(self, memory: Mapping[str, Any], previous: Any, layer: Callable[[str, Any], Any]) -> Any:
        """The logits of some steps; `layer` is an LSTM over them, by its name."""
        arrays = self.arrays
        heard = layer("decoder_1", arrays.dropped(self.rows("symbols", previous), 3))
        scores = arrays.matmul(heard, arrays.transpose(memory["keys"], (0, 2, 1))) * self._units**-0.5
        found = arrays.matmul(arrays.softmax(arrays.where(memory["mask"], scores, MASKED)), memory["values"])
        written = layer("decoder_2", arrays.dropped(arrays.concatenate([heard, found], axis=2), 4))
        return self.dense("output", arrays.dropped(arrays.concatenate([written, found], axis=2), 5))

    def _lstm(self, name: str, inputs: Any) -> Any:
        return self.arrays.lstm(inputs, self.weights[f"{name}/lstm_kernel"], self.weights[f"{name}/lstm_bias"])
