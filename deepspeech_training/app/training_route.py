"""A training that a person starts and stops, for the studio: GET and POST /v1/training."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from deepspeech_training.app.status import Status
from deepspeech_training.app.supervisor import Supervisor
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.values import bad, check_names, shown
from deepspeech_training.studio.bodies import json_of


def training_route(supervisor: Supervisor, status: Status) -> Route:
    """GET tells what the app is doing; POST {"action": "start"} or {"action": "stop"} asks for something else."""

    def told(request: Request) -> JSONResponse:
        facts = status.told(request.app.state.service)
        return JSONResponse({**facts, "can_train": supervisor.can_train, "is_paused": supervisor.is_paused})

    async def training(request: Request) -> Response:
        if request.method != "POST":
            return told(request)
        wanted = await json_of(request)
        check_names(wanted, ("action",), "the message")
        if not supervisor.can_train:
            raise bad("this app serves a model and trains nothing: start it without --serve_only and --model")
        match wanted.get("action"):
            case "start":
                supervisor.train()
            case "stop":
                if not supervisor.pause():
                    raise ServingError("there is no training that could be stopped", "not_found")
            case action:
                raise bad(f"action must be start or stop, it is {shown(action)}", "action")
        return told(request)

    return Route("/v1/training", training, methods=["GET", "POST"])
