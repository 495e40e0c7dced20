import dataclasses
import threading
import time

import numpy as np
import pytest

from deepspeech_training.data.loader import BATCHES_AHEAD, Batch, Clip, ClipFault, Loader, make_batch
from deepspeech_training.data.samples import Sample


def sample(number: int) -> Sample:
    return Sample(f"train.csv:{number}", f"/{number}.wav", 1, "ab", (0, 1), 1, None, number, "train.csv")


def clip_of(one: Sample) -> Clip:
    return Clip(np.full(one.row % 7 + 1, one.row, np.float32), np.arange(one.row % 3 + 1, dtype=np.int32))


def planned(batches: int, size: int = 3) -> list[list[Sample]]:
    return [[sample(batch * size + k) for k in range(size)] for batch in range(batches)]


def assert_same(one: Batch, other: Batch):
    assert one.samples == other.samples and one.faults == other.faults
    for name in ("audio", "num_samples", "labels", "num_labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_order_is_the_plans_however_many_threads_there_are():
    def load(one: Sample) -> Clip:
        time.sleep((one.row * 7 % 5) / 1000)  # later ones are often ready first
        return clip_of(one)

    with Loader(load, threads=8) as loader:
        batches = list(loader.batches(planned(12)))
    assert [s.row for batch in batches for s in batch.samples] == list(range(36))
    for batch, samples in zip(batches, planned(12), strict=True):
        assert_same(batch, make_batch(samples, [clip_of(s) for s in samples]))


def test_rows_are_padded_with_zeros():
    batch = make_batch([sample(2), sample(5)], [clip_of(sample(2)), clip_of(sample(5))])
    assert batch.audio.tolist() == [[2, 2, 2, 0, 0, 0], [5, 5, 5, 5, 5, 5]]
    assert batch.num_samples.tolist() == [3, 6]
    assert batch.labels.tolist() == [[0, 1, 2], [0, 1, 2]] and batch.num_labels.tolist() == [3, 3]
    assert batch.audio.dtype == np.float32 and batch.labels.dtype == batch.num_samples.dtype == np.int32


def test_a_clip_that_cannot_be_used_is_a_fault_of_its_batch_and_in_no_array():
    def load(one: Sample) -> Clip:
        if one.row in (1, 3, 4, 5):
            raise ClipFault(f"is number {one.row}")
        return clip_of(one)

    with Loader(load, threads=4) as loader:
        first, second = loader.batches(planned(2))
        assert_same(loader.load_now(planned(2)[0]), first)
    assert [s.row for s in first.samples] == [0, 2] and first.audio.shape[0] == 2
    assert [(s.row, reason) for s, reason in first.faults] == [(1, "is number 1")]
    assert second.samples == () and second.audio.shape == (0, 0) and len(second.faults) == 3


def test_without_leaves_the_batch_as_if_the_clip_had_never_been_in_it():
    samples = [sample(n) for n in (6, 1, 3)]
    whole = make_batch(samples, [clip_of(s) for s in samples])
    kept = samples[1:]
    assert_same(whole.without([samples[0].id]), make_batch(kept, [clip_of(s) for s in kept]))
    assert whole.without(["train.csv:99"]) is whole
    assert whole.without(s.id for s in samples).samples == ()


def test_reading_ahead_is_bounded():
    begun = []
    with Loader(lambda s: begun.append(s.row) or clip_of(s), threads=4) as loader:
        batches = loader.batches(planned(40))
        for number in range(1, 4):
            next(batches)
            time.sleep(0.02)
            assert len(begun) <= 3 * (number + BATCHES_AHEAD)
        assert len(begun) >= 3 * 4  # and it does read ahead
        batches.close()


def test_a_bug_in_load_is_raised_and_not_taken_for_a_fault():
    def load(one: Sample) -> Clip:
        if one.row == 4:
            raise ZeroDivisionError
        return clip_of(one)

    with Loader(load, threads=4) as loader:
        batches = loader.batches(planned(10))
        assert next(batches).samples[0].row == 0
        with pytest.raises(ZeroDivisionError):
            next(batches)


def test_leaving_in_the_middle_ends_the_threads_and_reads_no_more():
    begun = []

    def load(one: Sample) -> Clip:
        begun.append(one.row)
        time.sleep(0.005)
        return clip_of(one)

    with Loader(load, threads=2) as loader:
        for _ in loader.batches(planned(200)):
            break
    deadline = time.monotonic() + 5
    while any(t.name.startswith("loader") for t in threading.enumerate()) and time.monotonic() < deadline:
        time.sleep(0.005)
    assert not any(t.name.startswith("loader") for t in threading.enumerate())
    assert len(begun) <= 3 * (1 + BATCHES_AHEAD)


def test_waiting_for_data_is_counted():
    with Loader(lambda s: time.sleep(0.02) or clip_of(s), threads=1) as loader:
        list(loader.batches(planned(2)))
        assert loader.seconds_waited > 0.05


def test_static_shapes_round_the_time_up():
    with Loader(clip_of, threads=1, static_shapes=True) as loader:
        assert loader.load_now([sample(1)]).audio.shape == (1, 16000)


def test_clips_are_kept_in_memory_up_to_the_limit_and_change_nothing():
    reads = []

    def load(one: Sample) -> Clip:
        reads.append(one.row)
        return Clip(np.full(100, one.row, np.float32), np.ones(1, np.int32))

    with Loader(load, threads=1, keep_bytes=4 * 100 * 5) as loader:
        first, second = list(loader.batches(planned(3))), list(loader.batches(planned(3)))
    assert sorted(reads) == sorted([*range(9), *range(5, 9)])  # five of nine were kept
    for one, other in zip(first, second, strict=True):
        assert_same(one, other)


def test_the_same_file_with_another_transcript_is_another_clip():
    one, other = sample(1), dataclasses.replace(sample(1), transcript="b", labels=(1,))
    with Loader(lambda s: Clip(np.ones(3, np.float32), np.array(s.labels)), threads=1, keep_bytes=1000) as loader:
        labels = [loader.load_now([s]).labels.tolist() for s in (one, other, one)]
    assert labels == [[[0, 1]], [[1]], [[0, 1]]]
