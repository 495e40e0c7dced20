"""The network of `quarter`, in the clients' operators."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from models.quarter import FADES, STRIDE

from deepspeech_training.models.tflite_graph import Op


def add_quarter(graph, weights, network, windows, state, *, n_steps):
    n, outputs = network.n_hidden, n_steps // STRIDE

    def dense(name, inputs, shape, **options):
        matrix = graph.matrix(f"{name}/weights", weights[f"{name}/weights"])
        bias = graph.constant(f"{name}/bias", weights[f"{name}/bias"])
        return graph.dense(name, inputs, matrix, bias, shape, **options)

    def joined(name, parts, axis, shape):
        outcome = graph.tensor(name, shape)
        options = schema.ConcatenationOptionsT()
        options.axis = axis
        graph.add(Op.CONCATENATION, parts, [outcome], (schema.BuiltinOptions.ConcatenationOptions, options))
        return outcome

    front = dense("front", windows, [n_steps, n], relu=True)
    frames = graph.elementwise(Op.TANH, "tanh", [dense("join", front, [outputs, 2 * n])], [outputs, 2 * n])
    steps = [frames]
    if outputs > 1:
        rows = graph.constant("axis_0", np.array(0, np.int32))
        steps = graph.split("frame", frames, rows, outputs, [1, 2 * n])
    fades = graph.constant("fades", np.array(FADES, np.float32))
    memory, delay = state["memory"], graph.tensor("delay", [1, 2 * n])
    graph.reshape(state["delay"], delay, [1, 2 * n], shape_name="delay_shape")
    parts = []
    for place, frame in enumerate(steps):
        name = "new_memory" if place == outputs - 1 else f"memory_{place}"
        faded = graph.elementwise(Op.MUL, f"faded_{place}", [memory, fades], [1, 2 * n])
        memory = graph.elementwise(Op.ADD, name, [faded, frame], [1, 2 * n])
        parts.append(joined(f"heard_{place}", [memory, delay], 1, [1, 4 * n]))
        delay = frame
    graph.output(memory)
    graph.reshape(delay, graph.output(graph.tensor("new_delay", [1, 1, 2 * n])), [1, 1, 2 * n], shape_name="new_shape")
    heard = joined("heard", parts, 0, [outputs, 4 * n])
    return dense("output", heard, [outputs, network.num_classes])
