"""DeepSpeech's network in the operators of a `.tflite`."""

from collections.abc import Mapping

import numpy as np

from deepspeech_training.models.deepspeech.geometry import LAYER_NORM_EPSILON, NetworkGeometry
from deepspeech_training.models.tflite_graph import Graph, Op


def add_network(
    graph: Graph,
    weights: Mapping[str, np.ndarray],
    network: NetworkGeometry,
    windows: int,
    state: Mapping[str, int],
    *,
    n_steps: int,
) -> int:
    """n_steps windows of features and the LSTM's state -> logits and the new state; see `AcousticModel.add_to`.

    The LSTM's product with its inputs is done for all steps at once; only that with its own outputs is left for each
    step. So half of its weights are read once for n_steps frames (DeepSpeech's graph reads all of them for each).
    """
    n = network.n_hidden
    c, h = state["state_c"], state["state_h"]
    clip = graph.constant("relu_clip", np.array(network.relu_clip, np.float32))

    def clipped(name: str, inputs: int) -> int:
        matrix = graph.matrix(f"{name}/weights", weights[f"{name}/weights"])
        bias = graph.constant(f"{name}/bias", weights[f"{name}/bias"])
        outputs = graph.dense(f"{name}/relu", inputs, matrix, bias, [n_steps, n], relu=True)
        if not network.layer_norm:
            return graph.elementwise(Op.MINIMUM, name, [outputs, clip], [n_steps, n])
        outputs = graph.elementwise(Op.MINIMUM, f"{name}/clipped", [outputs, clip], [n_steps, n])
        return graph.layer_norm(
            name, outputs, weights, [n_steps, n], scope=f"{name}/layer_norm", epsilon=LAYER_NORM_EPSILON
        )

    tensor = windows
    for name in ("layer_1", "layer_2", "layer_3"):
        tensor = clipped(name, tensor)
    kernel = weights["lstm/kernel"]
    no_bias = graph.constant("lstm/no_bias", np.zeros(4 * n, np.float32))
    from_inputs = graph.dense(
        "lstm/from_inputs",
        tensor,
        graph.matrix("lstm/input_kernel", kernel[:n]),
        graph.constant("lstm/bias", weights["lstm/bias"]),
        [n_steps, 4 * n],
    )
    recurrent_kernel = graph.matrix("lstm/recurrent_kernel", kernel[n:])
    rows, columns = (graph.constant(f"lstm/axis_{axis}", np.array(axis, np.int32)) for axis in (0, 1))
    steps = [from_inputs]
    if n_steps > 1:
        steps = graph.split("lstm/step", from_inputs, rows, n_steps, [1, 4 * n])
    states = []
    for step, from_input in enumerate(steps):
        scope, last = f"lstm/step_{step}", step == n_steps - 1

        def unit(code: int, name: str, *inputs: int) -> int:
            return graph.elementwise(code, name, inputs, [1, n])

        from_state = graph.dense(f"{scope}/from_state", h, recurrent_kernel, no_bias, [1, 4 * n])
        gates = graph.elementwise(Op.ADD, f"{scope}/gates", [from_input, from_state], [1, 4 * n])
        gate_i, candidate, gate_f, gate_o = graph.split(f"{scope}/gate", gates, columns, 4, [1, n])
        kept = unit(Op.MUL, f"{scope}/kept", unit(Op.LOGISTIC, f"{scope}/f", gate_f), c)
        new = unit(
            Op.MUL, f"{scope}/new", unit(Op.LOGISTIC, f"{scope}/i", gate_i), unit(Op.TANH, f"{scope}/j", candidate)
        )
        c = unit(Op.ADD, "new_state_c" if last else f"{scope}/c", kept, new)
        h = unit(
            Op.MUL,
            "new_state_h" if last else f"{scope}/h",
            unit(Op.LOGISTIC, f"{scope}/o", gate_o),
            unit(Op.TANH, f"{scope}/tanh_c", c),
        )
        states.append(h)
    graph.output(c)
    graph.output(h)
    tensor = h
    if n_steps > 1:
        tensor = graph.concat("lstm/outputs", states, 0, [n_steps, n])
    tensor = clipped("layer_5", tensor)
    return graph.dense(
        "layer_6",
        tensor,
        graph.matrix("layer_6/weights", weights["layer_6/weights"]),
        graph.constant("layer_6/bias", weights["layer_6/bias"]),
        [n_steps, network.num_classes],
    )
