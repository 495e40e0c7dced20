"""What all websockets share: keys before the handshake, one session more than allowed, silence, sizes, and the end."""

import asyncio
import json
import random
import re
import socket
import time
from pathlib import Path

import httpx
import pytest
from stream_clients import PAUSE, WAIT_S, cuts, of_type, pcm, refusal
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

KEY = "a-key-of-tests"
HEADERS = {"Authorization": f"Bearer {KEY}"}
PATHS = ("/v1/stream", "/vosk", "/v1/realtime?intent=transcription", "/v1/listen?encoding=linear16&sample_rate=16000")


@pytest.fixture(scope="module")
def narrow(_servers, spoken_model):
    """A server with a key, two places and little patience."""
    limits = ("--max_sessions", 2, "--idle_s", 2, "--max_message_mb", 0.25, "--send_timeout_s", 1)
    server = _servers("--model", spoken_model, *limits, environment={"DEEPSPEECH_API_KEY": KEY})
    yield server
    server.kill()


@pytest.fixture(scope="session")
def clip(spoken_clip) -> bytes:
    return pcm(spoken_clip)


def sessions_of(server) -> float:
    metrics = httpx.get(server.url + "/metrics", headers=HEADERS, timeout=WAIT_S).text
    return sum(float(value) for value in re.findall(r"^deepspeech_sessions\{.*?\} (\S+)", metrics, re.M))


def wait_for_no_sessions(server) -> None:
    deadline = time.monotonic() + WAIT_S
    while sessions_of(server):
        assert time.monotonic() < deadline, "the places are not given free"
        time.sleep(0.05)


async def closed_with(connection) -> tuple[list[str], int, str]:
    """What still came, and how the connection ended."""
    said: list[str] = []
    with pytest.raises(ConnectionClosed) as closed:
        while True:
            said.append(await connection.recv())
    return said, closed.value.rcvd.code, closed.value.rcvd.reason


@pytest.mark.parametrize("path", PATHS)
def test_without_the_key_there_is_no_handshake(narrow, path):
    for options in ({}, {"additional_headers": {"Authorization": "Bearer another-key"}}):
        status, error = asyncio.run(refusal(narrow.ws_url + path, **options))
        assert (status, error["code"]) == (401, "invalid_api_key")


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/v1/stream", {"additional_headers": HEADERS}),
        ("/v1/stream", {"additional_headers": {"X-API-Key": KEY}}),
        (f"/v1/stream?key={KEY}", {}),
        ("/v1/stream", {"subprotocols": ["deepspeech", f"deepspeech-key.{KEY}"]}),
        (f"/vosk?key={KEY}", {}),
        ("/v1/realtime", {"subprotocols": ["realtime", f"openai-insecure-api-key.{KEY}"]}),
        ("/v1/listen", {"additional_headers": {"Authorization": f"Token {KEY}"}}),
        ("/v1/listen", {"subprotocols": ["token", KEY]}),
        (f"/v1/listen?token={KEY}", {}),
    ],
)
def test_the_key_may_come_as_the_protocols_have_it(narrow, path, options):
    async def talk():
        async with asyncio.timeout(WAIT_S), connect(narrow.ws_url + path, **options) as connection:
            return connection.subprotocol

    assert asyncio.run(talk()) in (None, "deepspeech", "realtime", "token")
    wait_for_no_sessions(narrow)
    assert KEY not in narrow.err


def test_a_page_of_another_site_cannot_open_a_stream(narrow):
    headers = {**HEADERS, "Origin": "https://elsewhere.example"}
    status, error = asyncio.run(refusal(narrow.ws_url + "/v1/stream", additional_headers=headers))
    assert (status, error["code"]) == (403, "forbidden")


