"""Spoken commands in files: POST /v1/audio/classifications and /models/NAME as Hugging Face has them, and our own
POST /v1/audio/detections.

Hugging Face's clients send the audio as the body, or with parameters as base64 in JSON; a form is taken as well. The
answers and the errors have the shapes that those clients read.
"""

from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from deepspeech_training.runtime.event_json import as_message
from deepspeech_training.serving import values
from deepspeech_training.serving.detect_stream import RULE
from deepspeech_training.serving.files import AsyncFile
from deepspeech_training.serving.models import ServedCommands
from deepspeech_training.serving.service import Service
from deepspeech_training.serving.uploads import AudioUpload, Sent, note, unless_gone

KEYS = ("key", "token")  # of the query; security.py has read them
TRANSFORM = "softmax"  # of Hugging Face's `function_to_apply`: what the scores are
MOST_CLASSES = 100_000


async def classify(request: Request) -> Response:
    """The classes of a clip with their probabilities, the likeliest first: [{"label", "score"}]."""
    async with AudioUpload(request, request.app.state.service) as sent:
        asked = _asked(request, sent, "model", "top_k", "function_to_apply")
        served = _served(request, asked)
        transform = asked.get("function_to_apply", TRANSFORM)
        if transform != TRANSFORM:
            what = f"function_to_apply {values.shown(transform)}: the scores are probabilities ({TRANSFORM})"
            raise values.bad(what, "function_to_apply")
        top_k = values.whole(asked.get("top_k", MOST_CLASSES), "top_k", least=1, most=MOST_CLASSES)
        with await unless_gone(request, _begin(request, served, sent)) as file:
            answers = await unless_gone(request, file.answers(served.model))
    return JSONResponse([{"label": answer.label, "score": answer.score} for answer in answers[:top_k]])


async def detect(request: Request) -> Response:
    """The commands in a recording, as a stream hears them: [{"label", "time", "score"}]."""
    service: Service = request.app.state.service
    async with AudioUpload(request, service) as sent:
        asked = _asked(request, sent, "model", *RULE)
        served = _served(request, asked)
        rule = replace(served.model.rule, **{name: RULE[name](asked[name], name) for name in RULE if name in asked})
        with await unless_gone(request, _begin(request, served, sent)) as file:
            found = await unless_gone(request, file.detections(served.model, rule))
    service.metrics.count_commands(served.name, found)
    messages = [as_message(one) for one in found]
    return JSONResponse([{name: message[name] for name in ("label", "time", "score")} for message in messages])


def _asked(request: Request, sent: Sent, *known: str) -> dict[str, Any]:
    """What the query, the fields and the path say beside the audio.

    Raises:
        ServingError: a name that nobody knows.
    """
    query = {name: value for name, value in request.query_params.items() if name not in KEYS}
    asked = {**query, **sent.fields, **request.path_params}
    values.check_names(asked, known, request.url.path)
    return asked


def _served(request: Request, asked: dict[str, Any]) -> ServedCommands:
    service: Service = request.app.state.service
    served = service.engine.commands(values.text(asked.get("model", ""), "model") or None)
    note(request, model=served.name)
    return served


async def _begin(request: Request, served: ServedCommands, sent: Sent) -> AsyncFile:
    """The audio of a request, in its turn."""
    service: Service = request.app.state.service
    file = await service.engine.open_file(served.sample_rate, sent.source, sent.name)
    note(request, seconds=round(file.seconds, 2))
    return file
