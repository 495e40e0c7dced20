import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from deepspeech_training.checkpoints.file import (
    DamagedCheckpoint,
    read_arrays,
    read_state,
    write_arrays,
    write_state,
)

ARRAYS = {
    "layer_1/weights": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
    "adam_m/layer_1/weights": np.full((2, 3), -0.0, np.float32),
    "scalar": np.array(1.5, np.float64),
    "empty": np.zeros((0, 4), np.float32),
    "counts": np.array([-1, 2**40]),
    "small": np.array([[7]], np.int32),
}


def assert_equal(found, expected):
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == array.dtype and found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes()


def with_header(header, body=b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def read_bytes(data: bytes):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        path.write_bytes(data)
        return read_arrays(path)


def valid_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        write_arrays(Path(folder) / "x.safetensors", ARRAYS)
        return (Path(folder) / "x.safetensors").read_bytes()


VALID = valid_file()


def test_arrays_come_back_bit_by_bit(tmp_path):
    checksum = write_arrays(tmp_path / "a.safetensors", ARRAYS)
    assert_equal(read_arrays(tmp_path / "a.safetensors", sha256=checksum), ARRAYS)


def test_an_array_that_is_not_contiguous_or_big_endian_is_written_right(tmp_path):
    turned = np.arange(6, dtype=np.float32).reshape(2, 3).T
    write_arrays(tmp_path / "a.safetensors", {"turned": turned, "big": turned.astype(">f4")})
    found = read_arrays(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(found["turned"], turned)
    np.testing.assert_array_equal(found["big"], turned)


def test_the_safetensors_package_reads_ours_and_we_read_its(tmp_path):
    write_arrays(tmp_path / "ours.safetensors", ARRAYS)
    assert_equal(safetensors.numpy.load_file(tmp_path / "ours.safetensors"), ARRAYS)
    safetensors.numpy.save_file(ARRAYS, tmp_path / "theirs.safetensors", metadata={"format": "np"})
    assert_equal(read_arrays(tmp_path / "theirs.safetensors"), ARRAYS)


def test_numpy_alone_reads_a_checkpoint(tmp_path):
    write_arrays(tmp_path / "a.safetensors", ARRAYS)
    script = (
        "import sys; from pathlib import Path\n"
        "for name in ('tensorflow', 'keras', 'safetensors'): sys.modules[name] = None\n"
        "from deepspeech_training.checkpoints.file import read_arrays\n"
        f"print(len(read_arrays(Path({str(tmp_path / 'a.safetensors')!r}))))"
    )
    finished = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert finished.stdout.strip() == str(len(ARRAYS))


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"1234567",
        (2**63).to_bytes(8, "little") + b"{}",
        (200_000_000).to_bytes(8, "little") + b"{}",
        with_header([1, 2]),
        with_header({"a": None}),
        with_header({"a": {**ENTRY, "dtype": "F16"}}, bytes(8)),
        with_header({"a": {**ENTRY, "shape": [-1, -2]}}, bytes(8)),
        with_header({"a": {**ENTRY, "shape": [3]}}, bytes(8)),
        with_header({"a": {**ENTRY, "shape": [2**70, 0], "data_offsets": [0, 0]}}, bytes(8)),
        with_header({"a": {**ENTRY, "shape": [1] * 100 + [2]}}, bytes(8)),
        with_header({"a": {**ENTRY, "shape": [float("inf")]}}, bytes(8)),
        with_header({"a": {**ENTRY, "shape": "22"}}, bytes(16)),
        with_header({"a": {**ENTRY, "data_offsets": [-8, 0]}}, bytes(8)),
        with_header({"a": {**ENTRY, "data_offsets": [8, 16]}}, bytes(8)),
        with_header({"a": {**ENTRY, "data_offsets": [8, 0]}}, bytes(8)),
        with_header({"a": {**ENTRY, "data_offsets": [0, 8, 8]}}, bytes(8)),
        with_header({"a": {**ENTRY, "data_offsets": [0, 1e400]}}, bytes(8)),
        with_header(b"[" * 200_000),
        with_header(b'{"a":' * 50_000),
        with_header(b"\xff\xfe"),
    ],
    ids=range(21),
)
def test_a_hostile_file_is_a_damaged_checkpoint_and_nothing_else(data):
    with pytest.raises(DamagedCheckpoint, match=r"x\.safetensors"):
        read_bytes(data)


