"""The status page at /status, and what it asks for beside /v1/status."""

from starlette.routing import BaseRoute

from deepspeech_training.app.clips import Clips
from deepspeech_training.app.session_list import SessionList
from deepspeech_training.app.status import Status
from deepspeech_training.app.volume import Volume
from deepspeech_training.serving import pages


def routes(status: Status, volume: Volume) -> list[BaseRoute]:
    """Those that the app has beside the service's."""
    return [
        pages.page_route("/status", "status.html"),
        *status.routes(),
        *Clips(status).routes(),
        *SessionList(volume.checkpoints).routes(),
    ]
