"""The one table of routes, and what stands before them: the access log, the rules of security, errors in one shape."""

from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route, WebSocketRoute
from starlette.types import Scope

from deepspeech_training.serving import (
    classifications,
    deepgram,
    detect_stream,
    health,
    openai_files,
    openai_realtime,
    own_stream,
    pages,
    pronunciations,
    vosk,
)
from deepspeech_training.serving.access_log import AccessMiddleware
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.health import Pulse
from deepspeech_training.serving.limits import limit_fields
from deepspeech_training.serving.models import Hearing, Served
from deepspeech_training.serving.security import SecurityMiddleware
from deepspeech_training.serving.service import Service
from deepspeech_training.version import VERSION


def routes() -> list[BaseRoute]:
    """All that the main port answers."""
    return [
        *pages.routes(),
        Route("/live", health.live),
        Route("/ready", health.ready),
        Route("/health", health.health),
        Route("/metrics", health.metrics),
        Route("/v1/config", config),
        Route("/v1/models", list_models),
        Route("/v1/models/{name}", show_model),
        Route("/v1/drift", drift),
        Route("/v1/audio/transcriptions", openai_files.transcriptions, methods=["POST"]),
        Route("/v1/audio/translations", openai_files.translations, methods=["POST"]),
        Route("/v1/g2p", pronunciations.answer, methods=["GET", "POST"]),
        Route("/v1/compare", openai_files.compare, methods=["POST"]),
        Route("/v1/audio/classifications", classifications.classify, methods=["POST"]),
        Route("/models/{model}", classifications.classify, methods=["POST"]),
        Route("/v1/audio/detections", classifications.detect, methods=["POST"]),
        WebSocketRoute("/v1/stream", own_stream.endpoint),
        WebSocketRoute("/v1/detect", detect_stream.endpoint),
        WebSocketRoute("/vosk", vosk.endpoint),
        WebSocketRoute("/v1/realtime", openai_realtime.endpoint),
        WebSocketRoute("/v1/listen", deepgram.endpoint),
    ]


def make_app(service: Service, table: list[BaseRoute] | None = None) -> Starlette:
    """The application of a port.

    Args:
        table: its routes; those of the main port by default.
    """
    table = routes() if table is None else table

    def route_of(scope: Scope) -> str:
        """For metrics: as the table has it, for there are as many paths as clients can think of."""
        found = (route.path for route in table if isinstance(route, Route) and route.matches(scope)[0] != Match.NONE)
        return next(found, "none")

    app = Starlette(
        routes=table,
        middleware=[
            Middleware(AccessMiddleware, log=service.access_log, metrics=service.metrics, route_of=route_of),
            Middleware(SecurityMiddleware, security=service.security, metrics=service.metrics),
        ],
        exception_handlers={
            ServingError: refused,
            HTTPException: no_route,
            ClientDisconnect: gone,
            Exception: fault,
        },
    )
    app.state.service, app.state.pulse = service, Pulse()
    return app


async def refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, ServingError)
    service: Service = request.app.state.service
    service.metrics.refused.labels(error.code).inc()
    of_hugging_face = request.scope.get("endpoint") is classifications.classify
    body = error.as_hugging_face() if of_hugging_face else error.as_openai()
    return JSONResponse(body, error.status, error.headers)


async def no_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    if error.status_code == 405:
        found = ServingError(f"{request.method[:20]} is not what this path takes", "method_not_allowed")
    elif error.status_code == 404:
        found = ServingError("there is nothing at this path; docs/serving.md lists what there is", "not_found")
    else:
        found = ServingError(error.detail, "bad_request")
    return JSONResponse(found.as_openai(), found.status, {**found.headers, **(error.headers or {})})


async def gone(request: Request, error: Exception) -> Response:
    """Nobody reads it; the log has nginx's status for that."""
    return Response(status_code=499)


async def fault(request: Request, error: Exception) -> Response:
    """A mistake of ours: the log has the traceback, the client a sentence."""
    found = ServingError("the service has made a mistake; its log says more", "internal")
    return JSONResponse(found.as_openai(), found.status)


async def config(request: Request) -> Response:
    """GET /v1/config: what a page must know beforehand; the models that hear only where the key is right."""
    service: Service = request.app.state.service
    hearing = service.engine.of_kind(Hearing)
    admitted = service.security.has_key(request.scope)
    return JSONResponse(
        {
            "version": VERSION,
            "phase": service.phase,
            "key_wanted": bool(service.security.keys),
            "key_accepted": admitted,
            "limits": {limit.name: getattr(service.limits, limit.name) for limit in limit_fields()},
            "protocols": sorted(
                path for route in request.app.routes if (path := getattr(route, "path", "")).startswith("/v1/")
            ),
            "models": [_as_openai(served, service) for served in hearing.values()] if admitted else [],
        }
    )


async def list_models(request: Request) -> Response:
    """GET /v1/models, as OpenAI has it, with `facts` of each."""
    service: Service = request.app.state.service
    listed = [_as_openai(served, service) for served in service.engine.models.values()]
    return JSONResponse({"object": "list", "data": listed})


async def show_model(request: Request) -> Response:
    """GET /v1/models/NAME."""
    service: Service = request.app.state.service
    return JSONResponse(_as_openai(service.engine.any_model(request.path_params["name"]), service))


async def drift(request: Request) -> Response:
    """GET /v1/drift: how what each model hears lately differs from its test set."""
    service: Service = request.app.state.service
    return JSONResponse({"models": service.drift()})


def _as_openai(served: Served, service: Service) -> dict[str, Any]:
    return {
        "id": served.name,
        "object": "model",
        "created": served.facts["created"],
        "owned_by": served.facts["author"] or "deepspeech",
        "facts": {**served.facts, "beam_width": service.limits.beam_width},
    }