@pytest.mark.parametrize("length", range(0, len(VALID), 11))
def test_a_truncated_file_is_damaged(length):
    with pytest.raises(DamagedCheckpoint):
        read_bytes(VALID[:length])


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)
ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "dtype": st.sampled_from(["F32", "I64", "BF16"]) | JSON_VALUES,
        "shape": st.lists(st.integers(-2, 9) | st.integers(), max_size=4) | JSON_VALUES,
        "data_offsets": st.lists(st.integers(-9, 40), min_size=2, max_size=2) | JSON_VALUES,
    },
)


@given(st.dictionaries(st.text(max_size=4), ENTRIES | JSON_VALUES, max_size=3), st.binary(max_size=40))
def test_any_header_gives_arrays_or_a_damaged_checkpoint(header, body):
    try:
        arrays = read_bytes(with_header(header, body))
    except DamagedCheckpoint:
        return
    assert all(array.nbytes <= len(body) for array in arrays.values())


@given(st.integers(0, len(VALID) - 1), st.binary(min_size=1, max_size=12))
def test_any_change_of_bytes_gives_arrays_or_a_damaged_checkpoint(place, patch):
    data = VALID[:place] + patch + VALID[place + len(patch) :]
    try:
        read_bytes(data)
    except DamagedCheckpoint:
        return


@settings(max_examples=50)
@given(st.integers(0, len(VALID) - 1), st.integers(1, 255))
def test_the_checksum_finds_every_changed_byte(place, change):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.safetensors"
        checksum = write_arrays(path, ARRAYS)
        data = bytearray(path.read_bytes())
        data[place] ^= change
        path.write_bytes(data)
        with pytest.raises(DamagedCheckpoint, match="SHA-256"):
            read_arrays(path, sha256=checksum)


def test_a_file_that_is_not_there_is_damaged(tmp_path):
    for read in (read_arrays, read_state):
        with pytest.raises(DamagedCheckpoint, match="No such file"):
            read(tmp_path / "none")


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), JSON_VALUES, max_size=4))
def test_a_state_comes_back_as_it_was(state):
    state = json.loads(json.dumps(state).encode(errors="replace"))
    with tempfile.TemporaryDirectory() as folder:
        write_state(Path(folder) / "s.json", state)
        assert json.dumps(read_state(Path(folder) / "s.json")) == json.dumps(
            dict(sorted(state.items())), sort_keys=True
        )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"{}",
        b'{"format": 1, "state": {}}',
        b'{"format": "1", "state": {}, "sha256": ""}',
        b'{"format": 1, "state": {}, "sha256": 3}',
        b"[" * 200_000,
        b'{"state":' * 50_000,
        b"\xff",
        b"\x00",
    ],
)
def test_a_state_that_is_none_is_damaged(tmp_path, data):
    path = tmp_path / "s.json"
    path.write_bytes(data)
    with pytest.raises(DamagedCheckpoint, match=r"s\.json"):
        read_state(path)


def test_a_changed_or_later_state_is_refused(tmp_path):
    path = tmp_path / "s.json"
    write_state(path, {"step": 12})
    good = json.loads(path.read_text())
    for key, value, words in (("state", {"step": 13}, "SHA-256"), ("format", 99, "later version")):
        changed = copy.deepcopy(good) | {key: value}
        path.write_text(json.dumps(changed))
        with pytest.raises(DamagedCheckpoint, match=words):
            read_state(path)
