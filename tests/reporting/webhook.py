"""A webhook of this machine, as a target of notifications."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN = "s3cret"  # stands in its URL


class Target:
    """A webhook; `got` has the messages. It answers `status`, or nothing as long as `hangs` is not set."""

    def __init__(self, status: int = 200, *, hangs: bool = False):
        self.got: list[dict[str, str]] = []
        self.let_go = threading.Event()
        if not hangs:
            self.let_go.set()
        target = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                target.let_go.wait(60)
                target.got.append(json.loads(body))
                self.send_response(status)
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://user:{TOKEN}@127.0.0.1:{self.server.server_port}/hook"


@contextmanager
def target(*arguments, **details) -> Iterator[Target]:
    found = Target(*arguments, **details)
    thread = threading.Thread(target=found.server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        found.let_go.set()
        found.server.shutdown()
        thread.join()
        found.server.server_close()
