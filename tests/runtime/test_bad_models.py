"""Files that are no models, or were: each gives a ModelError, and none ends the process."""

import contextlib
import os
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deepspeech_training.alphabet import Alphabet
from deepspeech_training.runtime import Model, ModelError
from deepspeech_training.runtime.flatbuffer import Damaged, Reader, read_flexbuffer_map
from deepspeech_training.runtime.model_file import BYTE_LABELS, INPUTS, OUTPUTS, ModelFile, read_labels


@pytest.fixture(scope="module")
def golden(model_path) -> bytes:
    return model_path.read_bytes()


@pytest.fixture
def refused(tmp_path):
    """A function that asserts that Model refuses the bytes, and returns what it says."""

    def check(data: bytes) -> str:
        path = tmp_path / "bad.tflite"
        path.write_bytes(data)
        with pytest.raises(ModelError) as caught:
            Model(path)
        assert str(path) in str(caught.value)
        return str(caught.value)

    return check


def repacked(data: bytes, change) -> bytes:
    """The model after `change` of its object form."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
    change(model)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tensor(model, name: str):
    return next(t for t in model.subgraphs[0].tensors if t.name.decode() == name)


def metadata_buffer(model, name: str):
    graph = model.subgraphs[0]
    index = next(i for i, t in enumerate(graph.tensors) if t.name.decode() == name)
    reshape = next(op for op in graph.operators if index in op.outputs)
    return model.buffers[graph.tensors[reshape.inputs[0]].buffer]


def set_number(name: str, value: int):
    def change(model):
        metadata_buffer(model, name).data = np.frombuffer(np.int32(value).tobytes(), np.uint8)

    return change


def show_an_input_as_metadata(model):
    """The beam width comes from an input of the graph, not from a constant."""
    graph = model.subgraphs[0]
    width = next(i for i, t in enumerate(graph.tensors) if t.name.decode() == "metadata_beam_width")
    reshape = next(op for op in graph.operators if width in op.outputs)
    samples = next(i for i, t in enumerate(graph.tensors) if t.name.decode() == "input_samples")
    graph.tensors[width].type, graph.tensors[width].shape = graph.tensors[samples].type, graph.tensors[samples].shape
    reshape.inputs = [samples]


def set_alphabet(serialized: bytes):
    def change(model):
        data = np.array([1, 12, 12 + len(serialized)], "<i4").tobytes() + serialized
        metadata_buffer(model, "metadata_alphabet").data = np.frombuffer(data, np.uint8)

    return change


def test_a_repacked_model_still_runs(golden, tmp_path, clip):
    path = tmp_path / "same.tflite"
    path.write_bytes(repacked(golden, lambda model: None))
    assert Model(path).stt(clip).startswith("she had")


def test_files_that_are_no_tflite(refused, tmp_path, golden):
    assert "empty" in refused(b"")
    assert "not a .tflite" in refused(b"hello, world" * 100)
    assert "Git LFS" in refused(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(ModelError, match="no such model"):
        Model(tmp_path / "missing.tflite")
    with pytest.raises(ModelError, match="this is none"):
        Model(tmp_path)
    with pytest.raises(ModelError, match="cannot read"):
        Model("a\0b")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ModelError, match="this is none"):
        Model(tmp_path / "pipe")


def test_a_file_larger_than_the_format_allows_is_not_read(tmp_path):
    path = tmp_path / "huge.tflite"
    with open(path, "wb") as file:
        file.truncate(2**31 + 5)
    with pytest.raises(ModelError, match="more than"):
        Model(path)


STATES = ("previous_state_c", "previous_state_h", "new_state_c", "new_state_h")


@pytest.mark.parametrize("name", INPUTS + OUTPUTS + STATES)
def test_a_missing_tensor_is_named(golden, refused, name):
    def rename(model):
        tensor(model, name).name = b"something_else"

    says = refused(repacked(golden, rename))
    assert "lacks" in says and name in says and "something_else" in says


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (set_number("metadata_version", 5), "graph version 5"),
        (set_number("metadata_sample_rate", 0), "sample rate 0"),
        (set_number("metadata_sample_rate", 8000), "input_samples is float32"),
        (set_number("metadata_feature_win_step", 10), "stride 320, not 160"),
        (set_number("metadata_feature_win_step", 0), "must be 1 or more"),
        (set_number("metadata_beam_width", -3), "beam width -3"),
        (show_an_input_as_metadata, "metadata"),
        (set_alphabet(Alphabet("abc").serialize()), "alphabet of 3 characters does not fit 29 classes"),
        (set_alphabet(Alphabet.english().serialize()[:-1]), "alphabet is cut"),
        (set_alphabet(Alphabet.english().serialize() + b"x"), "left over"),
        (set_alphabet(b""), "outside the file"),
        (lambda model: setattr(model, "version", 4), "schema version 4"),
        (lambda model: model.subgraphs.append(model.subgraphs[0]), "2 graphs"),
        (lambda model: setattr(model.operatorCodes[0], "builtinCode", 3), "operator that DeepSpeech's exports do not"),
        (lambda model: setattr(tensor(model, "input_node"), "type", 9), "not float32 [1, ?, ?, ?]"),
        (lambda model: setattr(tensor(model, "input_node"), "shape", [1, 16, 18, 26]), "not odd"),
        (lambda model: setattr(tensor(model, "previous_state_h"), "shape", [1, 99]), "not float32 [1, 99]"),
        (lambda model: setattr(tensor(model, "logits"), "shape", [16, 30]), "does not fit 30 classes"),
        (lambda model: model.subgraphs[0].operators.reverse(), "not there yet"),
        (lambda model: model.subgraphs[0].operators.pop(), "not computed"),
    ],
)
def test_a_model_whose_parts_do_not_fit_is_refused_with_the_reason(golden, refused, change, says):
    assert says in refused(repacked(golden, change))


def test_weights_that_are_not_numbers_are_found_out_at_loading(golden, refused):
    def spoil(model):
        for found in model.subgraphs[0].tensors:
            data = model.buffers[found.buffer].data
            if found.name.endswith(b"_bias") and data is not None:
                model.buffers[found.buffer].data = np.full(len(data) // 4, np.nan, np.float32).view(np.uint8)

    assert "no probabilities" in refused(repacked(golden, spoil))


def test_every_cut_is_refused_without_litert(golden, tmp_path):
    path = tmp_path / "cut.tflite"
    rng = random.Random(1)
    for length in [*range(0, 64, 3), *(rng.randrange(len(golden)) for _ in range(60))]:
        path.write_bytes(golden[:length])
        with pytest.raises(ModelError):
            ModelFile.read(path)


def test_damaged_copies_never_end_the_process(fresh_python, model_path, tmp_path):
    """Random bytes outside the weights are changed; the child must survive all of them, LiteRT included."""
    finished = fresh_python(
        """
