"""Whether it lives, what it counts and notes, and that load does not change that."""

import asyncio
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from models.small_models import random_model
from serving.conftest import SENTENCE, metric
from serving.stream_clients import pcm
from websockets.asyncio.client import connect

from deepspeech_training.serving import ports

WAIT_S = 60
FILES = "/v1/audio/transcriptions"


def test_an_answer_does_not_wait_for_the_acknowledgement_of_its_headers():
    with (
        ports.listen("127.0.0.1", 0, "--port") as listener,
        socket.create_connection(listener.getsockname()),
        listener.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_health_has_what_monitors_look_for(http):
    assert http.get("/live").json() == {"status": "live"} and http.head("/live").status_code == 200
    assert http.get("/ready").json() == {"status": "ready"}
    found = http.get("/health").json()
    assert found.pop("uptime_s") > 0
    assert found == {"status": "ok", "model_loaded": True, "device": "cpu", "model": "small"}


def test_what_is_not_there_has_the_shape_of_openai_s_errors(http):
    for answer in (http.get("/xyzzy"), http.get("/v1/audio/transcriptions"), http.get("/v1/models/xyzzy")):
        assert answer.status_code in (404, 405)
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


def test_metrics_count_requests_refusals_audio_and_latencies(make_server, spoken_model, spoken_clip):
    server = make_server("--model", spoken_model)
    httpx.post(server.url + FILES, files={"file": spoken_clip.read_bytes()}, timeout=60)
    httpx.post(server.url + FILES, files={"file": b"no audio"}, timeout=60)
    httpx.get(f"{server.url}/any/path/at/all")

    async def talk() -> None:
        async with asyncio.timeout(WAIT_S), connect(server.ws_url + "/v1/stream") as stream:
            await stream.send(pcm(spoken_clip))
            assert metric(server, "deepspeech_sessions") == 1
            await stream.send('{"type": "finish"}')
            async for _ in stream:
                pass

    asyncio.run(talk())
    assert metric(server, "deepspeech_sessions") == 0
    text = httpx.get(f"{server.url}/metrics").text
    assert f'deepspeech_requests_total{{method="POST",route="{FILES}",status="200"}} 1.0' in text
    assert 'route="none",status="404"' in text and "/any/path" not in text
    assert 'deepspeech_refused_total{reason="bad_audio"} 1.0' in text
    assert metric(server, "deepspeech_audio_seconds_total") == pytest.approx(2 * 2.925, abs=0.1)
    for name in ("first_partial_seconds_count", "final_seconds_count", "sessions_opened_total"):
        assert metric(server, f"deepspeech_{name}") >= 1, name
    assert metric(server, "deepspeech_real_time_factor_count") == 2
    assert "deepspeech_lag_seconds" in text and "deepspeech_files" in text


def test_the_access_log_has_lines_of_json_without_what_was_said(make_server, spoken_model, spoken_clip, tmp_path):
    path = tmp_path / "access.log"
    server = make_server("--model", spoken_model, "--access_log", path)
    answer = httpx.post(server.url + FILES + "?key=secret-key-1", files={"file": spoken_clip.read_bytes()}, timeout=60)
    httpx.get(f"{server.url}/a%0Ab%22c")
    assert server.stop() == 0
    text = path.read_text()
    first, second = map(json.loads, text.splitlines())
    assert (first["method"], first["path"], first["status"]) == ("POST", FILES, 200)
    assert first["model"] == "output_graph_nodrop" and first["seconds"] == pytest.approx(2.93, abs=0.02)
    assert first["bytes_in"] > 90_000 and first["ms"] > 0 and first["client"] == "127.0.0.1"
    assert second["path"] == '/a\nb"c' and second["status"] == 404
    assert answer.json()["text"] == SENTENCE
    assert "dark" not in text and "secret" not in text and "LDC93S1" not in text


@pytest.mark.slow
def test_live_answers_while_there_is_three_times_too_much_to_do(make_server, tmp_path):
    (tmp_path / "large.tflite").write_bytes(random_model(n_hidden=512))
    server = make_server("--model", tmp_path / "large.tflite", "--max_behind_s", 600)
    noise = np.random.default_rng(0).integers(-9000, 9000, 60 * 16000, np.int16).tobytes()
    over = threading.Event()

    async def flood() -> None:
        async with connect(server.ws_url + "/v1/stream?beam_width=100&endpointing=0") as stream:
            for place in range(0, len(noise), 32000):
                if over.is_set():
                    return
                await stream.send(noise[place : place + 32000])
            while not over.is_set():
                await asyncio.sleep(0.05)

    async def flood_all() -> None:
        await asyncio.gather(*(flood() for _ in range(6)))

    with ThreadPoolExecutor(1) as pool:
        flooding = pool.submit(asyncio.run, flood_all())
        try:
            deadline = time.monotonic() + WAIT_S
            while metric(server, "deepspeech_lag_seconds") < 10 and time.monotonic() < deadline:
                time.sleep(0.05)
            taken = []
            for _ in range(10):
                begin = time.monotonic()
                assert httpx.get(f"{server.url}/live", timeout=30).status_code == 200
                taken.append(time.monotonic() - begin)
                time.sleep(0.1)
            assert metric(server, "deepspeech_lag_seconds") > 3, "the load was none"
            assert sorted(taken)[5] < 2, taken
        finally:
            over.set()
        flooding.result(WAIT_S)


def test_a_client_that_says_nothing_at_all_is_cut_off(monkeypatch):
    from deepspeech_training.serving.limits import Limits

    monkeypatch.setattr(ports, "HEAD_S", 0.3)

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
        await send({"type": "http.response.body", "body": b"ok"})

    async def attempt() -> None:
        with ports.listen("127.0.0.1", 0, "--port") as listener:
            number = listener.getsockname()[1]
            async with asyncio.timeout(WAIT_S), ports.running(app, listener, None, Limits()):
                for head in (b"", b"GET / HTTP/1.1\r\nHost:"):
                    reader, writer = await asyncio.open_connection("127.0.0.1", number)
                    writer.write(head)
                    assert await reader.read() == b""
                    writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", number)
                for _ in range(2):  # a connection that is kept is not cut off between two requests
                    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
                    assert b"200 OK" in await reader.readuntil(b"ok")
                    await asyncio.sleep(0.5)
                writer.close()

    asyncio.run(attempt())
