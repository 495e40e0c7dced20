"""The network in the operators of a `.tflite`, with all that a stream carries in two vectors.

DeepSpeech's and Coqui STT's clients copy `previous_state_c` and `previous_state_h` from call to call without a look
into them, and begin with zeros. Both have the same layout: for each block its cache of the attention, then half of
that of the convolution, and at the end which cached frames there are.

    attention    float32 [heads, left_context, width]: the keys are in state_c, the values in state_h
    convolution  float32 [(kernel - 1) / 2, d_model]: the earlier frames are in state_c, the later ones in state_h
    there        float32 [left_context], 1 for a frame of the stream and 0 for one before its start; the same in both
"""

from collections.abc import Mapping

import numpy as np

from deepspeech_training.models.conformer.geometry import LAYER_NORM_EPSILON, MASKED, PAIR, ConformerGeometry
from deepspeech_training.models.tflite_graph import Graph, Op


def add_network(
    graph: Graph,
    weights: Mapping[str, np.ndarray],
    network: ConformerGeometry,
    windows: int,
    state: Mapping[str, int],
    *,
    n_steps: int,
) -> int:
    """n_steps windows of features and the state -> logits and the new state; see `AcousticModel.add_to`."""
    return _Writer(graph, weights, network, state, frames=n_steps // PAIR).write(windows)


class _Writer:
    """One network under construction; `frames` are those inside, in one call."""

    def __init__(
        self,
        graph: Graph,
        weights: Mapping[str, np.ndarray],
        network: ConformerGeometry,
        state: Mapping[str, int],
        *,
        frames: int,
    ):
        self._graph, self._weights, self._network, self._frames = graph, weights, network, frames
        self._shape = [frames, network.d_model]
        self._state = {name: state[f"state_{name}"] for name in "ch"}
        self._read = dict.fromkeys("ch", 0)  # how far
        self._new: dict[str, list[int]] = {"c": [], "h": []}
        self._mask = self._new_mask = -1  # of the attention

    def write(self, windows: int) -> int:
        network, graph = self._network, self._graph
        pairs = self._reshaped("windows_in_pairs", windows, [self._frames, PAIR * network.n_inputs])
        # The window of the first frame of a pair has all but the last frame of that of the second.
        first = graph.slice("windows", pairs, 1, 0, network.n_inputs)
        tensor = self._silu("input/silu", self._layer_norm("input", self._dense("input", first, network.d_model)))
        if network.heads:
            self._add_mask()
        for block in network.blocks:
            tensor = self._half_added(f"{block}/ff_1", tensor)
            if network.heads:
                tensor = self._added(f"{block}/attention", tensor, self._attention(f"{block}/attention", tensor))
            tensor = self._added(f"{block}/convolution", tensor, self._convolution(f"{block}/convolution", tensor))
            tensor = self._layer_norm(block, self._half_added(f"{block}/ff_2", tensor))
        for half, parts in self._new.items():
            if network.heads:
                parts.append(self._new_mask)
            graph.output(graph.concat(f"new_state_{half}", parts, 1, [1, network.state_size]))
        return self._output(tensor)

    # --- the state ---------------------------------------------------------------------------------------------

    def _cache(self, name: str, half: str, shape: list[int]) -> int:
        """The next part of a half of the state."""
        begin = self._read[half]
        self._read[half] = end = begin + int(np.prod(shape))
        part = self._graph.slice(f"{name}/cache_{half}/flat", self._state[half], 1, begin, end)
        cache = self._reshaped(f"{name}/cache_{half}", part, shape)
        return cache

    def _keep(self, name: str, half: str, tensor: int, size: int) -> None:
        """Add what the next call needs to a half of the new state."""
        flat = self._reshaped(f"{name}/kept_{half}", tensor, [1, size])
        self._new[half].append(flat)

    # --- attention ---------------------------------------------------------------------------------------------

    def _add_mask(self) -> None:
        """float32 [1, frames, left_context + frames], added to the scores of every head, and what is kept of it."""
        graph, frames, left = self._graph, self._frames, self._network.left_context
        size = self._network.state_size
        before = graph.slice("there/before", self._state["c"], 1, size - left, size)
        now = graph.constant("there/now", np.ones((1, frames), np.float32))
        there = graph.concat("there", [before, now], 1, [1, left + frames])
        self._new_mask = graph.slice("there/kept", there, 1, frames, left + frames)
        one, masked = (
            graph.constant("one", np.array(1, np.float32)),
            graph.constant("masked", np.array(-MASKED, np.float32)),
        )
        lacking = graph.elementwise(Op.SUB, "there/lacking", [there, one], [1, left + frames])
        lacking = graph.elementwise(Op.MUL, "there/masked", [lacking, masked], [1, left + frames])
        query, key = np.arange(frames)[:, None], np.arange(-left, frames)
        in_reach = (key <= query) & (key >= query - left)
        reach = graph.constant("reach", np.where(in_reach, 0, MASKED).astype(np.float32))
        flat = graph.elementwise(Op.ADD, "mask/flat", [reach, lacking], [frames, left + frames])
        self._mask = self._reshaped("mask", flat, [1, frames, left + frames])

    def _attention(self, name: str, inputs: int) -> int:
        network, graph, frames = self._network, self._graph, self._frames
        d, heads, left = network.d_model, network.heads, network.left_context
        width, seen = d // heads, left + frames
        qkv = self._dense(f"{name}/qkv", self._layer_norm(name, inputs), 3 * d)
        axis = graph.constant(f"{name}/axis", np.array(1, np.int32))
        queries, keys, values = graph.split(f"{name}/part", qkv, axis, 3, self._shape)
        scale = graph.constant(f"{name}/scale", np.array(width**-0.5, np.float32))
        queries = self._in_heads(
            f"{name}/queries", graph.elementwise(Op.MUL, f"{name}/scaled", [queries, scale], self._shape)
        )
        both = []
        for part, half, new in (("keys", "c", keys), ("values", "h", values)):
            cached = self._cache(name, half, [heads, left, width])
            new = self._in_heads(f"{name}/{part}", new)
            known = graph.concat(f"{name}/{part}/known", [cached, new], 1, [heads, seen, width])
            self._keep(name, half, graph.slice(f"{name}/{part}/kept", known, 1, frames, seen), left * d)
            both.append(known)
        keys, values = both
        scores = graph.batch_matmul(f"{name}/scores", queries, keys, [heads, frames, seen], transposed=True)
        masked = graph.elementwise(Op.ADD, f"{name}/masked", [scores, self._mask], [heads, frames, seen])
        shares = graph.softmax(f"{name}/shares", masked, [heads, frames, seen])
        heard = graph.batch_matmul(f"{name}/heard", shares, values, [heads, frames, width])
        turned = graph.transpose(f"{name}/heard/turned", heard, [1, 0, 2])
        flat = self._reshaped(f"{name}/heard/flat", turned, self._shape)
        return self._dense(f"{name}/output", flat, d)

    def _in_heads(self, name: str, tensor: int) -> int:
        """[frames, d_model] -> [heads, frames, width]."""
        shape = [self._frames, self._network.heads, self._network.d_model // self._network.heads]
        parted = self._reshaped(f"{name}/parted", tensor, shape)
        return self._graph.transpose(f"{name}/in_heads", parted, [1, 0, 2])

    # --- the other modules -------------------------------------------------------------------------------------

    def _convolution(self, name: str, inputs: int) -> int:
        network, graph, frames = self._network, self._graph, self._frames
        d, half_size = network.d_model, network.kernel // 2
        gate = self._dense(f"{name}/gate", self._layer_norm(name, inputs), 2 * d)
        axis = graph.constant(f"{name}/axis", np.array(1, np.int32))
        values, gates = graph.split(f"{name}/part", gate, axis, 2, self._shape)
        gates = graph.elementwise(Op.LOGISTIC, f"{name}/gates", [gates], self._shape)
        gated = graph.elementwise(Op.MUL, f"{name}/gated", [values, gates], self._shape)
        caches = [self._cache(name, half, [half_size, d]) for half in "ch"]
        length = 2 * half_size + frames
        known = graph.concat(f"{name}/known", [*caches, gated], 0, [length, d])
        for number, half in enumerate("ch"):
            begin = frames + number * half_size
            kept = graph.slice(f"{name}/kept_{half}/rows", known, 0, begin, begin + half_size)
            self._keep(name, half, kept, half_size * d)
        column = self._reshaped(f"{name}/column", known, [1, length, 1, d])
        kernel = graph.constant(f"{name}/depthwise/kernel", self._weights[f"{name}/depthwise/kernel"][None, :, None])
        bias = graph.constant(f"{name}/depthwise/bias", self._weights[f"{name}/depthwise/bias"])
        heard = graph.depthwise(f"{name}/depthwise", column, kernel, bias, [1, frames, 1, d])
        flat = self._reshaped(f"{name}/depthwise/flat", heard, self._shape)
        return self._dense(f"{name}/output", self._silu(f"{name}/silu", self._layer_norm(f"{name}/depthwise", flat)), d)

    def _half_added(self, name: str, inputs: int) -> int:
        """A feed-forward module, half of which is added to its inputs."""
        wide = self._weights[f"{name}/expand/bias"].size
        hidden = self._dense(f"{name}/expand", self._layer_norm(name, inputs), wide)
        hidden = self._silu(f"{name}/silu", hidden)
        outputs = self._dense(f"{name}/project", hidden, self._network.d_model)
        half = self._graph.constant(f"{name}/half", np.array(0.5, np.float32))
        halved = self._graph.elementwise(Op.MUL, f"{name}/halved", [outputs, half], self._shape)
        return self._added(name, inputs, halved)

    def _output(self, tensor: int) -> int:
        network, graph = self._network, self._graph
        matrix, bias = (
            np.concatenate([self._weights[f"output/{part}/{name}"] for part in ("first", "second")], axis=-1)
            for name in ("weights", "bias")
        )
        pairs = graph.dense(
            "output/pairs",
            tensor,
            graph.matrix("output/weights", matrix),
            graph.constant("output/bias", bias),
            [self._frames, PAIR * network.num_classes],
        )
        shape = [PAIR * self._frames, network.num_classes]
        logits = self._reshaped("output", pairs, shape)
        return logits

    def _dense(self, name: str, inputs: int, units: int) -> int:
        matrix = self._graph.matrix(f"{name}/weights", self._weights[f"{name}/weights"])
        bias = self._graph.constant(f"{name}/bias", self._weights[f"{name}/bias"])
        return self._graph.dense(name, inputs, matrix, bias, [self._frames, units])

    def _layer_norm(self, name: str, inputs: int) -> int:
        scope = f"{name}/layer_norm"
        return self._graph.layer_norm(
            f"{scope}/outputs", inputs, self._weights, self._shape, scope=scope, epsilon=LAYER_NORM_EPSILON
        )

    def _silu(self, name: str, inputs: int) -> int:
        shape = self._graph.shape(inputs)
        gates = self._graph.elementwise(Op.LOGISTIC, f"{name}/gates", [inputs], shape)
        return self._graph.elementwise(Op.MUL, name, [inputs, gates], shape)

    def _added(self, name: str, inputs: int, outputs: int) -> int:
        return self._graph.elementwise(Op.ADD, f"{name}/added", [inputs, outputs], self._shape)

    def _reshaped(self, name: str, inputs: int, shape: list[int]) -> int:
        outputs = self._graph.tensor(name, shape)
        self._graph.reshape(inputs, outputs, shape, shape_name=f"{name}/shape")
        return outputs
