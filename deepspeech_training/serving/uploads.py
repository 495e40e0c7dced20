"""What arrives with a request: its body counted and timed, and given up when the client goes away."""

import asyncio
import base64
import logging
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Coroutine, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Generic, TypeVar

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.files import AsyncFile
from deepspeech_training.serving.limits import MB
from deepspeech_training.serving.service import Service
from deepspeech_training.serving.values import json_object, mapping

log = logging.getLogger("deepspeech.serving")
Result = TypeVar("Result")
Content = TypeVar("Content")
FORM = "multipart/form-data"
MOST_JSON_BYTES = 16 * MB  # it is held in memory
MAX_FILES = 4
MAX_FIELDS = 1000
LEAST_BYTES_PER_S = 2000
LINGER_S = 5.0  # how long the rest of a refused upload is read, so that its client gets to see the answer


class Incoming(ABC, Generic[Content]):
    """The body of a request, while it is read: counted, within its time, and closed in the end."""

    def __init__(self, request: Request, service: Service):
        self._request, self._engine, self._limits = request, service.engine, service.limits
        self._begin, self._read_bytes = time.monotonic(), 0
        self._more = True

    @abstractmethod
    async def take(self, request: Request) -> Content:
        """Read the body of a request that is counted.

        Raises:
            OSError: there is no room for it.
        """

    async def close(self) -> None:
        """What was taken is needed no more."""

    @property
    def kind(self) -> str:
        """The media type that the client names."""
        return self._request.headers.get("content-type", "").partition(";")[0].strip().lower()

    async def __aenter__(self) -> Content:
        headers = self._request.headers
        self._engine.begin_upload()
        try:
            length = headers.get("content-length", "")
            if length.isdecimal() and int(length) > self._limits.max_upload_bytes:
                self._more = "expect" not in headers  # such a client waits for leave to send its body
                raise self._too_large()
            try:
                return await self.take(Request(self._request.scope, self._receive))
            except OSError as error:  # the disk is full
                log.error("an upload cannot be kept: %s", error)
                raise ServingError("there is no room for the file now", "overloaded", retry_after_s=60) from None
        except BaseException as error:
            await self.close()
            self._engine.end_upload()
            if isinstance(error, ServingError | HTTPException):
                await self._linger()
            raise

    async def __aexit__(self, *_error: object) -> None:
        await self.close()
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


class Upload(Incoming[FormData]):
    """The form of a request. Starlette keeps a file of more than a megabyte in an unnamed temporary file."""

    _form = FormData()

    async def take(self, request: Request) -> FormData:
        if self.kind != FORM:
            raise ServingError("send the file as multipart/form-data, in the field `file`", "bad_request")
        self._form = await request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS)
        return self._form

    async def close(self) -> None:
        await self._form.close()


@dataclass(frozen=True)
class Sent:
    """An audio file that has arrived.

    Args:
        source: the audio.
        name: what its sender calls it; no path.
        fields: what came with it.
    """

    source: bytes | Path
    name: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


class AudioUpload(Incoming[Sent]):
    """Audio as a form has it, as base64 in JSON (`inputs`, `parameters`, as Hugging Face sends it), or as the body."""

    def __init__(self, request: Request, service: Service):
        super().__init__(request, service)
        self._kept = AsyncExitStack()

    async def take(self, request: Request) -> Sent:
        if self.kind == FORM:
            form = await request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS)
            self._kept.push_async_callback(form.close)
            sent = form.get("file")
            if not isinstance(sent, UploadFile):
                raise ServingError("there is no file: send it in the field `file`", "bad_request", param="file")
            fields = {name: value for name, value in form.items() if isinstance(value, str)}
            return Sent(path_of(sent.file), (sent.filename or "")[:100], fields)
        if self.kind == "application/json":
            body = bytearray()
            async for part in request.stream():
                body += part
                if len(body) > MOST_JSON_BYTES:
                    raise ServingError(
                        f"JSON may have {MOST_JSON_BYTES >> 20} MB: send a longer recording itself as the body",
                        "too_large",
                    )
            return await asyncio.to_thread(_of_json, bytes(body))
        file = self._kept.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
        async for part in request.stream():
            await asyncio.to_thread(file.write, part)
        if not file.tell():
            raise ServingError("the body is empty: send the audio as the body, or a form with a file", "bad_request")
        return Sent(path_of(file))

    async def close(self) -> None:
        await self._kept.aclose()


def _of_json(body: bytes) -> Sent:
    try:
        found = json_object(body.decode())
        audio = base64.b64decode(found["inputs"], validate=True)
    except (KeyError, TypeError, ValueError):  # no UTF-8, no such field, no text, no base64
        raise ServingError('`inputs` must be the audio as base64: {"inputs": "UklGR..."}', "bad_request") from None
    return Sent(audio, fields=mapping(found.get("parameters") or {}, "parameters"))


def path_of(file: IO[bytes]) -> Path:
    """A file that has no name, by its descriptor."""
    file.flush()
    return Path(f"/proc/self/fd/{file.fileno()}")


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
