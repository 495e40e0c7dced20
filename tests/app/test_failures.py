"""What the app makes of failures: a notification of each kind once, and another try by itself."""

import asyncio
import time

from app.app_process import make_volume
from reporting.webhook import TOKEN, target

from deepspeech_training.app import failures
from deepspeech_training.app.failures import Failures
from deepspeech_training.app.machine_facts import MachineFacts
from deepspeech_training.app.run_choice import RunChoice
from deepspeech_training.app.shelf import Shelf
from deepspeech_training.app.status import Status
from deepspeech_training.app.supervisor import Supervisor, Wishes
from deepspeech_training.app.volume import Volume
from deepspeech_training.console import Console
from deepspeech_training.serving.server import Stop

WITHIN_S = 120  # the machine may be busy


def test_a_failure_is_news_until_it_comes_again_and_waits_longer_each_time():
    found = Failures("speech", Console())
    tries = [found.add(f"step {step}: {step / 7:.2f} GB are free", "files") for step in range(6)]
    assert [(tried.number, tried.wait_s) for tried in tries] == [(n, min(600, 60 * 2 ** (n - 1))) for n in range(1, 7)]
    assert [tried.is_news for tried in tries] == [True] + 5 * [False]
    assert found.add("another fault", "files").is_news
    assert found.add("another fault", "other files").is_news
    found.forget()
    assert found.add("another fault", "other files").is_news


def test_a_training_that_fails_at_each_try_is_notified_once_until_it_fails_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr(failures, "FIRST_RETRY_S", 0.1)
    monkeypatch.setattr(failures, "LONGEST_RETRY_S", 0.1)
    volume = Volume(make_volume(tmp_path, flags=()))
    console, environment = Console(), dict[str, str]()
    status = Status(MachineFacts(tmp_path), RunChoice(volume.checkpoints))
    wishes = Wishes(name="speech", look_s=0.05)

    async def until_failed_with(part: str, tries: int) -> None:
        deadline = time.monotonic() + WITHIN_S
        while not (status.failure and part in status.failure.message and status.failure.tries >= tries):
            assert time.monotonic() < deadline, (status.sentence, status.failure)
            await asyncio.sleep(0.02)

    async def work() -> None:
        supervisor = Supervisor(
            volume,
            Shelf(volume, None, None),
            wishes,
            status,
            served=dict,
            faults=dict,
            environment=environment,
            console=console,
        )
        working = asyncio.create_task(supervisor.run())
        await until_failed_with("of memory", 2)
        environment["TRAIN_FLAGS"] += " --scorer_path gone.scorer"
        await until_failed_with("gone.scorer", 1)
        await supervisor.stop(Stop())
        await working

    with target() as hook:
        environment["TRAIN_FLAGS"] = f"--mode cpu --n_hidden 1000000 --notify {hook.url}"
        asyncio.run(work())
        deadline = time.monotonic() + WITHIN_S
        while len(hook.got) < 2:
            assert time.monotonic() < deadline, hook.got
            time.sleep(0.05)
    assert [message["title"] for message in hook.got] == 2 * ["speech has failed"]
    assert "n_hidden 1,000,000 needs about" in hook.got[0]["message"] and "GB are free" in hook.got[0]["message"]
    assert "gone.scorer" in hook.got[1]["message"] and TOKEN not in str(hook.got[1]["message"])
