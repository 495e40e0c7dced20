"""The network in the operators of a `.tflite`; a stream carries, for each filter, the frames before that it hears."""

from collections.abc import Mapping

import numpy as np

from deepspeech_training.models.ds_tc_resnet.geometry import LAYER_NORM_EPSILON, Block, DsTcResNetGeometry
from deepspeech_training.models.tflite_graph import Graph, Op


def add_network(
    graph: Graph,
    weights: Mapping[str, np.ndarray],
    network: DsTcResNetGeometry,
    windows: int,
    state: Mapping[str, int],
    *,
    n_steps: int,
) -> int:
    """n_steps frames of features and the state -> logits and the new state; see `AcousticModel.add_to`."""
    writer = _Writer(graph, weights, frames=n_steps)
    tensor = writer.reshaped("features", windows, [n_steps, network.n_features])
    for block in network.blocks:
        tensor = writer.block(block, tensor, state.get(block.name))
    return writer.dense("output", tensor, network.num_classes)


class _Writer:
    """One network under construction; `frames` are those of one call."""

    def __init__(self, graph: Graph, weights: Mapping[str, np.ndarray], *, frames: int):
        self._graph, self._weights, self._frames = graph, weights, frames

    def block(self, block: Block, inputs: int, before: int | None) -> int:
        """`before` are the frames that the filter hears besides those of the call; None where it hears none."""
        name, shape = block.name, [self._frames, block.outputs]
        heard = self.dense(f"{name}/pointwise", self._filtered(block, inputs, before), block.outputs)
        scope = f"{name}/layer_norm"
        heard = self._graph.layer_norm(
            f"{scope}/outputs", heard, self._weights, shape, scope=scope, epsilon=LAYER_NORM_EPSILON
        )
        if block.residual:
            kept = self.dense(f"{name}/residual", inputs, block.outputs)
            heard = self._graph.elementwise(Op.ADD, f"{name}/added", [heard, kept], shape)
        return self._graph.elementwise(Op.RELU, f"{name}/outputs", [heard], shape)

    def _filtered(self, block: Block, inputs: int, before: int | None) -> int:
        graph, name, channels = self._graph, block.name, block.inputs
        column = self.reshaped(f"{name}/column", inputs, [1, self._frames, 1, channels])
        if before is not None:
            length = block.reach + self._frames
            column = graph.concat(f"{name}/known", [before, column], 1, [1, length, 1, channels])
            graph.output(graph.slice(f"new_{name}", column, 1, self._frames, length))
        bias = graph.constant(f"{name}/depthwise/bias", self._weights[f"{name}/depthwise/bias"])
        kernel = graph.constant(f"{name}/depthwise/kernel", _spread(self._weights[f"{name}/depthwise/kernel"], block))
        heard = graph.depthwise(f"{name}/depthwise", column, kernel, bias, [1, self._frames, 1, channels])
        return self.reshaped(f"{name}/depthwise/rows", heard, [self._frames, channels])

    def dense(self, name: str, inputs: int, units: int) -> int:
        matrix = self._graph.matrix(f"{name}/weights", self._weights[f"{name}/weights"])
        bias = self._graph.constant(f"{name}/bias", self._weights[f"{name}/bias"])
        return self._graph.dense(name, inputs, matrix, bias, [self._frames, units])

    def reshaped(self, name: str, inputs: int, shape: list[int]) -> int:
        outputs = self._graph.tensor(name, shape)
        self._graph.reshape(inputs, outputs, shape, shape_name=f"{name}/shape")
        return outputs


def _spread(kernel: np.ndarray, block: Block) -> np.ndarray:
    """A filter [kernel, channels] as [1, reach + 1, 1, channels], zeros between the frames of a dilated one.

    So the operator needs no dilation, which TensorFlow Lite 2.3 and our check of a file do not have.
    """
    spread = np.zeros((1, block.reach + 1, 1, block.inputs), np.float32)
    spread[0, :: block.dilation, 0] = kernel
    return spread