@pytest.mark.parametrize("path", PATHS)
def test_one_session_more_than_allowed_is_refused_at_once_and_the_others_go_on(narrow, clip, path):
    url = narrow.ws_url + "/v1/stream"
    wait_for_no_sessions(narrow)

    async def talk():
        async with connect(url, additional_headers=HEADERS) as first:
            async with connect(url, additional_headers=HEADERS) as second:
                await asyncio.gather(first.recv(), second.recv())
                status, error = await refusal(narrow.ws_url + path, additional_headers=HEADERS)
            for part in cuts(clip, 3200):
                await first.send(part)
            await first.send('{"type": "finish"}')
            return status, error, [json.loads(message) async for message in first]

    status, error, said = asyncio.run(asyncio.wait_for(talk(), WAIT_S))
    assert (status, error["code"]) == (429, "rate_limit_exceeded")
    assert "--max_sessions" in error["message"]
    assert of_type(said, "final")[0]["text"].startswith("she had your dark suit")
    wait_for_no_sessions(narrow)


def test_a_client_that_is_silent_gets_its_text_and_the_reason(narrow, clip):
    async def talk():
        async with connect(narrow.ws_url + "/v1/stream", additional_headers=HEADERS) as connection:
            await connection.send(clip)
            return await closed_with(connection)

    said, code, reason = asyncio.run(asyncio.wait_for(talk(), WAIT_S))
    messages = [json.loads(message) for message in said]
    assert of_type(messages, "final")[0]["text"].startswith("she had your dark suit")
    assert messages[-1]["code"] == "idle"
    assert code == 1008
    assert "--idle_s" in reason


def test_silence_that_is_sent_keeps_a_session(narrow):
    async def talk():
        async with connect(narrow.ws_url + "/v1/stream", additional_headers=HEADERS) as connection:
            for _ in range(6):  # longer than idle_s in all
                await connection.send(bytes(12800))
                await asyncio.sleep(0.4)
            await connection.send('{"type": "ping"}')
            return [json.loads(await connection.recv())["type"] for _ in range(2)]

    assert asyncio.run(asyncio.wait_for(talk(), WAIT_S)) == ["ready", "pong"]


@pytest.mark.parametrize("path", PATHS)
def test_a_message_that_is_too_large_closes_the_connection(narrow, path):
    async def talk():
        async with connect(narrow.ws_url + path, additional_headers=HEADERS) as connection:
            await connection.send(bytes(300_000))
            return await closed_with(connection)

    assert asyncio.run(asyncio.wait_for(talk(), WAIT_S))[1] == 1009
    wait_for_no_sessions(narrow)


@pytest.mark.parametrize("path", PATHS)
def test_a_client_that_vanishes_gives_its_place_free(narrow, clip, path):
    async def vanish():
        connection = await connect(narrow.ws_url + path, additional_headers=HEADERS)
        for part in cuts(clip, random.Random(1)):
            await connection.send(part)
        connection.transport.abort()

    for _ in range(3):
        asyncio.run(asyncio.wait_for(vanish(), WAIT_S))
        wait_for_no_sessions(narrow)
    assert "Traceback" not in narrow.err


def test_many_small_messages_that_wait_do_not_fill_the_memory(narrow, clip):
    def resident_mb() -> float:
        return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{narrow.process.pid}/status").read_text())[1]) / 1000

    async def flood():
        async with connect(narrow.ws_url + "/v1/stream", additional_headers=HEADERS, max_queue=None) as connection:
            before, most = resident_mb(), 0.0
            for place in range(0, len(clip), 2):
                await connection.send(clip[place : place + 2])
                if place % 10_000 == 0:
                    most = max(most, resident_mb())
            await connection.send('{"type": "finish"}')
            said = [json.loads(message) async for message in connection]
            return most - before, of_type(said, "final")[0]["text"]

    grown_mb, text = asyncio.run(asyncio.wait_for(flood(), WAIT_S))
    assert text.startswith("she had your dark suit")
    assert grown_mb < 20


@pytest.mark.slow
def test_a_client_that_does_not_read_is_given_up(narrow):
    host, port = narrow.url.removeprefix("http://").split(":")
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.settimeout(0.2)
        connection.connect((host, int(port)))
        lines = [
            "GET /v1/stream HTTP/1.1",
            f"Host: {host}:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
            f"Authorization: Bearer {KEY}",
        ]
        connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        ping = b'{"type":"ping"}'
        frame = bytes([0x81, 0x80 | len(ping), 0, 0, 0, 0]) + ping  # masked with zeros
        deadline = time.monotonic() + WAIT_S
        given_up = False
        while not given_up:  # answers fill the buffers, then questions do
            assert time.monotonic() < deadline, "it is still being served"
            try:
                connection.sendall(frame * 2000)
            except TimeoutError:
                given_up = sessions_of(narrow) == 0
            except ConnectionError:
                given_up = True
    wait_for_no_sessions(narrow)


