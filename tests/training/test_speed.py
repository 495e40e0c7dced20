from deepspeech_training.training import speed as speed_module
from deepspeech_training.training.speed import Speed


def test_the_speed_is_that_of_one_epoch_without_its_first_step(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(speed_module.time, "perf_counter", lambda: now[0])
    speed = Speed(whole_epoch=100.0, unit="audio-s/s")
    for amount, at in ((2, 50), (12, 51), (22, 52), (32, 53), (42, 54), (52, 55)):
        assert speed.now() is None
        now[0] = at
        speed.note_step(amount)
    assert speed.now() == 10  # 50 s of audio in the 5 s after the first step
    speed.begin_epoch()
    now[0] = 100.0
    speed.note_step(3)
    assert speed.now() is None


def test_how_long_it_will_take_is_said_once_by_what_is_left(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(speed_module.time, "perf_counter", lambda: now[0])
    speed = Speed(whole_epoch=100.0, unit="letters/s")
    said = []
    for number in range(10):
        now[0] = 2.0 * number
        speed.note_step(10.0 * number)
        said.append(speed.estimate_after_step(epochs_left=3))
    (estimated,) = filter(None, said)
    assert (estimated.speed, estimated.epoch_seconds, estimated.unit) == (5.0, 20.0, "letters/s")
    assert estimated.left_seconds == (300 - 40) / 5 and not estimated.with_validation
    assert speed.estimate_after_epoch(2, seconds=20.0, speed=5.0) is None


def test_where_epochs_are_short_the_second_tells_how_long_it_will_take():
    speed = Speed(whole_epoch=1.0, unit="letters/s", validation_seconds=2.0)
    assert speed.estimate_after_epoch(5, seconds=3.0, speed=9.0) is None
    estimated = speed.estimate_after_epoch(4, seconds=1.0, speed=9.0)
    assert (estimated.epoch_seconds, estimated.left_seconds, estimated.with_validation) == (3.0, 12.0, True)
