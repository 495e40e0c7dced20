"""The file, tensor by tensor, against the one that DeepSpeech 0.9.3 wrote of the same model; and on LiteRT."""

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st
from models.small_models import golden_weights, random_model, random_weights

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.errors import UserError
from deepspeech_training.exporting.parity import ClientFeatures, part_of
from deepspeech_training.features.geometry import FeatureGeometry
from deepspeech_training.features.mfcc_numpy import Mfcc, with_last_frame
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.models.reference import softmax
from deepspeech_training.models.tflite import ExportSettings, write_tflite
from deepspeech_training.runtime.model import Model
from deepspeech_training.runtime.model_file import ModelFile

NETWORK = DeepSpeech(29, 16)
FEATURES = FeatureGeometry()


def opened(model: bytes) -> schema.ModelT:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(model, 0))


def interface(model: schema.ModelT) -> dict[str, tuple]:
    """Kind, shape and side of every tensor that a client looks up."""
    graph = model.subgraphs[0]

    def described(side, indices):
        for index in indices:
            tensor = graph.tensors[index]
            shape = [] if tensor.shape is None else [int(n) for n in tensor.shape]
            yield tensor.name.decode(), (side, tensor.type, shape)

    return dict([*described("input", graph.inputs), *described("output", graph.outputs)])


def written(weights=None, *, alphabet=None, features=FEATURES, network=NETWORK, **changed) -> bytes:
    return write_tflite(
        random_weights(network) if weights is None else weights,
        alphabet=alphabet or Alphabet.english(),
        features=features,
        network=network,
        settings=ExportSettings(**changed),
    )


def loaded(model: bytes) -> Model:
    return Model(ModelFile.of_bytes(model, "model.tflite"), num_threads=1)


@pytest.mark.parametrize("quantize", [False, True])
def test_the_tensors_that_clients_look_up_are_those_of_deepspeech(test_data, quantize):
    golden = test_data / "golden"
    model = written(golden_weights(golden), network=DeepSpeech(29, 100), quantize=quantize)
    wanted = interface(opened((golden / "output_graph_nodrop.tflite").read_bytes()))
    assert interface(opened(model)) == wanted and len(wanted) == 15


@pytest.mark.parametrize("layer_norm", [False, True])
@pytest.mark.parametrize("quantize", [False, True])
def test_the_rules_that_keep_the_clients_from_crashing(quantize, layer_norm):
    data = random_model(quantize=quantize, n_steps=3, layer_norm=layer_norm)
    model = opened(data)
    graph = model.subgraphs[0]
    names = [tensor.name.decode() for tensor in graph.tensors]
    assert data[4:8] == b"TFL3" and model.version == 3 and len(model.subgraphs) == 1
    assert len(set(names)) == len(names)
    for code in model.operatorCodes:
        assert code.deprecatedBuiltinCode == code.builtinCode
        quantized_dense = quantize and code.builtinCode == schema.BuiltinOperator.FULLY_CONNECTED
        assert code.version == (3 if quantized_dense else 1)
    made_by: dict[int, int] = {}
    known = {int(i) for i in graph.inputs} | {i for i, t in enumerate(graph.tensors) if t.buffer}
    for number, operator in enumerate(graph.operators):
        assert {int(i) for i in operator.inputs} <= known, "an operator comes before what it needs"
        for output in map(int, operator.outputs):
            assert output not in known
            made_by[output] = number
            known.add(output)
    for output in map(int, graph.outputs):
        operator = graph.operators[made_by[output]]  # a constant that is an output itself crashes the clients
        if names[output].startswith("metadata_"):
            assert model.operatorCodes[operator.opcodeIndex].builtinCode == schema.BuiltinOperator.RESHAPE
    features = {i for o in opened(part_of(data, ["mfccs"])).subgraphs[0].operators for i in map(int, o.outputs)}
    network = opened(part_of(data, ["logits", "new_state_c", "new_state_h"])).subgraphs[0].operators
    assert not features & {i for o in network for i in (*map(int, o.outputs), *map(int, o.inputs))}


def test_the_data_of_tensors_is_aligned():
    data = random_model()
    root = schema.Model.GetRootAs(data, 0)
    for number in range(1, root.BuffersLength()):
        vector = root.Buffers(number)._tab.Vector(root.Buffers(number)._tab.Offset(4))
        assert vector % 16 == 0


def metadata(model: bytes) -> dict:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.invoke()
    outputs = {d["name"]: interpreter.get_tensor(d["index"]) for d in interpreter.get_output_details()}
    return {name: value[0] for name, value in outputs.items() if name.startswith("metadata_")}