def test_a_session_lasts_no_longer_than_allowed(make_server, spoken_model, clip):
    server = make_server("--model", spoken_model, "--max_session_s", 1)

    async def talk():
        async with connect(server.ws_url + "/v1/stream") as connection:
            await connection.send(clip)
            return await closed_with(connection)

    said, code, reason = asyncio.run(asyncio.wait_for(talk(), WAIT_S))
    assert [json.loads(message)["type"] for message in said[-2:]] == ["final", "error"]
    assert code == 1008
    assert "--max_session_s" in reason


def test_a_server_that_ends_lets_sentences_end_sends_finals_and_closes_with_1012(make_server, spoken_model, clip):
    server = make_server("--model", spoken_model, "--grace_s", 60)
    half = len(clip) // 2

    async def own():
        async with connect(server.ws_url + "/v1/stream") as connection:
            await connection.send(clip[:half])
            while json.loads(await connection.recv())["type"] != "partial":
                pass
            began.release()
            await stopped.wait()
            await connection.send(clip[half:] + PAUSE)  # in the middle of a sentence: it may be ended
            return await closed_with(connection)

    async def other(path, first):
        async with connect(server.ws_url + path) as connection:
            for message in first:
                await connection.send(message)
            await asyncio.sleep(0.5)
            began.release()
            await stopped.wait()
            return await closed_with(connection)

    async def talk():
        tasks = [
            asyncio.create_task(own()),
            asyncio.create_task(other("/vosk", ['{"config": {"sample_rate": 16000}}', clip])),
            asyncio.create_task(other(PATHS[2], [])),
            asyncio.create_task(other(PATHS[3], [clip])),
        ]
        for _ in tasks:
            await began.acquire()
        server.process.terminate()
        async with asyncio.timeout(WAIT_S), httpx.AsyncClient() as client:
            while (await client.get(server.url + "/ready")).status_code != 503:
                await asyncio.sleep(0.05)
        assert (await refusal(server.ws_url + "/v1/stream"))[0] == 503
        stopped.set()
        return await asyncio.gather(*tasks)

    began, stopped = asyncio.Semaphore(0), asyncio.Event()
    ended = asyncio.run(asyncio.wait_for(talk(), 2 * WAIT_S))
    assert [code for _, code, _ in ended] == [1012] * 4, [reason for _, _, reason in ended]
    own_said, vosk_said, _, deepgram_said = ([json.loads(message) for message in said] for said, _, _ in ended)
    assert of_type(own_said, "final")[0]["text"].startswith("she had your dark suit in greasy wash")
    assert vosk_said[-1]["text"].startswith("she had your dark suit")
    assert [message["type"] for message in deepgram_said[-3:]] == ["Results", "Metadata", "Error"]
    assert server.ended() == 0
    assert "Traceback" not in server.err


def test_the_access_log_has_a_line_of_each_stream_without_what_was_said(narrow, clip):
    async def talk():
        async with connect(narrow.ws_url + f"/v1/stream?key={KEY}&words=1") as connection:
            await connection.send(clip)
            await connection.send('{"type": "finish"}')
            return [json.loads(message) async for message in connection]

    said = asyncio.run(asyncio.wait_for(talk(), WAIT_S))
    session, deadline = said[0]["session"], time.monotonic() + WAIT_S
    while f'"session": "{session}"' not in narrow.err:
        assert time.monotonic() < deadline, narrow.err
        time.sleep(0.05)
    (line,) = [json.loads(line) for line in narrow.err.splitlines() if f'"session": "{session}"' in line]
    assert (line["path"], line["status"], line["model"]) == ("/v1/stream", 1000, "output_graph_nodrop")
    assert line["seconds"] == 2.92
    assert "suit" not in narrow.err
    assert KEY not in narrow.err
