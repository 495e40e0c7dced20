"""Files as with OpenAI: POST /v1/audio/transcriptions, https://platform.openai.com/docs/api-reference/audio.

What it has that this recognition does not know (prompt, temperature, include, chunking_strategy) is taken and ignored,
as unknown fields are. What OpenAI's has not: `alternatives`, `beam_width`, `alpha`, `beta`, `scorer`, `hot_words`.
"""

import asyncio
import json
import math
import zlib
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from starlette.datastructures import FormData, UploadFile
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from deepspeech_training.runtime.subtitles import cues_of, to_srt, to_vtt
from deepspeech_training.runtime.utterances import Final, StreamSettings, Word
from deepspeech_training.serving import values
from deepspeech_training.serving.engine import AsyncFile, Engine
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.models import ServedModel
from deepspeech_training.serving.service import Service

Result = TypeVar("Result")
FORMATS = ("json", "text", "srt", "vtt", "verbose_json")
KEYWORD_BOOST = 7.5  # of a keyword without a number
MAX_FILES = 4
MAX_FIELDS = 1000
LINGER_S = 5.0  # how long the rest of a refused upload is read, so that its client gets to see the answer
SSE_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # nginx would hold the events back


@dataclass(frozen=True)
class Ask:
    """The fields of a request.

    Args:
        hot_words: None where none are given.
    """

    file: UploadFile
    served: ServedModel
    settings: StreamSettings
    format: str
    stream: bool
    granularities: frozenset[str]
    alternatives: int


async def transcriptions(request: Request) -> Response:
    """POST /v1/audio/transcriptions: the text of a file, in one of FORMATS, or with `stream=true` as it comes."""
    service: Service = request.app.state.service
    async with Upload(request, service) as form:
        ask = read_ask(form, service.engine)
        note(request, model=ask.served.name)
        file = await unless_gone(request, begin(service.engine, ask))
    note(request, seconds=round(file.seconds, 2))
    if ask.stream:
        return Events(file, ask)
    with file:
        finals = await unless_gone(request, all_of(file, ask.settings))
    return answer(finals, file.seconds, ask)


async def translations(request: Request) -> Response:
    """POST /v1/audio/translations."""
    raise ServingError(
        "these models write what is said in the language in which it is said; they do not translate: "
        "use /v1/audio/transcriptions",
        "bad_request",
    )


async def compare(request: Request) -> Response:
    """POST /v1/compare: the text of a file as it is decoded, without the scorer, and greedily; None where that is the
    same way."""
    service: Service = request.app.state.service
    texts: dict[str, str | None] = {"text": None, "without_scorer": None, "greedy": None}
    async with Upload(request, service) as form:
        ask = read_ask(form, service.engine)
        engine, served = service.engine, ask.served
        width = served.model.beamWidth()
        ways = {"text": ask.settings}
        if ask.settings.scorer is not None:
            ways["without_scorer"] = engine.settings(served, scorer=False, beam_width=width)
        if ask.settings.scorer is not None or ask.settings.beam_width:
            ways["greedy"] = engine.settings(served, scorer=False, beam_width=0)
        with await unless_gone(request, begin(engine, ask)) as file:
            for name, settings in ways.items():
                texts[name] = joined(await unless_gone(request, all_of(file, settings)))
    return JSONResponse(texts)


# --- the request -----------------------------------------------------------------------------------------------------


class Upload:
    """The form of a request, while its body is read: counted, within its time, and closed in the end.

    Starlette keeps a file of more than a megabyte in an unnamed temporary file.
    """

    def __init__(self, request: Request, service: Service):
        self._request, self._engine, self._limits = request, service.engine, service.limits
        self._read_bytes = 0
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
            self._form = await request.form(max_files=MAX_FILES, max_fields=MAX_FIELDS)
            return self._form
        except BaseException as error:
            self._engine.end_upload()
            if isinstance(error, ServingError):
                await self._linger()
            raise

    async def __aexit__(self, *_error: object) -> None:
        await self._form.close()
        self._engine.end_upload()

    async def _receive(self) -> Message:
        try:
            async with asyncio.timeout(self._limits.idle_s):
                message = await self._request.receive()
        except TimeoutError:
            self._more = False
            raise ServingError(
                f"nothing of the file has come for {self._limits.idle_s:g} s (--idle_s)", "idle"
            ) from None
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


