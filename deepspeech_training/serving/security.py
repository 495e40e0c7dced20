"""Who may talk to the service: keys, and which hosts and pages may name it. A middleware before all routes and sockets.

A page of another site can reach a server on the loopback through the browser of whoever visits it: by its address
(then the browser sends that page's Origin), or by a name of the page's own that resolves to 127.0.0.1 (then Host has
that name; "DNS rebinding"). So both are checked, key or not.
"""

import hmac
import ipaddress
import os
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from deepspeech_training.errors import FlagError
from deepspeech_training.serving.errors import ServingError
from deepspeech_training.serving.metrics import Metrics

KEY_VARIABLE = "DEEPSPEECH_API_KEY"
LEAST_KEY_CHARACTERS = 8
# What tells whether the service works, and what the pages are made of, must be had without a key; they ask for it.
OPEN_PATHS = ("/", "/status", "/studio", "/live", "/ready", "/health", "/v1/config", "/favicon.ico")
OPEN_FOLDERS = ("/pages/",)
SUBPROTOCOL_KEYS = ("openai-insecure-api-key.", "deepspeech-key.")  # browsers can send no other header
ALLOWED_HEADERS = "authorization, content-type, x-api-key"
ANY = "*"


def read_keys(key_file: str | None) -> tuple[str, ...]:
    """The keys, one on each line of the file, or the one of the environment; none where neither is set.

    Raises:
        FlagError: the file cannot be read, or a key is too short.
    """
    if key_file is None:
        keys, where = [os.environ.get(KEY_VARIABLE, "").strip()], KEY_VARIABLE
    else:
        where = f"--api_key_file {key_file}"
        try:
            keys = [line.strip() for line in Path(key_file).read_text(encoding="utf-8").splitlines()]
        except (OSError, UnicodeDecodeError) as error:
            raise FlagError(f"{where}: cannot be read: {getattr(error, 'strerror', None) or error}") from None
        if not any(keys):
            raise FlagError(f"{where}: there is no key in it; write one on a line")
    keys = [key for key in keys if key]
    if any(len(key) < LEAST_KEY_CHARACTERS or not key.isascii() or " " in key for key in keys):
        raise FlagError(f"{where}: a key has {LEAST_KEY_CHARACTERS} ASCII characters or more, and no spaces")
    return tuple(keys)


@dataclass(frozen=True)
class Security:
    """The rules.

    Args:
        keys: any one of them opens; without any, no key is wanted.
        hosts: names by which the service may be called, besides addresses, localhost and this machine's name; "*": any.
        origins: of pages of other sites that may talk to it, such as https://example.org; "*": any.
    """

    keys: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()

    def check(self, scope: Scope) -> None:
        """Check a request or a handshake.

        Raises:
            ServingError: forbidden or no_key.
        """
        headers = Headers(scope=scope)
        self.check_host(headers.get("host"))
        self.check_origin(headers.get("origin"), headers.get("host"))
        # Browsers send OPTIONS without a key; no socket is open to all.
        is_free = scope["type"] == "http" and (scope["method"] == "OPTIONS" or is_open(scope["path"]))
        if not (is_free or self.has_key(scope)):
            raise ServingError(
                "a key is wanted: send it as `Authorization: Bearer KEY` (other ways: docs/serving.md)", "no_key"
            )

    def check_host(self, host: str | None) -> None:
        """Refuse a name that this service does not go by; an address is always fine, for nobody can rebind it."""
        if host is None or ANY in self.hosts:  # no browser leaves it out
            return
        name = _hostname(host)
        if _is_address(name) or name in ("localhost", *_own_names(), *map(str.lower, self.hosts)):
            return
        raise ServingError(f"this service is not called {name[:100]!r} (--allowed_hosts)", "forbidden")

    def check_origin(self, origin: str | None, host: str | None) -> None:
        """Refuse the pages of other sites."""
        if origin is None or self.is_allowed_origin(origin):
            return
        if host and origin.lower().partition("://")[2] == host.lower():  # a page of our own
            return
        raise ServingError(f"pages of {origin[:100]!r} may not use this service (--allowed_origins)", "forbidden")

    def is_allowed_origin(self, origin: str) -> bool:
        return ANY in self.origins or origin in self.origins

    def has_key(self, scope: Scope) -> bool:
        """Whether one of the keys came with a request, in any of the protocols' ways; true if none is set."""
        if not self.keys:
            return True
        offered = [key.encode() for key in keys_of(scope)]
        # All are compared, and each in constant time: how long it takes says nothing of the keys.
        return any([hmac.compare_digest(key.encode(), candidate) for key in self.keys for candidate in offered])


