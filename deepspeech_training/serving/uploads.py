"""What arrives with a request: its body counted and timed, and given up when the client goes away."""

import asyncio
import logging
import time
from collections.abc import Coroutine
from typing import Any, TypeVar

from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.files import AsyncFile
from deepspeech_training.serving.service import Service

log = logging.getLogger("deepspeech.serving")
Result = TypeVar("Result")
MAX_FILES = 4
MAX_FIELDS = 1000
LEAST_BYTES_PER_S = 2000
LINGER_S = 5.0  # how long the rest of a refused upload is read, so that its client gets to see the answer


class Upload:
    """The form of a request, while its body is read: counted, within its time, and closed in the end.

    Starlette keeps a file of more than a megabyte in an unnamed temporary file.
    """

    def __init__(self, request: Request, service: Service):
        self._request, self._engine, self._limits = request, service.engine, service.limits
        self._begin, self._read_bytes = time.monotonic(), 0
        self._more = True
        self._form = FormData()

    async def __aenter__(self) -> FormData:
        headers = self._request.headers
        self._engine.begin_upload()
        try:
            if headers.get("content-type", "").partition(";")[0].strip().lower() != "multipart/form-data":
                raise ServingError("send the file as multipart/form-data, in the field `file`", "bad_request")
            length = headers.get("content-length", "")
            if length.isdecimal() and int(length) > self._limits.max_upload_bytes:
                self._more = "expect" not in headers  # such a client waits for leave to send its body
                raise self._too_large()
            request = Request(self._request.scope, self._receive)
            try:
                self._form = await request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS)
            except OSError as error:  # the disk is full
                log.error("an upload cannot be kept: %s", error)
                raise ServingError("there is no room for the file now", "overloaded", retry_after_s=60) from None
            return self._form
        except BaseException as error:
            self._engine.end_upload()
            if isinstance(error, ServingError | HTTPException):
                await self._linger()
            raise

    async def __aexit__(self, *_error: object) -> None:
        await self._form.close()
        self._engine.end_upload()

    async def _receive(self) -> Message:
        # Whoever sends a byte now and then does not keep a place for longer than one who sends nothing.
        left_s = self._begin + self._read_bytes / LEAST_BYTES_PER_S + self._limits.idle_s - time.monotonic()
        try:
            async with asyncio.timeout(min(left_s, self._limits.idle_s)):
                message = await self._request.receive()
        except TimeoutError:
            self._more = False
            what = f"nothing of the file has come for {self._limits.idle_s:g} s, or next to nothing (--idle_s)"
            raise ServingError(what, "idle") from None
        self._read_bytes += len(message.get("body", b""))
        self._more = message.get("more_body", False)
        if self._read_bytes > self._limits.max_upload_bytes:
            raise self._too_large()
        return message

    def _too_large(self) -> ServingError:
        return ServingError(
            f"a file may have {self._limits.max_upload_mb} MB (--max_upload_mb): send a shorter one, or one in FLAC, "
            "Opus or MP3",
            "too_large",
            param="file",
        )

    async def _linger(self) -> None:
        """Read what is still sent: a client that may not send on gets a broken connection instead of the answer."""
        try:
            async with asyncio.timeout(LINGER_S):
                while self._more:
                    self._more = (await self._request.receive()).get("more_body", False)
        except TimeoutError:
            pass


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of some work, which is given up when the client goes away.

    Raises:
        ClientDisconnect: it has gone.
    """
    task, gone = asyncio.create_task(work), asyncio.create_task(_left(request))
    try:
        await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ClientDisconnect
        return task.result()
    finally:
        gone.cancel()
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
            if not task.cancelled() and task.exception() is None and isinstance(result := task.result(), AsyncFile):
                result.close()


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def note(request: Request, **facts: Any) -> None:
    """Facts for the line of the access log."""
    request.scope["state"].setdefault("access", {}).update(facts)
