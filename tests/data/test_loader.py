import dataclasses
import threading
import time

import numpy as np
import pytest

from deepspeech_training.data.loader import (
    BATCHES_AHEAD,
    ArraySpec,
    Batch,
    BatchSpec,
    Example,
    Loader,
    SampleFault,
    make_batch,
    padded_length,
)
from deepspeech_training.data.speech_sample import SpeechSample

SPEC = BatchSpec(
    {
        "audio": ArraySpec("float32", (None,), "num_samples", bucket=16000),
        "labels": ArraySpec("int32", (None,), "num_labels"),
    },
    cost="num_samples",
)


def sample(number: int) -> SpeechSample:
    return SpeechSample(f"train.csv:{number}", f"/{number}.wav", 1, "ab", (0, 1), 1, None, number, "train.csv")


def example_of(one: SpeechSample) -> Example:
    return {"audio": np.full(one.row % 7 + 1, one.row, np.float32), "labels": np.arange(one.row % 3 + 1)}


def planned(batches: int, size: int = 3) -> list[list[SpeechSample]]:
    return [[sample(batch * size + k) for k in range(size)] for batch in range(batches)]


def assert_same(one: Batch, other: Batch):
    assert one.samples == other.samples and one.faults == other.faults
    assert one.arrays.keys() == other.arrays.keys() == {"audio", "num_samples", "labels", "num_labels"}
    for name in one.arrays:
        np.testing.assert_array_equal(one.arrays[name], other.arrays[name])


def test_the_order_is_the_plans_however_many_threads_there_are():
    def load(one: SpeechSample) -> Example:
        time.sleep((one.row * 7 % 5) / 1000)  # later ones are often ready first
        return example_of(one)

    with Loader(load, SPEC, threads=8) as loader:
        batches = list(loader.batches(planned(12)))
    assert [s.row for batch in batches for s in batch.samples] == list(range(36))
    for batch, samples in zip(batches, planned(12), strict=True):
        assert_same(batch, make_batch(SPEC, samples, [example_of(s) for s in samples]))


def test_rows_are_padded_with_zeros():
    batch = make_batch(SPEC, [sample(2), sample(5)], [example_of(sample(2)), example_of(sample(5))])
    arrays = batch.arrays
    assert arrays["audio"].tolist() == [[2, 2, 2, 0, 0, 0], [5, 5, 5, 5, 5, 5]]
    assert arrays["num_samples"].tolist() == [3, 6] and batch.cost == 9
    assert arrays["labels"].tolist() == [[0, 1, 2], [0, 1, 2]] and arrays["num_labels"].tolist() == [3, 3]
    assert {name: array.dtype for name, array in arrays.items()} == {
        "audio": np.float32,
        "labels": np.int32,
        "num_samples": np.int32,
        "num_labels": np.int32,
    }


def test_a_clip_that_cannot_be_used_is_a_fault_of_its_batch_and_in_no_array():
    def load(one: SpeechSample) -> Example:
        if one.row in (1, 3, 4, 5):
            raise SampleFault(f"is number {one.row}")
        return example_of(one)

    with Loader(load, SPEC, threads=4) as loader:
        first, second = loader.batches(planned(2))
        assert_same(loader.load_now(planned(2)[0]), first)
    assert [s.row for s in first.samples] == [0, 2] and first.arrays["audio"].shape[0] == 2
    assert [(s.row, reason) for s, reason in first.faults] == [(1, "is number 1")]
    assert second.samples == () and second.arrays["audio"].shape == (0, 0) and len(second.faults) == 3


def test_without_leaves_the_batch_as_if_the_clip_had_never_been_in_it():
    samples = [sample(n) for n in (6, 1, 3)]
    whole = make_batch(SPEC, samples, [example_of(s) for s in samples])
    kept = samples[1:]
    assert_same(whole.without([samples[0].id]), make_batch(SPEC, kept, [example_of(s) for s in kept]))
    assert whole.without(["train.csv:99"]) is whole
    assert whole.without(s.id for s in samples).samples == ()


def test_reading_ahead_is_bounded():
    begun = []
    with Loader(lambda s: begun.append(s.row) or example_of(s), SPEC, threads=4) as loader:
        batches = loader.batches(planned(40))
        for number in range(1, 4):
            next(batches)
            time.sleep(0.02)
            assert len(begun) <= 3 * (number + BATCHES_AHEAD)
        assert len(begun) >= 3 * 4  # and it does read ahead
        batches.close()