def keys_of(scope: Scope) -> list[str]:
    """What a request offers as keys: in headers, in the query, and among the subprotocols of a websocket."""
    headers = Headers(scope=scope)
    kind, _, key = headers.get("authorization", "").partition(" ")
    found = [key.strip()] if kind.lower() in ("bearer", "token") else []
    found += [headers.get("x-api-key", "")]
    query = parse_qs(scope["query_string"].decode("latin-1"))
    found += [*query.get("key", []), *query.get("token", [])]
    protocols = list(scope.get("subprotocols", ()))
    found += [name.removeprefix(start) for name in protocols for start in SUBPROTOCOL_KEYS if name.startswith(start)]
    if len(protocols) == 2 and protocols[0] in ("token", "bearer"):  # Deepgram's
        found.append(protocols[1])
    return [key for key in found if key]


def is_open(path: str) -> bool:
    """Whether a path needs no key."""
    return path in OPEN_PATHS or path.startswith(OPEN_FOLDERS)


class SecurityMiddleware:
    """Answers what the rules refuse, before the handshake of a socket too, and the preflights of allowed origins."""

    def __init__(self, app: ASGIApp, security: Security, metrics: Metrics):
        self._app, self._security, self._metrics = app, security, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        origin = Headers(scope=scope).get("origin")
        cors = self._cors_headers(origin)
        try:
            self._security.check(scope)
        except ServingError as error:
            self._metrics.refused.labels(error.code).inc()
            await refuse(error, scope, receive, send, cors)
            return
        if scope["type"] == "http" and scope["method"] == "OPTIONS" and cors:
            await JSONResponse(None, 204, cors)(scope, receive, send)
            return

        async def send_with_cors(message):
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", []), *((k.encode(), v.encode()) for k, v in cors.items())]
            await send(message)

        await self._app(scope, receive, send_with_cors if cors else send)

    def _cors_headers(self, origin: str | None) -> Mapping[str, str]:
        if origin is None or not self._security.is_allowed_origin(origin):
            return {}
        return {
            "access-control-allow-origin": origin,
            "access-control-allow-methods": "GET, POST, OPTIONS",
            "access-control-allow-headers": ALLOWED_HEADERS,
            "access-control-max-age": "600",
            "vary": "Origin",
        }


async def refuse(
    error: ServingError, scope: Scope, receive: Receive, send: Send, headers: Mapping[str, str] | None = None
) -> None:
    """Answer with an error in OpenAI's shape: a request, or a socket before its handshake."""
    response = JSONResponse(error.as_openai(), error.status, {**error.headers, **(headers or {})})
    if scope["type"] == "websocket":
        await WebSocket(scope, receive, send).send_denial_response(response)
    else:
        await response(scope, receive, send)


def is_loopback(host: str) -> bool:
    """Whether an address to listen on can be reached from this machine alone."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def split_list(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _hostname(host: str) -> str:
    """
    >>> _hostname("[::1]:8000"), _hostname("LocalHost.:80"), _hostname("a.example")
    ('::1', 'localhost', 'a.example')
    """
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.rpartition(":")[0].lower().rstrip(".") if ":" in host else host.lower().rstrip(".")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _own_names() -> Iterable[str]:
    name = socket.gethostname().lower()
    return (name, f"{name}.local")
