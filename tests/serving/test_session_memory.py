"""A thousand streams one after another leave nothing behind, those that are cut off included."""

import asyncio
import gc
import time
from pathlib import Path

import httpx
import pytest
from serving.stream_clients import pcm
from websockets.asyncio.client import connect

HALF = 500
MAX_GROWTH_MB = 5


def resident_mb(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def open_sessions(server) -> float:
    lines = httpx.get(f"{server.url}/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("deepspeech_sessions{"))


async def sessions(url: str, audio: bytes, count: int) -> None:
    for number in range(count):
        async with asyncio.timeout(60), connect(url, max_queue=None) as stream:
            await stream.send(audio)
            if number % 3 == 0:
                await stream.recv()
                stream.transport.abort()  # as a client whose network is gone
                continue
            await stream.send('{"type": "finish"}')
            async for _ in stream:
                pass


@pytest.mark.slow
def test_a_thousand_sessions_grow_the_process_by_less_than_5_mb(make_server, spoken_model, spoken_scorer, spoken_clip):
    server = make_server("--model", spoken_model, "--scorer", spoken_scorer, "--access_log", "none")
    url, audio = server.ws_url + "/v1/stream?beam_width=50", pcm(spoken_clip)
    asyncio.run(sessions(url, audio, HALF))
    before = resident_mb(server.process.pid)
    asyncio.run(sessions(url, audio, HALF))
    deadline = time.monotonic() + 30
    while open_sessions(server) and time.monotonic() < deadline:
        time.sleep(0.1)
    grown = resident_mb(server.process.pid) - before
    print(f"resident {before:.1f} MB after {HALF} sessions, {grown:+.1f} MB after {2 * HALF}")
    gc.collect()
    assert open_sessions(server) == 0
    assert grown < MAX_GROWTH_MB