import random, sys
import numpy as np
from deepspeech_training.runtime import Model, ModelError
golden, path = open(sys.argv[1], "rb").read(), sys.argv[2]
audio = (np.random.default_rng(0).standard_normal(9000) * 3000).astype(np.int16)
outcomes = {"runs": 0, "refused": 0}
for seed in range(250):
    rng, data = random.Random(seed), bytearray(golden)
    for _ in range(rng.choice([1, 1, 2, 4])):
        place = rng.choice([rng.randrange(100), rng.randrange(165000, len(data)), rng.randrange(len(data))])
        data[place] = rng.choice([0, 1, 127, 128, 255, data[place] ^ 1 << rng.randrange(8)])
    open(path, "wb").write(data if rng.random() > 0.05 else data[: rng.randrange(len(data))])
    try:
        Model(path, num_threads=1).stt(audio)
        outcomes["runs"] += 1
    except ModelError as error:
        outcomes["refused"] += 1
print(outcomes["runs"], outcomes["refused"])
""",
        model_path,
        tmp_path / "damaged.tflite",
    )
    assert finished.returncode == 0, finished.stderr[-2000:]
    runs, refused = map(int, finished.stdout.split())
    assert runs + refused == 250 and runs > 20 and refused > 80


@given(st.binary(max_size=200))
def test_the_readers_refuse_noise_in_one_way(data):
    for read in (read_flexbuffer_map, read_labels, lambda data: list(Reader(data).root().tables(2))):
        with contextlib.suppress(Damaged):
            read(data)


@given(st.lists(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\ufeff"), min_size=1, unique=True))
def test_an_alphabet_reads_back(characters):
    try:
        alphabet = Alphabet(characters)
    except ValueError:  # two are one after NFC, or one becomes two
        return
    assert read_labels(alphabet.serialize()) == alphabet.characters


def test_an_alphabet_of_bytes_is_read():
    serialized = b"\xff\x00" + b"".join(bytes([label, 0, 1, 0, label + 1]) for label in range(255))
    assert read_labels(serialized) == BYTE_LABELS
