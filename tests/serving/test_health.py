"""/live: what it takes for a fault, and that asking costs next to nothing."""

import asyncio
import threading
import time
from types import SimpleNamespace

import pytest

from deepspeech_training.runtime import Model
from deepspeech_training.serving import health
from deepspeech_training.serving.engine import Engine
from deepspeech_training.serving.health import Pulse
from deepspeech_training.serving.limits import Limits
from deepspeech_training.serving.metrics import Metrics
from deepspeech_training.serving.models import ServedModel


@pytest.fixture
def service(small_model):
    """As far as the pulse looks, with a model that counts its calls and can be held up."""
    model, calls, way_free = Model(small_model), [], threading.Event()
    way_free.set()

    def stt(audio):
        calls.append(len(audio))
        way_free.wait(30)
        return Model.stt(model, audio)

    model.stt = stt
    served = ServedModel(name="small", facts={"sample_rate": 16000}, model=model, scorer=None)
    engine = Engine({"small": served}, Limits(), Metrics(), num_threads=1)
    yield SimpleNamespace(engine=engine, calls=calls, way_free=way_free)
    way_free.set()
    engine.shut_down()


def test_many_that_ask_share_one_transcription_of_a_second(service):
    async def ask() -> list[str]:
        pulse = Pulse()
        return await asyncio.gather(*(pulse.fault(service) for _ in range(50))) + [await pulse.fault(service)]

    assert set(asyncio.run(ask())) == {""}
    assert service.calls == [16000]


def test_a_network_that_does_not_come_back_is_a_fault(service, monkeypatch):
    monkeypatch.setattr(health, "LIVE_TIMEOUT_S", 0.2)
    service.way_free.clear()
    assert "more than 0.2 s" in asyncio.run(Pulse().fault(service))


def test_an_answer_that_is_getting_old_is_given_at_once_and_renewed(service, monkeypatch):
    monkeypatch.setattr(health, "LIVE_CACHED_S", 0.0)
    monkeypatch.setattr(health, "LIVE_TIMEOUT_S", 0.2)

    async def ask() -> None:
        pulse = Pulse()
        assert await pulse.fault(service) == ""
        service.way_free.clear()
        assert await pulse.fault(service) == ""  # from before
        deadline = time.monotonic() + 30
        while not await pulse.fault(service):
            assert time.monotonic() < deadline
            await asyncio.sleep(0.01)

    asyncio.run(ask())


def test_a_job_of_a_stream_that_never_ends_is_a_fault(service, monkeypatch):
    monkeypatch.setattr(service.engine, "oldest_job_s", lambda: 100.0)
    assert "100 s" in asyncio.run(Pulse().fault(service))
    assert service.calls == []


def test_a_fault_of_the_network_is_told_by_its_name(service):
    service.engine.models["small"].model.stt = lambda audio: 1 / 0
    assert "ZeroDivisionError" in asyncio.run(Pulse().fault(service))


def test_it_lives_while_models_are_loaded_though_it_is_not_ready():
    engine = Engine({}, Limits(), Metrics(), num_threads=1)
    assert asyncio.run(Pulse().fault(SimpleNamespace(engine=engine))) == ""
    engine.shut_down()