def read_ask(form: FormData, engine: Engine) -> Ask:
    """The fields of a form; a list may be called with or without brackets.

    Raises:
        ServingError: bad_request or unknown_model.
    """

    def text(name: str) -> str | None:
        value = form.get(name)
        return value.strip() if isinstance(value, str) and value.strip() else None

    def texts(name: str) -> list[str]:
        values = [*form.getlist(name), *form.getlist(f"{name}[]")]
        return [value.strip() for value in values if isinstance(value, str) and value.strip()]

    def read(name: str, parse: Callable[..., Any], **bounds: Any) -> Any:
        value = text(name)
        return None if value is None else parse(value, name, **bounds)

    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise ServingError("there is no file: send it in the field `file`", "bad_request", param="file")
    format = text("response_format") or "json"
    if format not in FORMATS:
        raise ServingError(
            f"response_format {format[:40]!r}: it must be one of {', '.join(FORMATS)}",
            "bad_request",
            param="response_format",
        )
    granularities = frozenset(texts("timestamp_granularities"))
    if not granularities <= {"word", "segment"}:
        raise ServingError(
            "timestamp_granularities: word, segment or both", "bad_request", param="timestamp_granularities"
        )
    served = engine.model(text("model"), text("language"))
    boosts = read("hot_words", values.hot_words) or {}
    boosts |= values.hot_words(texts("keywords"), "keywords", boost=KEYWORD_BOOST)
    alternatives = read("alternatives", values.whole, least=1, most=values.MOST_ALTERNATIVES) or 1
    scorer = read("scorer", values.truth)
    settings = engine.settings(
        served,
        beam_width=read("beam_width", values.whole, least=0, most=engine.limits.max_beam_width),
        scorer=scorer is not False,
        alpha=read("alpha", values.number),
        beta=read("beta", values.number),
        hot_words=boosts,
        num_results=alternatives,
    )
    stream = read("stream", values.truth) or False
    return Ask(file, served, settings, format, stream, granularities, alternatives)


async def begin(engine: Engine, ask: Ask) -> AsyncFile:
    """The file of a request, in its turn; read by its descriptor, for the temporary file has no name."""
    ask.file.file.flush()
    source = Path(f"/proc/self/fd/{ask.file.file.fileno()}")
    return await engine.open_file(ask.served, source, (ask.file.filename or "")[:100])


async def all_of(file: AsyncFile, settings: StreamSettings) -> list[Final]:
    return [final async for final in file.finals(settings)]


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


# --- the answer ------------------------------------------------------------------------------------------------------


def joined(finals: list[Final]) -> str:
    """The text of a whole file."""
    return " ".join(final.text for final in finals if final.text)


def answer(finals: list[Final], seconds: float, ask: Ask) -> Response:
    """The text and what goes with it, as `response_format` wants it."""
    text, words = joined(finals), [word for final in finals for word in final.words]
    if ask.format == "text":
        return PlainTextResponse(text + "\n")
    if ask.format in ("srt", "vtt"):
        cues = cues_of([{"word": w.text, "start_time": w.start_s, "duration": w.end_s - w.start_s} for w in words])
        kind = "text/vtt" if ask.format == "vtt" else "application/x-subrip"
        return PlainTextResponse(to_vtt(cues) if ask.format == "vtt" else to_srt(cues), media_type=kind)
    found: dict[str, Any] = {"text": text, "usage": usage(seconds)}
    if ask.format == "verbose_json":
        found |= {
            "task": "transcribe",
            "language": ask.served.language,
            "duration": round(seconds, 3),
            "segments": [segment(number, final) for number, final in enumerate(finals)],
        }
    if "word" in ask.granularities:
        found["words"] = [word_json(word) for word in words]
    if ask.alternatives > 1:
        found["alternatives"] = [
            [{"text": other.text, "confidence": other.confidence} for other in final.alternatives] for final in finals
        ]
    return JSONResponse(found)


def usage(seconds: float) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(seconds)}


def word_json(word: Word) -> dict[str, Any]:
    return {
        "word": word.text,
        "start": round(word.start_s, 3),
        "end": round(word.end_s, 3),
        "confidence": round(word.confidence, 4),
    }


def segment(number: int, final: Final) -> dict[str, Any]:
    """All ten fields of OpenAI's segments, which strict clients want; those that only Whisper has say nothing."""
    text = final.text
    return {
        "id": number,
        "seek": 0,
        "start": round(final.start_s, 3),
        "end": round(final.end_s, 3),
        "text": text,
        "tokens": [],
        "temperature": 0.0,
        "avg_logprob": final.alternatives[0].confidence / max(len(text), 1) if final.alternatives else 0.0,
        "compression_ratio": len(text.encode()) / max(len(zlib.compress(text.encode())), 1),
        "no_speech_prob": 0.0,
    }


class Events(StreamingResponse):
    """The text as it comes, as server-sent events; the turn of the file ends with the answer, however that ends."""

    def __init__(self, file: AsyncFile, ask: Ask):
        super().__init__(self._events(file, ask), media_type="text/event-stream", headers=SSE_HEADERS)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)

    async def _events(self, file: AsyncFile, ask: Ask) -> AsyncIterator[str]:
        text = ""
        try:
            async for final in file.finals(ask.settings):
                if final.text:
                    delta = f" {final.text}" if text else final.text
                    text += delta
                    yield _event({"type": "transcript.text.delta", "delta": delta})
            yield _event({"type": "transcript.text.done", "text": text, "usage": usage(file.seconds)})
        except ServingError as error:  # the status has been sent already
            yield _event(error.as_openai())
        yield "data: [DONE]\n\n"


def _event(data: Mapping[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
