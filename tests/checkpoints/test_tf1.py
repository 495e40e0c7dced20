import shutil

import numpy as np
import pytest
from checkpoints.tensor_bundle import HEADER, NETWORK, entry, model_arrays, write_bundle, write_files

from deepspeech_training.checkpoints.file import DamagedCheckpoint
from deepspeech_training.checkpoints.tensor_bundle import TensorBundle
from deepspeech_training.checkpoints.tf1 import Tf1Folder, find_tf1_checkpoint
from deepspeech_training.models.deepspeech import DeepSpeech
from deepspeech_training.models.deepspeech.tf1 import geometry_of, tf1_name


def network_and_weights(prefix) -> tuple[DeepSpeech, dict[str, np.ndarray]]:
    checkpoint = Tf1Folder(prefix).load("train")
    return checkpoint.model.network, checkpoint.weights


def read_all(bundle: TensorBundle) -> dict[str, np.ndarray]:
    return {name: bundle.read(name) for name in bundle.variables}


@pytest.fixture
def prefix(tmp_path):
    return write_bundle(tmp_path / "train-70", model_arrays())


def test_a_checkpoint_of_deepspeech_is_read(test_data):
    prefix = find_tf1_checkpoint(test_data / "golden/ckpt_n100_nodrop")
    checkpoint = TensorBundle(prefix)
    everything = read_all(checkpoint)
    wanted = np.load(test_data / "golden/vars_nodrop.npz")
    assert prefix.name == "train-200" and everything["global_step"] == 200
    assert everything["learning_rate"] == np.float32(0.001)
    network, weights = network_and_weights(prefix)
    assert network == DeepSpeech(num_classes=29, n_hidden=100)
    assert len(weights) == 12
    for name in network.weight_shapes():
        np.testing.assert_array_equal(weights[name], wanted[tf1_name(name)])


def test_every_variable_comes_back_by_name(prefix):
    checkpoint = TensorBundle(prefix)
    arrays = model_arrays()
    assert set(checkpoint.variables) == set(arrays)
    for name, array in read_all(checkpoint).items():
        np.testing.assert_array_equal(array, arrays[name])
        assert array.dtype == arrays[name].dtype
    network, weights = network_and_weights(prefix)
    assert network == NETWORK
    assert {name: array.shape for name, array in weights.items()} == NETWORK.weight_shapes()


def test_a_folder_means_its_best_checkpoint_and_without_one_the_last(tmp_path):
    assert find_tf1_checkpoint(tmp_path) is None
    for name in ("train-9", "train-70", "best_dev-40"):
        write_bundle(tmp_path / name, {"global_step": np.array(1, np.int64)})
    assert find_tf1_checkpoint(tmp_path).name == "best_dev-40"
    assert find_tf1_checkpoint(tmp_path, "last").name == "train-70"
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/volume/that/has/moved/train-9"\n')
    assert find_tf1_checkpoint(tmp_path, "last").name == "train-9"
    for word in ("train-9", "train-9.index", "train-9.data-00000-of-00001"):
        assert find_tf1_checkpoint(tmp_path / word) == tmp_path / "train-9"
    assert find_tf1_checkpoint(tmp_path / "train-8") is None


def test_a_pointer_cannot_lead_out_of_its_folder(tmp_path):
    write_bundle(tmp_path / "train-1", {"global_step": np.array(1, np.int64)})
    inner = tmp_path / "inner"
    inner.mkdir()
    (inner / "checkpoint").write_text('model_checkpoint_path: "../train-1"\n')
    assert find_tf1_checkpoint(inner) is None


def test_every_flipped_byte_of_the_table_and_of_the_data_is_found(prefix, tmp_path):
    for file in sorted(tmp_path.glob("train-70.*")):
        good = file.read_bytes()
        footer = len(good) - 48 if file.suffix == ".index" else len(good)
        for place in range(0, footer, 97):
            file.write_bytes(good[:place] + bytes([good[place] ^ 4]) + good[place + 1 :])
            try:
                checkpoint = TensorBundle(prefix)
                read_all(checkpoint)
            except DamagedCheckpoint as error:
                assert str(file) in str(error)
            else:  # an unused block, such as the metaindex
                assert file.suffix == ".index" and set(checkpoint.variables) == set(model_arrays())
        file.write_bytes(good)


