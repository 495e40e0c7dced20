"""A `.tflite` whose "network" answers with chosen probabilities, whatever it hears."""

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.models.tflite import GRAPH_VERSION, _add_features, _add_metadata
from deepspeech_training.models.tflite_graph import Graph

N_STEPS = 16
_Op = schema.BuiltinOperator


def posterior_model(probs: np.ndarray, alphabet: bytes | Alphabet) -> bytes:
    """The model that says `probs`, float32 [frames, classes], of any audio with `num_samples(frames)` samples.

    The recurrent state counts the calls, and each call looks up its frames in a table.
    """
    frames, classes = probs.shape
    calls = -(-frames // N_STEPS)
    table = np.zeros((calls * N_STEPS, classes), np.float32)
    table[:frames] = probs
    table[frames:, -1] = 1
    features = FeatureGeometry()
    graph = Graph(quantize=False)
    _add_features(graph, features)
    graph.input("input_node", [1, N_STEPS, 19, features.n_mfcc])
    c, h = graph.input("previous_state_c", [1, 1]), graph.input("previous_state_h", [1, 1])
    one = graph.constant("one", np.ones((1, 1), np.float32))
    call = graph.tensor("call", [1, 1], schema.TensorType.INT32)
    options = schema.CastOptionsT()
    options.inDataType, options.outDataType = schema.TensorType.FLOAT32, schema.TensorType.INT32
    graph.add(_Op.CAST, [c], [call], (schema.BuiltinOptions.CastOptions, options))
    row = graph.tensor("row", [1], schema.TensorType.INT32)
    graph.reshape(call, row, [1], shape_name="row_shape")
    found = graph.tensor("found", [1, N_STEPS * classes])
    rows = graph.constant("table", table.reshape(calls, N_STEPS * classes))
    graph.add(_Op.GATHER, [rows, row], [found], (schema.BuiltinOptions.GatherOptions, schema.GatherOptionsT()))
    logits = graph.output(graph.tensor("logits", [N_STEPS, classes]))
    graph.reshape(found, logits, [N_STEPS, classes], shape_name="logits_shape")
    graph.output(graph.elementwise(_Op.ADD, "new_state_c", [c, one], [1, 1]))
    graph.output(graph.elementwise(_Op.ADD, "new_state_h", [h, one], [1, 1]))
    for name, number in (
        ("version", GRAPH_VERSION),
        ("sample_rate", features.sample_rate),
        ("feature_win_len", features.win_len_ms),
        ("feature_win_step", features.win_step_ms),
        ("beam_width", 500),
    ):
        _add_metadata(graph, f"metadata_{name}", np.array([number], np.int32))
    _add_metadata(graph, "metadata_alphabet", alphabet if isinstance(alphabet, bytes) else alphabet.serialize())
    _add_metadata(graph, "metadata_language", b"en")
    return graph.to_bytes()


def num_samples(frames: int) -> int:
    """How much audio a client makes that many frames of (2 at least): one is of the rest, filled up."""
    return 512 + 320 * (frames - 2)
