"""SIGTERM and Ctrl-C: nothing new is taken on, what is in work is ended, finals are sent."""

import asyncio
import json
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from serving.conftest import SENTENCE, metric, wav_bytes
from serving.stream_clients import pcm
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

WAIT_S = 60
FILES = "/v1/audio/transcriptions"


def test_after_sigterm_a_stream_ends_with_its_final_and_1012_and_new_ones_are_refused(
    make_server, spoken_model, spoken_clip
):
    server = make_server("--model", spoken_model, "--grace_s", 5)
    audio = pcm(spoken_clip)
    half = 7 * 6400

    async def talk() -> tuple[list[dict], int]:
        said = []
        async with asyncio.timeout(WAIT_S), connect(server.ws_url + "/v1/stream") as stream:
            for place in range(0, half, 6400):
                await stream.send(audio[place : place + 6400])
            while (message := json.loads(await stream.recv()))["type"] != "partial" or len(message["text"]) < 5:
                pass
            server.process.send_signal(signal.SIGTERM)
            while httpx.get(f"{server.url}/ready").status_code == 200:
                await asyncio.sleep(0.01)
            assert httpx.get(f"{server.url}/ready").json()["phase"] == "draining"
            with pytest.raises(InvalidStatus) as refused:
                await connect(server.ws_url + "/v1/stream")
            assert refused.value.response.status_code == 503
            late = httpx.post(server.url + FILES, files={"file": spoken_clip.read_bytes()})
            assert late.status_code == 503 and int(late.headers["retry-after"]) <= 120
            assert late.json()["error"]["code"] == "draining"
            for place in range(half, len(audio), 6400):  # the sentence may still be ended
                await stream.send(audio[place : place + 6400])
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    said.append(json.loads(await stream.recv()))
            return said, closed.value.rcvd.code

    said, code = asyncio.run(talk())
    assert code == 1012 and [m["text"] for m in said if m["type"] == "final"] == [SENTENCE]
    assert server.ended() == 0
    assert "Traceback" not in server.err


def test_after_sigterm_a_file_in_work_is_answered(make_server, small_model):
    server = make_server("--model", small_model)
    noise = wav_bytes(np.random.default_rng(0).uniform(-0.5, 0.5, 120 * 16000).astype(np.float32))
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(httpx.post, server.url + FILES, files={"file": noise}, timeout=60)
        while metric(server, "deepspeech_files") == 0:
            time.sleep(0.01)
        assert server.stop() == 0
        assert answer.result().status_code == 200


def test_a_server_that_nobody_uses_ends_at_once_and_ctrl_c_has_its_own_code(make_server, small_model):
    begin = time.monotonic()
    assert make_server("--model", small_model).stop(signal.SIGINT) == 130
    assert time.monotonic() - begin < 30


def test_the_grace_time_is_the_most_that_a_stream_gets(make_server, small_model):
    server = make_server("--model", small_model, "--grace_s", 1)

    async def talk() -> int:
        async with asyncio.timeout(WAIT_S), connect(server.ws_url + "/v1/stream?endpointing=0") as stream:
            server.process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                while True:
                    await stream.send(bytes(3200))
                    await asyncio.sleep(0.05)
            return closed.value.rcvd.code

    assert asyncio.run(talk()) == 1012
    assert server.ended() == 0