def test_a_bug_in_load_is_raised_and_not_taken_for_a_fault():
    def load(one: SpeechSample) -> Example:
        if one.row == 4:
            raise ZeroDivisionError
        return example_of(one)

    with Loader(load, SPEC, threads=4) as loader:
        batches = loader.batches(planned(10))
        assert next(batches).samples[0].row == 0
        with pytest.raises(ZeroDivisionError):
            next(batches)


def test_leaving_in_the_middle_ends_the_threads_and_reads_no_more():
    begun = []

    def load(one: SpeechSample) -> Example:
        begun.append(one.row)
        time.sleep(0.005)
        return example_of(one)

    with Loader(load, SPEC, threads=2) as loader:
        for _ in loader.batches(planned(200)):
            break
    deadline = time.monotonic() + 5
    while any(t.name.startswith("loader") for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not any(t.name.startswith("loader") for t in threading.enumerate())
    assert len(begun) <= 3 * (1 + BATCHES_AHEAD)


def test_waiting_for_data_is_counted():
    with Loader(lambda s: time.sleep(0.02) or example_of(s), SPEC, threads=1) as loader:
        list(loader.batches(planned(2)))
        assert loader.seconds_waited > 0.05


def test_static_shapes_round_the_time_up():
    with Loader(example_of, SPEC, threads=1, static_shapes=True) as loader:
        assert loader.load_now([sample(1)]).arrays["audio"].shape == (1, 16000)


def test_clips_are_kept_in_memory_up_to_the_limit_and_change_nothing():
    reads = []

    def load(one: SpeechSample) -> Example:
        reads.append(one.row)
        return {"audio": np.full(100, one.row, np.float32), "labels": np.ones(1, np.int32)}

    with Loader(load, SPEC, threads=1, keep_bytes=4 * 101 * 5) as loader:
        first, second = list(loader.batches(planned(3))), list(loader.batches(planned(3)))
    assert sorted(reads) == sorted([*range(9), *range(5, 9)])  # five of nine were kept
    for one, other in zip(first, second, strict=True):
        assert_same(one, other)


def test_the_same_file_with_another_transcript_is_another_clip():
    one, other = sample(1), dataclasses.replace(sample(1), transcript="b", labels=(1,))

    def load(s: SpeechSample) -> Example:
        return {"audio": np.ones(3, np.float32), "labels": np.array(s.labels)}

    with Loader(load, SPEC, threads=1, keep_bytes=1000) as loader:
        labels = [loader.load_now([s]).arrays["labels"].tolist() for s in (one, other, one)]
    assert labels == [[[0, 1]], [[1]], [[0, 1]]]


def test_arrays_of_numbers_and_those_of_training_alone_are_stacked():
    arrays = {
        "letters": ArraySpec("uint32", (None, 2), "num_letters"),
        "label": ArraySpec("int32"),
        "key": ArraySpec("uint32", in_training=True),
    }
    spec = BatchSpec(arrays, cost="num_letters")
    assert list(spec.of_batch(training=False)) == ["letters", "num_letters", "label"]
    assert list(spec.of_batch(training=True)) == ["letters", "num_letters", "label", "key"]
    examples = [{"letters": np.ones((n, 2)), "label": n, "key": 7} for n in (3, 1)]
    batch = make_batch(spec, [sample(3), sample(1)], examples)
    assert batch.arrays["letters"].shape == (2, 3, 2) and batch.arrays["letters"][1].sum() == 2
    assert batch.arrays["label"].tolist() == [3, 1] and batch.arrays["key"].dtype == np.uint32
    assert batch.example(1)["letters"].shape == (1, 2)
    without_keys = make_batch(spec, [sample(3)], [{name: examples[0][name] for name in ("letters", "label")}])
    assert "key" not in without_keys.arrays
    assert make_batch(spec, [], []).arrays["letters"].shape == (0, 0, 2)


@pytest.mark.parametrize("bucket", [8000, 16000])
def test_static_shapes_are_few_and_not_much_longer(bucket):
    lengths = np.arange(1000, 480_000, 777)
    padded = [padded_length(int(n), bucket=bucket) for n in lengths]
    assert all(n <= p <= max(bucket, 1.126 * n) for n, p in zip(lengths, padded, strict=True))
    assert len(set(padded)) < 40
    assert padded_length(12345, bucket=0) == 12345
