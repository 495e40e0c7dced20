"""What users of other servers suffered, one test each; those that belong to a protocol stand with that protocol."""

import asyncio
import json
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
import soundfile
import soxr
from stream_clients import PAUSE, SENTENCE, WAIT_S, cuts, of_type, own_stream, pcm
from websockets.sync.client import connect

from deepspeech_training.errors import UserError
from deepspeech_training.reporting.metrics import edit_distance
from deepspeech_training.runtime.model_file import ModelFile
from deepspeech_training.serving import health
from deepspeech_training.serving.models import check_memory
from deepspeech_training.serving.stream_client import recognised


def resident_mb(server) -> float:
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def open_streams(server) -> float:
    lines = httpx.get(f"{server.url}/metrics", timeout=WAIT_S).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("deepspeech_sessions{"))


@pytest.mark.slow
def test_a_thousand_sessions_of_which_a_third_is_cut_off_leave_nothing_behind(make_server, spoken_model, spoken_clip):
    """vosk-server#11 #44 #62 #149, sherpa-onnx#2631: the memory grows with the clients that there were."""
    server = make_server("--model", spoken_model)
    audio = pcm(spoken_clip)[: 2 * 16000]
    grown_from = 0.0
    for number in range(1000):
        if number == 500:
            grown_from = resident_mb(server)
        if number % 3:
            assert list(recognised(f"{server.ws_url}/v1/stream", cuts(audio, 6400)))[-1]["type"] == "done"
        else:
            with connect(f"{server.ws_url}/v1/stream", proxy=None) as connection:
                connection.send(audio)
                connection.recv(WAIT_S)
                connection.socket.close()
    deadline = time.monotonic() + WAIT_S
    while open_streams(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert open_streams(server) == 0
    assert resident_mb(server) - grown_from < 5


@pytest.mark.slow
def test_half_an_hour_of_sentences_is_told_from_the_first_to_the_last(spoken_server, spoken_clip):
    """WhisperLiveKit#372: the first lines vanish after five minutes."""
    audio = pcm(spoken_clip) + PAUSE
    count = 1800 * 32000 // len(audio)
    messages = recognised(f"{spoken_server.ws_url}/v1/stream", cuts(count * audio, 32000))
    finals = [message for message in messages if message["type"] == "final"]
    assert len(finals) == count
    assert all("dark suit in greasy wash water" in final["text"] for final in finals)
    starts = [final["start"] for final in finals]
    assert np.abs(np.diff(starts) - len(audio) / 32000).max() < 0.5 and finals[-1]["end"] > 1790


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 24000, 44100, 48000])
def test_a_stream_of_any_rate_is_understood(spoken_server, spoken_clip, rate):
    """vosk-server#144, vosk-api#641: another rate than the server's gives garbage."""
    samples, own_rate = soundfile.read(spoken_clip, dtype="float32")
    sound = soxr.resample(samples, own_rate, rate).astype("<f4").tobytes()
    url = f"{spoken_server.ws_url}/v1/stream?rate={rate}&format=f32le"
    (final,) = of_type(asyncio.run(own_stream(url, sound, 4 * rate // 10)), "final")
    wrong = edit_distance(final["text"], SENTENCE) / len(SENTENCE)
    assert wrong <= (0.1 if rate >= 16000 else 0.8)  # of the upper half of the spectrum the model takes much
    assert abs(final["end"] - 2.9) < 0.2


def test_who_sends_too_fast_is_slowed_down_and_the_memory_stays(make_server, spoken_model, spoken_clip):
    """qwen-code PR#5755, orca PR#21129: audio piles up without bounds."""
    server = make_server("--model", spoken_model, "--max_behind_s", "4")
    samples, rate = soundfile.read(spoken_clip, dtype="float32")
    sound = np.repeat(soxr.resample(samples, rate, 48000)[:, None], 8, axis=1).astype("<f4").tobytes()
    url = f"{server.ws_url}/v1/stream?rate=48000&channels=8&format=f32le"
    list(recognised(f"{url}&alternatives=2", cuts(sound, 1 << 19)))  # the compiled beam is in memory then
    before, most_mb, lags = resident_mb(server), 0.0, []
    for message in recognised(url, cuts(20 * sound, 1 << 19)):  # a minute, 90 MB
        most_mb = max(most_mb, resident_mb(server))
        lags += [message["lag_s"]] if "lag_s" in message else []
    assert message == {"type": "done", "seconds": pytest.approx(20 * len(samples) / rate, abs=0.1)}
    assert 0 < max(lags) < 8 and most_mb - before < 40


def test_a_preflight_needs_no_key(make_server, small_model):
    """whisper.cpp PR#1850, speaches#521: browsers ask without a key whether they may send one."""
    key = "open-sesame"
    allowed = ("--allowed_origins", "https://page.example")
    server = make_server("--model", small_model, *allowed, environment={"DEEPSPEECH_API_KEY": key})
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    url = f"{server.url}/v1/audio/transcriptions"
    answer = httpx.options(url, headers={"Origin": "https://page.example", **asked}, timeout=WAIT_S)
    assert answer.status_code in (200, 204)
    assert answer.headers["Access-Control-Allow-Origin"] == "https://page.example"
    assert "authorization" in answer.headers["Access-Control-Allow-Headers"].lower()
    assert httpx.options(url, headers={"Origin": "https://other.example", **asked}).status_code == 403
    assert httpx.get(f"{server.url}/v1/models", headers={"Origin": "https://page.example"}).status_code == 401


class _Stuck:
    """A model that has come to a halt."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()

    def try_out(self) -> None:
        self.goes_on.wait(WAIT_S)


@pytest.mark.parametrize("oldest_job_s", [0.0, 100.0])
def test_a_service_whose_recognition_has_stopped_is_not_alive(monkeypatch, oldest_job_s):
    """gnome-speech2text#6: /health says ok while every request hangs."""
    monkeypatch.setattr(health, "LIVE_TIMEOUT_S", 0.1)
    model = _Stuck()
    engine = SimpleNamespace(models={"m": model}, model=lambda: model, oldest_job_s=lambda: oldest_job_s)

    async def look() -> str:
        fault = await health.Pulse().fault(SimpleNamespace(engine=engine))
        model.goes_on.set()
        for thread in [thread for thread in threading.enumerate() if thread.name == "pulse"]:
            await asyncio.to_thread(thread.join, WAIT_S)
        return fault

    fault = asyncio.run(look())
    assert ("running for 100 s" if oldest_job_s else "has taken more than 0.1 s") in fault


def test_too_little_memory_is_a_sentence_before_anything_is_loaded(spoken_model):
    """vosk-server#77 #168: the container vanishes without a word."""
    with pytest.raises(UserError) as caught:
        check_memory([ModelFile.read(spoken_model)], 8, free=1 << 20)
    assert "threads the model needs some" in str(caught.value) and "lower --threads" in str(caught.value)


def test_two_streams_at_once_do_not_wait_for_a_third_that_says_nothing(server, speech_wav):
    """vosk-server#9, sherpa#84: one client holds up the others, whose keepalives then run out."""
    sound = speech_wav[44:]
    with connect(f"{server.ws_url}/v1/stream", proxy=None) as silent:
        assert json.loads(silent.recv(WAIT_S))["type"] == "ready"
        for _ in range(2):
            assert list(recognised(f"{server.ws_url}/v1/stream", cuts(sound, 3200)))[-1]["type"] == "done"
        assert silent.ping().wait(WAIT_S)