def test_a_cut_off_file_is_told(prefix, tmp_path):
    for file in sorted(tmp_path.glob("train-70.*")):
        good = file.read_bytes()
        for length in (0, 20, len(good) // 2, len(good) - 1):
            file.write_bytes(good[:length])
            with pytest.raises(DamagedCheckpoint, match=r"train-70\.index: not a usable TensorFlow checkpoint"):
                TensorBundle(prefix)
        file.write_bytes(good)
    next(tmp_path.glob("*.data-*")).unlink()
    with pytest.raises(DamagedCheckpoint, match="is missing"):
        TensorBundle(prefix)


ONE = np.ones(4, np.float32)


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({b"": HEADER, b"a": entry(ONE, 1 << 60)}, "lies outside the data file"),
        ({b"": HEADER, b"a": entry(ONE, 0, size=12)}, "12 bytes for shape"),
        ({b"": HEADER, b"a": entry(ONE, 0, shard=7)}, "lies outside the data file"),
        ({b"": HEADER, b"a": entry(ONE.astype(np.float16), 0)}, "number 19"),
        ({b"": HEADER, b"a": entry(ONE, 0) + b"\x3a\x00"}, "in slices"),
        ({b"": HEADER, b"a": entry(ONE, 0)[:-2]}, "cannot be read"),
        ({b"": HEADER, b"a": b"\x12\x05\x12\x03\x08\xff"}, "cannot be read|cut off"),
        ({b"": b"\x08\xff\xff\xff\x7f"}, "data files"),
        ({b"": b"\x08\x01\x10\x01"}, "big endian"),
        ({b"a": entry(ONE, 0)}, "data files"),
    ],
)
def test_what_the_table_says_is_checked(tmp_path, entries, words):
    write_files(tmp_path / "train-1", entries, ONE.tobytes())
    with pytest.raises(DamagedCheckpoint, match=words):
        TensorBundle(tmp_path / "train-1")


def test_a_compressed_table_is_refused(tmp_path):
    write_bundle(tmp_path / "train-1", {"a": ONE}, compression=1)
    with pytest.raises(DamagedCheckpoint, match="compressed"):
        TensorBundle(tmp_path / "train-1")


def test_random_tables_raise_nothing_else(tmp_path):
    generator = np.random.default_rng(0)
    good = model_arrays()
    write_bundle(tmp_path / "train-1", good)
    index = (tmp_path / "train-1.index").read_bytes()
    for _ in range(200):
        damaged = bytearray(index)
        for place in generator.integers(0, len(index), 3):
            damaged[place] = generator.integers(0, 256)
        (tmp_path / "train-1.index").write_bytes(bytes(damaged))
        try:
            network_and_weights(tmp_path / "train-1")
        except DamagedCheckpoint:
            continue


def test_other_models_are_no_deepspeech_models(tmp_path):
    arrays = model_arrays()
    for missing, words in (("layer_6/bias", "no DeepSpeech model"), ("layer_3/bias", "layer_3/bias is not there")):
        write_bundle(tmp_path / "train-1", {name: a for name, a in arrays.items() if name != missing})
        with pytest.raises(DamagedCheckpoint, match=words):
            network_and_weights(tmp_path / "train-1")
    write_bundle(tmp_path / "train-2", arrays | {"layer_5/bias": np.zeros(4, np.float32)})
    with pytest.raises(DamagedCheckpoint, match=r"layer_5/bias has shape \[4\] instead of \[3\]"):
        network_and_weights(tmp_path / "train-2")
    without_moments = {name: a for name, a in arrays.items() if "Adam" not in name}
    write_bundle(tmp_path / "train-3", without_moments)
    assert network_and_weights(tmp_path / "train-3")[0] == NETWORK


def test_the_rows_of_layer_1_give_the_context(prefix):
    shapes = {name: variable.shape for name, variable in TensorBundle(prefix).variables.items()}
    assert geometry_of(shapes).n_context == 9
    with pytest.raises(ValueError, match="494 rows"):
        geometry_of(shapes, n_features=25)


def test_a_folder_that_was_copied_whole_is_read_where_it_is(prefix, tmp_path):
    (tmp_path / "checkpoint").write_text(f'model_checkpoint_path: "{prefix}"\n')
    moved = shutil.copytree(tmp_path, tmp_path / "moved", ignore=shutil.ignore_patterns("moved"))
    found = find_tf1_checkpoint(moved)
    assert found.parent == moved and network_and_weights(found)[0] == NETWORK
