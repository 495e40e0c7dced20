"""A line of JSON for each request and each stream: who, what, how long, how much. Never what was said, nor a key."""

import contextlib
import json
import logging
import queue
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import IO, Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from deepspeech_training.errors import FlagError
from deepspeech_training.serving.metrics import Metrics

log = logging.getLogger("deepspeech.serving")
METHODS = ("GET", "HEAD", "POST", "OPTIONS", "PUT", "PATCH", "DELETE")
MOST_WAITING_LINES = 10_000


class AccessLog:
    """Writes lines in a thread of its own: a full disk or a terminal that is held up must not stop the service.

    Args:
        target: the path of a file that lines are added to, "-" for stderr, "none" for nowhere.
    Raises:
        FlagError: the file cannot be written.
    """

    def __init__(self, target: str):
        self._lines: queue.Queue[str | None] = queue.Queue(MOST_WAITING_LINES)
        self._thread: threading.Thread | None = None
        if target == "none":
            return
        try:
            file = sys.stderr if target == "-" else open(target, "a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise FlagError(f"--access_log {target}: cannot be written: {error.strerror}") from None
        self._thread = threading.Thread(target=self._write, args=(file,), name="access log", daemon=True)
        self._thread.start()

    def add(self, **facts: Any) -> None:
        """Note what has happened; dropped where the lines cannot be written as fast as they come."""
        if self._thread is None:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, **facts}, ensure_ascii=True)  # no control character of a path gets through
        with contextlib.suppress(queue.Full):
            self._lines.put_nowait(line)

    def close(self) -> None:
        """Write what waits."""
        if self._thread is not None:
            self._lines.put(None)
            self._thread.join(timeout=2)
            self._thread = None

    def _write(self, file: IO[str]) -> None:
        while (line := self._lines.get()) is not None:
            try:
                file.write(line + "\n")
                if self._lines.empty():
                    file.flush()
            except (OSError, ValueError) as error:
                log.error("the access log ends: it cannot be written: %s", error)
                break
        if file is not sys.stderr:
            with contextlib.suppress(OSError):
                file.close()


class AccessMiddleware:
    """Notes and counts each request, and each websocket when it ends."""

    def __init__(self, app: ASGIApp, log: AccessLog, metrics: Metrics, route_of: Callable[[Scope], str]):
        self._app, self._log, self._metrics, self._route_of = app, log, metrics, route_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        begin = time.monotonic()
        facts: dict[str, Any] = {"status": 500 if scope["type"] == "http" else 1006, "bytes_in": 0, "bytes_out": 0}

        async def counted_receive() -> Message:
            message = await receive()
            facts["bytes_in"] += len(message.get("body") or message.get("bytes") or message.get("text") or b"")
            if message["type"] == "websocket.disconnect":
                facts["status"] = message.get("code", 1005)
            return message

        async def counted_send(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                facts["status"] = message["status"]
            elif message["type"] == "websocket.close":
                facts["status"] = message.get("code", 1000)
            facts["bytes_out"] += len(message.get("body") or message.get("bytes") or message.get("text") or b"")
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            method = scope.get("method", "WEBSOCKET")
            if scope["type"] == "http":
                known = method if method in METHODS else "other"  # clients can think of any number
                self._metrics.requests.labels(self._route_of(scope), known, str(facts["status"])).inc()
            self._log.add(
                client=(scope.get("client") or ("",))[0],
                method=method[:20],
                path=scope["path"][:200],  # never the query: a key may stand in it
                **facts,
                ms=round(1000 * (time.monotonic() - begin), 1),
                **scope.get("state", {}).get("access", {}),  # what an endpoint adds: model, seconds of audio
            )
