"""The page at `/` and its files: those of the folder pages/, read once, each under an address of its own.

No path of a request becomes a path of a file: the table is made from the folder when the server starts, and what is not
in it is not found. The page needs no other host, no inline script and no inline style, and its policy allows none. It
is served without a key, since it says nothing but how to talk to the server; what it asks the server for needs the key.
"""

import hashlib
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

MEDIA_TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",  # AudioWorklets too
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "media-src blob:",  # the recording that was made or chosen, to hear it
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # kept, but asked for each time: page and server are of one version
}


@cache
def routes() -> tuple[Route, ...]:
    """`/` is pages/index.html; every file that is no page is /pages/ and its path in the folder."""
    parts = [name for name in _contents() if not name.endswith(".html")]
    return (page_route("/", "index.html"), *(page_route(f"/pages/{name}", name) for name in parts))


def page_route(path: str, name: str) -> Route:
    """A file of the folder under a path."""
    return Route(path, _endpoint(name, _contents()[name]), methods=["GET"])


@cache
def _contents() -> dict[str, bytes]:
    return dict(_files(resources.files("deepspeech_training.serving") / "pages"))


def _files(folder: Traversable, prefix: str = "") -> list[tuple[str, bytes]]:
    """(path below the folder, content) of each file of a known type."""
    found = []
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.is_dir():
            found += _files(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in MEDIA_TYPES:
            found.append((prefix + entry.name, entry.read_bytes()))
    return found


def _endpoint(name: str, content: bytes):
    etag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    headers = {**HEADERS, "ETag": etag}
    media_type = MEDIA_TYPES[name.rpartition(".")[2]]

    async def page_file(request: Request) -> Response:
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        if etag in known:
            return Response(status_code=304, headers=headers)
        return Response(content, headers=headers, media_type=media_type)

    return page_file
