from dataclasses import replace

import pytest
from reporting.samples_of_events import epoch_done, step_done

from deepspeech_training.machine.gpu_monitor import EVENT_EVERY_S, FEWEST_READINGS, GpuMonitor, summary
from deepspeech_training.machine.resources import Gpu
from deepspeech_training.reporting.events import EpochBegun, Events, GpusRead, Note, ValidationBegun

GB = 10**9
BEGUN = EpochBegun(epoch=0, epochs=3, batches=40, step_in_epoch=0, step=0)


def gpu(busy, *, used=2 * GB, temperature_c=60, power_w=None, index=0) -> Gpu:
    free = 24 * GB - used
    return Gpu(index, "Fake", f"GPU-{index}", f"0:{index}", 24 * GB, free, (8, 9), busy, temperature_c, power_w)


class Kept:
    def __init__(self):
        self.events = []

    def take(self, event):
        self.events.append(event)

    def close(self):
        pass


@pytest.fixture
def watched():
    """(events, what was emitted, a function that takes one reading of a GPU that is `busy`)."""
    kept, state = Kept(), {}
    events = Events([kept])
    monitor = GpuMonitor(events, read=lambda: state["gpus"], every_s=3600)
    events.add(monitor)

    def read(*gpus):
        state["gpus"] = gpus
        monitor.read_now()

    yield events, kept.events, read
    events.close()


def epoch(events, read, busy, *, readings=FEWEST_READINGS, waited_share=0.01):
    events.emit(BEGUN)
    for _ in range(readings):
        read(gpu(busy))
    events.emit(epoch_done(step=7, waited_share=waited_share))


def notes(found):
    return [event.message for event in found if isinstance(event, Note)]


def used(found):
    return [(event.step, event.gpus) for event in found if isinstance(event, GpusRead)]


def test_an_epoch_ends_with_what_its_gpus_did(watched):
    events, found, read = watched
    events.emit(BEGUN)
    read(gpu(0.5, used=1 * GB, temperature_c=50, power_w=200.0), gpu(None, temperature_c=None, index=1))
    read(gpu(0.7, used=3 * GB, temperature_c=70, power_w=300.0), gpu(None, temperature_c=None, index=1))
    events.emit(epoch_done(step=7, waited_share=0.0))
    ((step, (first, second)),) = used(found)
    assert step == 7
    assert (first.busy, first.memory_used, first.temperature_c, first.power_w) == (0.6, 3 * GB, 70, 250.0)
    assert (second.index, second.busy, second.temperature_c, second.power_w) == (1, None, None, None)


def test_a_gpu_with_little_to_do_earns_one_line_in_the_whole_run(watched):
    events, found, read = watched
    epoch(events, read, busy=0.12)
    epoch(events, read, busy=0.12)
    (note,) = notes(found)
    assert note.startswith("GPU 0 was busy for 12% of the epoch") and "--train_batch_size" in note


def test_if_training_waited_for_audio_the_advice_is_another(watched):
    events, found, read = watched
    epoch(events, read, busy=0.12, waited_share=0.5)
    assert "--loader_threads" in notes(found)[0]


@pytest.mark.parametrize(("busy", "readings"), [(0.31, 10), (0.95, 10), (0.1, FEWEST_READINGS - 1), (None, 10)])
def test_a_busy_gpu_or_too_few_readings_earn_none(watched, busy, readings):
    events, found, read = watched
    epoch(events, read, busy, readings=readings)
    assert not notes(found)


def test_a_validation_does_not_count(watched):
    events, found, read = watched
    events.emit(BEGUN)
    for _ in range(10):
        read(gpu(0.9))
    events.emit(ValidationBegun("Validating on dev.csv", batches=2, done=0, step=3))
    for _ in range(90):
        read(gpu(0.0))
    events.emit(epoch_done(step=7, waited_share=0.0))
    assert [gpus[0].busy for _, gpus in used(found)] == [0.9] and not notes(found)


def test_a_long_epoch_is_told_of_as_it_goes(watched):
    events, found, read = watched
    events.emit(replace(BEGUN, time=1000.0))
    for step in range(1, 5):
        read(gpu(step / 10))
        events.emit(step_done(step, time=1000.0 + step * EVENT_EVERY_S / 2))
    assert [(step, gpus[0].busy) for step, gpus in used(found)] == [(2, 0.15), (4, 0.35)]


def test_without_readings_nothing_is_emitted(watched):
    events, found, _ = watched
    events.emit(BEGUN)
    events.emit(epoch_done(step=7, waited_share=0.0))
    assert [e.kind for e in found] == ["epoch_begin", "epoch"] and summary([]) == []