def test_litert_reads_the_metadata_back():
    alphabet = Alphabet("абвгд ё")
    found = metadata(random_model(alphabet=alphabet, sample_rate=8000, beam_width=77, language="ru-Cyrl-RU"))
    assert found == {
        "metadata_version": 6,
        "metadata_sample_rate": 8000,
        "metadata_feature_win_len": 32,
        "metadata_feature_win_step": 20,
        "metadata_beam_width": 77,
        "metadata_alphabet": alphabet.serialize(),
        "metadata_language": b"ru-Cyrl-RU",
    }


def test_the_alphabet_is_stored_as_deepspeech_stores_it(test_data):
    golden = test_data / "golden"
    wanted = metadata((golden / "output_graph_nodrop.tflite").read_bytes())["metadata_alphabet"]
    found = metadata(random_model())["metadata_alphabet"]

    def pairs(data: bytes) -> dict[int, bytes]:
        place, read = 2, {}
        while place < len(data):
            label, length = np.frombuffer(data[place : place + 4], "<u2")
            read[int(label)] = data[place + 4 : place + 4 + length]
            place += 4 + length
        assert len(read) == int.from_bytes(data[:2], "little")
        return read

    assert pairs(found) == pairs(wanted)


@settings(max_examples=25, deadline=None)
@given(
    n_hidden=st.integers(1, 9),
    n_steps=st.integers(1, 5),
    classes=st.integers(2, 6),
    rate=st.sampled_from([8000, 16000]),
    clip=st.sampled_from([0.05, 1.0, 20.0]),
    num_samples=st.integers(0, 4000),
    layer_norm=st.booleans(),
)
def test_a_float32_model_computes_what_its_weights_say(n_hidden, n_steps, classes, rate, clip, num_samples, layer_norm):
    network = DeepSpeech(classes, n_hidden, relu_clip=clip, layer_norm=layer_norm)
    features, weights = FeatureGeometry(sample_rate=rate), random_weights(network)
    alphabet = Alphabet("abcdefgh"[: classes - 1])
    model = written(weights, alphabet=alphabet, features=features, network=network, quantize=False, n_steps=n_steps)
    audio = (0.1 * np.random.default_rng(num_samples).standard_normal(num_samples)).astype(np.float32)
    wanted_features = Mfcc(features, dtype=np.float64)(with_last_frame(audio, features))
    np.testing.assert_allclose(ClientFeatures(model)(audio, features), wanted_features, atol=2e-4)
    wanted = softmax(network.reference(weights, wanted_features))
    np.testing.assert_allclose(loaded(model).probabilities_of_features(wanted_features), wanted, atol=1e-5)


def test_eight_bits_are_a_quarter_of_the_size_and_near_the_weights(test_data):
    weights, network = golden_weights(test_data / "golden"), DeepSpeech(29, 100)
    models = [written(weights, network=network, quantize=quantize) for quantize in (False, True)]
    assert len(models[1]) < 0.35 * len(models[0])
    features = np.load(test_data / "golden/ldc93s1_mfcc.npy")
    exact, rounded = (loaded(model).probabilities_of_features(features) for model in models)
    assert 1e-4 < np.max(np.abs(exact - rounded)) < 0.1


def test_weights_of_zeros_can_be_quantized():
    zeros = {name: np.zeros(shape, np.float32) for name, shape in NETWORK.weight_shapes().items()}
    probabilities = loaded(written(zeros)).probabilities(np.zeros(2000, np.int16))
    np.testing.assert_allclose(probabilities, 1 / 29, atol=1e-6)


def test_what_cannot_be_exported_is_said_clearly():
    weights = random_weights(NETWORK)
    lacking = {name: array for name, array in weights.items() if name != "lstm/bias"}
    turned = weights | {"layer_6/weights": weights["layer_6/weights"].T}
    doubled = weights | {"layer_2/bias": weights["layer_2/bias"].astype(np.float64)}
    broken = weights | {"layer_5/bias": np.full(16, np.nan, np.float32)}
    huge = DeepSpeech(29, 16384)
    for arguments, message in (
        ({"weights": lacking}, "lacks the weights 'lstm/bias'"),
        ({"weights": turned}, "'layer_6/weights' are float32 [29, 16]; they should be float32 [16, 29]"),
        ({"weights": doubled}, "'layer_2/bias' are float64 [16]; they should be float32 [16]"),
        ({"weights": broken}, "'layer_5/bias' have values that are not finite"),
        ({"alphabet": Alphabet("abc")}, "3 characters; the network was trained for 28"),
        ({"features": FeatureGeometry(n_mfcc=13)}, "takes 26 features; the features have 13"),
        ({"n_steps": 0}, "--n_steps 0"),
    ):
        with pytest.raises(UserError) as caught:
            written(**arguments)
        assert message in str(caught.value)
    with pytest.raises(UserError, match="leave --noexport_quantize out"):
        written({}, network=huge, quantize=False)
