"""Words and their pronunciations: GET and POST /v1/g2p, with a model of either direction.

GET /v1/g2p?word=read&word=lead&count=3
POST /v1/g2p  {"words": ["read", "lead"], "count": 3}
-> {"model": "english", "task": "word_to_ipa", "words": [{"word": "read", "answers": [{"text", "probability"}],
    "unknown": []}, ...]}
"""

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deepspeech_training.runtime.pronouncer import DEFAULT_WIDTH, Answer
from deepspeech_training.serving import values
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.limits import Limits
from deepspeech_training.serving.models import ServedWords
from deepspeech_training.serving.service import Service
from deepspeech_training.serving.uploads import Incoming, note, unless_gone

MOST_ANSWERS = 20
KNOWN = ("words", "count", "beam_width", "model")
KEYS = ("key", "token")  # of the query; security.py has read them
BYTES_PER_SYMBOL = 12  # of JSON, as \\ud83d\\ude00
BYTES_BESIDES = 4096


async def answer(request: Request) -> Response:
    """The likeliest answers to each word, best first; `unknown` are symbols that the training data did not have."""
    service: Service = request.app.state.service
    if request.method == "POST":
        async with _Json(request, service) as sent:
            return await _answered(request, service, sent)
    query = {name: value for name, value in request.query_params.items() if name not in (*KEYS, "word")}
    return await _answered(request, service, {**query, "words": request.query_params.getlist("word")})


async def _answered(request: Request, service: Service, asked: Mapping[str, Any]) -> Response:
    values.check_names(asked, KNOWN, "/v1/g2p")
    served = service.engine.words(values.text(asked.get("model", ""), "model") or None)
    note(request, model=served.name)
    words = _words(asked.get("words"), served, service.limits)
    count = values.whole(asked.get("count", 1), "count", least=1, most=MOST_ANSWERS)
    width = values.whole(asked.get("beam_width", DEFAULT_WIDTH), "beam_width", least=1, most=MOST_ANSWERS)
    found = await unless_gone(request, service.engine.pronounce(served, words, width=width, count=count))
    entries = [
        {"word": word, "answers": list(map(_as_json, answers)), "unknown": list(served.model.source.strange(word))}
        for word, answers in zip(words, found, strict=True)
    ]
    return JSONResponse({"model": served.name, "task": served.task, "words": entries})


def _as_json(answer: Answer) -> dict[str, Any]:
    return {"text": answer.text, "probability": round(answer.probability, 6)}


def _words(found: object, served: ServedWords, limits: Limits) -> list[str]:
    """The words of a request, without spaces around them."""
    if not isinstance(found, list) or not found:
        raise values.bad('words must be a list of words: {"words": ["hello"]}, or ?word=hello', "words")
    if len(found) > limits.max_words:
        message = f"{len(found):,} words: a request may have {limits.max_words} (--max_words)"
        raise ServingError(message, "too_long", param="words")
    words = []
    for word in found:
        if not isinstance(word, str) or not word.strip():
            raise values.bad(f"a word must be a text that is not empty, it is {values.shown(word)}", "words")
        words.append(word.strip())
        length = max(len(served.model.source.units(word)), 1)
        if length > limits.max_word_symbols:
            message = f"{values.shown(word)} has {length:,} symbols, and a word may have {limits.max_word_symbols}"
            raise ServingError(f"{message} (--max_word_symbols)", "too_long", param="words")
    return words


class _Json(Incoming[dict[str, Any]]):
    """The JSON of a request, of no more bytes than so many words can take."""

    async def take(self, request: Request) -> dict[str, Any]:
        limits = self._limits
        most = limits.max_words * (limits.max_word_symbols * BYTES_PER_SYMBOL + 8) + BYTES_BESIDES
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > most:
                message = (
                    f"the body is larger than {most:,} bytes, which {limits.max_words} words (--max_words) can take"
                )
                raise ServingError(message, "too_large")
        try:
            return values.json_object(body.decode())
        except UnicodeDecodeError:
            raise values.bad("the body is no UTF-8") from None
