"""Files as with OpenAI: POST /v1/audio/transcriptions, https://platform.openai.com/docs/api-reference/audio.

What it has that this recognition does not know (prompt, temperature, include, chunking_strategy) is taken and ignored,
as unknown fields are. What OpenAI's has not: `alternatives`, `beam_width`, `alpha`, `beta`, `scorer`, `hot_words`.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.types import Message, Receive, Scope, Send

from deepspeech_training.runtime.utterances import Final, StreamSettings
from deepspeech_training.serving import values
from deepspeech_training.serving.engine import Engine
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.files import AsyncFile
from deepspeech_training.serving.models import ServedModel
from deepspeech_training.serving.service import Service
from deepspeech_training.serving.transcripts import FORMATS, answer, event, joined, usage
from deepspeech_training.serving.uploads import Upload, note, path_of, unless_gone

KEYWORD_BOOST = 7.5  # of a keyword without a number
SSE_HEADERS = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}  # nginx would hold the events back


@dataclass(frozen=True)
class Ask:
    """The fields of a request."""

    file: UploadFile
    served: ServedModel
    settings: StreamSettings
    format: str
    stream: bool
    word_times: bool


async def transcriptions(request: Request) -> Response:
    """POST /v1/audio/transcriptions: the text of a file, in one of FORMATS, or with `stream=true` as it comes."""
    service: Service = request.app.state.service
    async with Upload(request, service) as form:
        ask = read_ask(form, service.engine)
        note(request, model=ask.served.name)
        file = await unless_gone(request, begin(service.engine, ask))
    note(request, seconds=round(file.seconds, 2))
    if ask.stream:
        return Events(file, ask, send_timeout_s=service.limits.send_timeout_s)
    with file:
        finals = await unless_gone(request, all_of(file, ask.served, ask.settings))
    return answer(
        finals,
        file.seconds,
        format=ask.format,
        language=ask.served.language,
        word_times=ask.word_times,
        alternatives=ask.settings.num_results,
    )


async def translations(request: Request) -> Response:
    """POST /v1/audio/translations: read, so that the client gets to see the answer, and refused."""
    async with Upload(request, request.app.state.service):
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
        width = engine.limits.beam_width
        ways = {"text": ask.settings}
        if ask.settings.scorer is not None:
            ways["without_scorer"] = engine.settings(served, scorer=False, beam_width=width)
        if ask.settings.scorer is not None or ask.settings.beam_width:
            ways["greedy"] = engine.settings(served, scorer=False, beam_width=0)
        with await unless_gone(request, begin(engine, ask)) as file:
            for name, settings in ways.items():
                texts[name] = joined(await unless_gone(request, all_of(file, served, settings)))
    return JSONResponse(texts)


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
    return Ask(file, served, settings, format, stream, "word" in granularities)


async def begin(engine: Engine, ask: Ask) -> AsyncFile:
    """The file of a request, in its turn; read by its descriptor, for the temporary file has no name."""
    source = path_of(ask.file.file)
    return await engine.open_file(ask.served.sample_rate, source, (ask.file.filename or "")[:100])


async def all_of(file: AsyncFile, served: ServedModel, settings: StreamSettings) -> list[Final]:
    return [final async for final in file.finals(served, settings)]


class Events(StreamingResponse):
    """The text as it comes, as server-sent events; the turn of the file ends with the answer, however that ends."""

    def __init__(self, file: AsyncFile, ask: Ask, *, send_timeout_s: float):
        super().__init__(self._events(file, ask), media_type="text/event-stream", headers=SSE_HEADERS)
        self._file, self._send_timeout_s = file, send_timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_in_time(message: Message) -> None:
            async with asyncio.timeout(self._send_timeout_s):  # whoever does not read keeps the others waiting
                await send(message)

        with self._file, contextlib.suppress(TimeoutError):
            await super().__call__(scope, receive, send_in_time)

    async def _events(self, file: AsyncFile, ask: Ask) -> AsyncIterator[str]:
        text = ""
        try:
            async for final in file.finals(ask.served, ask.settings):
                if final.text:
                    delta = f" {final.text}" if text else final.text
                    text += delta
                    yield event({"type": "transcript.text.delta", "delta": delta})
            yield event({"type": "transcript.text.done", "text": text, "usage": usage(file.seconds)})
        except ServingError as error:  # the status has been sent already
            yield event(error.as_openai())
        yield "data: [DONE]\n\n"
