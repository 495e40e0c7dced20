"""The body of a request, counted and timed while it is read."""

import asyncio
import contextlib
from typing import Any

from starlette.requests import Request

from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.service import Service
from deepspeech_training.serving.values import json_object

LEAST_BYTES_PER_S = 2000
LINGER_S = 5.0  # how long the rest of what is refused is read, so that its sender gets to see the answer
MOST_JSON_BYTES = 16 * 2**20  # a list of 20,000 prompts


async def body_of(request: Request, most_bytes: int) -> bytes:
    """All of it.

    Raises:
        ServingError: too_large, or idle.
    """
    service: Service = request.app.state.service
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > most_bytes:
        await _linger(request)
        raise _too_large(most_bytes)
    content = bytearray()
    try:
        async with asyncio.timeout(service.limits.idle_s + most_bytes / LEAST_BYTES_PER_S):
            async for part in request.stream():
                content += part
                if len(content) > most_bytes:
                    await _linger(request)
                    raise _too_large(most_bytes)
    except TimeoutError:
        raise ServingError("it has not arrived in time", "idle") from None
    return bytes(content)


async def _linger(request: Request) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            async for _ in request.stream():
                pass


async def json_of(request: Request) -> dict[str, Any]:
    """The object that the body is.

    Raises:
        ServingError: it is none.
    """
    content = await body_of(request, MOST_JSON_BYTES)
    try:
        return json_object(content.decode("utf-8"))
    except UnicodeDecodeError:
        raise ServingError("the body must be JSON in UTF-8", "bad_request") from None


def _too_large(most_bytes: int) -> ServingError:
    return ServingError(f"it is larger than {most_bytes / 2**20:.0f} MB", "too_large")
