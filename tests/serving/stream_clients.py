"""What the tests of the streams share: audio as bytes, its random cuts, and how a handshake is refused."""

import asyncio
import json
import random
import re
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

WAIT_S = 60  # the machine may be busy
PAUSE = bytes(2 * 16000 * 3 // 2)  # 1.5 s, longer than the hang-over
SENTENCE = "she had your dark suit in greasy wash water all year"


def line_of(server: Any, pattern: str) -> str:
    """The group of a pattern in what a server has written to stderr, which may be read a moment later than stdout."""
    deadline = time.monotonic() + WAIT_S
    while not (found := re.search(pattern, server.err)):
        assert time.monotonic() < deadline, server.err
        time.sleep(0.02)
    return found[1]


def pcm(path: Path) -> bytes:
    """The samples of a 16-bit WAV."""
    with wave.open(str(path)) as file:
        assert file.getsampwidth() == 2
        return file.readframes(file.getnframes())


def cuts(audio: bytes, size: int | random.Random) -> Iterator[bytes]:
    """Audio in pieces of a size in bytes, or of random ones: odd ones too, from a byte to 3 s."""
    place = 0
    while place < len(audio):
        step = size if isinstance(size, int) else size.choice([1, 3, 640, 3201, 8000, size.randint(1, 96000)])
        yield audio[place : place + step]
        place += step


async def own_stream(url: str, audio: bytes, size: int | random.Random = 3200, **options: Any) -> list[dict[str, Any]]:
    """Send audio to /v1/stream, and `finish`; all that the server said, `ready` first."""
    async with asyncio.timeout(WAIT_S), connect(url, max_queue=None, **options) as socket:
        for part in cuts(audio, size):
            await socket.send(part)
        await socket.send('{"type": "finish"}')
        return [json.loads(message) async for message in socket]


def of_type(said: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [message for message in said if message["type"] == kind]


async def refusal(url: str, **options: Any) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the error with which a handshake is refused."""
    try:
        async with asyncio.timeout(WAIT_S), connect(url, **options):
            pass
    except InvalidStatus as refused:
        return refused.response.status_code, json.loads(refused.response.body)["error"]
    raise AssertionError(f"{url} was not refused")
